//! The unified kernel image, the EFI system partition it boots from, and the disk around them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use advice::Advice;
use anyhow::{Context, Result};
use diskimage::gpt::{Attributes, types};
use diskimage::layout::{PartitionSpec, layout};
use diskimage::{Guid, SectorSize, fat, gpt, uki};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};
use progress::Progress;
use sha256::Digest;

use super::copy;
use super::publish::Staging;
use super::root_image::RootImage;
use super::signed::{self, BOOT_PROGRAM, Programs};
use super::state::{DiskLayout, Unchanged};
use crate::recipe::Image;

/// Where boot loaders look for unified kernel images (UAPI Boot Loader Specification, "Type #2").
const UKI_DIRECTORY: &str = "EFI/Linux";

/// Free space in bytes on the EFI system partition beyond the kernel image, for settings and job lists.
const ESP_ROOM: u64 = 8 << 20;

/// Number of bytes at the start of the data partition that are zeroed: file system signatures are there (wipefs(8)
/// knows none further behind that Linux would mount there).
const DATA_START: u64 = 128 << 10;

/// Writes the unified kernel image. Returns its length in bytes.
pub fn write_uki(stub: &[u8], parts: &uki::Parts, staging: &mut Staging) -> Result<u64> {
    let mut bytes = Vec::new();
    let size = uki::write(stub, parts, &mut bytes).context("making the unified kernel image")?;
    staging.write("uki.efi", &bytes)?;
    Ok(size)
}

/// Inputs for a disk, besides the finished `uki.efi`, `root.img`, `vmlinuz` and `initrd.img`.
pub struct DiskRequest<'a> {
    /// Root file system image.
    pub root: RootImage,
    /// The `root.img` of an earlier build, to be used again. Its digest is checked again while copying if the file may
    /// have changed. If the old `disk.img` has this root at the same offset, only the bytes around it are written.
    pub unchanged: Option<Unchanged>,
    /// Write the whole disk in any case, for a caller that reads it before it is published.
    pub whole: bool,
    /// Signed programs that start the disk; without them the firmware starts the unified kernel image.
    pub signed: Option<&'a Programs>,
    /// Sizes of the partitions.
    pub image: &'a Image,
    /// Logical sector size of the disk.
    pub sector_size: SectorSize,
    /// Timestamp of everything in it, in seconds since 1970.
    pub epoch: i64,
}

/// Writes `disk.img`. Its bytes depend only on the files that are its inputs and on `wanted`.
pub fn write_disk(wanted: &DiskRequest<'_>, staging: &mut Staging, progress: &dyn Progress) -> Result<DiskLayout> {
    let DiskRequest { root, unchanged, whole, signed, image, sector_size, epoch } = *wanted;
    let boot = boot_tree(staging, signed, epoch)?;
    let needed = fat::required_size(&boot, sector_size).context("sizing the EFI system partition")?;
    let esp_size = image.esp_size.unwrap_or(needed + ESP_ROOM);
    let identity = identity(staging, signed);
    let unique = |what: &str| Guid::from_digest(&identity, what);
    let specs = [
        PartitionSpec {
            type_guid: types::ESP,
            unique_guid: unique("EFI system partition"),
            name: "rocbed-esp".into(),
            size: esp_size,
            attributes: Attributes::default(),
        },
        PartitionSpec {
            type_guid: types::ROOT_X86_64,
            unique_guid: root.partition(),
            name: "rocbed-root".into(),
            size: root.size,
            attributes: Attributes::READ_ONLY.with(Attributes::NO_AUTO),
        },
        PartitionSpec {
            type_guid: types::LINUX_GENERIC,
            unique_guid: unique("data partition"),
            name: "rocbed-data".into(),
            size: image.data_size,
            attributes: Attributes::NO_AUTO,
        },
    ];
    let layout = layout(&specs).context("laying out the disk")?;
    let disk = staging.create("disk.img")?;
    disk.set_len(layout.disk_size).context("sizing disk.img")?;
    let [esp, root_partition, data] = layout.partitions.as_slice() else {
        anyhow::bail!("the layout lost a partition")
    };
    let options = fat::FatOptions {
        size: esp.size,
        sector_size,
        volume_id: u32::from_be_bytes(first_four(identity.as_bytes())),
        label: Some("ROCBED".into()),
        timestamp: Timestamp::from_seconds(epoch),
    };
    fat::write(&boot, &disk, esp.start, &options, progress).context("writing the EFI system partition")?;
    gpt::write(&disk, unique("disk"), sector_size, &layout.partitions)?;
    // On a used stick, old results must not seem to be of this image. Written as data, not as a hole, so that it is
    // flashed too.
    let nothing = vec![0; DATA_START.min(data.size) as usize];
    disk.write_all_at(&nothing, data.start).context("erasing the start of the data partition")?;
    let path = staging.current("root.img");
    let source = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let made = DiskLayout { size: layout.disk_size, root: root_partition.start };
    let graft = !whole && unchanged.is_some_and(|old| old.disk == Some(made));
    let how = match unchanged {
        _ if graft => copy::Copy::Pretend,
        Some(Unchanged { untouched: false, .. }) => copy::Copy::Check,
        _ => copy::Copy::Plain,
    };
    let copied = copy::into_disk(&source, &disk, root_partition.start, how, progress)
        .context("copying the root file system into disk.img")?;
    if copied.source.is_some_and(|sha256| sha256 != root.sha256) {
        anyhow::bail!(Advice::new(
            format!("{} is not what it was when it was built: its content has changed", path.display()),
            "remove it and build again"
        ));
    }
    let digest = copied.disk;
    if graft {
        staging.finished_around("disk.img", made.root..made.root + root.size, made.size, digest);
    } else {
        staging.finished("disk.img", made.size, digest);
    }
    Ok(made)
}

fn first_four(bytes: &[u8; 32]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

/// Digest of the disk's inputs: the UUIDs of its parts are derived from it.
fn identity(staging: &Staging, signed: Option<&Programs>) -> Digest {
    let files = staging.files();
    // The kernel, the initramfs and the command line of the signed start are in the unified kernel image.
    let made_of = files.iter().filter(|file| matches!(file.name.as_str(), "uki.efi" | "root.img"));
    let mut text: String = made_of.map(|file| format!("{} {}\n", file.sha256, file.name)).collect();
    for (path, bytes) in signed.map(Programs::files).unwrap_or_default() {
        text.push_str(&format!("{} {path}\n", Digest::of(bytes)));
    }
    Digest::of(text.as_bytes())
}

/// Files of the EFI system partition.
fn boot_tree(staging: &Staging, signed: Option<&Programs>, epoch: i64) -> Result<FileTree> {
    let time = Timestamp::from_seconds(epoch);
    let directory = Metadata::root(0o755, time);
    let mut tree = FileTree::new(directory.clone());
    let mut add = |path: &str, content: Content| -> Result<()> {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        tree.create_directories(above, &directory)?;
        tree.insert(path, Node { kind: NodeKind::File(content), metadata: Metadata::root(0o755, time) })?;
        Ok(())
    };
    let image_file = |name: &str| -> Result<Content> {
        let path = staging.current(name);
        let length = fs::metadata(&path).with_context(|| format!("examining {}", path.display()))?.len();
        Ok(Content::HostFile { path, length })
    };
    let Some(signed) = signed else {
        add(BOOT_PROGRAM, image_file("uki.efi")?)?;
        return Ok(tree);
    };
    for (path, bytes) in signed.files() {
        add(path, Content::from(bytes.to_vec()))?;
    }
    add(signed::KERNEL, image_file("vmlinuz")?)?;
    add(signed::INITRD, image_file("initrd.img")?)?;
    add(&format!("{UKI_DIRECTORY}/rocbed.efi"), image_file("uki.efi")?)?;
    Ok(tree)
}
