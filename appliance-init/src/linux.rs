//! [`Linux`]: the real [`System`].

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_move, mount_remount, unmount};
use rustix::process::{Pid, Signal, WaitOptions, chdir, chroot, kill_process, wait};
use rustix::system::{RebootCommand, finit_module, reboot};

use appliance::disk_space::DiskSpace;
use appliance::uptime::uptime;

use crate::ioctl::{clear_kernel_log, resize_partition, set_block_read_only, signal_everyone};
use crate::switch_root;
use crate::system::{Ended, Ending, MountMode, Recipients, System};

/// `MODULE_INIT_COMPRESSED_FILE` of linux/module.h.
const MODULE_COMPRESSED: i32 = 4;

/// How long drivers have to shut down their devices before a restart.
const RESTART_PATIENCE: Duration = Duration::from_secs(60);

/// The machine this runs on.
#[derive(Debug)]
pub struct Linux;

impl System for Linux {
    fn mount(&mut self, source: &str, target: &Path, kind: &str, mode: MountMode, options: &str) -> io::Result<()> {
        let flags = match mode {
            MountMode::Writable => MountFlags::empty(),
            MountMode::Plain => MountFlags::NOSUID | MountFlags::NODEV,
            MountMode::ReadOnly => MountFlags::RDONLY,
            MountMode::Kept => MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME,
        };
        let options = CString::new(options)?;
        Ok(mount(source, target, kind, flags, &*options)?)
    }

    fn move_mount(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(mount_move(from, to)?)
    }

    fn bind_file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if let Some(directory) = to.parent() {
            std::fs::create_dir_all(directory)?;
        }
        File::create(to)?;
        Ok(mount_bind(from, to)?)
    }

    fn load_module(&mut self, file: &Path, parameters: &str) -> io::Result<()> {
        let compressed = file.extension().is_some_and(|extension| extension != "ko");
        let flags = if compressed { MODULE_COMPRESSED } else { 0 };
        Ok(finit_module(File::open(file)?, &CString::new(parameters)?, flags)?)
    }

    fn set_read_only(&mut self, device: &Path, read_only: bool) -> io::Result<()> {
        set_block_read_only(File::open(device)?, read_only)
    }

    fn resize_partition(&mut self, disk: &Path, number: u32, start: u64, size: u64) -> io::Result<()> {
        resize_partition(File::open(disk)?, number, start, size)
    }

    fn room(&mut self, target: &Path) -> io::Result<DiskSpace> {
        DiskSpace::of(target)
    }

    fn create_directory(&mut self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)
    }

    fn copy_file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::copy(from, to).map(drop)
    }

    fn write_file(&mut self, path: &Path, text: &str) -> io::Result<()> {
        std::fs::write(path, text)
    }

    fn clear_kernel_log(&mut self) -> io::Result<()> {
        clear_kernel_log()
    }

    fn link(&mut self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn delete_initramfs(&mut self, spared: &Path) -> io::Result<()> {
        switch_root::delete_initramfs(Path::new("/"), spared)
    }

    fn change_root(&mut self, directory: &Path) -> io::Result<()> {
        chdir(directory)?;
        mount_move(".", "/")?;
        chroot(".")?;
        Ok(chdir("/")?)
    }

    fn uptime(&mut self) -> Duration {
        uptime()
    }

    fn execute(&mut self, program: &Path, arguments: &[&str]) -> io::Error {
        Command::new(program).args(arguments).exec()
    }

    fn reap(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            ended.push(Ended { pid: pid.as_raw_nonzero().get(), code: status.exit_status() });
        }
        ended
    }

    fn has_children(&mut self) -> bool {
        // WNOWAIT would be needed to ask without reaping; an orphan's exit status is not needed.
        !matches!(wait(WaitOptions::NOHANG), Err(Errno::CHILD))
    }

    fn has_others(&mut self, spared: i32) -> bool {
        processes().any(|pid| pid != 1 && pid != spared)
    }

    fn signal(&mut self, to: Recipients, signal: i32) -> io::Result<()> {
        let signal = Signal::from_named_raw(signal).ok_or(Errno::INVAL)?;
        match to {
            Recipients::Process(pid) => Ok(kill_process(Pid::from_raw(pid).ok_or(Errno::SRCH)?, signal)?),
            Recipients::Everyone => everyone(signal),
            Recipients::EveryoneBut(spared) => {
                // Stopped processes make no new ones, which would be missed.
                everyone(Signal::STOP)?;
                for pid in processes().filter(|pid| *pid != 1 && *pid != spared) {
                    // It has just ended.
                    let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
                }
                everyone(Signal::CONT)
            }
        }
    }

    fn unmount(&mut self, target: &Path) -> io::Result<()> {
        Ok(unmount(target, UnmountFlags::DETACH)?)
    }

    fn remount_read_only(&mut self, target: &Path) -> io::Result<()> {
        Ok(mount_remount(target, MountFlags::RDONLY, c"")?)
    }

    fn end(&mut self, how: Ending) -> io::Result<()> {
        rustix::fs::sync();
        let command = match how {
            Ending::PowerOff => RebootCommand::PowerOff,
            Ending::Restart => {
                insist_on_restart();
                RebootCommand::Restart
            }
        };
        Ok(reboot(command)?)
    }

    fn sleep(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// Signals all processes but PID 1, which is not an error if there are none.
fn everyone(signal: Signal) -> io::Result<()> {
    // kill(2) with -1 spares PID 1.
    match signal_everyone(signal.as_raw()) {
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// The process ids of all processes but the kernel's own, and those that have ended (proc(5)).
fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // The kernel's own and ended ones have no command line.
        let has_command = std::fs::read(entry.path().join("cmdline")).is_ok_and(|words| !words.is_empty());
        has_command.then_some(pid)
    })
}

/// A restart first tells every driver to shut down its device, and one whose GPU hangs may never return. Then the
/// kernel restarts without that step (magic key `b`, kernel Documentation/admin-guide/sysrq.rst).
fn insist_on_restart() {
    let insist = || {
        thread::sleep(RESTART_PATIENCE);
        // A failure cannot be reported any more; the watchdog is the last resort.
        let _ = std::fs::write("/proc/sysrq-trigger", "b");
    };
    // Without the thread the watchdog is the last resort.
    let _ = thread::Builder::new().name("restart".into()).spawn(insist);
}
