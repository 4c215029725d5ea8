//! Loads modules that the kernel itself asks for: it starts `/proc/sys/kernel/modprobe` as `modprobe -q -- NAME`
//! (kernel Documentation/admin-guide/sysctl/kernel.rst), and the image has no modprobe.

use std::ffi::OsStr;
use std::path::Path;

use crate::drivers::Drivers;
use crate::linux::Linux;
use appliance::cmdline::CommandLine;

/// Whether this process was started as modprobe.
pub fn is_wanted(name: Option<&OsStr>) -> bool {
    name.and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == "modprobe")
}

/// Loads the module; returns the exit status.
pub fn main(arguments: impl IntoIterator<Item = String>) -> i32 {
    let Some(name) = arguments.into_iter().find(|word| !word.starts_with('-')) else { return 2 };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let Ok(mut drivers) = Drivers::of_kernel(&release, CommandLine::of_kernel()) else { return 1 };
    // A name may be a module's or an alias; the kernel asks for either.
    let mut problems = drivers.load_alias(&name, &mut Linux);
    problems.extend(drivers.load(&name, &mut Linux));
    i32::from(!problems.is_empty())
}
