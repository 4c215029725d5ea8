//! Record of what an image directory was built from, so that a build which changes only settings keeps its root file
//! system.
//!
//! The record is a hidden file in the image directory, for rocbed's own use. If it is missing or does not match the
//! files, they are written anew.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha256::Digest;

use super::programs;
use super::publish::Staging;
use super::root_image::RootImage;

const NAME: &str = ".state.json";
const ROOT: &str = "root.img";
const DISK: &str = "disk.img";

#[derive(Serialize, Deserialize)]
struct State {
    /// Digest of the root file system's inputs.
    identity: Digest,
    /// The program that made it: another version may write the same tree differently.
    program: String,
    /// Digest of the file as it was published.
    sha256: Digest,
    size: u64,
    /// The hash tree in it, as on the kernel command line.
    protection: String,
    stamp: Stamp,
    /// The disk that contains the root.
    #[serde(default)]
    disk: Option<DiskState>,
}

#[derive(Serialize, Deserialize)]
struct DiskState {
    layout: DiskLayout,
    stamp: Stamp,
}

/// Position of the root in a `disk.img`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskLayout {
    /// The disk's length in bytes.
    pub size: u64,
    /// Offset of the root, in bytes.
    pub root: u64,
}

/// File metadata that changes whenever the file is modified.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    /// Modification time: seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// Change time, likewise. It cannot be set, so it reveals a file that was written and given its old modification
    /// time.
    changed: (i64, i64),
    /// Boot id of the machine: changes to a disk while the kernel was not running do not show in the times.
    boot: String,
}

/// A `root.img` of an earlier build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchanged {
    /// Digest and size when it was published.
    pub image: RootImage,
    /// Whether it certainly is unmodified. Otherwise its digest has to be computed again.
    pub untouched: bool,
    /// The `disk.img` that certainly still contains this root, if there is one.
    pub disk: Option<DiskLayout>,
}

/// The `root.img` in the directory, if it is what a build of `identity` would produce.
pub fn unchanged(staging: &Staging, identity: &Digest) -> Result<Option<Unchanged>> {
    let directory = staging.directory();
    let Ok(text) = fs::read_to_string(directory.join(NAME)) else { return Ok(None) };
    let Ok(state) = serde_json::from_str::<State>(&text) else { return Ok(None) };
    let Some((size, now)) = stamp(directory, ROOT)? else { return Ok(None) };
    if state.identity != *identity || state.program != programs::stamp()? || state.size != size {
        return Ok(None);
    }
    // A different modification time most likely means different content; the other values also differ in a copy of the
    // directory.
    let Ok(protection) = state.protection.parse() else { return Ok(None) };
    let image = RootImage { sha256: state.sha256, size, protection };
    let fits = now.modified == state.stamp.modified;
    let untouched = now == state.stamp;
    let disk = match state.disk.filter(|_| untouched) {
        Some(disk) => stamp(directory, DISK)?.filter(|now| *now == (disk.layout.size, disk.stamp)).map(|_| disk.layout),
        None => None,
    };
    Ok(fits.then_some(Unchanged { image, untouched, disk }))
}

/// Records what was published.
pub fn remember(directory: &Path, identity: &Digest, root: &RootImage, disk: DiskLayout) -> Result<()> {
    let disk = stamp(directory, DISK)?.map(|(_, stamp)| DiskState { layout: disk, stamp });
    let (size, stamp) = stamp(directory, ROOT)?.context("root.img is gone")?;
    let (program, protection) = (programs::stamp()?, root.protection.to_string());
    let state = State { identity: *identity, program, sha256: root.sha256, size, protection, stamp, disk };
    let path = directory.join(NAME);
    durable::replace(&path, serde_json::to_string(&state)?.as_bytes(), durable::Readers::Everyone)
        .with_context(|| format!("writing {}", path.display()))
}

fn stamp(directory: &Path, name: &str) -> Result<Option<(u64, Stamp)>> {
    let path = directory.join(name);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("examining {}", path.display())),
    };
    let stamp = Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        boot: fs::read_to_string(BOOT).with_context(|| format!("reading {BOOT}"))?.trim().to_owned(),
    };
    Ok(Some((metadata.len(), stamp)))
}

/// File with the boot id of the machine (proc(5)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[cfg(test)]
mod tests {
    use super::*;
    use verity::Protection;

    use std::time::{Duration, SystemTime};

    const LAYOUT: DiskLayout = DiskLayout { size: 8, root: 2 };

    fn root() -> RootImage {
        let protection = Protection { size: 4096, root_hash: Digest::of(b"tree") };
        RootImage { sha256: Digest::of(b"root"), size: 4, protection }
    }

    fn published(directory: &Path) -> Digest {
        let identity = Digest::of(b"recipe and lock");
        let mut staging = Staging::begin(directory).unwrap();
        staging.write("root.img", b"root").unwrap();
        staging.write("disk.img", b"--root--").unwrap();
        staging.publish(&[]).unwrap();
        remember(directory, &identity, &root(), LAYOUT).unwrap();
        identity
    }

    #[test]
    fn a_root_that_nobody_touched_is_taken_for_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let identity = published(directory.path());
        let staging = Staging::begin(directory.path()).unwrap();
        let found = unchanged(&staging, &identity).unwrap().unwrap();
        assert!(found.untouched);
        assert_eq!(found.disk, Some(LAYOUT));
        assert_eq!(found.image, root());
        assert_eq!(unchanged(&staging, &Digest::of(b"another")).unwrap(), None);
    }

    #[test]
    fn a_disk_that_somebody_wrote_to_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let identity = published(directory.path());
        fs::write(directory.path().join("disk.img"), b"--RUIN--").unwrap();
        let staging = Staging::begin(directory.path()).unwrap();
        let found = unchanged(&staging, &identity).unwrap().unwrap();
        assert!(found.untouched);
        assert_eq!(found.disk, None);
    }

    #[test]
    fn one_that_was_written_to_and_given_its_old_time_is_looked_at_again() {
        let directory = tempfile::tempdir().unwrap();
        let identity = published(directory.path());
        let path = directory.path().join("root.img");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, b"ruin").unwrap();
        let staging = Staging::begin(directory.path()).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert!(!unchanged(&staging, &identity).unwrap().unwrap().untouched);
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(unchanged(&staging, &identity).unwrap(), None);
    }
}
