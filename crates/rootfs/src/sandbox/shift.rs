//! Ids for processes in root's sandboxes: a range that no file or user of the host has.
//!
//! The root directory keeps its owners 0 to 65535 on the disk. An id-mapped mount maps them to the range; if the file
//! system, the kernel or the container does not allow one, the files are changed to the range's owners while the
//! sandbox is used, and back afterwards.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use confine::process::{Mounts, set_mount_attributes};
use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;
use rustix::process::{DumpableBehavior, Gid, Uid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::ids::{self, ALL};
use super::mounts::Tree;
use super::{SandboxError, owners, probe, process};

/// Ids of the processes of a sandbox.
#[derive(Debug)]
pub(super) enum Ids {
    /// The caller's ids; it is root of a user namespace that has no others: a user's, or a container's.
    Own,
    /// Those of a range, in a separate user namespace.
    Shifted {
        /// The user namespace.
        namespace: OwnedFd,
        /// First id of the range, which is root's in the sandbox.
        base: u32,
        /// How the root directory's owners are mapped to the range.
        way: Way,
    },
}

/// How a root directory's owners are mapped to a range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By an id-mapped mount.
    Mount,
    /// By changing the owners on the disk, until they are changed back.
    Disk,
}

impl Ids {
    /// The ids for a sandbox in this directory: from a range if one is available.
    pub(super) fn of_sandbox(root: &Path) -> Result<Self, SandboxError> {
        let Some(base) = ids::spare() else { return Ok(Self::Own) };
        let namespace = make_namespace(base)?;
        let way = if mapped_tree(root, &namespace).is_ok() { Way::Mount } else { Way::Disk };
        if way == Way::Disk {
            owners::give(root, base).map_err(SandboxError::step("giving the root directory to the sandbox's ids"))?;
        }
        Ok(Self::Shifted { namespace, base, way })
    }

    /// Id of the sandbox's root, as the caller sees it.
    pub(super) fn base(&self) -> u32 {
        if let Self::Shifted { base, .. } = self { *base } else { 0 }
    }

    /// The way to mount the root directory.
    pub(super) fn tree(&self, root: &Path) -> Result<Tree, SandboxError> {
        match self {
            Self::Shifted { namespace, way: Way::Mount, .. } => {
                let tree = mapped_tree(root, namespace);
                tree.map(Tree::Detached).map_err(SandboxError::step("mapping the root directory's owners"))
            }
            _ => Ok(Tree::Bind),
        }
    }

    /// A duplicate handle of the namespace, for a child to join.
    pub(super) fn namespace(&self) -> Result<Option<OwnedFd>, SandboxError> {
        match self {
            Self::Own => Ok(None),
            Self::Shifted { namespace, .. } => {
                namespace.try_clone().map(Some).map_err(SandboxError::step("keeping the user namespace open"))
            }
        }
    }

    /// Changes the owners of the root directory back, if they were changed. No process may run in the sandbox any
    /// more.
    pub(super) fn give_back(&self, root: &Path) -> Result<(), SandboxError> {
        match self {
            Self::Shifted { base, way: Way::Disk, .. } => {
                owners::take_back(root, *base).map_err(SandboxError::step("taking the root directory back"))
            }
            _ => Ok(()),
        }
    }
}

/// Joins the namespace and becomes its root; in the child, which has one thread.
pub(super) fn join(namespace: &OwnedFd) -> io::Result<()> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))?;
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    // The change of ids cleared it.
    process::die_with_parent()
}

/// The root directory as an id-mapped mount for the namespace.
fn mapped_tree(root: &Path, namespace: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, root, flags)?;
    set_mount_attributes(tree.as_fd(), Mounts::One, 0, Some(namespace.as_fd()))?;
    Ok(tree)
}

/// Creates a user namespace with the ids of the range. It exists as long as the handle is open: the process that
/// created it never executes another program.
fn make_namespace(base: u32) -> Result<OwnedFd, SandboxError> {
    let pipe = || io::pipe().map_err(SandboxError::step("making a pipe"));
    let (mut ready, mut is_ready) = pipe()?;
    let (mut end, may_end) = pipe()?;
    let mut child = Command::new("/proc/self/exe");
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process::before_exec(&mut child, move || {
        process::die_with_parent()?;
        confine::process::unshare(UnshareFlags::NEWUSER)?;
        // Otherwise its files in /proc would not be the caller's.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        is_ready.write_all(&std::process::id().to_ne_bytes())?;
        // A byte, not the end of the pipe: the write end is open in this process too.
        end.read_exact(&mut [0])?;
        Err(probe::FINE.into())
    });
    // `spawn` returns only when the child is done: so another thread has to handle it meanwhile.
    let mapper = std::thread::spawn(move || {
        let mut may_end = may_end;
        let mut pid = [0; 4];
        let opened = ready
            .read_exact(&mut pid)
            .map_err(SandboxError::step("making a user namespace"))
            .and_then(|()| map_and_open(u32::from_ne_bytes(pid), base));
        // If the child is already gone, the write fails, which is harmless.
        let _ = may_end.write_all(b"e");
        opened
    });
    let spawned = child.spawn();
    drop(child);
    let opened = mapper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match spawned {
        Err(error) if error.raw_os_error() == Some(probe::FINE.raw_os_error()) => opened,
        Err(error) => Err(SandboxError::step("making a user namespace")(error)),
        Ok(mut running) => {
            // Impossible: the child never gets that far.
            running.wait().map_err(SandboxError::step("making a user namespace"))?;
            opened
        }
    }
}

fn map_and_open(pid: u32, base: u32) -> Result<OwnedFd, SandboxError> {
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{file}"), format!("0 {base} {ALL}\n"))
            .map_err(SandboxError::step("mapping the sandbox's ids"))?;
    }
    File::open(format!("/proc/{pid}/ns/user")).map(Into::into).map_err(SandboxError::step("opening a user namespace"))
}
