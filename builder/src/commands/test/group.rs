//! A control group for the testbeds of `rocbed test`, so that they have the limits that they have on a worker.
//!
//! Control groups of a machine with systemd are systemd's. It is asked, by busctl(1), to put this process into a scope that
//! the process may divide (`Delegate=` of systemd.resource-control(5)): the user's manager for a user, the system's for
//! root. systemd removes the scope when its last process has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where control groups are.
const ROOT: &str = "/sys/fs/cgroup";
/// Controllers that limit testbeds.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Exists if systemd runs (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";
/// Names of scopes: this, the process id, and the end.
const SCOPE: (&str, &str) = ("rocbed-test-", ".scope");
/// How long systemd may take to move this process.
const MOVED: Duration = Duration::from_secs(5);

/// Why testbeds have no control group.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoGroup {
    /// The kernel's control groups are of version 1, or lack a controller.
    #[error("the control groups of this machine lack the controller {0} (cgroup2 in {ROOT})")]
    Controller(&'static str),
    /// There is nobody to ask.
    #[error("systemd does not run here, whose control groups testbeds would be in")]
    NoSystemd,
    /// systemd cannot be asked from here.
    #[error("this process is in a user namespace, from which systemd gives no control group")]
    Namespace,
    /// systemd cannot be asked, or refused.
    #[error("asking systemd for a control group: {0}")]
    Refused(String),
    /// The scope cannot be divided.
    #[error("dividing the control group {}: {source}", group.display())]
    Divide {
        /// Its directory.
        group: PathBuf,
        source: io::Error,
    },
}

/// Puts this process and its later children into a scope of their own. To be called before this process joins a user
/// namespace; what was run again inside one is in the scope already.
pub(super) fn ask() -> Result<(), NoGroup> {
    if own_scope().is_some() {
        return Ok(());
    }
    if let Some(missing) =
        missing_controller(&fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default())
    {
        return Err(NoGroup::Controller(missing));
    }
    if !Path::new(SYSTEMD).exists() {
        return Err(NoGroup::NoSystemd);
    }
    let uids = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if uids.split_whitespace().nth(2) != Some("4294967295") {
        return Err(NoGroup::Namespace);
    }
    let manager = if rustix::process::geteuid().is_root() { "--system" } else { "--user" };
    let asked = Command::new("busctl").args(question(manager, std::process::id())).stdin(Stdio::null()).output();
    let asked = asked.map_err(|error| NoGroup::Refused(format!("starting busctl: {error}")))?;
    if !asked.status.success() {
        return Err(NoGroup::Refused(String::from_utf8_lossy(&asked.stderr).trim().to_owned()));
    }
    let began = Instant::now();
    while own_scope().is_none() {
        if began.elapsed() > MOVED {
            return Err(NoGroup::Refused("it has not moved this process".into()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Makes room in this process's scope: a group with all its processes, and one for testbeds, whose path is returned;
/// `None` outside of a scope.
pub(super) fn divide() -> Result<Option<PathBuf>, NoGroup> {
    let Some(scope) = own_scope() else { return Ok(None) };
    let failed = |source| NoGroup::Divide { group: scope.clone(), source };
    let programs = scope.join("programs");
    match fs::create_dir(&programs) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    // A group with processes cannot hand controllers to those below it. Nobody else puts processes there.
    for process in fs::read_to_string(scope.join("cgroup.procs")).map_err(failed)?.lines() {
        match fs::write(programs.join("cgroup.procs"), process) {
            // It has ended.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved.map_err(failed)?,
        }
    }
    Ok(Some(scope.join("testbeds")))
}

/// What busctl is to ask of a manager.
fn question(manager: &str, process: u32) -> Vec<String> {
    let words = "call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit ssa(sv)a(sa(sv))";
    let unit = format!("{}{process}{}", SCOPE.0, SCOPE.1);
    let properties = ["3", "Description", "s", "rocbed test", "Delegate", "b", "true", "PIDs", "au", "1"];
    let words = [manager].into_iter().chain(words.split(' ')).chain([unit.as_str(), "fail"]).chain(properties);
    words.map(str::to_owned).chain([process.to_string(), "0".into()]).collect()
}

fn missing_controller(controllers: &str) -> Option<&'static str> {
    CONTROLLERS.into_iter().find(|name| !controllers.split_whitespace().any(|word| word == *name))
}

/// The directory of the scope that this process is in.
fn own_scope() -> Option<PathBuf> {
    scope_of(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The directory of the scope in a text of `/proc/PID/cgroup` (cgroups(7)).
fn scope_of(cgroup: &str) -> Option<PathBuf> {
    let path = Path::new(cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?);
    let is_scope = |path: &&Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(SCOPE.0)
            .and_then(|rest| rest.strip_suffix(SCOPE.1))
            .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
    };
    path.ancestors().find(is_scope).map(|path| Path::new(ROOT).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_of_a_process_is_found() {
        let user = "user.slice/user-1000.slice/user@1000.service/app.slice/rocbed-test-71.scope";
        for (text, found) in [
            (format!("0::/{user}\n"), Some(user)),
            (format!("1:name=systemd:/\n0::/{user}/programs\n"), Some(user)),
            ("0::/user.slice/user-0.slice/session-1.scope\n".into(), None),
            ("0::/rocbed-test-.scope\n".into(), None),
            ("0::/\n".into(), None),
            ("nonsense".into(), None),
        ] {
            assert_eq!(scope_of(&text), found.map(|path| Path::new(ROOT).join(path)), "{text}");
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        assert_eq!(missing_controller("cpuset cpu io memory hugetlb pids rdma misc\n"), None);
        assert_eq!(missing_controller("cpu pids\n"), Some("memory"));
        assert_eq!(missing_controller(""), Some("cpu"));
        assert!(NoGroup::Controller("cpu").to_string().contains("lack the controller cpu (cgroup2 in /sys/fs/cgroup)"));
    }

    #[test]
    fn systemd_is_asked_for_a_scope_with_this_process() {
        let words = question("--user", 71);
        assert_eq!(words[0], "--user");
        assert_eq!(
            words[6..].join(" "),
            "ssa(sv)a(sa(sv)) rocbed-test-71.scope fail 3 Description s rocbed test Delegate b true PIDs au 1 71 0"
        );
    }
}
