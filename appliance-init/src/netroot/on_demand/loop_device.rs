//! A read-only disk over a file: loop(4).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::ioctl::{configure_loop, free_loop};

/// Bytes of the disk's sectors: file systems read in pages.
const SECTOR: u32 = 4096;

/// Makes a disk of a file. Returns its name in `/dev`. It stays until the machine ends.
pub(super) fn attach(file: &Path) -> io::Result<String> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    let name = format!("loop{}", free_loop(&control)?);
    let device = File::open(Path::new("/dev").join(&name))?;
    // Not through the page cache: the disk has one of its own.
    let backing = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(file)?;
    configure_loop(&device, &backing, SECTOR)?;
    Ok(name)
}
