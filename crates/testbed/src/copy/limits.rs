//! How much of what is in testbeds comes to the host, and the report of what does not.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::links::Link;
use crate::stream::Entry;

/// More of what was left out is only counted.
const MOST_NOTES: usize = 20;
/// More links are not put back.
const MOST_LINKS: usize = 100_000;
/// Paths of more directories are left out: those who read the copy may have to go down them.
const DEEPEST: usize = 100;
/// So are longer paths, in bytes: with the host's directory before them they have to be ones that the kernel takes.
const LONGEST: usize = 2048;

/// So much of a log is sent to a disk that is full, too, in bytes.
const SHORTEST_LOG: u64 = 64 << 10;

/// What there is still room for on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that the sizes of files may add up to, holes included: those who read the files later read holes too.
    pub(crate) bytes: u64,
    /// Files, directories and links.
    pub(crate) entries: u64,
}

impl Room {
    /// What a session may copy to the host unless an option says otherwise: 16 GiB.
    pub(crate) const BYTES: u64 = 16 << 30;
    /// The files of a session: a large source tree is a tenth of them.
    pub(crate) const ENTRIES: u64 = 1_000_000;
}

/// Decides on what is sent to the host.
#[derive(Debug)]
pub(super) struct Gate {
    room: Room,
    /// Bytes that the host's file system has room for, holes not included.
    disk: u64,
    pub(super) report: Report,
}

impl Gate {
    pub(super) fn new(room: Room, disk: u64) -> Self {
        Self { room, disk, report: Report::default() }
    }

    /// Whether one more path may be sent; an error says why not.
    pub(super) fn path(&mut self, path: &Path) -> Result<(), String> {
        if path.components().count() > DEEPEST {
            return Err(format!("it is below more than {DEEPEST} directories"));
        }
        if path.as_os_str().len() > LONGEST {
            return Err(format!("its path has more than {LONGEST} bytes"));
        }
        if self.report.entries >= self.room.entries {
            return Err(format!("there are more than {} files", self.room.entries));
        }
        self.report.entries += 1;
        Ok(())
    }

    /// Whether a file may be sent: its size, and how much of it is not holes.
    pub(super) fn file(&mut self, size: u64, data: u64) -> Result<(), String> {
        let left = self.room.bytes.saturating_sub(self.report.bytes);
        if size > left {
            return Err(format!("its {size} bytes are beyond the limit, of which {left} are left"));
        }
        if data > self.disk {
            return Err(format!("there is no room for its {data} bytes on the disk"));
        }
        self.report.bytes += size;
        self.disk -= data;
        Ok(())
    }

    /// How much of a log may be sent, in bytes. It has a limit of its own, and is not held against the rest: without what
    /// a test has printed there is no result.
    pub(super) fn log(&self, all: u64) -> u64 {
        all.min(self.disk).max(SHORTEST_LOG.min(all))
    }

    /// Whether the number of files is used up: all that is still to come is only counted.
    pub(super) fn is_full(&self) -> bool {
        self.report.entries >= self.room.entries
    }
}

/// What the end inside has to say to the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// What was sent: bytes of files, holes included.
    pub(super) bytes: u64,
    /// Files, directories and links.
    pub(super) entries: u64,
    /// Links that were not sent.
    pub(super) links: Vec<Link>,
    /// What was left out, for people.
    pub(super) notes: Vec<String>,
    /// How much more was left out.
    pub(super) more: u64,
}

impl Report {
    /// Notes that something is not sent.
    pub(super) fn leave_out(&mut self, path: &Path, reason: &str) {
        if self.notes.len() < MOST_NOTES {
            let clean = |text: &str| text.chars().filter(|char| !char.is_control()).take(300).collect::<String>();
            self.notes.push(format!("{}: {}", clean(&path.to_string_lossy()), clean(reason)));
        } else {
            self.more += 1;
        }
    }

    /// Notes that a link leads out and is not sent.
    pub(super) fn withhold(&mut self, path: &Path, target: &Path) {
        self.leave_out(path, &format!("it is a link to elsewhere ({})", target.display()));
        if self.links.len() < MOST_LINKS {
            self.links.push((path.as_os_str().as_bytes().to_vec(), target.as_os_str().as_bytes().to_vec()));
        }
    }

    /// Writes it to a file that both ends have open.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
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

    /// Reads what was written.
    pub(super) fn read(mut file: &File) -> io::Result<Self> {
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
        Ok(Self { bytes, entries, links, notes: notes.lines().map(str::to_owned).collect(), more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_with_their_holes_and_disks_without() {
        let mut gate = Gate::new(Room { bytes: 100, entries: 3 }, 50);
        gate.file(90, 40).unwrap();
        assert_eq!(gate.file(11, 0).unwrap_err(), "its 11 bytes are beyond the limit, of which 10 are left");
        assert_eq!(gate.file(10, 11).unwrap_err(), "there is no room for its 11 bytes on the disk");
        gate.file(10, 10).unwrap();
        assert_eq!(gate.log(1 << 20), 64 << 10, "of a log there is always some");
        assert!(gate.file(7 << 60, 0).is_err());
    }

    #[test]
    fn paths_have_limits() {
        let mut gate = Gate::new(Room { bytes: 0, entries: 1 }, 0);
        let deep = "d/".repeat(101);
        assert!(gate.path(Path::new(&deep)).unwrap_err().contains("more than 100 directories"));
        assert!(gate.path(Path::new(&"x".repeat(2049))).is_err());
        gate.path(Path::new("one")).unwrap();
        assert!(gate.is_full());
        assert_eq!(gate.path(Path::new("two")).unwrap_err(), "there are more than 1 files");
    }

    #[test]
    fn a_report_that_is_written_is_read() {
        let mut report = Report { bytes: 1 << 40, entries: 7, ..Report::default() };
        report.withhold(Path::new("a\n\x1b[2J"), Path::new("/etc"));
        for number in 0..30 {
            report.leave_out(Path::new(&number.to_string()), "it is too large");
        }
        assert_eq!((report.notes.len(), report.more, report.links.len()), (20, 11, 1));
        assert_eq!(report.notes[0], "a[2J: it is a link to elsewhere (/etc)");
        let file = tempfile::tempfile().unwrap();
        report.write(&file).unwrap();
        assert_eq!(Report::read(&file).unwrap(), report);
    }
}
