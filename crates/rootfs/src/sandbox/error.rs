//! Why a sandbox or a user namespace could not be made.

use std::io;

/// What failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A user namespace is not allowed on this machine.
    #[error("user namespaces are not allowed here: {reason}. {remedy}")]
    UserNamespace {
        /// Which setting forbids it.
        reason: String,
        /// What the administrator can do.
        remedy: String,
    },
    /// The user has no subordinate ids.
    #[error(
        "{user} has no 65535 subordinate ids in {file}; as root, run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    )]
    NoSubordinateIds {
        /// The user's name.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// `newuidmap` or `newgidmap` is not installed.
    #[error("{0} is not installed; install the package uidmap")]
    NoMapper(&'static str),
    /// `newuidmap` or `newgidmap` refused.
    #[error("{command} failed: {output}")]
    Mapping {
        /// The command line.
        command: String,
        /// What it said.
        output: String,
    },
    /// Root without the right to make namespaces: that of a container.
    #[error(
        "this root may not make namespaces (CAP_SYS_ADMIN is missing, or a seccomp profile forbids it). In a container, \
         run as a user with subordinate ids there, or start it with: --cap-add SYS_ADMIN --security-opt seccomp=unconfined"
    )]
    NoNamespaces,
    /// A step of the set-up failed.
    #[error("sandbox: {step}: {source}")]
    Step {
        /// What was tried, as a gerund.
        step: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The command could not be started in the sandbox.
    #[error("sandbox: starting {program}: {source}")]
    Start {
        /// The program, as a path inside.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl SandboxError {
    pub(crate) fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { step, source: source.into() }
    }
}
