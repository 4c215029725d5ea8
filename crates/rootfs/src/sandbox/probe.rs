//! Whether this process may make what a sandbox needs, tried in a child that ends at once.

use std::io::{self, Read, Write};
use std::process::Command;

use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use super::process;

/// What a child of ours could not do.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) step: Step,
    pub(super) source: io::Error,
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A user namespace.
    Users,
    /// The other namespaces.
    Others,
    /// A change of mounts.
    Mounts,
}

/// The error with which the child says that all went well: it is never to become another program.
pub(super) const FINE: rustix::io::Errno = rustix::io::Errno::CANCELED;

/// Tries to become root of a user namespace with mounts of its own.
pub(super) fn user_namespace() -> Result<(), Refusal> {
    tried(true)
}

/// Tries to make the namespaces of a sandbox as this process is.
pub(super) fn namespaces() -> Result<(), Refusal> {
    tried(false)
}

fn tried(users: bool) -> Result<(), Refusal> {
    let refusal = |step| move |source| Refusal { step, source };
    let (mut said, mut say) = io::pipe().map_err(refusal(Step::Users))?;
    // Any program will do.
    let mut child = Command::new("/proc/self/exe");
    process::before_exec(&mut child, move || {
        let mut begin = |step: Step| say.write_all(&[step as u8]);
        if users {
            begin(Step::Users)?;
            process::unshare(UnshareFlags::NEWUSER)?;
        }
        begin(Step::Others)?;
        process::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS)?;
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
            // It cannot be: the child never gets that far.
            running.wait().map_err(refusal(step))?;
            Ok(())
        }
    }
}
