//! Mounts of the sandbox: the root directory, and private /proc, /sys, /dev, /run and /tmp.
//!
//! Everything is mounted before the sandbox's user namespace, if any, is joined: so processes in it have no rights to
//! these mounts, nor to any others of their mount namespace.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, StatVfsMountFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{self, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::process;

use super::steps::{Step, StepError};

/// Device nodes of the host that the sandbox has. Others cannot be created: its file systems are mounted with `nodev`,
/// and its processes lack the capability.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
    ("pts/ptmx", "dev/ptmx"),
];

/// Files of /proc with information about the machine, its keys or its other users: the list of podman and runc, and
/// more.
const MASKED: [&CStr; 16] = [
    c"proc/acpi",
    c"proc/asound",
    c"proc/interrupts",
    c"proc/kallsyms",
    c"proc/kcore",
    c"proc/key-users",
    c"proc/keys",
    c"proc/kmsg",
    c"proc/kpagecount",
    c"proc/kpageflags",
    c"proc/latency_stats",
    c"proc/sched_debug",
    c"proc/scsi",
    c"proc/timer_list",
    c"proc/timer_stats",
    c"proc/vmallocinfo",
];
/// Files of /proc that change the machine.
const READ_ONLY: [&CStr; 5] = [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];

/// Way to mount the root directory.
pub(super) enum Tree {
    /// Bind mount.
    Bind,
    /// Detached mount, which maps the owners to ids of the sandbox.
    Detached(OwnedFd),
}

/// All paths, prepared before the fork.
pub(super) struct Mounts {
    root: CString,
    tree: Tree,
    devices: Vec<(CString, CString)>,
    owner: (Uid, Gid),
    memory: Memory,
}

/// Options of tmpfs(5) and devpts, for file systems that belong to the sandbox's root.
struct Memory {
    run: CString,
    tmp: CString,
    dev: CString,
    shm: CString,
    terminals: CString,
}

impl Mounts {
    /// `base` is the id outside that is root's in the sandbox.
    pub(super) fn prepare(root: &Path, tree: Tree, base: u32) -> io::Result<Self> {
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let devices = DEVICES
            .iter()
            .map(|name| Ok((c_string(format!("/dev/{name}").as_bytes())?, c_string(format!("dev/{name}").as_bytes())?)))
            .collect::<io::Result<_>>()?;
        let tmpfs = |options: &str| c_string(format!("{options},uid={base},gid={base}").as_bytes());
        let tty = base.saturating_add(5);
        let memory = Memory {
            run: tmpfs("mode=0755")?,
            tmp: tmpfs("mode=1777")?,
            dev: tmpfs("mode=0755,size=64k")?,
            shm: tmpfs("mode=1777")?,
            terminals: c_string(format!("newinstance,ptmxmode=0666,mode=0620,gid={tty}").as_bytes())?,
        };
        let owner = (Uid::from_raw(base), Gid::from_raw(base));
        Ok(Self { root: c_string(root.as_os_str().as_bytes())?, tree, devices, owner, memory })
    }

    /// Mounts everything in the private namespace of this process, and changes its root to the root directory. Returns
    /// whether the host's /proc had to be used instead of a new one.
    pub(super) fn enter(&self) -> Result<bool, StepError> {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount::mount_change(c"/", private).map_err(Step::PrivateMounts.failed())?;
        self.mount_root().map_err(Step::Root.failed())?;

        let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // In a container whose own /proc is partly covered the kernel does not allow an uncovered one.
        let foreign_proc = mount::mount(c"proc", c"proc", c"proc", quiet, None).is_err();
        if foreign_proc {
            mount::mount_bind_recursive(c"/proc", c"proc").map_err(Step::Proc.failed())?;
        }
        for path in MASKED {
            mask(path).map_err(Step::Masks.failed())?;
        }
        for path in READ_ONLY {
            read_only(path).map_err(Step::Masks.failed())?;
        }
        let sys = c"mode=0755,size=4k";
        mount::mount(c"sys", c"sys", c"tmpfs", quiet | MountFlags::RDONLY, sys).map_err(Step::Memory.failed())?;
        let plain = MountFlags::NOSUID | MountFlags::NODEV;
        let memory = &self.memory;
        mount::mount(c"run", c"run", c"tmpfs", plain, memory.run.as_c_str()).map_err(Step::Memory.failed())?;
        let lock = c"run/lock";
        rustix::fs::mkdir(lock, Mode::from_raw_mode(0o1777)).map_err(Step::Memory.failed())?;
        rustix::fs::chown(lock, Some(self.owner.0), Some(self.owner.1)).map_err(Step::Memory.failed())?;
        rustix::fs::chmod(lock, Mode::from_raw_mode(0o1777)).map_err(Step::Memory.failed())?;
        mount::mount(c"tmp", c"tmp", c"tmpfs", plain, memory.tmp.as_c_str()).map_err(Step::Memory.failed())?;
        self.make_dev()?;

        // The old root is stacked on the new one and unmounted there: this needs no directory for it.
        process::pivot_root(c".", c".").map_err(Step::Pivot.failed())?;
        mount::unmount(c".", UnmountFlags::DETACH).map_err(Step::Pivot.failed())?;
        process::chdir(c"/").map_err(Step::Pivot.failed())?;
        Ok(foreign_proc)
    }

    /// Mounts the root directory without device nodes, and changes to it.
    fn mount_root(&self) -> rustix::io::Result<()> {
        let root = self.root.as_c_str();
        match &self.tree {
            Tree::Bind => mount::mount_bind_recursive(root, root)?,
            Tree::Detached(tree) => {
                mount::move_mount(tree, c"", CWD, root, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            }
        }
        process::chdir(root)?;
        // In a user namespace the kernel requires all flags that the file system has outside.
        let there = rustix::fs::statvfs(c".")?.f_flag;
        let mut flags = MountFlags::BIND | MountFlags::NODEV;
        for (seen, flag) in [
            (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        ] {
            if there.contains(seen) {
                flags |= flag;
            }
        }
        mount::mount_remount(c".", flags, c"")
    }

    fn make_dev(&self) -> Result<(), StepError> {
        // Each node is a mount of its own: `nodev` applies to nodes that are created beside them.
        let plain = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
        let memory = &self.memory;
        mount::mount(c"dev", c"dev", c"tmpfs", plain, memory.dev.as_c_str()).map_err(Step::Dev.failed())?;
        for (host, inside) in &self.devices {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::open(inside.as_c_str(), flags, Mode::from_raw_mode(0o666)).map_err(Step::Dev.failed())?;
            mount::mount_bind(host.as_c_str(), inside.as_c_str()).map_err(Step::Dev.failed())?;
        }
        for (target, link) in LINKS {
            rustix::fs::symlink(target, link).map_err(Step::Dev.failed())?;
        }
        for directory in [c"dev/pts", c"dev/shm"] {
            rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)).map_err(Step::Terminals.failed())?;
        }
        let terminals = |options: &CStr| {
            mount::mount(c"devpts", c"dev/pts", c"devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options)
        };
        terminals(memory.terminals.as_c_str())
            // Group tty is not mapped in a namespace with a single id.
            .or_else(|_| terminals(c"newinstance,ptmxmode=0666,mode=0620"))
            .map_err(Step::Terminals.failed())?;
        mount::mount(c"shm", c"dev/shm", c"tmpfs", plain, memory.shm.as_c_str()).map_err(Step::Terminals.failed())
    }
}

/// Covers a file or directory with an empty one. A missing path is skipped.
fn mask(path: &CStr) -> rustix::io::Result<()> {
    let stat = match rustix::fs::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
        return mount::mount(c"masked", path, c"tmpfs", flags, c"mode=0555,size=4k");
    }
    mount::mount_bind(c"/dev/null", path)
}

fn read_only(path: &CStr) -> rustix::io::Result<()> {
    match mount::mount_bind_recursive(path, path) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount::mount_remount(path, flags | MountFlags::BIND, c"")
}
