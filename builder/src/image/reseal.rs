//! Changes files on the EFI system partition of a finished image and updates everything that describes the disk:
//! `SHA256SUMS`, the manifest, and, if present, the compressed disk and its block map.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use advice::Advice;
use anyhow::{Context as _, Result, bail, ensure};
use diskimage::sparse::{self, SparseReader};
use progress::{Progress as _, Unit};
use sha256::{Digest, sums};
use store::{Lock as FileLock, Wait};

use super::MANIFEST;
use super::compressed::{compress_disk, map_disk};
use super::manifest::{self, ImageFile};
use super::output::LOCK;
use super::publish::{SUMS, Staging};
use crate::report::Reporter;

/// The entries of the `SHA256SUMS` beside a disk, if it lists the disk.
pub fn sums_of(disk: &Path) -> Result<Option<Vec<ImageFile>>> {
    let path = disk.with_file_name(SUMS);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("reading {}", path.display()))?,
    };
    let size = |name: &str| fs::metadata(disk.with_file_name(name)).map_or(0, |metadata| metadata.len());
    let file = |(sha256, name): (_, &str)| ImageFile { size: size(name), sha256, name: name.to_owned() };
    let files: Vec<_> = sums::parse(&text).map(file).collect();
    let is_named = files.iter().any(|file| Some(file.name.as_ref()) == disk.file_name());
    Ok(is_named.then_some(files))
}

/// Changes the start of an image's disk, up to byte `end`. `change` gets a file that begins as the disk does, and only
/// what it writes there before `end` counts.
///
/// The directory holds the old image, and then the new one; for a moment in between, as at the end of a build, it has
/// no `SHA256SUMS`. A disk that does not match `SHA256SUMS` is refused: afterwards the damage could not be detected.
pub fn change(
    disk: &Path,
    files: &[ImageFile],
    end: u64,
    change: impl FnOnce(&File) -> Result<()>,
    reporter: &Reporter,
) -> Result<()> {
    let directory = disk.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let name = disk.file_name().and_then(|name| name.to_str()).context("the disk's name is not text")?;
    let lock = FileLock::acquire(&directory.join(LOCK), "changing settings", Wait::No, reporter);
    let _lock = lock.context("the image is being built, or changed by another program")?;
    let reading = || format!("reading {}", disk.display());
    let mut old = File::open(disk).with_context(reading)?;
    let size = old.metadata().with_context(reading)?.len();
    ensure!(end <= size, "{} ends at byte {size}, within its EFI system partition", disk.display());

    let task = reporter.task("checking the disk", Some(size), Unit::Bytes);
    let (before, _) = Digest::of_reader(SparseReader::new(&old).with_context(reading)?).with_context(reading)?;
    drop(task);
    if files.iter().any(|file| file.name == name && file.sha256 != before) {
        bail!(Advice::new(
            format!(
                "{} is not what {SUMS} beside it says: it was damaged, or changed by another program",
                disk.display()
            ),
            format!(
                "build the image anew; or remove {SUMS}, if you know why they differ and this disk is the one that you want"
            )
        ));
    }

    let mut staging = Staging::begin(directory)?;
    let is_there = |other: &str| files.iter().any(|file| file.name == other) && disk.with_file_name(other).is_file();
    let (compressed, map) = (format!("{name}.zst"), format!("{name}.bmap"));
    let has_manifest = is_there(MANIFEST);
    let (is_compressed, is_mapped) = (is_there(&compressed), is_there(&map));
    let fresh = staging.create(name)?;
    fresh.set_len(size).with_context(|| format!("making {}", staging.path(name).display()))?;
    let copied = if is_compressed || is_mapped {
        sparse::copy(&old, &fresh, 0) // what is read again is needed whole
    } else {
        io::copy(&mut SparseReader::new(&old).with_context(reading)?.take(end), &mut &fresh)
    };
    copied.with_context(|| format!("copying {}", disk.display()))?;
    change(&fresh)?;
    let task = reporter.task("renewing the digest", Some(size), Unit::Bytes);
    old.seek(SeekFrom::Start(end)).with_context(reading)?;
    let changed = SparseReader::new(&fresh).with_context(reading)?.take(end).chain(&old);
    let (after, _) = Digest::of_reader(changed).with_context(reading)?;
    drop((task, old));

    let is_renewed = |other: &str| {
        other == name
            || (other == MANIFEST && has_manifest)
            || (other == compressed && is_compressed)
            || (other == map && is_mapped)
    };
    files.iter().filter(|file| !is_renewed(&file.name)).for_each(|file| {
        staging.keep(&file.name, file.size, file.sha256);
    });
    if is_compressed || is_mapped {
        staging.finished(name, size, after);
    } else {
        staging.finished_around(name, end..size, size, after);
    }
    if is_mapped {
        map_disk(&mut staging, name, reporter)?;
    }
    if is_compressed {
        compress_disk(&mut staging, name, reporter)?;
    }
    if let Some(manifest) = files.iter().find(|file| file.name == MANIFEST && has_manifest) {
        let path = directory.join(MANIFEST);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            Digest::of(&text) == manifest.sha256,
            Advice::new(format!("{} is not what {SUMS} beside it says", path.display()), "build the image anew")
        );
        let text = manifest::renewed(&text, &staging.files()).with_context(|| format!("reading {}", path.display()))?;
        staging.write(MANIFEST, text.as_bytes())?;
    }
    staging.publish(&[]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verbosity;
    use std::os::unix::fs::FileExt as _;

    const SIZE: u64 = 4 << 20;
    const END: u64 = 1 << 20;

    fn quiet() -> Reporter {
        Reporter::new(Verbosity::Quiet, None)
    }

    /// An image of which only the digests matter.
    fn image(directory: &Path, with: &[&str]) -> Result<Vec<ImageFile>> {
        let mut staging = Staging::begin(directory)?;
        let disk = staging.create("disk.img")?;
        disk.set_len(SIZE)?;
        disk.write_all_at(b"boot", 512)?;
        disk.write_all_at(b"root", 2 << 20)?;
        let (sha256, _) = Digest::of_reader(File::open(staging.path("disk.img"))?)?;
        staging.finished("disk.img", SIZE, sha256);
        staging.write("root.img", b"root")?;
        if with.contains(&"disk.img.bmap") {
            map_disk(&mut staging, "disk.img", &quiet())?;
        }
        if with.contains(&"disk.img.zst") {
            compress_disk(&mut staging, "disk.img", &quiet())?;
        }
        let lock = crate::lock::tests::lock(vec![]);
        let manifest = manifest::document("smoke", &lock, b"init", &staging.files());
        staging.write(MANIFEST, manifest.as_bytes())?;
        staging.publish(&[])
    }

    fn set(directory: &Path) -> Result<()> {
        let disk = directory.join("disk.img");
        let files = sums_of(&disk)?.context("no sums")?;
        change(&disk, &files, END, |fresh| Ok(fresh.write_all_at(b"settings", 4096)?), &quiet())
    }

    /// Checks that every file matches `SHA256SUMS` and the manifest.
    fn is_sealed(directory: &Path) -> Result<()> {
        let files = sums_of(&directory.join("disk.img"))?.context("no sums")?;
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(directory.join(MANIFEST))?)?;
        let packages = manifest["packages"].as_array().context("no packages")?;
        for file in &files {
            assert_eq!(Digest::of(&fs::read(directory.join(&file.name))?), file.sha256, "{}", file.name);
            let said = packages.iter().find(|package| package["packageFileName"] == file.name.as_str());
            let said = said.map(|package| package["checksums"][0]["checksumValue"].as_str().unwrap_or_default());
            assert!(file.name == MANIFEST || said == Some(&file.sha256.to_string()), "{}: {said:?}", file.name);
        }
        Ok(())
    }

    #[test]
    fn everything_that_vouches_for_the_disk_is_renewed() -> Result<()> {
        for with in [&[][..], &["disk.img.bmap"], &["disk.img.bmap", "disk.img.zst"]] {
            let directory = tempfile::tempdir()?;
            let directory = directory.path();
            let before = image(directory, with)?;
            let namespace = |text: Vec<u8>| -> Result<serde_json::Value> {
                Ok(serde_json::from_slice::<serde_json::Value>(&text)?["documentNamespace"].clone())
            };
            let old_namespace = namespace(fs::read(directory.join(MANIFEST))?)?;
            set(directory)?;
            is_sealed(directory)?;
            let disk = fs::read(directory.join("disk.img"))?;
            assert_eq!(
                (&disk[512..516], &disk[4096..4104], &disk[2 << 20..(2 << 20) + 4]),
                (&b"boot"[..], &b"settings"[..], &b"root"[..])
            );
            let after = sums_of(&directory.join("disk.img"))?.context("no sums")?;
            assert_eq!(after.len(), before.len());
            assert_ne!(namespace(fs::read(directory.join(MANIFEST))?)?, old_namespace);
            if with.contains(&"disk.img.zst") {
                assert!(zstd::decode_all(File::open(directory.join("disk.img.zst"))?)? == disk);
            }
            // No temporary files are left, and a second change works as well.
            assert!(
                fs::read_dir(directory)?.flatten().all(|entry| !entry.file_name().to_string_lossy().contains("part"))
            );
            set(directory)?;
            is_sealed(directory)?;
        }
        Ok(())
    }

    #[test]
    fn a_damaged_disk_is_not_vouched_for() -> Result<()> {
        let directory = tempfile::tempdir()?;
        image(directory.path(), &[])?;
        let sums = fs::read(directory.path().join(SUMS))?;
        let disk = File::options().write(true).open(directory.path().join("disk.img"))?;
        disk.write_all_at(b"?", 3 << 20)?;
        let refused = set(directory.path()).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|text| text.contains("damaged, or changed by another program")));
        assert_eq!(fs::read(directory.path().join(SUMS))?, sums);
        assert_eq!(fs::read(directory.path().join("disk.img"))?[4096..4104], [0; 8]);
        Ok(())
    }

    #[test]
    fn a_disk_that_nobody_vouches_for_has_no_sums() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let disk = directory.path().join("stick.img");
        assert_eq!(sums_of(&disk)?, None);
        fs::write(directory.path().join(SUMS), format!("{}  other.img\n", Digest::of(b"")))?;
        assert_eq!(sums_of(&disk)?, None);
        Ok(())
    }
}
