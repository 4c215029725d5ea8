//! What is in an image, read from its bytes and never from the manifest.

mod disk;
mod initramfs;
mod program;
mod root;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

pub use disk::{DiskReport, PartitionReport};
pub use initramfs::InitramfsReport;
pub use program::ProgramReport;
pub use root::{RootReport, root_packages};

/// Files of an image directory that say something of their own, in the order in which they are shown.
const FILES: [&str; 4] = ["disk.img", "uki.efi", "initrd.img", "root.img"];

/// One file's report.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Report {
    /// A partitioned disk.
    Disk(DiskReport),
    /// A root file system.
    Root(RootReport),
    /// A unified kernel image.
    UnifiedKernelImage(ProgramReport),
    /// An initramfs.
    Initramfs(InitramfsReport),
}

/// Inspects an image directory's files, or one file. `files` asks for every path of the root and the initramfs.
pub fn inspect(path: &Path, files: bool) -> Result<BTreeMap<String, Report>> {
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(BTreeMap::from([(name, file(path, files)?)]));
    }
    let present: Vec<&str> = FILES.into_iter().filter(|name| path.join(name).is_file()).collect();
    if present.is_empty() {
        bail!(
            "{} holds none of an image's files: {}\n  help: `rocbed build` makes an image",
            path.display(),
            FILES.join(", ")
        );
    }
    present.into_iter().map(|name| Ok((name.to_owned(), file(&path.join(name), files)?))).collect()
}

/// Inspects one file, whose kind its first bytes tell.
fn file(path: &Path, files: bool) -> Result<Report> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut start = Vec::new();
    (&mut file).take(0x440).read_to_end(&mut start).with_context(|| format!("reading {}", path.display()))?;
    let report = match start.as_slice() {
        [b'M', b'Z', ..] => program::read(path).map(Report::UnifiedKernelImage),
        [b'0', b'7', b'0', b'7', ..] => initramfs::read(path, files).map(Report::Initramfs),
        bytes if bytes.get(0x438..0x43a) == Some(&[0x53, 0xef]) => root::read(file, 0, files).map(Report::Root),
        bytes if bytes.get(0x1fe..0x200) == Some(&[0x55, 0xaa]) => disk::read(file, files).map(Report::Disk),
        _ => bail!(
            "{} is neither a disk with a partition table, an ext4 file system, a unified kernel image nor an initramfs of rocbed's",
            path.display()
        ),
    };
    report.with_context(|| format!("inspecting {}", path.display()))
}
