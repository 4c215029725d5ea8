//! Patches a large file in place, atomically for readers.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::alone::is_only_handle;

/// Number of bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// Gives the existing file `target` the content of `changes` outside of the range `kept`, and waits until it is on the
/// disk. Both files have the same length and have holes for zeros behind `kept`.
///
/// Meanwhile the file has the name `held`, so that readers do not find it. If it is open elsewhere or has other names,
/// `changes` is completed with the bytes of `kept` and replaces it instead: processes that have the old file open keep
/// reading the old content.
///
/// # Errors
/// If one of the files cannot be read, written or renamed; `target` is then gone.
pub(super) fn graft(target: &Path, held: &Path, changes: &Path, kept: Range<u64>) -> io::Result<()> {
    fs::rename(target, held)?;
    let open = |path: &Path| File::options().read(true).write(true).open(path);
    let (old, new) = (open(held)?, open(changes)?);
    if old.metadata()?.nlink() == 1 && is_only_handle(&old) {
        let size = new.metadata()?.len();
        copy(&new, &old, 0..kept.start)?;
        for data in data_ranges(&new, kept.end..size)? {
            copy(&new, &old, data)?;
        }
        old.sync_all()?;
        fs::rename(held, target)?;
        fs::remove_file(changes)
    } else {
        copy(&old, &new, kept)?;
        new.sync_all()?;
        fs::rename(changes, target)?;
        fs::remove_file(held)
    }
}

fn copy(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let (mut reader, mut at) = (from, range.start);
    reader.seek(SeekFrom::Start(at))?;
    while at < range.end {
        let length = CHUNK.min(usize::try_from(range.end - at).unwrap_or(CHUNK));
        let part = buffer.get_mut(..length).unwrap_or_default();
        reader.read_exact(part)?;
        to.write_all_at(part, at)?;
        at += length as u64;
    }
    Ok(())
}

/// Ranges in which a file has data and not holes, within `range` (lseek(2), `SEEK_DATA`).
fn data_ranges(file: &File, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    use rustix::fs::{SeekFrom, seek};
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let start = match seek(file, SeekFrom::Data(at)) {
            Err(rustix::io::Errno::NXIO) => break,
            other => other?,
        };
        if start >= range.end {
            break;
        }
        let end = seek(file, SeekFrom::Hole(start))?.min(range.end);
        found.push(start..end);
        at = end;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four MiB: `old` has a head, a middle and a tail of its own, `new` another head and tail and no middle.
    fn files(directory: &Path) -> io::Result<()> {
        for (name, head, middle, tail) in [("disk", b"old", &b"middle"[..], b"old"), ("new", b"new", b"", b"new")] {
            let file = File::create(directory.join(name))?;
            file.set_len(4 << 20)?;
            file.write_all_at(head, 100)?;
            file.write_all_at(middle, 1 << 20)?;
            file.write_all_at(tail, (4 << 20) - 3)?;
        }
        Ok(())
    }

    fn check(directory: &Path) -> io::Result<()> {
        let bytes = fs::read(directory.join("disk"))?;
        let mut expected = vec![0; 4 << 20];
        expected[100..103].copy_from_slice(b"new");
        expected[1 << 20..(1 << 20) + 6].copy_from_slice(b"middle");
        expected[(4 << 20) - 3..].copy_from_slice(b"new");
        assert!(bytes == expected);
        assert_eq!(fs::read_dir(directory)?.count(), 1);
        Ok(())
    }

    #[test]
    fn the_old_file_gets_the_new_parts() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        files(directory.path())?;
        let path = |name: &str| directory.path().join(name);
        let inode = fs::metadata(path("disk"))?.ino();
        graft(&path("disk"), &path("held"), &path("new"), 1 << 20..2 << 20)?;
        assert_eq!(fs::metadata(path("disk"))?.ino(), inode);
        check(directory.path())
    }

    #[test]
    fn who_reads_the_old_file_keeps_it() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        files(directory.path())?;
        let path = |name: &str| directory.path().join(name);
        let reader = File::open(path("disk"))?;
        graft(&path("disk"), &path("held"), &path("new"), 1 << 20..2 << 20)?;
        let mut bytes = [0; 3];
        reader.read_exact_at(&mut bytes, 100)?;
        assert_eq!(&bytes, b"old");
        check(directory.path())
    }
}
