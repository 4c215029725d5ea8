//! Collects results from a stick's data partition: `results/` of job lists that were run from the stick, `outbox/` of
//! results that could not be delivered to a hub. It has its own ext4 reader, so that nothing is mounted and nothing
//! on the stick changes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use advice::{Advise, Help};
use diskimage::gpt::{self, GptError};
use fsimage::ext4::{EntryKind, Ext4Entry, Limits, ReadError, Reader};
use serde::{Deserialize, Serialize};
use sha256::{Digest, DigestReader};

/// The largest list of results, in bytes.
const MOST: u64 = 16 << 20;

/// The suffix of a bundle's name.
const BUNDLE: &str = ".tar.zst";

/// The reason why results cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The partition table cannot be read.
    #[error("there is no image of rocbed's: {0}")]
    Table(#[from] GptError),
    /// It is not the stick of a worker.
    #[error("there is no partition named rocbed-data: this was not written by `rocbed flash` or `rocbed build`")]
    NoPartition,
    /// The stick has not been booted yet.
    #[error("the data partition is empty: no machine was started from it yet")]
    Empty,
    /// The last machine was switched off without a shutdown.
    #[error(
        "the machine was switched off without being shut down, and the newest results are in the file system's journal only"
    )]
    Journal,
    /// The file system is damaged.
    #[error("reading the data partition")]
    Read(#[from] ReadError),
    /// A file cannot be read.
    #[error("reading {path} on the data partition: {source}")]
    Content {
        /// The file.
        path: String,
        /// What failed.
        source: io::Error,
    },
    /// The result cannot be written to our own disk.
    #[error("writing {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

impl Advise for CollectError {
    fn help(&self) -> Help {
        match self {
            Self::Journal => {
                "`e2fsck -f` on the partition named rocbed-data replays it; nothing is lost by that".into()
            }
            _ => Help::none(),
        }
    }
}

/// A bundle that was copied from a stick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Collected {
    /// The path on the stick: `results/0123abcd/gzip.tar.zst`.
    pub from: String,
    /// The path of the copy.
    pub to: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Whether its digest is the recorded one; `None` if none was recorded.
    pub intact: Option<bool>,
}

/// The needed part of the labels beside bundles of the outbox.
#[derive(Deserialize)]
struct Label {
    sha256: Digest,
}

/// The needed part of the file beside the results of a list.
#[derive(Deserialize)]
struct Results {
    jobs: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    bundle: Option<String>,
    sha256: Option<Digest>,
}

/// Copies all bundles of a disk or disk image, with the files that describe them, into a directory, under their paths
/// on the stick. Existing files are overwritten.
///
/// # Errors
/// See [`CollectError`]. A bundle with a wrong digest is copied nevertheless, and marked.
pub fn collect(disk: &File, into: &Path) -> Result<Vec<Collected>, CollectError> {
    let table = gpt::read(&mut &*disk)?;
    let data = table.partitions.into_iter().map(|(_, part)| part).find(|part| part.name == "rocbed-data");
    let data = data.ok_or(CollectError::NoPartition)?;
    let mut reader = match Reader::open(disk, data.start) {
        Err(ReadError::NotExt4(_)) => return Err(CollectError::Empty),
        other => other?,
    };
    if reader.superblock().needs_recovery() {
        return Err(CollectError::Journal);
    }
    let entries = reader.entries(Limits::default())?;
    let wanted: Vec<_> = entries.iter().filter_map(|entry| Some((entry, path(entry)?))).collect();
    let mut digests = HashMap::new();
    for (entry, path) in wanted.iter().filter(|(_, path)| path.ends_with(".json")) {
        digests.extend(said(path, &small(&mut reader, entry, path)?));
    }
    let mut collected = Vec::new();
    for (entry, path) in wanted {
        let to = into.join(&path);
        let (size, digest) = copy(&mut reader, entry, &path, &to)?;
        if path.ends_with(BUNDLE) {
            let intact = digests.get(&path).map(|said| *said == digest);
            collected.push(Collected { from: path, to, size, intact });
        }
    }
    Ok(collected)
}

/// The path of a file to copy: below one of the two directories, with a name like ours.
fn path(entry: &Ext4Entry) -> Option<String> {
    let path = std::str::from_utf8(&entry.path).ok()?;
    let ours = ["results/", "outbox/"].iter().any(|top| path.starts_with(top));
    let kind = path.ends_with(BUNDLE) || path.ends_with(".json");
    // Names in ext4 have no slash, and the reader does not list `..`. Still, the disk comes from a stranger.
    let plain = !path.chars().any(char::is_control) && !path.split('/').any(|part| part == ".." || part.is_empty());
    (ours && kind && plain && matches!(entry.kind, EntryKind::File { .. })).then(|| path.to_owned())
}

/// The digests of bundles in the JSON file beside them; none if it cannot be parsed.
fn said(path: &str, json: &[u8]) -> Vec<(String, Digest)> {
    let Some((directory, name)) = path.rsplit_once('/') else { return Vec::new() };
    if name == "results.json" {
        let listed = serde_json::from_slice::<Results>(json).map(|results| results.jobs).unwrap_or_default();
        let digest = |listed: Listed| Some((format!("{directory}/{}", listed.bundle?), listed.sha256?));
        return listed.into_iter().filter_map(digest).collect();
    }
    let bundle = format!("{directory}/{}{BUNDLE}", name.trim_end_matches(".json"));
    serde_json::from_slice::<Label>(json).map(|label| (bundle, label.sha256)).into_iter().collect()
}

fn small(reader: &mut Reader<impl Read + Seek>, entry: &Ext4Entry, path: &str) -> Result<Vec<u8>, CollectError> {
    let mut bytes = Vec::new();
    let file = reader.open_entry(entry)?;
    file.take(MOST)
        .read_to_end(&mut bytes)
        .map_err(|source| CollectError::Content { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Copies a file, and gives it its final name last. Returns its length and digest.
fn copy(
    reader: &mut Reader<impl Read + Seek>,
    entry: &Ext4Entry,
    path: &str,
    to: &Path,
) -> Result<(u64, Digest), CollectError> {
    let failed = |source| CollectError::Write { path: to.to_owned(), source };
    let directory = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(failed)?;
    let mut target = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    let mut file = DigestReader::new(reader.open_entry(entry)?);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer);
        let count = read.map_err(|source| CollectError::Content { path: path.to_owned(), source })?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        target.write_all(bytes).map_err(failed)?;
    }
    target.as_file().sync_all().map_err(failed)?;
    target.persist(to).map_err(|error| failed(error.error))?;
    let (digest, size) = file.finish();
    Ok((size, digest))
}
