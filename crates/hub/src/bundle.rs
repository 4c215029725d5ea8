//! Looking into a result bundle before it is believed: `.tar.zst` with `result.json` in it (design, section 6).
//!
//! Everything in it comes from outside. It is read as a stream, never unpacked; memory and work are bounded whatever it
//! says of itself.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Component, Path};

use protocol::JobResult;

/// No `result.json` is larger, in bytes.
const MAX_RESULT: u64 = 32 << 20;

/// A larger `junit.xml` is left out, in bytes.
const MAX_CASES: u64 = 64 << 20;

/// No bundle has more entries.
const MAX_ENTRIES: usize = 200_000;

/// Headers of one entry, with its long name and what else belongs to them, are not longer, in bytes. They are held in
/// memory.
const MAX_HEADERS: u64 = 1 << 20;

/// zstd's window: 128 MiB, what `zstd --long` makes. More is not held in memory.
const MAX_WINDOW_LOG: u32 = 27;

/// What the hub takes from a bundle.
#[derive(Debug)]
pub(crate) struct Contents {
    /// `result.json`, read.
    pub(crate) result: JobResult,
    /// `junit.xml` as it is, if there is one.
    pub(crate) junit: Option<Vec<u8>>,
}

/// Why a bundle is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read, or is no `.tar.zst`.
    #[error("it is no .tar.zst: {0}")]
    Archive(io::Error),
    /// It unpacks to more than the limit.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It has too many entries.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// An entry would be unpacked outside of the directory.
    #[error("entry `{0}` leads out of the bundle")]
    Escapes(String),
    /// An entry is something that has no place in a bundle.
    #[error("entry `{0}` is neither a file nor a directory nor a link")]
    Kind(String),
    /// There is no result in it.
    #[error("there is no result.json in it")]
    NoResult,
    /// There are two.
    #[error("there are two of {0} in it")]
    Twice(&'static str),
    /// The result makes no sense.
    #[error("result.json: {0}")]
    Result(String),
}

/// Reads a bundle. Pure but for the reader: fit for fuzzing through [`check_bundle`].
pub(crate) fn read(bundle: impl Read, max_unpacked: u64) -> Result<Contents, BundleError> {
    let mut decoder = zstd::stream::read::Decoder::new(bundle).map_err(BundleError::Archive)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(BundleError::Archive)?;
    let budget = Cell::new(MAX_HEADERS);
    let mut limited = Limited { inner: decoder, left: max_unpacked, hit: false, budget: &budget };
    let outcome = read_tar(&mut limited, &budget);
    if limited.hit { Err(BundleError::TooLarge(max_unpacked)) } else { outcome }
}

fn read_tar(reader: impl Read, budget: &Cell<u64>) -> Result<Contents, BundleError> {
    let mut archive = tar::Archive::new(reader);
    let (mut result, mut junit, mut count) = (None, None, 0);
    let mut entries = archive.entries().map_err(BundleError::Archive)?;
    loop {
        budget.set(MAX_HEADERS);
        let Some(entry) = entries.next() else { break };
        budget.set(u64::MAX);
        count += 1;
        if count > MAX_ENTRIES {
            return Err(BundleError::TooManyEntries);
        }
        let mut entry = entry.map_err(BundleError::Archive)?;
        let path = entry.path().map_err(BundleError::Archive)?.into_owned();
        let name = path.to_string_lossy().into_owned();
        if !stays_inside(&path) {
            return Err(BundleError::Escapes(name));
        }
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name().map_err(BundleError::Archive)?.unwrap_or_default().into_owned();
            // What a symbolic link says is relative to where it is.
            let from = if kind.is_symlink() { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
            if target.is_absolute() || !stays_inside_from(from, &target) {
                return Err(BundleError::Escapes(name));
            }
            continue;
        }
        if !kind.is_file() && !kind.is_dir() {
            return Err(BundleError::Kind(name));
        }
        match name.strip_prefix("./").unwrap_or(&name) {
            "result.json" if kind.is_file() => {
                if result.is_some() {
                    return Err(BundleError::Twice("result.json"));
                }
                if entry.size() > MAX_RESULT {
                    return Err(BundleError::Result(format!("it has more than {MAX_RESULT} bytes")));
                }
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(BundleError::Archive)?;
                result = Some(JobResult::parse(&bytes).map_err(BundleError::Result)?);
            }
            "junit.xml" if kind.is_file() && entry.size() <= MAX_CASES => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(BundleError::Archive)?;
                junit = Some(bytes);
            }
            // Read here, where it may be long, and not on the way to the next headers.
            _ => drop(io::copy(&mut entry, &mut io::sink()).map_err(BundleError::Archive)?),
        }
    }
    Ok(Contents { result: result.ok_or(BundleError::NoResult)?, junit })
}

/// Reads a bundle as the hub does when a job is completed, and forgets what is in it: for fuzzing.
///
/// # Errors
/// As the hub would refuse it.
pub fn check_bundle(bytes: &[u8]) -> Result<(), BundleError> {
    read(bytes, 1 << 24).map(drop)
}

fn stays_inside(path: &Path) -> bool {
    stays_inside_from(Path::new(""), path)
}

/// Whether a path, seen from a directory of the bundle, never leaves the bundle on its way.
fn stays_inside_from(directory: &Path, path: &Path) -> bool {
    let mut depth = 0_usize;
    for component in directory.components().chain(path.components()) {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Ends with an error when more comes out than is believed.
struct Limited<'a, R> {
    inner: R,
    left: u64,
    hit: bool,
    /// What may come out until it is set again.
    budget: &'a Cell<u64>,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let Some(budget) = self.budget.get().checked_sub(length as u64) else {
            return Err(io::Error::other("the headers of an entry are longer than any are"));
        };
        self.budget.set(budget);
        let Some(left) = self.left.checked_sub(length as u64) else {
            self.hit = true;
            return Err(io::Error::other("larger than allowed"));
        };
        self.left = left;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bundle of entries: type, name, link target or content.
    fn bundle(entries: &[(tar::EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let bytes = header.as_old_mut();
            bytes.name[..name.len()].copy_from_slice(name.as_bytes());
            let is_link = kind.is_symlink() || kind.is_hard_link();
            if is_link {
                bytes.linkname[..content.len()].copy_from_slice(content);
            }
            header.set_size(if is_link { 0 } else { content.len() as u64 });
            header.set_cksum();
            builder.append(&header, if is_link { &[][..] } else { content }).expect("an entry");
        }
        zstd::encode_all(&builder.into_inner().expect("an archive")[..], 3).expect("compressed")
    }

    fn result() -> Vec<u8> {
        let json = r#"{"version": 1, "job": {"package": "gzip"}, "verdict": "pass", "simulated": false,
            "started": "2026-11-01T10:00:00Z", "finished": "2026-11-01T10:01:00Z", "runs": [], "gpus": [],
            "machine": {"name": "m", "kernel": "6", "processors": 1, "memory": 1, "rocbed": "0",
                "gpus": {"gpus": [], "unusable": [], "simulated": false}}}"#;
        json.as_bytes().to_vec()
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn a_result_is_found() -> Result<(), BundleError> {
        let bytes =
            bundle(&[(FILE, "user/log", b"hello"), (FILE, "./result.json", &result()), (FILE, "junit.xml", b"<x/>")]);
        let contents = read(&bytes[..], 1 << 20)?;
        assert_eq!((contents.result.job.id.as_str(), contents.junit.as_deref()), ("gzip", Some(&b"<x/>"[..])));
        Ok(())
    }

    #[test]
    fn what_would_leave_the_directory_is_refused() {
        for (kind, name, content) in [
            (FILE, "../x", ""),
            (FILE, "/etc/passwd", ""),
            (FILE, "a/../../x", ""),
            (tar::EntryType::Symlink, "a/link", "../../x"),
            (tar::EntryType::Symlink, "link", "/etc/passwd"),
            (tar::EntryType::Link, "a/link", "../x"),
        ] {
            let bytes = bundle(&[(kind, name, content.as_bytes()), (FILE, "result.json", &result())]);
            let error = read(&bytes[..], 1 << 20).expect_err(name);
            assert!(matches!(error, BundleError::Escapes(_)), "{name}: {error}");
        }
        let inside = bundle(&[(tar::EntryType::Symlink, "a/link", b"../b"), (FILE, "result.json", &result())]);
        assert!(read(&inside[..], 1 << 20).is_ok());
        let device = bundle(&[(tar::EntryType::Char, "null", b""), (FILE, "result.json", &result())]);
        assert!(matches!(read(&device[..], 1 << 20), Err(BundleError::Kind(_))));
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let bytes = bundle(&[(FILE, "zeros", &vec![0; 8 << 20]), (FILE, "result.json", &result())]);
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        assert!(matches!(read(&bytes[..], 1 << 20), Err(BundleError::TooLarge(_))));
    }

    #[test]
    fn a_name_that_fills_the_memory_is_refused() {
        let long = vec![b'a'; 4 << 20];
        let bytes = bundle(&[(tar::EntryType::GNULongName, "././@LongLink", &long), (FILE, "result.json", &result())]);
        let error = read(&bytes[..], 1 << 30).expect_err("a long name").to_string();
        assert!(error.contains("headers"), "{error}");
    }

    #[test]
    fn what_is_no_bundle_says_so() {
        assert!(matches!(read(&b"hello"[..], 100), Err(BundleError::Archive(_))));
        let none = bundle(&[(FILE, "x", b"")]);
        assert!(matches!(read(&none[..], 1 << 20), Err(BundleError::NoResult)));
        let wrong = bundle(&[(FILE, "result.json", b"{}")]);
        assert!(matches!(read(&wrong[..], 1 << 20), Err(BundleError::Result(_))));
        let twice = bundle(&[(FILE, "result.json", &result()), (FILE, "./result.json", &result())]);
        assert!(matches!(read(&twice[..], 1 << 20), Err(BundleError::Twice(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            drop(check_bundle(&bytes));
        }

        #[test]
        fn damaged_bundles_too(at in 0_usize..400, with: u8) {
            let mut bytes = bundle(&[(FILE, "result.json", &result())]);
            if let Some(byte) = bytes.get_mut(at) { *byte = with; }
            drop(check_bundle(&bytes));
        }
    }
}
