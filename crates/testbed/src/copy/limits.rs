//! Limits for copies from testbeds to the host, and reports of what is left out.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::links::Link;
use crate::stream::Entry;

/// Most notes about files left out; the rest is only counted.
const MOST_NOTES: usize = 20;
/// Most links that are put back.
const MOST_LINKS: usize = 100_000;
/// Most bytes of their paths and targets.
const MOST_LINK_BYTES: usize = 16 << 20;
/// Most directories in a path; deeper paths are left out, as readers of the copy may have to descend into them.
const DEEPEST: usize = 100;
/// Longest path in bytes; longer ones are left out, as the kernel has to accept them with the host's directory in
/// front.
const LONGEST: usize = 2048;

/// Bytes of a log that are sent even to a full disk.
const SHORTEST_LOG: u64 = 64 << 10;

/// Remaining room on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Most bytes in the sizes of files together, including holes: later readers of the files read holes too.
    pub(crate) bytes: u64,
    /// Most files, directories and links.
    pub(crate) entries: u64,
}

impl Room {
    /// Default for the bytes that a session may copy to the host: 16 GiB.
    pub(crate) const BYTES: u64 = 16 << 30;
    /// Default for the number of files of a session; a large source tree has a tenth of this.
    pub(crate) const ENTRIES: u64 = 1_000_000;
}

/// Why a path is not sent to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverLimit {
    #[error("it is below more than {DEEPEST} directories")]
    TooDeep,
    #[error("its path has more than {LONGEST} bytes")]
    LongPath,
    #[error("there are more than {0} files")]
    TooMany(u64),
    #[error("its {size} bytes are beyond the limit, of which {left} are left")]
    TooLarge { size: u64, left: u64 },
    #[error("there is no room for its {0} bytes on the disk")]
    DiskFull(u64),
}

/// Decides which files are sent to the host.
#[derive(Debug)]
pub(crate) struct CopyBudget {
    room: Room,
    /// Free bytes on the host's file system; holes do not count.
    disk: u64,
    pub(crate) report: CopyReport,
}

impl CopyBudget {
    pub(crate) fn new(room: Room, disk: u64) -> Self {
        Self { room, disk, report: CopyReport::default() }
    }

    /// Counts one more path to be sent.
    ///
    /// # Errors
    /// The limit that it is over; it is not counted then.
    pub(crate) fn path(&mut self, path: &Path) -> Result<(), OverLimit> {
        if path.components().count() > DEEPEST {
            return Err(OverLimit::TooDeep);
        }
        if path.as_os_str().len() > LONGEST {
            return Err(OverLimit::LongPath);
        }
        if self.report.entries >= self.room.entries {
            return Err(OverLimit::TooMany(self.room.entries));
        }
        self.report.entries += 1;
        Ok(())
    }

    /// Counts a file to be sent, by its size and its size without holes.
    ///
    /// # Errors
    /// The limit that it is over; it is not counted then.
    pub(crate) fn file(&mut self, size: u64, data: u64) -> Result<(), OverLimit> {
        let left = self.room.bytes.saturating_sub(self.report.bytes);
        if size > left {
            return Err(OverLimit::TooLarge { size, left });
        }
        if data > self.disk {
            return Err(OverLimit::DiskFull(data));
        }
        self.report.bytes += size;
        self.disk -= data;
        Ok(())
    }

    /// Bytes of files that may still be sent.
    pub(crate) fn left(&self) -> u64 {
        self.room.bytes.saturating_sub(self.report.bytes).min(self.disk)
    }

    /// How many bytes of a log may be sent. A log has a limit of its own and does not count for the others: without a
    /// test's output there is no result.
    pub(crate) fn log(&self, all: u64) -> u64 {
        all.min(self.disk).max(SHORTEST_LOG.min(all))
    }

    /// Whether the limit of files is reached; then further files are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.report.entries >= self.room.entries
    }
}

/// Report of the process inside the testbed to the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyReport {
    /// Bytes of the files sent, including holes.
    pub(crate) bytes: u64,
    /// Number of files, directories and links sent.
    pub(crate) entries: u64,
    /// Links that were not sent.
    pub(crate) links: Vec<Link>,
    /// Bytes of their paths and targets.
    pub(crate) link_bytes: usize,
    /// Notes about what was left out.
    pub(crate) notes: Vec<String>,
    /// Number of files left out without a note.
    pub(crate) more: u64,
}

impl CopyReport {
    /// Records that something is not sent.
    pub(crate) fn leave_out(&mut self, path: &Path, reason: &str) {
        if self.notes.len() < MOST_NOTES {
            let clean = |text: &str| text.chars().filter(|char| !char.is_control()).take(300).collect::<String>();
            self.notes.push(format!("{}: {}", clean(&path.to_string_lossy()), clean(reason)));
        } else {
            self.more += 1;
        }
    }

    /// Records a link that leads out and is not sent.
    pub(crate) fn withhold(&mut self, path: &Path, target: &Path) {
        self.leave_out(path, &format!("it is a link to elsewhere ({})", target.display()));
        let size = path.as_os_str().len() + target.as_os_str().len();
        if self.links.len() < MOST_LINKS && size <= MOST_LINK_BYTES - self.link_bytes {
            self.link_bytes += size;
            self.links.push((path.as_os_str().as_bytes().to_vec(), target.as_os_str().as_bytes().to_vec()));
        }
    }

    /// Writes the report to a file that both processes have open.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        for number in [self.bytes, self.entries, self.more] {
            out.write_all(&number.to_le_bytes())?;
        }
        for (path, target) in &self.links {
            Entry::Symlink { path: path.clone(), target: target.clone() }.write(&mut out)?;
        }
        Entry::End.write(&mut out)?;
        out.write_all(self.notes.join("\n").as_bytes())?;
        out.flush()
    }

    /// Reads a written report.
    pub(crate) fn read(mut file: &File) -> io::Result<Self> {
        file.rewind()?;
        let mut from = BufReader::new(file);
        let mut number = || {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        let (bytes, entries, more) = (number()?, number()?, number()?);
        let mut links = Vec::new();
        while let Entry::Symlink { path, target } = Entry::read(&mut from)? {
            links.push((path, target));
        }
        let mut notes = String::new();
        from.read_to_string(&mut notes)?;
        let link_bytes = links.iter().map(|(path, target): &Link| path.len() + target.len()).sum();
        Ok(Self { bytes, entries, links, link_bytes, notes: notes.lines().map(str::to_owned).collect(), more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_with_their_holes_and_disks_without() {
        let mut budget = CopyBudget::new(Room { bytes: 100, entries: 3 }, 50);
        budget.file(90, 40).unwrap();
        assert_eq!(
            budget.file(11, 0).unwrap_err().to_string(),
            "its 11 bytes are beyond the limit, of which 10 are left"
        );
        assert_eq!(budget.file(10, 11).unwrap_err().to_string(), "there is no room for its 11 bytes on the disk");
        budget.file(10, 10).unwrap();
        assert_eq!(budget.log(1 << 20), 64 << 10, "of a log there is always some");
        assert!(budget.file(7 << 60, 0).is_err());
    }

    #[test]
    fn paths_have_limits() {
        let mut budget = CopyBudget::new(Room { bytes: 0, entries: 1 }, 0);
        let deep = "d/".repeat(101);
        assert!(budget.path(Path::new(&deep)).unwrap_err().to_string().contains("more than 100 directories"));
        assert!(budget.path(Path::new(&"x".repeat(2049))).is_err());
        budget.path(Path::new("one")).unwrap();
        assert!(budget.is_full());
        assert_eq!(budget.path(Path::new("two")).unwrap_err().to_string(), "there are more than 1 files");
    }

    #[test]
    fn links_that_are_put_back_have_a_limit() {
        let mut report = CopyReport::default();
        let target = "x".repeat(MOST_LINK_BYTES / 2);
        for name in ["a", "b", "c"] {
            report.withhold(Path::new(name), Path::new(&target));
        }
        report.withhold(Path::new("d"), Path::new("/etc"));
        let kept: Vec<_> = report.links.iter().map(|(path, _)| path.as_slice()).collect();
        assert_eq!(kept, [b"a", b"d"]);
        assert_eq!(report.notes.len(), 4, "all are told");
    }

    #[test]
    fn a_report_that_is_written_is_read() {
        let mut report = CopyReport { bytes: 1 << 40, entries: 7, ..CopyReport::default() };
        report.withhold(Path::new("a\n\x1b[2J"), Path::new("/etc"));
        for number in 0..30 {
            report.leave_out(Path::new(&number.to_string()), "it is too large");
        }
        assert_eq!((report.notes.len(), report.more, report.links.len()), (20, 11, 1));
        assert_eq!(report.notes[0], "a[2J: it is a link to elsewhere (/etc)");
        let file = tempfile::tempfile().unwrap();
        report.write(&file).unwrap();
        assert_eq!(CopyReport::read(&file).unwrap(), report);
    }
}
