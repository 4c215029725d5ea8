//! [`Linux`]: the real [`System`].

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::{WaitOptions, chdir, chroot, wait};
use rustix::system::{RebootCommand, finit_module, reboot};

use crate::ioctl::set_block_read_only;
use crate::switch_root;
use crate::system::{Ending, MountMode, System};

/// `MODULE_INIT_COMPRESSED_FILE` of linux/module.h.
const MODULE_COMPRESSED: i32 = 4;

/// The machine this runs on.
#[derive(Debug)]
pub struct Linux;

impl System for Linux {
    fn mount(&mut self, source: &str, target: &Path, kind: &str, mode: MountMode, options: &str) -> io::Result<()> {
        let flags = match mode {
            MountMode::Writable => MountFlags::empty(),
            MountMode::Plain => MountFlags::NOSUID | MountFlags::NODEV,
            MountMode::ReadOnly => MountFlags::RDONLY,
        };
        let options = CString::new(options)?;
        Ok(mount(source, target, kind, flags, &*options)?)
    }

    fn move_mount(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(mount_move(from, to)?)
    }

    fn load_module(&mut self, file: &Path) -> io::Result<()> {
        let compressed = file.extension().is_some_and(|extension| extension != "ko");
        let flags = if compressed { MODULE_COMPRESSED } else { 0 };
        Ok(finit_module(File::open(file)?, c"", flags)?)
    }

    fn set_read_only(&mut self, device: &Path, read_only: bool) -> io::Result<()> {
        set_block_read_only(File::open(device)?, read_only)
    }

    fn create_directory(&mut self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)
    }

    fn copy_program(&mut self, to: &Path) -> io::Result<()> {
        std::fs::copy("/proc/self/exe", to).map(drop)
    }

    fn delete_initramfs(&mut self) -> io::Result<()> {
        switch_root::delete_initramfs(Path::new("/"))
    }

    fn change_root(&mut self, directory: &Path) -> io::Result<()> {
        chdir(directory)?;
        mount_move(".", "/")?;
        chroot(".")?;
        Ok(chdir("/")?)
    }

    fn uptime(&mut self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
    }

    fn execute(&mut self, program: &Path, arguments: &[&str]) -> io::Error {
        Command::new(program).args(arguments).exec()
    }

    fn reap(&mut self) {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }

    fn end(&mut self, how: Ending) -> io::Result<()> {
        rustix::fs::sync();
        let command = match how {
            Ending::PowerOff => RebootCommand::PowerOff,
            Ending::Restart => RebootCommand::Restart,
        };
        Ok(reboot(command)?)
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
