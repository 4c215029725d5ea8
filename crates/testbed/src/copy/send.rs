//! The reading process of a copy.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom as Seeking;
use rustix::io::Errno;

use super::about;
use super::limits::CopyBudget;
use super::links::{Link, stays_below};
use crate::stream::{Entry, Extent};

/// Most bytes of a log that are copied. Of a longer log, the first part and a quarter of the limit from the end are
/// kept, as the end has a test's summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLimit {
    all: u64,
}

impl LogLimit {
    /// Limit for a test's output.
    pub(crate) const OUTPUT: Self = Self { all: 256 << 20 };

    /// The number of bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.all
    }
}

/// Opens a regular file, without blocking.
pub(crate) fn open_regular(path: &Path, links: bool) -> io::Result<File> {
    let follow = if links { 0 } else { libc::O_NOFOLLOW };
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | follow).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Copies one file to the host. Of a log, the middle may be left out; any other file is copied completely, with its
/// holes, or not at all.
pub(crate) fn send_file(
    source: &Path,
    mut to: &File,
    log: Option<LogLimit>,
    budget: &mut CopyBudget,
) -> io::Result<()> {
    let file = open_regular(source, true)?;
    let metadata = file.metadata()?;
    let size = metadata.len();
    if let Some(LogLimit { all }) = log {
        let all = budget.log(all);
        if size <= all {
            return io::copy(&mut (&file).take(size), &mut to).map(drop);
        }
        let (last, cut) = (all / 4, size - all);
        io::copy(&mut (&file).take(all - last), &mut to)?;
        to.write_all(format!("\n[the log is longer; {cut} bytes are left out here]\n").as_bytes())?;
        (&file).seek(SeekFrom::Start(size - last))?;
        io::copy(&mut (&file).take(last), &mut to)?;
        budget.report.leave_out(source, &format!("{cut} bytes in the middle of the log"));
        return Ok(());
    }
    budget.file(size, data(&metadata)).map_err(io::Error::other)?;
    let mut at = 0;
    while let Some(extent) = next_extent(&file, at, size)? {
        (&file).seek(SeekFrom::Start(extent.offset))?;
        to.seek(SeekFrom::Start(extent.offset))?;
        io::copy(&mut (&file).take(extent.length), &mut to)?;
        at = extent.end();
    }
    to.set_len(size)
}

/// Size of a file without holes, as its file system reports it.
fn data(metadata: &fs::Metadata) -> u64 {
    metadata.blocks().saturating_mul(512).min(metadata.len())
}

/// The next part of a file that is not a hole.
fn next_extent(file: &File, from: u64, size: u64) -> io::Result<Option<Extent>> {
    if from >= size {
        return Ok(None);
    }
    let offset = match rustix::fs::seek(file, Seeking::Data(from)) {
        Ok(offset) => offset,
        Err(Errno::NXIO) => return Ok(None),
        // On a file system without holes, all is data.
        Err(Errno::INVAL) => from,
        Err(error) => return Err(error.into()),
    };
    let end = match rustix::fs::seek(file, Seeking::Hole(offset)) {
        Ok(end) => end.min(size),
        Err(Errno::INVAL | Errno::NXIO) => size,
        Err(error) => return Err(error.into()),
    };
    Ok((offset < end).then(|| Extent { offset, length: end - offset }))
}

/// Content to send from a directory.
#[derive(Debug)]
pub(crate) enum What<'a> {
    /// Everything that can be sent, and these links.
    All(&'a [Link]),
    /// What the limits of the copy leave room for; links that lead out are left out.
    Guarded(&'a mut CopyBudget),
}

impl What<'_> {
    fn budget(&mut self) -> Option<&mut CopyBudget> {
        match self {
            Self::All(_) => None,
            Self::Guarded(budget) => Some(budget),
        }
    }

    /// Whether an error in reading is only noted, and the copy continues.
    fn excuses(&mut self, path: &Path, error: &io::Error) -> bool {
        let Some(budget) = self.budget() else { return false };
        budget.report.leave_out(path, &error.to_string());
        true
    }
}

/// Sends everything in the current directory. Sockets, pipes and devices are left out, as they have no meaning
/// elsewhere.
pub(crate) fn send_tree(pipe: impl Write, mut what: What<'_>) -> io::Result<()> {
    let mut sender = Sender { out: BufWriter::with_capacity(1 << 16, pipe), first_names: HashMap::new() };
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let entries = match fs::read_dir(listed) {
            Ok(entries) => entries,
            Err(error) if what.excuses(listed, &error) => continue,
            Err(error) => return Err(about(listed)(error)),
        };
        for entry in entries {
            let path = directory.join(entry.map_err(about(listed))?.file_name());
            if let Some(budget) = what.budget()
                && let Err(reason) = budget.path(&path)
            {
                budget.report.leave_out(&path, &reason.to_string());
                if budget.is_full() {
                    directories.clear();
                    break;
                }
                continue;
            }
            let source = match Source::open(&path) {
                Ok(Some(source)) => source,
                Ok(None) => {
                    if let Some(budget) = what.budget() {
                        budget.report.leave_out(&path, "it is neither a file nor a directory");
                    }
                    continue;
                }
                Err(error) if what.excuses(&path, &error) => continue,
                Err(error) => return Err(about(&path)(error)),
            };
            if matches!(source, Source::Directory(_)) {
                directories.push(path.clone());
            }
            sender.send(&path, source, what.budget()).map_err(about(&path))?;
        }
    }
    if let What::All(links) = &what {
        for (path, target) in *links {
            sender.put_back(path, target)?;
        }
    }
    Entry::End.write(&mut sender.out)?;
    sender.out.flush()
}

/// An opened file to send.
enum Source {
    Directory(fs::Metadata),
    File(fs::Metadata, File),
    Link(PathBuf),
}

impl Source {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = metadata.file_type();
        Ok(if kind.is_dir() {
            Some(Self::Directory(metadata))
        } else if kind.is_symlink() {
            Some(Self::Link(fs::read_link(path)?))
        } else if kind.is_file() {
            let file = open_regular(path, false)?;
            Some(Self::File(file.metadata()?, file))
        } else {
            None
        })
    }
}

struct Sender<W: Write> {
    out: BufWriter<W>,
    first_names: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Sender<W> {
    fn send(&mut self, path: &Path, source: Source, budget: Option<&mut CopyBudget>) -> io::Result<()> {
        let bytes = path.as_os_str().as_bytes().to_vec();
        match source {
            Source::Directory(metadata) => {
                Entry::Directory { path: bytes, mode: metadata.mode() & 0o7777 }.write(&mut self.out)
            }
            Source::Link(target) => {
                if let Some(budget) = budget
                    && !stays_below(path, &target)
                {
                    budget.report.withhold(path, &target);
                    return Ok(());
                }
                Entry::Symlink { path: bytes, target: target.into_os_string().into_vec() }.write(&mut self.out)
            }
            Source::File(metadata, file) => {
                if metadata.nlink() > 1 {
                    let number = (metadata.dev(), metadata.ino());
                    if let Some(target) = self.first_names.get(&number) {
                        return Entry::HardLink { path: bytes, target: target.clone() }.write(&mut self.out);
                    }
                }
                if let Some(budget) = budget
                    && let Err(reason) = budget.file(metadata.len(), data(&metadata))
                {
                    budget.report.leave_out(path, &reason.to_string());
                    return Ok(());
                }
                if metadata.nlink() > 1 {
                    self.first_names.insert((metadata.dev(), metadata.ino()), bytes.clone());
                }
                self.send_content(bytes, &metadata, &file)
            }
        }
    }

    /// Sends as many bytes as announced, even if the file is being written to.
    fn send_content(&mut self, path: Vec<u8>, metadata: &fs::Metadata, mut file: &File) -> io::Result<()> {
        let size = metadata.len();
        let modified = (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default());
        Entry::File { path, mode: metadata.mode() & 0o7777, modified, size }.write(&mut self.out)?;
        let mut at = 0;
        while let Some(extent) = next_extent(file, at, size)? {
            extent.write(&mut self.out)?;
            file.seek(SeekFrom::Start(extent.offset))?;
            let sent = io::copy(&mut file.take(extent.length), &mut self.out)?;
            io::copy(&mut io::repeat(0).take(extent.length.saturating_sub(sent)), &mut self.out)?;
            at = extent.end();
        }
        Extent::LAST.write(&mut self.out)
    }

    /// Restores a link that was not copied, if nothing else has its path.
    fn put_back(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        let at = Path::new(std::ffi::OsStr::from_bytes(path));
        let parent = at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if fs::symlink_metadata(at).is_ok() || !fs::symlink_metadata(parent).is_ok_and(|parent| parent.is_dir()) {
            return Ok(());
        }
        Entry::Symlink { path: path.to_vec(), target: target.to_vec() }.write(&mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Room;
    use super::*;

    fn budget() -> CopyBudget {
        CopyBudget::new(Room { bytes: 1 << 40, entries: 100 }, 1 << 40)
    }

    #[test]
    fn of_a_long_log_the_first_and_the_last_part_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("a-stdout"));
        fs::write(&from, format!("what it says at first{}summary", "y\n".repeat(500))).unwrap();
        let mut budget = budget();
        let limit = LogLimit { all: 28 };
        send_file(&from, &File::create(&to).unwrap(), Some(limit), &mut budget).unwrap();
        let text = fs::read_to_string(&to).unwrap();
        assert_eq!(text, "what it says at first\n[the log is longer; 1000 bytes are left out here]\nsummary");
        assert_eq!(budget.report.notes.len(), 1);
        send_file(&from, &File::create(&to).unwrap(), None, &mut budget).unwrap();
        assert_eq!(fs::read(&to).unwrap(), fs::read(&from).unwrap(), "not a log");
    }

    #[test]
    fn holes_stay_holes() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let mut file = File::create(&from).unwrap();
        file.seek(SeekFrom::Start(1 << 30)).unwrap();
        file.write_all(b"text").unwrap();
        file.set_len(3 << 30).unwrap();
        send_file(&from, &File::create(&to).unwrap(), None, &mut budget()).unwrap();
        let copied = fs::metadata(&to).unwrap();
        assert!(copied.len() == 3 << 30 && copied.blocks() < 1000, "{copied:?}");
        let mut text = [0; 4];
        std::os::unix::fs::FileExt::read_exact_at(&File::open(&to).unwrap(), &mut text, 1 << 30).unwrap();
        assert_eq!(&text, b"text");
    }
}
