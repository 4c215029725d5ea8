//! [`System`]: the changes that PID 1 makes to the machine, small enough for a test double.

use appliance::disk_space::DiskSpace;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The way the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Power off.
    PowerOff,
    /// Restart.
    Restart,
}

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its process id.
    pub pid: i32,
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
}

/// The recipients of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipients {
    /// One process.
    Process(i32),
    /// All processes except PID 1 and the kernel's own.
    Everyone,
    /// The same, except one that the end of the machine needs.
    EveryoneBut(i32),
}

/// The flags of a mount(2) call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountMode {
    /// Read and write; nothing forbidden.
    Writable,
    /// Read and write; set-user-id bits and device files have no effect.
    Plain,
    /// Read only.
    ReadOnly,
    /// For data that is kept: as [`Self::Plain`], and reading a file does not write to the disk.
    Kept,
}

/// System calls that have an effect outside of this process, or wait.
pub trait System {
    /// Mounts a new file system: mount(2).
    fn mount(&mut self, source: &str, target: &Path, kind: &str, mode: MountMode, options: &str) -> io::Result<()>;
    /// Moves a mount to another place: `MS_MOVE`.
    fn move_mount(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a file visible at another place too, without copying it: `MS_BIND`.
    fn bind_file(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives the kernel a module file with the module's parameters: `finit_module(2)`, compressed ones included.
    fn load_module(&mut self, file: &Path, parameters: &str) -> io::Result<()>;
    /// Sets a block device read-only or writable: `BLKROSET`.
    fn set_read_only(&mut self, device: &Path, read_only: bool) -> io::Result<()>;
    /// Tells the kernel the new length of a disk's partition, in bytes: `BLKPG_RESIZE_PARTITION`.
    fn resize_partition(&mut self, disk: &Path, number: u32, start: u64, size: u64) -> io::Result<()>;
    /// The free space of a mounted file system: statvfs(3).
    fn room(&mut self, target: &Path) -> io::Result<DiskSpace>;
    /// Makes a directory, and those above it that are missing.
    fn create_directory(&mut self, directory: &Path) -> io::Result<()>;
    /// Copies a file with its mode.
    fn copy_file(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Writes a file, which may be a setting of the kernel.
    fn write_file(&mut self, path: &Path, text: &str) -> io::Result<()>;
    /// Hides the present content of the kernel's log: `SYSLOG_ACTION_CLEAR` of syslog(2).
    fn clear_kernel_log(&mut self) -> io::Result<()>;
    /// Makes a symbolic link.
    fn link(&mut self, target: &Path, path: &Path) -> io::Result<()>;
    /// Deletes everything in the initramfs, which is memory, except one file, without touching what is mounted in it.
    fn delete_initramfs(&mut self, spared: &Path) -> io::Result<()>;
    /// Makes the mount at a directory the root and the working directory of this process.
    fn change_root(&mut self, directory: &Path) -> io::Result<()>;
    /// Time since the kernel started.
    fn uptime(&mut self) -> Duration;
    /// Becomes another program; returns only if that fails.
    fn execute(&mut self, program: &Path, arguments: &[&str]) -> io::Error;
    /// Reaps every child that has ended; PID 1 inherits orphans.
    fn reap(&mut self) -> Vec<Ended>;
    /// Whether there are children left, ended or not.
    fn has_children(&mut self) -> bool;
    /// Whether other processes run than PID 1, the kernel's own and this one.
    fn has_others(&mut self, spared: i32) -> bool;
    /// Sends a signal to a process and those of its session, or to every process but this one.
    fn signal(&mut self, to: Recipients, signal: i32) -> io::Result<()>;
    /// Removes a mount, as soon as it is not used any more: `MNT_DETACH`.
    fn unmount(&mut self, target: &Path) -> io::Result<()>;
    /// Remounts a file system read-only, which writes out what is left in memory.
    fn remount_read_only(&mut self, target: &Path) -> io::Result<()>;
    /// Writes out everything, then ends the machine: reboot(2).
    fn end(&mut self, how: Ending) -> io::Result<()>;
    /// Waits for this time.
    fn sleep(&mut self, time: Duration);
}

#[cfg(test)]
pub(crate) mod recording {
    //! A test double that records its calls.

    use super::*;

    /// Does nothing but record calls, and fails where told to.
    #[derive(Debug, Default)]
    pub(crate) struct Recording {
        /// The calls, one line each.
        pub(crate) calls: Vec<String>,
        /// Calls that start with one of these fail with `EIO`.
        pub(crate) fails: Vec<&'static str>,
        /// Advances by a second at each reading.
        pub(crate) clock: Duration,
        /// Children that end, one at each call.
        pub(crate) ends: Vec<Ended>,
        /// Free space of every file system, in MiB.
        pub(crate) free: u64,
    }

    impl Recording {
        fn note(&mut self, call: String) -> io::Result<()> {
            let fails = self.fails.iter().any(|start| call.starts_with(start));
            self.calls.push(call);
            if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        }
    }

    impl System for Recording {
        fn mount(&mut self, source: &str, target: &Path, kind: &str, mode: MountMode, options: &str) -> io::Result<()> {
            self.note(format!("mount {source} {} {kind} {mode:?} {options}", target.display()).trim_end().to_owned())
        }

        fn move_mount(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.note(format!("move {} {}", from.display(), to.display()))
        }

        fn bind_file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.note(format!("bind {} {}", from.display(), to.display()))
        }

        fn load_module(&mut self, file: &Path, parameters: &str) -> io::Result<()> {
            self.note(format!("module {} {parameters}", file.display()).trim_end().to_owned())
        }

        fn set_read_only(&mut self, device: &Path, read_only: bool) -> io::Result<()> {
            self.note(format!("{} {}", if read_only { "read-only" } else { "writable" }, device.display()))
        }

        fn resize_partition(&mut self, disk: &Path, number: u32, start: u64, size: u64) -> io::Result<()> {
            self.note(format!("resize {} {number} {} MiB at {} MiB", disk.display(), size >> 20, start >> 20))
        }

        fn room(&mut self, target: &Path) -> io::Result<DiskSpace> {
            self.note(format!("room {}", target.display()))?;
            Ok(DiskSpace { free: self.free << 20, total: 1 << 40 })
        }

        fn create_directory(&mut self, directory: &Path) -> io::Result<()> {
            self.note(format!("directory {}", directory.display()))
        }

        fn copy_file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.note(format!("copy {} {}", from.display(), to.display()))
        }

        fn write_file(&mut self, path: &Path, text: &str) -> io::Result<()> {
            self.note(format!("write {} {}", path.display(), text.trim_end()))
        }

        fn clear_kernel_log(&mut self) -> io::Result<()> {
            self.note("clear kernel log".to_owned())
        }

        fn link(&mut self, target: &Path, path: &Path) -> io::Result<()> {
            self.note(format!("link {} {}", target.display(), path.display()))
        }

        fn delete_initramfs(&mut self, spared: &Path) -> io::Result<()> {
            self.note(format!("delete initramfs but {}", spared.display()))
        }

        fn uptime(&mut self) -> Duration {
            self.clock += Duration::from_secs(1);
            self.clock
        }

        fn change_root(&mut self, directory: &Path) -> io::Result<()> {
            self.note(format!("root {}", directory.display()))
        }

        fn execute(&mut self, program: &Path, arguments: &[&str]) -> io::Error {
            self.note(format!("execute {} {}", program.display(), arguments.join(" ")))
                .err()
                .unwrap_or_else(|| io::Error::from_raw_os_error(2))
        }

        fn reap(&mut self) -> Vec<Ended> {
            if self.ends.is_empty() { Vec::new() } else { vec![self.ends.remove(0)] }
        }

        fn has_children(&mut self) -> bool {
            !self.ends.is_empty()
        }

        fn has_others(&mut self, _spared: i32) -> bool {
            !self.ends.is_empty()
        }

        fn signal(&mut self, to: Recipients, signal: i32) -> io::Result<()> {
            self.note(format!("signal {signal} {to:?}"))
        }

        fn unmount(&mut self, target: &Path) -> io::Result<()> {
            self.note(format!("unmount {}", target.display()))
        }

        fn remount_read_only(&mut self, target: &Path) -> io::Result<()> {
            self.note(format!("read-only {}", target.display()))
        }

        fn end(&mut self, how: Ending) -> io::Result<()> {
            self.note(format!("end {how:?}"))
        }

        fn sleep(&mut self, time: Duration) {
            self.calls.push(format!("sleep {time:?}"));
        }
    }
}
