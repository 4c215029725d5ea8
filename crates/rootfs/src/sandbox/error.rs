//! Errors of making a sandbox or a user namespace.

use std::io;

use super::refused::FOR_CONTAINERS;

/// Error with advice.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// User namespaces are not allowed on this machine.
    #[error("user namespaces are not allowed here: {reason}{remedy}")]
    UserNamespace {
        /// Description of what forbids them.
        reason: String,
        /// Advice for the administrator, in lines that begin with `help:`.
        remedy: String,
    },
    /// The user has no subordinate ids.
    #[error("{user} has no 65535 subordinate ids in {file}\n  help: {remedy}")]
    NoSubordinateIds {
        /// User name.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// Command that grants some.
        remedy: String,
    },
    /// `newuidmap` or `newgidmap` is not installed.
    #[error(
        "{0} is not installed\n  help: install the package uidmap, or run this as root (in a container that is enough)"
    )]
    NoMapper(&'static str),
    /// `newuidmap` and `newgidmap` are installed but gain no privileges.
    #[error(
        "newuidmap and newgidmap cannot map ids here, because programs may gain no privileges (no_new_privs)\
         \n  help: Docker and Podman: leave --security-opt no-new-privileges out\
         \n  help: Kubernetes: allowPrivilegeEscalation: true in the container's securityContext\
         \n  help: or run this as root, which needs neither program (in a container that is enough)"
    )]
    NoNewPrivileges,
    /// `newuidmap` or `newgidmap` failed.
    #[error("{command} failed: {output}{remedy}")]
    Mapping {
        /// Command line.
        command: String,
        /// Output of the command.
        output: String,
        /// Advice, in lines that begin with `help:`.
        remedy: String,
    },
    /// Root whose ids cannot be used in a namespace.
    #[error("this root cannot give a user namespace its ids: {0}")]
    RootsIds(String),
    /// Several errors.
    #[error("{}", together(.0))]
    Several(Vec<SandboxError>),
    /// /proc is not mounted.
    #[error(
        "there is no /proc here, which making a user namespace needs\
         \n  help: mount -t proc proc /proc; containers have one, unless it is hidden"
    )]
    NoProc,
    /// Root without the right to create namespaces.
    #[error(
        "this root may not make namespaces: CAP_SYS_ADMIN is missing, or a seccomp profile forbids it{FOR_CONTAINERS}"
    )]
    NoNamespaces,
    /// A step of the setup failed.
    #[error("sandbox: {step}: {source}")]
    Step {
        /// What was being done, as a gerund.
        step: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// The command could not be started in the sandbox.
    #[error("sandbox: starting {program}: {source}")]
    Start {
        /// Path of the program in the sandbox.
        program: String,
        /// Cause.
        source: io::Error,
    },
}

/// Joins all messages, then the advice, without duplicates.
fn together(errors: &[SandboxError]) -> String {
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let (mut messages, mut helps) = (Vec::new(), Vec::new());
    for line in text.iter().flat_map(|text| text.lines()) {
        let lines = if line.starts_with("  help: ") { &mut helps } else { &mut messages };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let helps: String = helps.iter().map(|line| format!("\n{line}")).collect();
    format!("several things are missing for an unprivileged build: {}{helps}", messages.join("; "))
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
        let text = SandboxError::Several(vec![
            SandboxError::NoMapper("newuidmap"),
            SandboxError::NoMapper("newgidmap"),
            SandboxError::NoSubordinateIds { user: "ann".into(), file: "/etc/subuid", remedy: "usermod".into() },
        ])
        .to_string();
        assert!(text.contains("newuidmap is not installed; newgidmap is not installed; ann has no 65535"), "{text}");
        assert_eq!(text.matches("\n  help: ").count(), 2, "{text}");
    }
}
