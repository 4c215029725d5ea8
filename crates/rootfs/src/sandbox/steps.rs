//! The steps of a sandbox's set-up. The child names the one that failed to its parent with a byte.

use std::io;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    /// `unshare(2)`.
    Namespaces,
    /// The fork into the process namespace.
    FirstProcess,
    /// Cutting this mount namespace off from the host's.
    PrivateMounts,
    /// The root directory as a mount.
    Root,
    /// `/proc`.
    Proc,
    /// What of `/proc` is hidden or read-only.
    Masks,
    /// `/sys`, `/run` and `/tmp`.
    Memory,
    /// `/dev`.
    Dev,
    /// `/dev/pts` and `/dev/shm`.
    Terminals,
    /// `pivot_root(2)`.
    Pivot,
    /// The host name.
    HostName,
    /// The user namespace and its root's ids.
    Ids,
    /// Capabilities and inherited file descriptors.
    Rights,
    /// The seccomp filters.
    Filter,
}

/// All steps, with their names for messages.
const NAMES: [(Step, &str); 14] = [
    (Step::Namespaces, "making namespaces"),
    (Step::FirstProcess, "starting the first process of the namespace"),
    (Step::PrivateMounts, "making mounts private"),
    (Step::Root, "mounting the root directory"),
    (Step::Proc, "mounting /proc"),
    (Step::Masks, "hiding parts of /proc"),
    (Step::Memory, "mounting an empty /sys, /run and /tmp"),
    (Step::Dev, "making /dev"),
    (Step::Terminals, "mounting /dev/pts and /dev/shm"),
    (Step::Pivot, "changing to the new root (pivot_root)"),
    (Step::HostName, "setting the host name"),
    (Step::Ids, "joining the user namespace"),
    (Step::Rights, "dropping capabilities"),
    (Step::Filter, "installing the seccomp filters"),
];

impl Step {
    /// The step that a byte stands for, and its name.
    pub(super) fn named(byte: u8) -> Option<(Self, &'static str)> {
        NAMES.into_iter().find(|(step, _)| *step as u8 == byte)
    }

    /// A function for `map_err`.
    pub(super) fn failed<E: Into<io::Error>>(self) -> impl FnOnce(E) -> StepError {
        move |error| StepError { step: self, source: error.into() }
    }
}

/// A failed step.
#[derive(Debug)]
pub(super) struct StepError {
    pub(super) step: Step,
    pub(super) source: io::Error,
}
