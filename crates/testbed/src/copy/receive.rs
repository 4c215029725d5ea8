//! The writing process of a copy.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, FileTimes, Permissions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::about;
use super::links::stays_below;
use crate::stream::{Entry, Extent};

/// Source of the files in the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The host: files arrive unchanged.
    Host,
    /// A testbed: only the content of files matters, special permissions are removed.
    Testbed,
}

impl Origin {
    /// The mode of a received file. From testbeds, other users get no write permission, and set-id bits are removed.
    fn mode(self, mode: u32, least: u32) -> u32 {
        match self {
            Self::Host => mode & 0o7777,
            Self::Testbed => mode & 0o755 | least,
        }
    }
}

/// Writes a file in the testbed. Like `cat` and `chmod +x`: an existing file keeps its owner.
pub(crate) fn receive_file(mut from: &File, destination: &Path) -> io::Result<()> {
    let mut to = File::create(destination)?;
    io::copy(&mut from, &mut to)?;
    if from.metadata()?.mode() & 0o111 != 0 {
        let mode = to.metadata()?.mode() | 0o111;
        to.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Creates everything that comes through the pipe in the current directory.
pub(crate) fn receive_tree(pipe: impl Read, whose: Origin) -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut from = BufReader::with_capacity(1 << 16, pipe);
    let mut modes = Vec::new();
    loop {
        let entry = Entry::read(&mut from)?;
        let Some(path) = entry.path() else { break };
        let path = PathBuf::from(OsStr::from_bytes(path));
        receive_entry(entry, &path, whose, &mut from, &mut modes).map_err(about(&path))?;
    }
    // At the end, as a directory may be read-only.
    for (path, mode) in modes.into_iter().rev() {
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(about(&path))?;
    }
    Ok(())
}

fn receive_entry(
    entry: Entry,
    path: &Path,
    whose: Origin,
    from: &mut impl Read,
    modes: &mut Vec<(PathBuf, u32)>,
) -> io::Result<()> {
    make_way(path, matches!(entry, Entry::Directory { .. }))?;
    match entry {
        Entry::Directory { mode, .. } => {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            modes.push((path.to_owned(), whose.mode(mode, 0o700)));
            Ok(())
        }
        Entry::File { mode, modified: (seconds, nanoseconds), size, .. } => {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            receive_content(&mut file, size, from)?;
            file.set_permissions(Permissions::from_mode(whose.mode(mode, 0o600)))?;
            file.set_times(FileTimes::new().set_modified(time(seconds, nanoseconds)))
        }
        Entry::HardLink { target, .. } => fs::hard_link(OsStr::from_bytes(&target), path),
        Entry::Symlink { target, .. } => {
            let target = Path::new(OsStr::from_bytes(&target));
            // The sending process checks this too, but it is not trusted.
            if whose == Origin::Testbed && !stays_below(path, target) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a link that leads out of the directory"));
            }
            std::os::unix::fs::symlink(target, path)
        }
        Entry::End => Ok(()),
    }
}

/// Removes an existing entry, such as one that another test left, unless it is a directory and a directory is needed.
fn make_way(path: &Path, for_directory: bool) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() && for_directory => Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes the content except for holes.
fn receive_content(file: &mut File, size: u64, from: &mut impl Read) -> io::Result<()> {
    let mut end = 0;
    loop {
        let extent = Extent::read(from)?;
        if extent == Extent::LAST {
            return file.set_len(size);
        }
        if extent.offset < end || extent.end() > size {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a part that is not one of the file"));
        }
        file.seek(SeekFrom::Start(extent.offset))?;
        if io::copy(&mut from.take(extent.length), file)? != extent.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        end = extent.end();
    }
}

fn time(seconds: i64, nanoseconds: u32) -> SystemTime {
    let length = Duration::new(seconds.unsigned_abs(), nanoseconds.min(999_999_999));
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(length)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(length)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970_survive() {
        assert_eq!(time(1, 5), SystemTime::UNIX_EPOCH + Duration::new(1, 5));
        assert_eq!(time(-1, 0), SystemTime::UNIX_EPOCH - Duration::new(1, 0));
    }

    #[test]
    fn modes_from_testbeds_are_those_of_plain_files() {
        for (mode, kept) in [(0o6755, 0o755), (0o1777, 0o755), (0o666, 0o644), (0, 0o600), (0o4700, 0o700)] {
            assert_eq!(Origin::Testbed.mode(mode, 0o600), kept, "{mode:o}");
            assert_eq!(Origin::Host.mode(mode, 0o600), mode);
        }
    }

    #[test]
    fn parts_outside_of_a_file_are_refused() {
        for (offset, length) in [(5, 6), (u64::MAX, 2), (u64::MAX - 1, 1)] {
            let mut stream = Vec::new();
            Extent { offset, length }.write(&mut stream).unwrap();
            stream.extend([0; 16]);
            let error = receive_content(&mut tempfile::tempfile().unwrap(), 10, &mut stream.as_slice()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
