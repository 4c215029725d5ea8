//! Checks a directory that is copied out of a virtual machine: which of its entries are written on the host.
//!
//! In a container the sending process is the server's own, and has these rules already. A machine's processes are the
//! test's, so everything is checked here, on the host, before another process writes it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use crate::copy::limits::{CopyBudget, OverLimit};
use crate::copy::links::stays_below;
use crate::stream::{Entry, Extent};

/// Passes on what the budget admits, up to the end. What is left out is in the budget's report.
///
/// # Errors
/// If the stream is not one, ends too early, or cannot be passed on.
pub(super) fn pass_on(mut from: impl Read, to: impl Write, budget: &mut CopyBudget) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(1 << 16, to);
    let mut left_out = LeftOutPaths::default();
    loop {
        let entry = Entry::read(&mut from)?;
        let Some(path) = entry.path() else { break };
        let name = Path::new(OsStr::from_bytes(path));
        if !is_plain(name) {
            return Err(invalid("a path that is not one below the directory"));
        }
        let admitted = match admit(&entry, name, budget, &left_out) {
            Ok(admitted) => admitted,
            Err(error) => {
                budget.report.leave_out(name, &error.to_string());
                false
            }
        };
        if admitted {
            entry.write(&mut to)?;
        } else {
            // Only so that hard links to it are left out too; what is beyond the limit of entries has none.
            left_out.add(path);
        }
        if let Entry::File { size, .. } = entry {
            pass_content(&mut from, admitted.then_some(&mut to), size)?;
        }
    }
    Entry::End.write(&mut to)?;
    to.flush()
}

/// Most paths that are remembered as left out.
const MOST_LEFT_OUT: usize = 100_000;

/// Paths that were left out, by a hash: a machine can name long ones that it does not have. Of two with the same hash, which
/// it cannot know, a hard link to the other one is left out as well.
#[derive(Default)]
struct LeftOutPaths {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl LeftOutPaths {
    fn add(&mut self, path: &[u8]) {
        if self.hashes.len() < MOST_LEFT_OUT {
            self.hashes.insert(self.hasher.hash_one(path));
        }
    }

    fn contains(&self, path: &[u8]) -> bool {
        self.hashes.contains(&self.hasher.hash_one(path))
    }
}

/// Why an entry is left out.
#[derive(Debug, thiserror::Error)]
enum LeftOut {
    #[error(transparent)]
    Limit(#[from] OverLimit),
    #[error("it is another name of a file that is left out")]
    Target,
}

/// Whether an entry is passed on; a link that leads out is withheld.
fn admit(entry: &Entry, name: &Path, budget: &mut CopyBudget, left_out: &LeftOutPaths) -> Result<bool, LeftOut> {
    budget.path(name)?;
    match entry {
        Entry::File { size, .. } => budget.file(*size, *size)?,
        Entry::HardLink { target, .. } if left_out.contains(target) => return Err(LeftOut::Target),
        Entry::Symlink { target, .. } => {
            let target = Path::new(OsStr::from_bytes(target));
            if !stays_below(name, target) {
                budget.report.withhold(name, target);
                return Ok(false);
            }
        }
        _ => {}
    }
    Ok(true)
}

/// Whether a path is relative and has only names.
fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Passes on, or drops, the parts of a file of this size.
fn pass_content(from: &mut impl Read, mut to: Option<&mut impl Write>, size: u64) -> io::Result<()> {
    let mut end = 0;
    loop {
        let extent = Extent::read(from)?;
        if let Some(to) = &mut to {
            extent.write(to)?;
        }
        if extent == Extent::LAST {
            return Ok(());
        }
        if extent.length == 0 || extent.offset < end || extent.end() > size {
            return Err(invalid("a part that is not one of the file"));
        }
        let mut bytes = from.take(extent.length);
        let passed = match &mut to {
            Some(to) => io::copy(&mut bytes, to)?,
            None => io::copy(&mut bytes, &mut io::sink())?,
        };
        if passed != extent.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        end = extent.end();
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::copy::limits::Room;

    fn path(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    fn a_file(stream: &mut Vec<u8>, name: &str, content: &[u8]) {
        let entry = Entry::File { path: path(name), mode: 0o644, modified: (0, 0), size: content.len() as u64 };
        entry.write(stream).unwrap();
        Extent { offset: 0, length: content.len() as u64 }.write(stream).unwrap();
        stream.extend(content);
        Extent::LAST.write(stream).unwrap();
    }

    fn budget(bytes: u64, entries: u64) -> CopyBudget {
        CopyBudget::new(Room { bytes, entries }, u64::MAX)
    }

    fn passed(stream: &[u8], budget: &mut CopyBudget) -> io::Result<Vec<u8>> {
        let mut to = Vec::new();
        pass_on(stream, &mut to, budget).map(|()| to)
    }

    #[test]
    fn what_is_within_the_limits_is_passed_on_unchanged() {
        let mut stream = Vec::new();
        Entry::Directory { path: path("a"), mode: 0o755 }.write(&mut stream).unwrap();
        a_file(&mut stream, "a/one", b"123");
        Entry::HardLink { path: path("a/two"), target: path("a/one") }.write(&mut stream).unwrap();
        Entry::Symlink { path: path("a/link"), target: path("one") }.write(&mut stream).unwrap();
        Entry::End.write(&mut stream).unwrap();
        let mut budget = budget(10, 10);
        assert_eq!(passed(&stream, &mut budget).unwrap(), stream);
        assert_eq!((budget.report.bytes, budget.report.entries), (3, 4));
    }

    #[test]
    fn what_is_beyond_them_or_leads_out_is_left_out() {
        let mut stream = Vec::new();
        a_file(&mut stream, "large", &[0; 100]);
        Entry::HardLink { path: path("again"), target: path("large") }.write(&mut stream).unwrap();
        Entry::Symlink { path: path("link"), target: path("/etc/shadow") }.write(&mut stream).unwrap();
        a_file(&mut stream, "small", b"1");
        Entry::End.write(&mut stream).unwrap();
        let mut budget = budget(10, 10);
        let mut expected = Vec::new();
        a_file(&mut expected, "small", b"1");
        Entry::End.write(&mut expected).unwrap();
        assert_eq!(passed(&stream, &mut budget).unwrap(), expected);
        assert_eq!(budget.report.notes.len(), 3, "{:?}", budget.report.notes);
        assert_eq!(budget.report.links, [(path("link"), path("/etc/shadow"))]);
    }

    #[test]
    fn paths_that_lead_out_are_no_directory() {
        for name in ["/etc/passwd", "../up", "a/../../up", "."] {
            let mut stream = Vec::new();
            a_file(&mut stream, name, b"1");
            Entry::End.write(&mut stream).unwrap();
            assert!(passed(&stream, &mut budget(10, 10)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_file_cannot_have_more_than_it_said() {
        let mut stream = Vec::new();
        Entry::File { path: path("f"), mode: 0o644, modified: (0, 0), size: 3 }.write(&mut stream).unwrap();
        Extent { offset: 0, length: 4 }.write(&mut stream).unwrap();
        stream.extend(b"1234");
        assert!(passed(&stream, &mut budget(10, 10)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_directory_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = passed(&bytes, &mut budget(1 << 20, 10));
        }
    }
}
