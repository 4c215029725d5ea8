//! Tests whether this process may create what a sandbox needs, in a child that ends at once.

use std::io::{self, Read, Write};
use std::process::Command;

use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use super::process;

/// The step of a test that failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) step: Step,
    pub(super) source: io::Error,
}

/// Step of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Creating a user namespace.
    Users,
    /// Creating the other namespaces.
    Others,
    /// Changing mounts.
    Mounts,
}

/// Error with which the child reports success: it must not execute another program.
pub(super) const FINE: rustix::io::Errno = rustix::io::Errno::CANCELED;

/// Tries to become root of a user namespace with mounts of its own.
pub(super) fn user_namespace() -> Result<(), Refusal> {
    tried(true)
}

/// Tries to create the namespaces of a sandbox with this process's own rights.
pub(super) fn namespaces() -> Result<(), Refusal> {
    tried(false)
}

fn tried(users: bool) -> Result<(), Refusal> {
    let refusal = |step| move |source| Refusal { step, source };
    let (mut said, mut say) = io::pipe().map_err(refusal(Step::Users))?;
    // Any program works, it is never executed.
    let mut child = Command::new("/proc/self/exe");
    process::before_exec(&mut child, move || {
        let mut begin = |step: Step| say.write_all(&[step as u8]);
        if users {
            begin(Step::Users)?;
            confine::process::unshare(UnshareFlags::NEWUSER)?;
        }
        begin(Step::Others)?;
        confine::process::unshare(
            UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS,
        )?;
        begin(Step::Mounts)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", private)?;
        Err(FINE.into())
    });
    let spawned = child.spawn();
    drop(child);
    let mut steps = Vec::new();
    said.read_to_end(&mut steps).map_err(refusal(Step::Users))?;
    let step = match steps.last() {
        Some(step) if *step == Step::Mounts as u8 => Step::Mounts,
        Some(step) if *step == Step::Others as u8 => Step::Others,
        _ => Step::Users,
    };
    match spawned {
        Err(error) if error.raw_os_error() == Some(FINE.raw_os_error()) => Ok(()),
        Err(source) => Err(Refusal { step, source }),
        Ok(mut running) => {
            // Impossible: the child never gets that far.
            running.wait().map_err(refusal(step))?;
            Ok(())
        }
    }
}
