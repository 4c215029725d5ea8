//! Checks a result bundle before it is accepted. The limits are those of [`bundle`](::bundle), so every bundle that the
//! hub accepts can be unpacked with `rocbed results fetch --unpack`.
//!
//! The bundle is read as a stream and never unpacked to disk.

use std::io::Read;

use bundle::{JUNIT, ReadError};
use protocol::JobResult;

use crate::store::Listing;

/// Largest `junit.xml` that is stored beside the result, in bytes; a larger one is in the bundle only.
pub(crate) const MAX_CASES: u64 = 64 << 20;

/// The parts of a bundle that the hub uses.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The parsed `result.json`.
    pub(crate) result: JobResult,
    /// The unparsed `junit.xml`, if there is one.
    pub(crate) junit: Option<Vec<u8>>,
    /// Its files.
    pub(crate) listing: Listing,
}

/// Reason why a bundle is refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", whole(.0))]
pub struct BundleError(#[from] ReadError);

/// Formats an error with its causes as one line, for the worker.
fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", whole(source)))
}

/// Reads a bundle that may unpack to at most `max_unpacked` bytes. No side effects except on the reader, so it can be
/// fuzzed through [`check_bundle`].
pub(crate) fn read(bundle: impl Read, max_unpacked: u64) -> Result<Contents, BundleError> {
    let mut junit = None;
    let contents = bundle::read_with(bundle, max_unpacked, &mut |entry, content| {
        if entry.name == JUNIT && entry.size <= MAX_CASES {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            junit = Some(bytes);
        }
        Ok(())
    })?;
    let mut listing = Listing::default();
    contents.entries.into_iter().for_each(|entry| listing.add(entry));
    Ok(Contents { result: contents.result, junit, listing })
}

/// Reads a bundle as the hub does when a job is completed, and discards the contents. For fuzzing.
///
/// # Errors
///
/// If the hub would refuse the bundle.
pub fn check_bundle(bytes: &[u8]) -> Result<(), BundleError> {
    read(bytes, ::bundle::UNPACKED).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{EntryType, Header};

    /// A bundle with these files, given as name and content.
    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).expect("an entry");
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

    #[test]
    fn the_result_and_its_cases_are_found() {
        let bytes = archive(&[("result.json", &result()), ("junit.xml", b"<x/>"), ("user/log", b"hello")]);
        let contents = read(&bytes[..], 1 << 20).unwrap();
        assert_eq!((contents.result.job.id.as_str(), contents.junit.as_deref()), ("gzip", Some(&b"<x/>"[..])));
    }

    #[test]
    fn a_bundle_that_cannot_be_unpacked_is_not_taken_either() {
        let twice = archive(&[("result.json", &result()), ("log", b"a"), ("log", b"b")]);
        let last = archive(&[("log", b"a"), ("result.json", &result())]);
        for (bytes, says) in
            [(twice, "log is there twice"), (last, "not its first entry"), (b"hello".to_vec(), "reading")]
        {
            let error = read(&bytes[..], 1 << 20).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let bytes = archive(&[("result.json", &result()), ("zeros", &vec![0; 8 << 20])]);
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        let error = read(&bytes[..], 1 << 20).unwrap_err().to_string();
        assert_eq!(error, "it unpacks to more than 1048576 bytes");
    }
}
