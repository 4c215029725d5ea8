//! Steps of a sandbox's setup. The child reports the failed one to its parent as a byte.

use std::io;

/// Step of the setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    /// `unshare(2)`.
    Namespaces,
    /// The fork into the process namespace.
    FirstProcess,
    /// Separating this mount namespace from the host's.
    PrivateMounts,
    /// Mounting the root directory.
    Root,
    /// Mounting `/proc`.
    Proc,
    /// Hidden and read-only files of `/proc`.
    Masks,
    /// Mounting `/sys`, `/run` and `/tmp`.
    Memory,
    /// Setting up `/dev`.
    Dev,
    /// Mounting `/dev/pts` and `/dev/shm`.
    Terminals,
    /// `pivot_root(2)`.
    Pivot,
    /// Setting the host name.
    HostName,
    /// Joining the user namespace as its root.
    Ids,
    /// Dropping capabilities and inherited file descriptors.
    Rights,
    /// Applying the seccomp filters.
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
    /// The step for a byte, and its name.
    pub(super) fn named(byte: u8) -> Option<(Self, &'static str)> {
        NAMES.into_iter().find(|(step, _)| *step as u8 == byte)
    }

    /// Returns a function for `map_err`.
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
