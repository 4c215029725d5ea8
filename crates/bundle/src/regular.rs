//! Opens files that may be malicious: only regular files, and without blocking.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Follows no link, and does not wait for the other end of a named pipe.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens a regular file for reading.
///
/// # Errors
///
/// If it cannot be opened, or is a link, a directory, a device, a socket or a named pipe.
pub fn open(path: &Path) -> io::Result<File> {
    only_regular(File::options().read(true).custom_flags(FLAGS.bits().cast_signed()).open(path)?)
}

/// Opens a regular file in a directory with untrusted content. Links in the path are followed if they stay below the
/// directory.
///
/// # Errors
///
/// As [`open`], and `EXDEV` for a path that leads out of the directory.
pub fn open_beneath(directory: &Path, path: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    only_regular(rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve)?.into())
}

/// Reads a file that is opened like [`open_beneath`] does.
///
/// # Errors
///
/// As [`open_beneath`], or if it is longer than `most` bytes.
pub fn read_beneath(directory: &Path, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_beneath(directory, path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

fn only_regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "text").unwrap();
        fs::create_dir(at("directory")).unwrap();
        symlink("file", at("inside")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("../..", at("up")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let beneath = |name: &str| read_beneath(directory.path(), Path::new(name), 4);
        assert!(open(&at("file")).is_ok());
        assert_eq!(beneath("file").unwrap(), b"text");
        assert_eq!(beneath("inside").unwrap(), b"text", "a link within the tree");
        for name in ["directory", "zero", "up", "pipe", "missing"] {
            assert!(open(&at(name)).is_err(), "{name}");
            assert!(beneath(name).is_err(), "{name}");
        }
        assert!(open(&at("inside")).is_err());
        assert!(beneath("up/etc/hostname").is_err());
        fs::write(at("file"), "longer").unwrap();
        assert_eq!(beneath("file").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
