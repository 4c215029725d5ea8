//! Errors of making a sandbox or a user namespace.

use std::io;

use advice::{Advise, Help};

use super::containers::FOR_CONTAINERS;

/// Reason why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// User namespaces are not allowed on this machine.
    #[error("user namespaces are not allowed here: {reason}")]
    UserNamespace {
        /// Description of what forbids them.
        reason: String,
        /// Help for the administrator.
        remedy: Help,
    },
    /// The user has no subordinate ids.
    #[error("{user} has no 65535 subordinate ids in {file}")]
    NoSubordinateIds {
        /// User name.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// Command that grants some.
        remedy: String,
    },
    /// `newuidmap` or `newgidmap` is not installed.
    #[error("{0} is not installed")]
    NoMapper(&'static str),
    /// `newuidmap` and `newgidmap` are installed but gain no privileges.
    #[error("newuidmap and newgidmap cannot map ids here, because programs may gain no privileges (no_new_privs)")]
    NoNewPrivileges,
    /// `newuidmap` or `newgidmap` failed.
    #[error("{command} failed: {output}")]
    Mapping {
        /// Command line.
        command: String,
        /// Output of the command.
        output: String,
        /// Help for the administrator.
        remedy: Help,
    },
    /// Root whose ids cannot be used in a namespace.
    #[error("this root cannot give a user namespace its ids: {reason}")]
    RootsIds {
        /// Description of what is wrong with them.
        reason: String,
        /// Help for the administrator.
        remedy: Help,
    },
    /// Several errors.
    #[error("{}", together(.0))]
    Several(Vec<SandboxError>),
    /// /proc is not mounted.
    #[error("there is no /proc here, which making a user namespace needs")]
    NoProc,
    /// Root without the right to create namespaces.
    #[error("this root may not make namespaces: CAP_SYS_ADMIN is missing, or a seccomp profile forbids it")]
    NoNamespaces,
    /// The host name cannot be set, and is another one.
    #[error("the host name cannot be set to localhost in the sandbox, as a seccomp profile forbids it: {0}")]
    HostName(io::Error),
    /// A step of the setup failed.
    #[error("sandbox: {step}: {source}")]
    Step {
        /// What was being done, as a gerund.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The command could not be started in the sandbox.
    #[error("sandbox: starting {program}: {source}")]
    Start {
        /// Path of the program in the sandbox.
        program: String,
        /// The cause.
        source: io::Error,
    },
}

/// Joins all messages.
fn together(errors: &[SandboxError]) -> String {
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    format!("several things are missing for an unprivileged build: {}", messages.join("; "))
}

impl Advise for SandboxError {
    fn help(&self) -> Help {
        match self {
            Self::UserNamespace { remedy, .. } | Self::Mapping { remedy, .. } | Self::RootsIds { remedy, .. } => {
                remedy.clone()
            }
            Self::NoSubordinateIds { remedy, .. } => remedy.clone().into(),
            Self::NoMapper(_) => {
                "install the package uidmap, or run this as root (in a container that is enough)".into()
            }
            Self::NoNewPrivileges => [
                "Docker and Podman: leave --security-opt no-new-privileges out",
                "Kubernetes: allowPrivilegeEscalation: true in the container's securityContext",
                "or run this as root, which needs neither program (in a container that is enough)",
            ]
            .into(),
            Self::Several(errors) => {
                let mut help = Help::none();
                for error in errors {
                    help.extend(error.help());
                }
                help
            }
            Self::NoProc => "mount -t proc proc /proc; containers have one, unless it is hidden".into(),
            Self::NoNamespaces => FOR_CONTAINERS.into(),
            Self::HostName(_) => "Podman: start the container with --hostname localhost".into(),
            Self::Step { .. } | Self::Start { .. } => Help::none(),
        }
    }
}

impl SandboxError {
    pub(crate) fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { step, source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_at_once_and_each_remedy_once() {
        let error = SandboxError::Several(vec![
            SandboxError::NoMapper("newuidmap"),
            SandboxError::NoMapper("newgidmap"),
            SandboxError::NoSubordinateIds { user: "ann".into(), file: "/etc/subuid", remedy: "usermod".into() },
        ]);
        let text = error.to_string();
        assert!(text.contains("newuidmap is not installed; newgidmap is not installed; ann has no 65535"), "{text}");
        assert_eq!(error.help().iter().count(), 2, "{:?}", error.help());
    }
}
