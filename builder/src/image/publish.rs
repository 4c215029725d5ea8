//! Publishes image files under their final names: only when complete, `SHA256SUMS` last.
//!
//! While files are being replaced there is no `SHA256SUMS`, so its presence means that the files belong together, even
//! after a power cut: it gets its name after all others have theirs and all their bytes are on the disk. Temporary
//! files of an interrupted build are removed by the next one.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use sha256::Digest;

use super::graft::graft;
use super::manifest::ImageFile;

/// File whose presence means that all others are complete.
pub const SUMS: &str = "SHA256SUMS";

/// Prefix of temporary names.
const PART: &str = ".part-";

/// An image directory being filled.
pub struct Staging {
    directory: PathBuf,
    files: Vec<ImageFile>,
    /// Names of existing files that stay.
    kept: Vec<String>,
    /// Files of which a range stays, with that range.
    grafts: Vec<(String, Range<u64>)>,
    /// Threads that flush written files to the disk.
    flushes: Vec<JoinHandle<Result<()>>>,
}

impl Staging {
    /// Prepares a directory. The caller holds its lock.
    pub fn begin(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
            let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
            if is_part(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            files: Vec::new(),
            kept: Vec::new(),
            grafts: Vec::new(),
            flushes: Vec::new(),
        })
    }

    /// The image directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Path under which a file is written until it is published.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{PART}{name}"))
    }

    /// Creates an empty file for writing and reading.
    pub fn create(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        let options = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        options.with_context(|| format!("making {}", path.display()))
    }

    /// Writes a whole file.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        self.finished(name, bytes.len() as u64, Digest::of(bytes));
        Ok(())
    }

    /// Registers a file as complete under its temporary name. Flushing it to the disk starts now, while others are
    /// being made.
    pub fn finished(&mut self, name: &str, size: u64, sha256: Digest) {
        let path = self.path(name);
        self.flushes.push(thread::spawn(move || flush(&path)));
        self.note(name, size, sha256);
    }

    /// Registers a file as complete but for the range `kept`, which the earlier build's file has at the same place.
    pub fn finished_around(&mut self, name: &str, kept: Range<u64>, size: u64, sha256: Digest) {
        self.grafts.push((name.to_owned(), kept));
        self.note(name, size, sha256);
    }

    fn note(&mut self, name: &str, size: u64, sha256: Digest) {
        self.files.push(ImageFile { name: name.to_owned(), size, sha256 });
    }

    /// Keeps a file of an earlier build that is identical to what this one would write.
    pub fn keep(&mut self, name: &str, size: u64, sha256: Digest) {
        self.note(name, size, sha256);
        self.kept.push(name.to_owned());
    }

    /// Path at which a finished file is now.
    pub fn current(&self, name: &str) -> PathBuf {
        if self.kept.iter().any(|kept| kept == name) { self.directory.join(name) } else { self.path(name) }
    }

    /// Files finished so far, by name.
    pub fn files(&self) -> Vec<ImageFile> {
        let mut files = self.files.clone();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }

    /// Moves everything to its final name, and removes files of earlier builds that this one does not have.
    pub fn publish(mut self, optional: &[&str]) -> Result<Vec<ImageFile>> {
        for thread in std::mem::take(&mut self.flushes) {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        let files = self.files();
        let sums: String = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
        let remove = |name: &str| match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.directory.join(name).display()))
            }
            _ => Ok(()),
        };
        remove(SUMS)?;
        for name in optional.iter().filter(|name| !files.iter().any(|file| file.name == **name)) {
            remove(name)?;
        }
        // After a power cut a removed name must not come back beside new files, nor may files be missing that
        // `SHA256SUMS` names.
        flush(&self.directory)?;
        for file in files.iter().filter(|file| !self.kept.contains(&file.name)) {
            let target = self.directory.join(&file.name);
            if let Some((name, kept)) = self.grafts.iter().find(|(name, _)| *name == file.name) {
                let held = self.path(&format!("{name}.old"));
                graft(&target, &held, &self.path(name), kept.clone())
                    .with_context(|| format!("changing {}", target.display()))?;
                continue;
            }
            fs::rename(self.path(&file.name), &target).with_context(|| format!("renaming to {}", target.display()))?;
        }
        flush(&self.directory)?;
        let target = self.directory.join(SUMS);
        durable::replace(&target, sums.as_bytes(), durable::Readers::Everyone)
            .with_context(|| format!("writing {}", target.display()))?;
        Ok(files)
    }
}

impl Drop for Staging {
    /// Removes the temporary files of a failed build, which would take space on a full disk. After publishing there
    /// are none left.
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten().filter(|entry| is_part(&entry.file_name().to_string_lossy())) {
            // The next build tries again to remove what remains, and reports errors.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Waits until a file's bytes, or a directory's names, are on the disk.
fn flush(path: &Path) -> Result<()> {
    let flushed = File::open(path).and_then(|file| file.sync_data());
    flushed.with_context(|| format!("waiting for the disk to have {}", path.display()))
}

/// Whether this is a temporary name: of this module or of [`durable`].
fn is_part(name: &str) -> bool {
    name.starts_with(PART) || name.starts_with('.') && name.ends_with(durable::PARTIAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_appear_with_their_digests_and_leftovers_go() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".part-disk.img"), "half").unwrap();
        fs::write(directory.path().join("disk.img.zst"), "of an earlier build").unwrap();
        fs::write(directory.path().join("notes.txt"), "not ours").unwrap();
        let mut staging = Staging::begin(directory.path()).unwrap();
        staging.write("cmdline", b"quiet").unwrap();
        assert!(!directory.path().join("cmdline").exists(), "not before it is published");
        staging.publish(&["disk.img.zst"]).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["SHA256SUMS", "cmdline", "notes.txt"]);
        let sums = fs::read_to_string(directory.path().join(SUMS)).unwrap();
        assert_eq!(sums, format!("{}  cmdline\n", Digest::of(b"quiet")));
    }
}
