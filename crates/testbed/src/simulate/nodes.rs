//! `/dev` and `/sys` as they are with the simulated GPUs.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ::confine::process::{Mounts, set_mount_attributes};
use gpusim::Machine;
use gpusim::sysfs::{self, Entry};
use rustix::fs::{CWD, Mode};
use rustix::mount::{self, MountFlags, MoveMountFlags, OpenTreeFlags};

use crate::gpu::Node;

/// The device that stands for all of them: each mapping of it is memory of its own, and it knows no request.
const DEVICE: &str = "/dev/zero";

/// The device nodes.
pub(crate) fn devices(machine: &Machine) -> io::Result<Vec<Node>> {
    let device = fs::metadata(DEVICE)?.rdev();
    let names = machine
        .devices()
        .iter()
        .flat_map(|gpu| [format!("dri/card{}", gpu.card), format!("dri/renderD{}", gpu.render)]);
    let names = names.chain(["kfd".to_owned()]);
    Ok(names.map(|name| Node { host: DEVICE.into(), inside: name.into(), device }).collect())
}

/// A piece of the real `/sys` to show again.
enum Piece {
    Mount(PathBuf, OwnedFd),
    Link(PathBuf, PathBuf),
}

/// Mounts a `/sys` over the real one at `at`: as that, but with the simulated GPUs and none of the machine's.
pub(crate) fn mount_sys(at: &Path, machine: &Machine) -> io::Result<()> {
    let tree = sysfs::tree(machine);
    let mut pieces = Vec::new();
    collect(at, Path::new(""), &tree, &mut pieces)?;
    mount::mount(
        c"sys",
        at,
        c"tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        c"mode=0755,size=32m",
    )?;
    for piece in pieces {
        match piece {
            Piece::Mount(path, tree) => {
                let place = at.join(path);
                fs::create_dir_all(&place)?;
                mount::move_mount(&tree, c"", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            }
            Piece::Link(path, target) => {
                let place = at.join(path);
                make_parent(&place)?;
                std::os::unix::fs::symlink(target, place)?;
            }
        }
    }
    for (path, entry) in &tree {
        let place = at.join(path);
        make_parent(&place)?;
        match entry {
            Entry::Directory => fs::create_dir_all(&place)?,
            Entry::Link(target) => std::os::unix::fs::symlink(target, &place)?,
            Entry::File(bytes) => {
                fs::write(&place, bytes)?;
                rustix::fs::chmod(&place, Mode::from_raw_mode(0o444))?;
            }
        }
    }
    let place = rustix::fs::open(at, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, Mode::empty())?;
    set_mount_attributes(place.as_fd(), Mounts::All, libc::MOUNT_ATTR_RDONLY, None)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Collects what stays of the real tree: what is neither replaced nor in the way of the simulated one's files.
fn collect(root: &Path, below: &Path, tree: &sysfs::Tree, pieces: &mut Vec<Piece>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let is_replaced = sysfs::REPLACED.iter().any(|replaced| path == Path::new(replaced));
        if is_replaced || tree.contains_key(&*path.to_string_lossy()) {
            continue;
        }
        let holds = |inner: &str| Path::new(inner).starts_with(&path);
        let divided = sysfs::REPLACED.iter().copied().any(holds) || tree.keys().any(|path| holds(path));
        let kind = entry.file_type()?;
        if kind.is_dir() && divided {
            collect(root, &path, tree, pieces)?;
        } else if kind.is_dir() {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            let piece = mount::open_tree(CWD, root.join(&path), flags)?;
            pieces.push(Piece::Mount(path, piece));
        } else if kind.is_symlink() {
            pieces.push(Piece::Link(path, fs::read_link(entry.path())?));
        }
    }
    Ok(())
}
