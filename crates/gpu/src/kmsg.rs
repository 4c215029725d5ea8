//! Reads `/dev/kmsg` (kernel Documentation/ABI/testing/dev-kmsg).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read};

/// The kernel's longest record, in bytes.
const MAX_RECORD: usize = 16 << 10;
/// The most that is read, in bytes: more than any kernel keeps. A kernel that writes faster than this reads must not
/// block it for ever.
const MAX_LOG: usize = 64 << 20;

/// Reads a log from a file, or from standard input if the path is `-`; at most 64 MiB, and bytes that are not UTF-8
/// are replaced.
///
/// # Errors
/// If it cannot be read.
pub fn read_log_file(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MAX_LOG as u64).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(MAX_LOG as u64).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Reads all records that the kernel still has, for [`KernelLog::parse`](crate::KernelLog::parse).
///
/// Fails with `EPERM` for users without privileges where `kernel.dmesg_restrict` is 1.
pub fn read_kernel_log() -> io::Result<String> {
    let file = open("/dev/kmsg", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let mut log = String::new();
    let mut record = vec![0; MAX_RECORD];
    while log.len() < MAX_LOG {
        match read(&file, &mut record) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(length) => log.push_str(&String::from_utf8_lossy(record.get(..length).unwrap_or_default())),
            // The record was overwritten while it was read; the next one follows.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(log)
}
