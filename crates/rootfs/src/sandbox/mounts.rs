//! What a command in the sandbox sees: the root directory, and private /proc, /sys, /dev, /run and /tmp.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{self, MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process;

/// The host's device nodes that the sandbox has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
    ("pts/ptmx", "dev/ptmx"),
];

/// A step of the set-up: its name for messages, by number because only a byte travels from child to parent.
pub(super) const STEPS: [&str; 12] = [
    "making namespaces",
    "starting the first process of the namespace",
    "making mounts private",
    "mounting the root directory on itself",
    "mounting /proc",
    "mounting an empty /sys, /run and /tmp",
    "making /dev",
    "mounting /dev/pts and /dev/shm",
    "changing to the new root (pivot_root)",
    "setting the host name",
    "dropping capabilities",
    "installing the seccomp filter",
];

/// A failed step: its place in [`STEPS`] and the reason.
pub(super) type StepError = (u8, io::Error);

/// A function for `map_err` that names the step.
pub(super) fn at<E: Into<io::Error>>(step: u8) -> impl FnOnce(E) -> StepError {
    move |error| (step, error.into())
}

/// Everything with paths in it, prepared before the fork.
pub(super) struct Mounts {
    root: CString,
    devices: Vec<(CString, CString)>,
}

impl Mounts {
    pub(super) fn prepare(root: &Path) -> io::Result<Self> {
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let devices = DEVICES
            .iter()
            .map(|name| Ok((c_string(format!("/dev/{name}").as_bytes())?, c_string(format!("dev/{name}").as_bytes())?)))
            .collect::<io::Result<_>>()?;
        Ok(Self { root: c_string(root.as_os_str().as_bytes())?, devices })
    }

    /// Mounts it all in the namespace this process has for itself, and makes the root directory its root.
    /// Returns whether the host's /proc had to stand in for a new one.
    pub(super) fn enter(&self) -> Result<bool, StepError> {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount::mount_change(c"/", private).map_err(at(2))?;
        mount::mount_bind_recursive(self.root.as_c_str(), self.root.as_c_str()).map_err(at(3))?;
        process::chdir(self.root.as_c_str()).map_err(at(3))?;

        let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // In a container whose own /proc is partly covered the kernel allows no uncovered one.
        let foreign_proc = mount::mount(c"proc", c"proc", c"proc", quiet, None).is_err();
        if foreign_proc {
            mount::mount_bind_recursive(c"/proc", c"proc").map_err(at(4))?;
        }
        mount::mount(c"sys", c"sys", c"tmpfs", quiet | MountFlags::RDONLY, c"mode=0755,size=4k").map_err(at(5))?;
        let plain = MountFlags::NOSUID | MountFlags::NODEV;
        mount::mount(c"run", c"run", c"tmpfs", plain, c"mode=0755").map_err(at(5))?;
        rustix::fs::mkdir(c"run/lock", Mode::from_raw_mode(0o1777)).map_err(at(5))?;
        rustix::fs::chmod(c"run/lock", Mode::from_raw_mode(0o1777)).map_err(at(5))?;
        mount::mount(c"tmp", c"tmp", c"tmpfs", plain, c"mode=1777").map_err(at(5))?;
        self.make_dev()?;

        // The old root goes on top of the new one and is taken away from there: no directory is needed for it.
        process::pivot_root(c".", c".").map_err(at(8))?;
        mount::unmount(c".", UnmountFlags::DETACH).map_err(at(8))?;
        process::chdir(c"/").map_err(at(8))?;
        Ok(foreign_proc)
    }

    fn make_dev(&self) -> Result<(), StepError> {
        mount::mount(c"dev", c"dev", c"tmpfs", MountFlags::NOSUID, c"mode=0755,size=64k").map_err(at(6))?;
        for (host, inside) in &self.devices {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::open(inside.as_c_str(), flags, Mode::from_raw_mode(0o666)).map_err(at(6))?;
            mount::mount_bind(host.as_c_str(), inside.as_c_str()).map_err(at(6))?;
        }
        for (target, link) in LINKS {
            rustix::fs::symlink(target, link).map_err(at(6))?;
        }
        for directory in [c"dev/pts", c"dev/shm"] {
            rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)).map_err(at(7))?;
        }
        let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
        let terminals = |options| mount::mount(c"devpts", c"dev/pts", c"devpts", plain, options);
        terminals(c"newinstance,ptmxmode=0666,mode=0620,gid=5")
            // Group tty is not mapped in a namespace with a single id.
            .or_else(|_| terminals(c"newinstance,ptmxmode=0666,mode=0620"))
            .map_err(at(7))?;
        mount::mount(c"shm", c"dev/shm", c"tmpfs", plain | MountFlags::NODEV, c"mode=1777").map_err(at(7))
    }
}
