//! [`receive`]: reads the result of a worker of debci, which is not to be trusted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bundle::{ReadError, regular, source_rules, unpack_source};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use crate::run_id::RunId;

/// The file that makes a directory a result.
const MARK: &str = "exitcode";
/// How many directories deep a result may be: `autopkgtest-incoming/SUITE/ARCHITECTURE/P/PACKAGE/RUN` has six.
const DEEPEST: usize = 6;
/// Most files and directories, and most bytes of their names.
const MOST_FILES: usize = 100_000;
const MOST_NAMES: usize = 16 << 20;
/// Most directories in which the mark is looked for.
const MOST_PLACES: usize = 1000;
/// Largest of the small files that are read, in bytes.
const SMALL: u64 = 4096;
/// Longest name of a worker, in characters.
const LONGEST_NAME: usize = 100;
/// The longest duration that is believed, in seconds.
const LONGEST: u64 = 30 * 86_400;

/// A result of a worker, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The job's number: the name of the directory.
    pub run: RunId,
    /// Suite, architecture and package that its path names. `None` if it is just in a directory of this number, which
    /// debci's collector takes too.
    pub place: Option<(String, String, String)>,
    /// autopkgtest's exit status, as the worker says.
    pub exit_code: u8,
    /// How long the job took, in seconds; 0 if the worker does not say.
    pub seconds: u64,
    /// When it ended: the time of the file `duration`, or else of `exitcode`.
    pub finished: Timestamp,
    /// What the worker is called; may be empty.
    pub worker: String,
    /// The directory with its files, below the one into which it was unpacked.
    pub directory: PathBuf,
}

/// Reason why a message is not a result.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It is not a `.tar.gz` that can be unpacked, or there is too much in it.
    #[error("it is not a .tar.gz of a worker: {0}")]
    Archive(ReadError),
    /// It was unpacked, and is not a result.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be unpacked here now.
    #[error("unpacking it")]
    Io(#[from] io::Error),
}

impl ReceiveError {
    /// Whether the same message may be read later: the fault is here.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Io(_) => true,
            Self::Archive(_) | Self::Wrong(_) => false,
        }
    }
}

/// Unpacks the result of a worker into an empty directory. It may unpack to `most` bytes.
///
/// debci's collector takes every directory with a file `exitcode` for a result, so that a test can leave one for another
/// job. Here it is the topmost only, and there has to be one.
///
/// # Errors
/// If it is not a result, or cannot be unpacked.
pub fn receive(message: &[u8], most: u64, into: &Path) -> Result<Received, ReceiveError> {
    let rules = source_rules(most, MOST_FILES, MOST_NAMES);
    unpack_source(MultiGzDecoder::new(message), &rules, into).map_err(|error| match error {
        ReadError::Io(error) if is_of_disk(&error) => ReceiveError::Io(error),
        other => ReceiveError::Archive(other),
    })?;
    let directory = topmost(into)?;
    let parts: Vec<&str> = directory.iter().filter_map(|part| part.to_str()).collect();
    let wrong = |what: String| ReceiveError::Wrong(what);
    let name = parts.last().copied().unwrap_or_default();
    let run = name.parse().map_err(|_| wrong(format!("its directory {} is not a run id", quoted(name))))?;
    let place = match parts.as_slice() {
        [.., suite, architecture, _, package, _] => {
            Some(((*suite).to_owned(), (*architecture).to_owned(), (*package).to_owned()))
        }
        _ => None,
    };
    let top = into.join(&directory);
    let code = small(&top, MARK)?.unwrap_or_default();
    let exit_code = code.trim().parse();
    let exit_code = exit_code.map_err(|_| wrong(format!("its exitcode {} is not a number", quoted(code.trim()))))?;
    let seconds = small(&top, "duration")?.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let worker = small(&top, "worker")?.unwrap_or_default();
    let ended = modified(&top, "duration").or_else(|| modified(&top, MARK));
    Ok(Received {
        run,
        place,
        exit_code,
        seconds: u64::min(seconds, LONGEST),
        finished: ended.unwrap_or(Timestamp::UNIX_EPOCH),
        worker: safetext::printable(&worker.trim().chars().take(LONGEST_NAME).collect::<String>()),
        directory,
    })
}

/// Whether an error is one of this machine's, and not of what is read.
fn is_of_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied)
}

/// The topmost directory with the mark, relative to `top`.
fn topmost(top: &Path) -> Result<PathBuf, ReceiveError> {
    let mut level = vec![PathBuf::new()];
    let mut seen = 0;
    for _ in 0..=DEEPEST {
        let marked = |place: &&PathBuf| {
            let about = top.join(place).join(MARK).symlink_metadata();
            about.is_ok_and(|about| about.is_file())
        };
        let found: Vec<&PathBuf> = level.iter().filter(marked).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok((*one).clone()),
            _ => return Err(ReceiveError::Wrong("it has results of several jobs".into())),
        }
        let mut below = Vec::new();
        for place in &level {
            for entry in fs::read_dir(top.join(place))? {
                let entry = entry?;
                // A link is not followed.
                if entry.file_type()?.is_dir() {
                    below.push(place.join(entry.file_name()));
                    seen += 1;
                }
                if seen > MOST_PLACES {
                    return Err(ReceiveError::Wrong("it has too many directories beside each other".into()));
                }
            }
        }
        level = below;
    }
    Err(ReceiveError::Wrong("it has no file exitcode, which names its job".into()))
}

/// A small file of a result; `None` if there is none.
fn small(top: &Path, name: &str) -> Result<Option<String>, ReceiveError> {
    match regular::read_beneath(top, Path::new(name), SMALL) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if is_of_disk(&error) => Err(error.into()),
        Err(error) => Err(ReceiveError::Wrong(format!("its {name}: {error}"))),
    }
}

fn modified(top: &Path, name: &str) -> Option<Timestamp> {
    let about = top.join(name).symlink_metadata().ok().filter(fs::Metadata::is_file)?;
    Timestamp::try_from(about.modified().ok()?).ok()
}

/// Text from outside in a reason.
fn quoted(text: &str) -> String {
    format!("`{}`", safetext::printable(&text.chars().take(LONGEST_NAME).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::{Heading, JobLine, of_refusal};

    /// A result with these files, as GNU tar writes it for debci's own worker.
    fn packed(files: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(1_790_000_000);
            builder.append_data(&mut header, name, text.as_bytes())?;
        }
        builder.into_inner()?.finish()
    }

    fn read(message: &[u8]) -> Result<Received, ReceiveError> {
        receive(message, 1 << 20, tempfile::tempdir()?.path())
    }

    const TOP: &str = "autopkgtest-incoming/unstable/amd64+gfx1030/r/rocrand/17";

    #[test]
    fn a_result_of_a_worker_says_which_job_it_is_for() -> Result<(), ReceiveError> {
        let name = |name: &str| format!("{TOP}/{name}");
        // What a test left is deeper than the result.
        let names = ["exitcode", "duration", "worker", "artifacts/2/exitcode", "artifacts/exitcode"].map(name);
        let texts = ["4\n", "137\n", "lab1\n", "0\n", "0\n"];
        let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts).collect();
        let received = read(&packed(&files)?)?;
        assert_eq!((received.run, received.exit_code, received.seconds), (RunId(17), 4, 137));
        assert_eq!((received.worker.as_str(), received.finished.as_second()), ("lab1", 1_790_000_000));
        let place = received.place.as_ref().map(|(suite, arch, name)| (suite.as_str(), arch.as_str(), name.as_str()));
        assert_eq!(place, Some(("unstable", "amd64+gfx1030", "rocrand")));
        assert_eq!(received.directory, Path::new(TOP));
        let short = read(&packed(&[("17/exitcode", "0")])?)?;
        assert_eq!((short.run, short.place, short.seconds), (RunId(17), None, 0));
        Ok(())
    }

    #[test]
    fn what_this_crate_writes_it_reads() -> Result<(), ReceiveError> {
        let line = JobLine::parse(b"libhsa unstable run-id:9 trigger:x").map_err(io::Error::other)?;
        let heading = Heading {
            run: line.run,
            job: Some(&line),
            architecture: "amd64",
            worker: "lab1.example",
            notes: Vec::new(),
        };
        let when = Timestamp::UNIX_EPOCH;
        let written = of_refusal(&heading, "no", when).map_err(io::Error::other)?;
        let received = read(&written.bytes)?;
        assert_eq!((received.run, received.exit_code, received.finished), (RunId(9), 16, when));
        assert_eq!(received.worker, "lab1");
        Ok(())
    }

    #[test]
    fn what_is_not_a_result_is_refused_with_the_reason() -> io::Result<()> {
        let bomb = packed(&[("1/exitcode", "0"), ("1/artifacts/zeros", &"\0".repeat(2 << 20))])?;
        let deep = "a/".repeat(DEEPEST + 1);
        for (message, says) in [
            (b"not gzip".to_vec(), "not a .tar.gz"),
            (packed(&[("17/log.gz", "")])?, "no file exitcode"),
            (packed(&[("17/exitcode", "0"), ("18/exitcode", "0")])?, "several jobs"),
            (packed(&[("17x/exitcode", "0")])?, "`17x` is not a run id"),
            (packed(&[("exitcode", "0")])?, "not a run id"),
            (packed(&[("17/exitcode", "passed")])?, "`passed` is not a number"),
            (packed(&[("17/exitcode", "-1")])?, "not a number"),
            (packed(&[("17/exitcode", &"1".repeat(10_000))])?, "longer than"),
            (packed(&[(&format!("{deep}17/exitcode"), "0")])?, "no file exitcode"),
            (bomb, "not a .tar.gz"),
        ] {
            let error = read(&message).map_or_else(
                |error| {
                    assert!(!error.is_passing(), "{error}");
                    error.to_string()
                },
                |received| format!("{received:?}"),
            );
            assert!(error.contains(says), "{says}: {error}");
        }
        Ok(())
    }

    #[test]
    fn no_link_is_followed() -> io::Result<()> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, target) in [("17/exitcode", "/etc/hostname"), ("18", "/etc"), ("19/worker", "/etc/hostname")] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            builder.append_link(&mut header, name, target)?;
        }
        let message = builder.into_inner()?.finish()?;
        let error = read(&message).map_or_else(|error| error.to_string(), |received| format!("{received:?}"));
        assert!(error.contains("no file exitcode"), "{error}");
        Ok(())
    }
}
