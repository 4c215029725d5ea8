//! The mounts of a testbed: its root directory as an overlay, and the kernel's file systems, protected against changes.
//!
//! All of it is mounted before the testbed's user namespace is joined. So the testbed's root can neither remove these
//! mounts nor make them writable (`mount_namespaces(7)`, locked mounts).

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ::confine::process::{Mounts, set_mount_attributes};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{self, MountFlags, MoveMountFlags, OpenTreeFlags};

use crate::Error;
use crate::identity::Identity;
use crate::memory::{FileSystems, Tmpfs};

/// Paths in the root directory that belong to the agent and are hidden from tests.
const HIDDEN: [&str; 1] = ["etc/rocbed"];
/// Paths that reveal something about the machine or its other users.
const MASKED: [&str; 19] = [
    "proc/acpi",
    "proc/asound",
    "proc/kallsyms",
    "proc/kcore",
    "proc/keys",
    "proc/kmsg",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/vmallocinfo",
    "sys/devices/virtual/powercap",
    "sys/firmware",
    "sys/fs/bpf",
    "sys/fs/cgroup",
    "sys/fs/pstore",
    "sys/kernel/debug",
    "sys/kernel/security",
    "sys/kernel/tracing",
];
/// Paths that allow changes to the machine.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Location of the writable layer.
#[derive(Debug)]
pub(crate) enum Writable<'a> {
    /// Memory, within these limits.
    Memory(Tmpfs),
    /// An empty directory that nothing else uses.
    Directory(&'a Path),
}

/// Mounts the overlay over the read-only root directory and its layers, the last of which is on top, and changes to the
/// directory that has it as `root`.
///
/// Returns the writable layer, whose free space can be queried. The scratch file system is mounted on the root
/// directory itself, as every machine has it; these mounts are visible only in this namespace.
pub(crate) fn overlay(
    root: &Path,
    layers: &[PathBuf],
    writable: &Writable<'_>,
    identity: &Identity,
) -> Result<OwnedFd, Error> {
    let top_first = layers.iter().rev().map(PathBuf::as_path).chain([root]);
    let lower: Vec<OwnedFd> = top_first.map(|path| read_only_tree(path, identity)).collect::<Result<_, _>>()?;
    let data = match writable {
        Writable::Memory(_) => None,
        Writable::Directory(path) => Some(open_tree(path).map_err(Error::step(format!("opening {}", path.display())))?),
    };
    let options =
        if let Writable::Memory(limits) = writable { limits.options("0755") } else { "mode=0755,size=1m".into() };
    let options = CString::new(options).map_err(Error::step("sizing the overlay"))?;
    mount::mount(c"testbed", root, c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .and_then(|()| rustix::process::chdir(root))
        .map_err(Error::step("mounting memory to write to"))?;
    for name in ["data", "root", "empty"] {
        fs::create_dir(name).map_err(Error::step(format!("making {name}")))?;
    }
    let mut names = Vec::new();
    for (number, tree) in lower.iter().enumerate() {
        let name = format!("lower{number}");
        fs::create_dir(&name)
            .and_then(|()| Ok(attach(tree, &name)?))
            .map_err(Error::step("mounting the root directory and its layers"))?;
        names.push(name);
    }
    if let Some(data) = data {
        attach(&data, "data").map_err(Error::step("mounting the directory to write to"))?;
    }
    for name in ["data/upper", "data/work"] {
        fs::create_dir(name)
            .and_then(|()| std::os::unix::fs::chown(name, Some(identity.base), Some(identity.base)))
            .and_then(|()| Ok(rustix::fs::chmod(name, Mode::from_raw_mode(0o755))?))
            .map_err(Error::step(format!("making {name}")))?;
    }
    // In a user namespace an overlay stores its metadata in user attributes, and cannot rename directories.
    let notes = if identity.nested { "userxattr" } else { "redirect_dir=on" };
    let options =
        CString::new(format!("lowerdir={},upperdir=data/upper,workdir=data/work,volatile,{notes}", names.join(":")))
            .map_err(Error::step("mounting the overlay"))?;
    mount::mount(c"testbed", c"root", c"overlay", MountFlags::NODEV, options.as_c_str())
        .map_err(Error::step("mounting the overlay"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, c"data/upper", flags, Mode::empty()).map_err(Error::step("opening the overlay"))
}

/// A read-only mount of a directory, with its owners mapped to the testbed's ids.
fn read_only_tree(path: &Path, identity: &Identity) -> Result<OwnedFd, Error> {
    let tree = open_tree(path).map_err(Error::step(format!("opening {}", path.display())))?;
    let owners = (!identity.nested).then_some(identity.inner.as_fd());
    set_mount_attributes(tree.as_fd(), Mounts::All, libc::MOUNT_ATTR_RDONLY, owners).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) if owners.is_some() => Error::Inside(format!(
            "{} is on a file system whose owners this kernel cannot map; put it on ext4, xfs, btrfs, erofs or tmpfs",
            path.display()
        )),
        _ => Error::step(format!("mapping the owners in {}", path.display()))(error),
    })?;
    Ok(tree)
}

fn open_tree(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    mount::open_tree(CWD, path, flags)
}

fn attach(tree: &OwnedFd, path: &str) -> rustix::io::Result<()> {
    mount::move_mount(tree, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Mounts `/proc` and `/sys` in `root`, and protects the parts that allow changes or reveal too much.
pub(crate) fn kernel(own_network: bool, simulated: Option<&gpusim::Machine>) -> Result<(), Error> {
    mount::mount(c"proc", c"root/proc", c"proc", PLAIN, None).map_err(Error::step("mounting /proc"))?;
    let sys = mount::mount(c"sysfs", c"root/sys", c"sysfs", PLAIN | MountFlags::RDONLY, None);
    match sys {
        // A user may not mount sysfs for a network namespace that the user does not own.
        Err(rustix::io::Errno::PERM) if !own_network => {
            mount::mount_bind_recursive(c"/sys", c"root/sys").map_err(Error::step("mounting /sys"))?;
            read_only("root/sys").map_err(Error::step("making /sys read-only"))?;
        }
        other => other.map_err(Error::step("mounting /sys"))?,
    }
    if let Some(machine) = simulated {
        crate::simulate::mount_sys(Path::new("root/sys"), machine)
            .map_err(Error::step("mounting /sys with the simulated GPUs"))?;
    }
    rustix::fs::chmod(c"empty", Mode::from_raw_mode(0o555)).map_err(Error::step("making an empty directory"))?;
    for path in MASKED.into_iter().chain(HIDDEN) {
        mask(path).map_err(Error::step(format!("hiding /{path}")))?;
    }
    for path in READ_ONLY {
        let path = format!("root/{path}");
        if Path::new(&path).exists() {
            mount::mount_bind(&path, &path)
                .map_err(io::Error::from)
                .and_then(|()| read_only(&path))
                .map_err(Error::step(format!("making {path} read-only")))?;
        }
    }
    command_line().map_err(Error::step("hiding the agent's settings in /proc/cmdline"))
}

fn mask(path: &str) -> io::Result<()> {
    let path = format!("root/{path}");
    // A missing path needs no hiding.
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            mount::mount_bind(c"empty", &path)?;
            read_only(&path)
        }
        Ok(_) => Ok(mount::mount_bind(c"root/dev/null", &path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_only(path: &str) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mount = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let attributes =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    set_mount_attributes(mount.as_fd(), Mounts::All, attributes, None)
}

/// Hides hub addresses and tokens in the kernel's command line.
fn command_line() -> io::Result<()> {
    let line = without_settings(&fs::read_to_string("/proc/cmdline")?);
    fs::write("cmdline", line)?;
    rustix::fs::chmod(c"cmdline", Mode::from_raw_mode(0o444))?;
    mount::mount_bind(c"cmdline", c"root/proc/cmdline")?;
    read_only("root/proc/cmdline")
}

/// Removes rocbed's settings. Words are split as the kernel does: a blank within double quotes does not end a word.
fn without_settings(line: &str) -> String {
    let mut quoted = false;
    let ends = |char: char| {
        quoted ^= char == '"';
        char.is_ascii_whitespace() && !quoted
    };
    let words = line.split(ends).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.filter(|word| !word.trim_start_matches('"').starts_with("rocbed.")).collect();
    words.join(" ") + "\n"
}

/// Makes the overlay the root directory of this process.
pub(crate) fn pivot() -> Result<(), Error> {
    rustix::process::chdir(c"root")
        // The old root is mounted on top of the new one and removed from there, so no directory is needed for it.
        .and_then(|()| rustix::process::pivot_root(c".", c"."))
        .and_then(|()| mount::unmount(c".", mount::UnmountFlags::DETACH))
        .and_then(|()| rustix::process::chdir(c"/"))
        .map_err(Error::step("changing to the new root (pivot_root)"))
}

/// Mounts what belongs only to the testbed; called in its namespaces and its root.
pub(crate) fn private(systems: &FileSystems) -> Result<(), Error> {
    let terminals = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount::mount(c"devpts", c"/dev/pts", c"devpts", MountFlags::NOSUID | MountFlags::NOEXEC, terminals)
        .map_err(Error::step("mounting /dev/pts"))?;
    let tmpfs = |path: &str, limits: Tmpfs, mode: &str| {
        let options = CString::new(limits.options(mode)).map_err(io::Error::other);
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        options
            .and_then(|options| Ok(mount::mount(path, path, c"tmpfs", flags, options.as_c_str())?))
            .map_err(Error::step(format!("mounting {path}")))
    };
    tmpfs("/dev/shm", systems.shared, "1777")?;
    tmpfs("/run", systems.run, "0755")?;
    fs::create_dir("/run/lock")
        .and_then(|()| Ok(rustix::fs::chmod(c"/run/lock", Mode::from_raw_mode(0o1777))?))
        .map_err(Error::step("making /run/lock"))
}

/// How full a writable layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes that are free, and all that there are.
    pub(crate) bytes: (u64, u64),
    /// Files that can still be made, and all that can be. Some file systems have no limit: (0, 0).
    pub(crate) files: (u64, u64),
}

/// How full a writable layer is.
pub(crate) fn space(layer: &OwnedFd) -> io::Result<Space> {
    let space = rustix::fs::fstatfs(layer)?;
    let size = |blocks: u64| blocks.saturating_mul(space.f_bsize.cast_unsigned());
    Ok(Space { bytes: (size(space.f_bavail), size(space.f_blocks)), files: (space.f_ffree, space.f_files) })
}

/// Opens one of this process's namespaces.
pub(crate) fn namespace(name: &str) -> Result<OwnedFd, Error> {
    let path = format!("/proc/self/ns/{name}");
    File::open(&path).map(Into::into).map_err(Error::step(format!("opening {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_settings_are_not_in_the_command_line() {
        let line = "console=ttyS0 rocbed.hub=http://hub rocbed.token=secret quiet\n";
        assert_eq!(without_settings(line), "console=ttyS0 quiet\n");
        let quoted =
            "a rocbed.name=\"x secret\" \"rocbed.join-token=secret\" dyndbg=\"file a +p\" rocbed.join-token=secret\n";
        assert_eq!(without_settings(quoted), "a dyndbg=\"file a +p\"\n");
    }
}
