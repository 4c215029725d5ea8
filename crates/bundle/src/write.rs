//! Writes a bundle: first a plan is made, so that the result can list what is left out; then the files are streamed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha256::{Digest, Hasher};
use tar::{Builder, EntryType, Header};
use tarball::{LONGEST_NAME, LONGEST_PATH};

use crate::archive::stays;
use crate::{Bundle, ENTRIES, NAMES, SUFFIX, regular};

/// Most notes about files left out; the rest is only counted.
const MOST_NOTES: usize = 20;
/// Deepest nesting of directories; deeper ones are left out.
const DEEPEST: usize = 100;
/// Entries, and bytes of names, that are reserved for the files at the top.
const SPARE: usize = 64 << 10;

/// Limits for the tests' files in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// Most bytes of files.
    pub bytes: u64,
    /// Most entries, at most [`ENTRIES`].
    pub entries: usize,
}

/// Contents of a bundle besides the files at its top.
#[derive(Debug, Default)]
pub struct BundlePlan {
    entries: Vec<(PathBuf, PlannedKind)>,
    /// Notes about what is left out.
    pub left_out: Vec<String>,
    bytes: u64,
    names: usize,
    /// Entries, including directories that are still to be listed.
    count: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum PlannedKind {
    Directory,
    File,
    Link(PathBuf),
}

impl BundlePlan {
    /// Lists directories; autopkgtest's own files come before the artifacts of tests.
    pub fn make(base: &Path, directories: &[String], limits: &BundleLimits) -> Self {
        let mut plan = Self::default();
        let mut dropped = 0_usize;
        for name in directories {
            plan.walk(base, Path::new(name), limits, &mut dropped);
        }
        if dropped > 0 {
            plan.left_out.push(format!("left out of the bundle: {dropped} more"));
        }
        plan
    }

    fn walk(&mut self, base: &Path, top: &Path, limits: &BundleLimits, dropped: &mut usize) {
        let mut waiting = vec![(top.to_owned(), 0_usize)];
        while let Some((directory, depth)) = waiting.pop() {
            self.entries.push((directory.clone(), PlannedKind::Directory));
            let mut names: Vec<_> = match fs::read_dir(base.join(&directory)) {
                Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
                Err(error) => {
                    self.leave_out(&directory, &error.to_string(), dropped);
                    continue;
                }
            };
            names.sort_unstable();
            let mut below = Vec::new();
            for name in names {
                let path = directory.join(name);
                match self.classify(base, &path, limits) {
                    Ok(Some(PlannedKind::Directory)) if depth >= DEEPEST => {
                        self.leave_out(&path, "it is too deep", dropped);
                    }
                    Ok(Some(PlannedKind::Directory)) => below.push((path, depth + 1)),
                    Ok(Some(kind)) => self.entries.push((path, kind)),
                    Ok(None) => {}
                    Err(reason) => self.leave_out(&path, &reason, dropped),
                }
            }
            // Files at the top are small and the most useful; directories belong to the tests.
            waiting.extend(below.into_iter().rev());
        }
    }

    /// Determines the type of a path; an error says why it is left out.
    fn classify(&mut self, base: &Path, path: &Path, limits: &BundleLimits) -> Result<Option<PlannedKind>, String> {
        let most = limits.entries.min(ENTRIES.saturating_sub(SPARE / 64));
        if self.count >= most {
            return Err(format!("there are more than {most} files"));
        }
        let name = path.as_os_str().as_bytes();
        if name.len() > LONGEST_PATH || path.iter().any(|part| part.len() > LONGEST_NAME) {
            return Err("its name is too long".into());
        }
        let metadata = base.join(path).symlink_metadata().map_err(|error| error.to_string())?;
        let kind = metadata.file_type();
        let kind = if kind.is_dir() {
            PlannedKind::Directory
        } else if kind.is_symlink() {
            PlannedKind::Link(target_of(&base.join(path))?)
        } else if kind.is_file() {
            let left = limits.bytes.saturating_sub(self.bytes);
            if metadata.len() > left {
                return Err(format!("its {} bytes are beyond the limit of {}", metadata.len(), limits.bytes));
            }
            PlannedKind::File
        } else {
            return Err("it is neither a file nor a directory".into());
        };
        let target = if let PlannedKind::Link(target) = &kind { target.as_os_str().len() } else { 0 };
        let names = self.names + name.len() + target;
        if names > NAMES - SPARE {
            return Err("the names before it are too long".into());
        }
        self.names = names;
        self.count += 1;
        self.bytes += if kind == PlannedKind::File { metadata.len() } else { 0 };
        Ok(Some(kind))
    }

    fn leave_out(&mut self, path: &Path, reason: &str, dropped: &mut usize) {
        if self.left_out.len() < MOST_NOTES {
            let name: String = path.to_string_lossy().chars().filter(|char| !char.is_control()).take(300).collect();
            self.left_out.push(format!("left out of the bundle: {name}: {reason}"));
        } else {
            *dropped += 1;
        }
    }
}

/// Writes `NAME.tar.zst` into a directory: the files of `base` listed in `first`, then those of the plan. The file gets
/// this name only when it is completely on disk.
///
/// # Errors
///
/// If a file of `first` or of the plan cannot be read, or the bundle cannot be written.
pub fn write(to: &Path, name: &str, base: &Path, first: &[&str], plan: &BundlePlan) -> io::Result<Bundle> {
    let path = to.join(format!("{name}{SUFFIX}"));
    let partial = to.join(format!(".{name}{SUFFIX}.{}", std::process::id()));
    let written = File::create(&partial).and_then(|file| fill(file, base, first, plan)).and_then(|(size, sha256)| {
        fs::rename(&partial, &path)?;
        File::open(to)?.sync_all()?;
        Ok(Bundle { path, size, sha256 })
    });
    if written.is_err() {
        // It may not exist; the other error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn fill(file: File, base: &Path, first: &[&str], plan: &BundlePlan) -> io::Result<(u64, Digest)> {
    let compressor = zstd::Encoder::new(Hashing { file, hasher: Hasher::new(), size: 0 }, 3)?;
    let mut archive = Builder::new(compressor);
    archive.mode(tar::HeaderMode::Deterministic);
    for name in first {
        append_file(&mut archive, base, Path::new(name))?;
    }
    for (path, kind) in &plan.entries {
        match kind {
            PlannedKind::File => append_file(&mut archive, base, path)?,
            PlannedKind::Directory => {
                let mut header = header(EntryType::Directory, 0o755, 0, 0);
                archive.append_data(&mut header, path, io::empty())?;
            }
            PlannedKind::Link(target) => {
                let mut header = header(EntryType::Symlink, 0o777, 0, 0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    let hashing = archive.into_inner()?.finish()?;
    hashing.file.sync_all()?;
    Ok((hashing.size, hashing.hasher.finish()))
}

fn header(kind: EntryType, mode: u32, size: u64, time: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// The target of a link, if it stays beside or below the link.
fn target_of(link: &Path) -> Result<PathBuf, String> {
    let target = fs::read_link(link).map_err(|error| error.to_string())?;
    if stays(target.as_os_str().as_bytes()) { Ok(target) } else { Err("it is a link to elsewhere".into()) }
}

/// Appends a file with the announced length. If it can no longer be opened, or shrinks meanwhile, zeros fill the rest.
fn append_file<W: Write>(archive: &mut Builder<W>, base: &Path, path: &Path) -> io::Result<()> {
    let file = regular::open(&base.join(path))?;
    let metadata = file.metadata()?;
    let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
    let time = u64::try_from(metadata.mtime()).unwrap_or_default();
    let mut header = header(EntryType::Regular, mode, metadata.len(), time);
    archive.append_data(&mut header, path, file.chain(io::repeat(0)).take(metadata.len()))
}

/// A writer that computes the digest of its data.
struct Hashing {
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
