//! Explains why user namespaces are refused, with advice for this machine or for the container that this runs in.

use std::fs;
use std::path::Path;

use advice::Help;

use super::SandboxError;
use super::containers::FOR_CONTAINERS;
use super::probe::{Refusal, Step};

/// Properties of this process's environment that may restrict it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Relevant settings in /proc/sys, by their path there.
    pub(super) settings: Vec<(&'static str, String)>,
    /// Whether a seccomp filter applies to this process.
    pub(super) filtered: bool,
    /// Whether setuid programs gain no privileges.
    pub(super) no_new_privileges: bool,
    /// Whether this is a container.
    pub(super) container: bool,
    /// Whether this process is in a chroot: its root is not that of the mount namespace.
    pub(super) chroot: bool,
}

/// Settings that forbid user namespaces: path, the value that forbids them, and one that does not.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("user/max_user_namespaces", "0", "10000"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
];

impl Facts {
    /// Gathers the facts of this process.
    pub(super) fn gather() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is = |name: &str, value: &str| {
            status
                .lines()
                .filter_map(|line| line.split_once(':'))
                .any(|(key, text)| key == name && text.trim() == value)
        };
        let read = |path: &'static str| {
            let text = fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
            Some((path, text.trim().to_owned()))
        };
        let marked = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists());
        let named = ["container", "KUBERNETES_SERVICE_HOST"].iter().any(|name| std::env::var_os(name).is_some());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // The fifth field is the mount point, as seen from this process's root (proc_pid_mountinfo(5)).
        let root = mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"));
        Self {
            settings: SETTINGS.iter().filter_map(|(path, ..)| read(path)).collect(),
            filtered: is("Seccomp", "2"),
            no_new_privileges: is("NoNewPrivs", "1"),
            container: marked || named,
            chroot: !mounts.is_empty() && !root,
        }
    }

    /// The reason why user namespaces are refused, as far as it can be determined.
    pub(super) fn explain(&self, refusal: &Refusal) -> SandboxError {
        let Refusal { step, source } = refusal;
        let answer = |what: &str| format!("{what} ({source})");
        for (path, bad, good) in SETTINGS {
            if self.settings.iter().any(|(known, value)| *known == path && value == bad) {
                let name = path.replace('/', ".");
                let place = if self.container { " on the host" } else { "" };
                let remedy =
                    format!("as root{place}: sysctl {name}={good}; a file in /etc/sysctl.d keeps it so").into();
                return SandboxError::UserNamespace { reason: answer(&format!("{name} is {bad}")), remedy };
            }
        }
        let (reason, remedy): (&str, Help) = match step {
            Step::Users if source.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) => (
                "there are as many as user.max_user_namespaces allows, here or further out, or they are 32 deep",
                "as root on the host, raise it: sysctl user.max_user_namespaces=10000".into(),
            ),
            Step::Users if self.chroot => (
                "this is a chroot, and the kernel allows none in one",
                "use a container or systemd-nspawn instead".into(),
            ),
            Step::Users if self.filtered => ("a seccomp filter is in the way, as Docker's is", FOR_CONTAINERS.into()),
            Step::Users => {
                ("no setting that is known forbids it; a chroot or a security module may", FOR_CONTAINERS.into())
            }
            Step::Others | Step::Mounts => {
                ("they are, but not mounts in them: AppArmor or SELinux is in the way", FOR_CONTAINERS.into())
            }
        };
        SandboxError::UserNamespace { reason: answer(reason), remedy }
    }
}

#[cfg(test)]
mod tests {
    use advice::Advise as _;

    use super::*;

    fn told(facts: &Facts, step: Step, error: rustix::io::Errno) -> String {
        let error = facts.explain(&Refusal { step, source: error.into() });
        format!("{error}; {}", error.help())
    }

    #[test]
    fn names_the_setting_that_forbids_namespaces() {
        use rustix::io::Errno;
        let only = |path, value: &str| Facts { settings: vec![(path, value.to_owned())], ..Facts::default() };
        let message = told(&only("kernel/unprivileged_userns_clone", "0"), Step::Users, Errno::PERM);
        assert!(message.contains("; as root: sysctl kernel.unprivileged_userns_clone=1;"), "{message}");
        let message = told(&only("user/max_user_namespaces", "0"), Step::Users, Errno::NOSPC);
        assert!(message.contains("user.max_user_namespaces is 0 (No space left"), "{message}");
        let message = told(&only("user/max_user_namespaces", "96365"), Step::Users, Errno::NOSPC);
        assert!(message.contains("as many as user.max_user_namespaces allows"), "{message}");
        let facts = Facts { container: true, ..only("kernel/apparmor_restrict_unprivileged_userns", "1") };
        assert!(told(&facts, Step::Others, Errno::ACCESS).contains("as root on the host: sysctl kernel.apparmor_"));
    }

    #[test]
    fn tells_who_else_may_forbid_them() {
        use rustix::io::Errno;
        let filtered = Facts { filtered: true, container: true, ..Facts::default() };
        let message = told(&filtered, Step::Users, Errno::PERM);
        assert!(message.contains("a seccomp filter is in the way"), "{message}");
        for who in ["Docker", "Podman", "GitLab Runner", "Kubernetes"] {
            assert_eq!(message.matches(&format!("; {who}: ")).count(), 1, "{who}: {message}");
        }
        assert!(told(&Facts { chroot: true, ..filtered }, Step::Users, Errno::PERM).contains("this is a chroot"));
        assert!(told(&Facts::default(), Step::Mounts, Errno::ACCESS).contains("AppArmor or SELinux"));
        assert!(told(&Facts::default(), Step::Users, Errno::PERM).contains("no setting that is known"));
    }
}
