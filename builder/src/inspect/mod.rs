//! Reports on the contents of an image, read from its bytes and never from the manifest.

mod compare;
mod disk;
mod initramfs;
mod input;
mod program;
mod root;

use std::collections::BTreeMap;
use std::path::Path;

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use serde::Serialize;

pub use compare::{Difference, compare};
pub use disk::{
    BootReport, DiskReport, EntryReport, EspReport, PartitionReport, UnifiedReport, starts_with_secure_boot,
};
pub use initramfs::InitramfsReport;
pub use program::ProgramReport;
pub use root::{RootReport, root_packages};

/// Files of an image directory that are reported on, in the order in which they are shown.
const FILES: [&str; 4] = ["disk.img", "uki.efi", "initrd.img", "root.img"];

/// Report on one file.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FileReport {
    /// A partitioned disk.
    Disk(DiskReport),
    /// A root file system.
    Root(RootReport),
    /// An EFI system partition alone.
    EfiSystemPartition(EspReport),
    /// A unified kernel image.
    UnifiedKernelImage(ProgramReport),
    /// An initramfs.
    Initramfs(InitramfsReport),
}

/// Compressed files to use if the uncompressed one is missing, as in the output of `rocbed netboot --files` or where
/// only small files were kept.
const COMPRESSED: [(&str, &str); 2] = [("disk.img", "disk.img.zst"), ("root.img", "root.img.zst")];

/// Inspects an image directory's files, a single file, a disk, or stdin. `files` requests all paths of the root and
/// the initramfs.
pub fn inspect(path: &Path, files: bool) -> Result<BTreeMap<String, FileReport>> {
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if path.as_os_str() == input::STDIN { "stdin".to_owned() } else { name };
        return Ok(BTreeMap::from([(name, file(path, files)?)]));
    }
    let present: Vec<&str> = FILES.into_iter().filter_map(|name| there_is(path, name)).collect();
    if present.is_empty() {
        bail!(Advice::new(
            format!("{} holds none of an image's files: {}", path.display(), FILES.join(", ")),
            "`rocbed build` makes an image"
        ));
    }
    present.into_iter().map(|name| Ok((name.to_owned(), file(&path.join(name), files)?))).collect()
}

/// The name under which a directory has one of an image's files, compressed or not.
fn there_is(directory: &Path, name: &'static str) -> Option<&'static str> {
    let compressed = COMPRESSED.iter().filter(|(plain, _)| *plain == name).map(|(_, compressed)| *compressed);
    std::iter::once(name).chain(compressed).find(|name| directory.join(name).is_file())
}

/// Inspects one file; its type is recognised by its first bytes.
fn file(path: &Path, files: bool) -> Result<FileReport> {
    let file = input::open(path)?;
    let start = input::start(&file).with_context(|| format!("reading {}", path.display()))?;
    let is = |at: usize, bytes: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    let has_table = is(512, b"EFI PART") || is(4096, b"EFI PART");
    let report = match start.as_slice() {
        [b'M', b'Z', ..] => program::read(file).map(FileReport::UnifiedKernelImage),
        [b'0', b'7', b'0', b'7', ..] => initramfs::read(file, files).map(FileReport::Initramfs),
        _ if is(0x438, &[0x53, 0xef]) => root::read(file, 0, files).map(FileReport::Root),
        // A FAT file system and a disk have the same signature at the end of their first sector.
        _ if !has_table && is(82, b"FAT32   ") => disk::read_esp(file).map(FileReport::EfiSystemPartition),
        _ if has_table || is(510, &[0x55, 0xaa]) => disk::read(file, files).map(FileReport::Disk),
        [] => bail!("{} is empty", path.display()),
        bytes if bytes.iter().all(|byte| *byte == 0) => bail!(
            "{} begins with nothing but zeros: it is a disk that was erased, or a data partition that was not used yet",
            path.display()
        ),
        _ => bail!(
            "{} is neither a disk with a partition table, an ext4 file system, an EFI system partition, a unified kernel image nor an initramfs of rocbed's",
            path.display()
        ),
    };
    report.with_context(|| format!("inspecting {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use diskimage::{SectorSize, fat};
    use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};

    use super::*;

    /// Writes an EFI system partition with these files, each below directories that exist.
    fn write_esp(path: &Path, directories: &[&str], files: &[(&str, &str)]) -> Result<()> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        let time = Timestamp::from_seconds(1_700_000_000);
        let mut tree = FileTree::new(Metadata::root(0o755, time));
        for name in directories {
            tree.insert(*name, Node { kind: NodeKind::Directory, metadata: Metadata::root(0o755, time) })?;
        }
        for (name, text) in files {
            let kind = NodeKind::File(Content::from(*text));
            tree.insert(*name, Node { kind, metadata: Metadata::root(0o644, time) })?;
        }
        let size = fat::required_size(&tree, SectorSize::Bytes512)?;
        file.set_len(size)?;
        let options = fat::FatOptions {
            size,
            sector_size: SectorSize::Bytes512,
            volume_id: 1,
            label: Some("ROCBED".into()),
            timestamp: time,
        };
        fat::write(&tree, &file, 0, &options, &progress::Silent)?;
        Ok(())
    }

    /// A partition on its own, as below /dev, has no partition table before it.
    #[test]
    fn an_efi_system_partition_is_told_from_a_disk() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sdx1");
        write_esp(&path, &[], &[("rocbed.toml", "name = \"x\"\n")])?;
        let reports = inspect(&path, false)?;
        let Some(FileReport::EfiSystemPartition(esp)) = reports.get("sdx1") else { panic!("{reports:?}") };
        assert_eq!(esp.files, [("rocbed.toml".to_owned(), 11)]);
        assert!(esp.boot.signed.is_empty() && esp.boot.entries.is_empty() && esp.boot.unified.is_none());
        Ok(())
    }

    /// A memory test and a shell in the menu, and a boot loader for 32-bit firmware.
    #[test]
    fn files_of_other_systems_are_no_error() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sdx1");
        let files = [
            ("EFI/BOOT/BOOTIA32.EFI", "MZ, and a program that is not for 64 bits"),
            ("loader/entries/debian.conf", "title Debian\nlinux /vmlinuz\ninitrd /initrd.img\n"),
            ("loader/entries/shell.conf", "title Shell\nefi /shell.efi\n"),
        ];
        write_esp(&path, &["EFI", "EFI/BOOT", "loader", "loader/entries"], &files)?;
        let reports = inspect(&path, false)?;
        let Some(FileReport::EfiSystemPartition(esp)) = reports.get("sdx1") else { panic!("{reports:?}") };
        assert_eq!(esp.files.len(), 3);
        let entries: Vec<_> = esp.boot.entries.iter().map(|entry| entry.title.as_str()).collect();
        assert_eq!(entries, ["Debian"]);
        assert!(esp.boot.signed.is_empty() && esp.boot.unified.is_none());
        Ok(())
    }

    #[test]
    fn what_is_nothing_of_an_image_says_so() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("x");
        let told = |bytes: &[u8]| -> Result<String> {
            std::fs::write(&path, bytes)?;
            Ok(inspect(&path, false).map_err(|error| format!("{error:#}")).unwrap_err())
        };
        assert!(told(b"")?.ends_with("x is empty"));
        assert!(told(&[0; 9000])?.contains("nothing but zeros"));
        assert!(told(b"some text")?.contains("is neither a disk with a partition table"));
        let file = File::options().write(true).open(&path)?;
        file.write_all_at(&[0x55, 0xaa], 510)?;
        let error = inspect(&path, false).map_err(|error| format!("{error:#}")).unwrap_err();
        assert!(error.contains("reading the partition table"), "{error}");
        Ok(())
    }
}
