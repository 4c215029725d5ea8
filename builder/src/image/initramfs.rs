//! The initramfs: rocbed-init, the modules to reach any root, and the appliance's settings.
//!
//! It consists of two concatenated archives, as the kernel allows (its documentation of the initramfs buffer format):
//! a small uncompressed one with the settings, then the large compressed one. Changing a setting leaves the large one
//! as it is. A third one, in a file of its own, is for network boot: it adds the drivers of network cards, and
//! replaces the module index by one that includes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp, cpio};

use super::modules::Selection;
use crate::recipe::SettingsTable;

/// Path of the settings, in the initramfs as in the running appliance.
pub const SETTINGS: &str = "etc/rocbed/rocbed.toml";

/// Modules are already compressed and hardly shrink; a higher level only takes time.
const COMPRESSION_LEVEL: i32 = 6;

/// Modules that nearly every boot loads, stored uncompressed. The kernel takes far longer to decompress modules one by
/// one than the archive they are in, and longer still without hardware virtualisation.
const PLAIN: [&str; 8] =
    ["ext4", "jbd2", "mbcache", "crc16", "crc32c-cryptoapi", "overlay", "virtio_blk", "virtio-rng"];

/// Index files that rocbed-init reads.
const INDEXES: [&str; 3] = ["modules.dep", "modules.alias", "modules.softdep"];

/// Inputs for the large archive.
pub struct Parts<'a> {
    /// rocbed-init; `None` for an archive that follows another one.
    pub init: Option<Content>,
    /// The kernel's version, which names its module directory.
    pub kernel: &'a str,
    /// Modules to include, and their index.
    pub modules: &'a Selection,
    /// Modules that an earlier archive already has.
    pub besides: &'a BTreeSet<String>,
    /// Directory of the modules' firmware on this machine, if firmware is to be included.
    pub firmware: Option<&'a Path>,
    /// The kernel's module directory on this machine.
    pub directory: &'a Path,
    /// Timestamp of all files, in seconds since 1970.
    pub epoch: i64,
}

/// File tree of the large archive.
pub fn tree(parts: &Parts) -> Result<FileTree> {
    let time = Timestamp::from_seconds(parts.epoch);
    let directory = Metadata::root(0o755, time);
    let mut tree = FileTree::new(directory.clone());
    for path in ["dev", "etc/rocbed", "proc", "run", "sys", "newroot"] {
        tree.create_directories(path, &directory)?;
    }
    if let Some(init) = &parts.init {
        let program = Node { kind: NodeKind::File(init.clone()), metadata: Metadata::root(0o755, time) };
        tree.insert("init", program)?;
    }
    let home = format!("usr/lib/modules/{}", parts.kernel);
    let mut add = |path: String, content: Content| -> Result<()> {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        tree.create_directories(above, &directory)?;
        tree.insert(&path, Node { kind: NodeKind::File(content), metadata: Metadata::root(0o644, time) })?;
        Ok(())
    };
    let mut renamed = Vec::new();
    for module in &parts.modules.paths {
        let path = parts.directory.join(module);
        let plain = plain_name(module);
        renamed.extend(plain.map(|plain| (module.as_str(), plain)));
        if parts.besides.contains(module) {
            continue;
        }
        if let Some(plain) = plain {
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            let bytes = kmod::decompress(&bytes).with_context(|| format!("decompressing {}", path.display()))?;
            add(format!("{home}/{plain}"), Content::from(bytes.into_owned()))?;
            continue;
        }
        let length = fs::metadata(&path).with_context(|| format!("examining {}", path.display()))?.len();
        add(format!("{home}/{module}"), Content::HostFile { path, length })?;
    }
    for (path, bytes) in firmware(parts)? {
        add(path, Content::from(bytes))?;
    }
    // The other index files are for kmod only.
    for (name, bytes) in parts.modules.files()?.into_iter().filter(|(name, _)| INDEXES.contains(name)) {
        let bytes = if name == "modules.dep" { with_names(bytes, &renamed)? } else { bytes };
        add(format!("{home}/{name}"), Content::from(bytes))?;
    }
    Ok(tree)
}

/// The firmware in the root that the modules may request, by path. The kernel also finds compressed files, under their
/// own names (its documentation of the firmware search path).
fn firmware(parts: &Parts) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let Some(home) = parts.firmware else { return Ok(found) };
    for name in &parts.modules.firmware {
        for suffix in ["", ".xz", ".zst"] {
            let path = home.join(format!("{name}{suffix}"));
            if path.is_file() {
                let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                found.push((format!("usr/lib/firmware/{name}{suffix}"), bytes));
            }
        }
    }
    Ok(found)
}

/// File name without the compression suffix for a module that every boot needs; `None` for others, and if it has no
/// suffix.
fn plain_name(module: &str) -> Option<&str> {
    let plain = module.get(..module.find(".ko.")? + ".ko".len())?;
    let name = plain.rsplit('/').next()?.strip_suffix(".ko")?;
    PLAIN.contains(&name).then_some(plain)
}

/// `modules.dep` with some modules renamed.
fn with_names(bytes: Vec<u8>, renamed: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut text = String::from_utf8(bytes).context("reading modules.dep")?;
    for (from, to) in renamed {
        text = text.replace(from, to);
    }
    Ok(text.into_bytes())
}

/// Packs a tree as a zstd-compressed cpio archive.
pub fn compressed(tree: &FileTree) -> Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL).context("starting the compressor")?;
    cpio::write(tree, &mut encoder).context("writing the initramfs")?;
    encoder.finish().context("compressing the initramfs")
}

/// The settings and the recipe's name as an uncompressed cpio archive, padded so that another archive may follow.
pub fn settings(recipe: &str, settings: &SettingsTable, epoch: i64) -> Result<Vec<u8>> {
    let time = Timestamp::from_seconds(epoch);
    let directory = Metadata::root(0o755, time);
    let mut tree = FileTree::new(directory.clone());
    tree.create_directories("etc/rocbed", &directory)?;
    let recipe = toml::Value::from(recipe);
    let text = format!("recipe = {recipe}\n{}", toml::to_string(settings).context("writing the settings")?);
    let file = Node { kind: NodeKind::File(Content::from(text.as_str())), metadata: Metadata::root(0o644, time) };
    tree.insert(SETTINGS, file)?;
    let mut archive = Vec::new();
    cpio::write(&tree, &mut archive).context("writing the settings archive")?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_start_needs_is_decompressed() {
        assert_eq!(plain_name("kernel/fs/ext4/ext4.ko.xz"), Some("kernel/fs/ext4/ext4.ko"));
        assert_eq!(plain_name("kernel/fs/ext4/ext4.ko"), None);
        assert_eq!(plain_name("kernel/drivers/nvme/host/nvme.ko.xz"), None);
        let dep = b"fs/ext4.ko.xz: fs/jbd2.ko.xz\nfs/jbd2.ko.xz:\n".to_vec();
        let renamed = [("fs/jbd2.ko.xz", "fs/jbd2.ko")];
        assert_eq!(with_names(dep, &renamed).unwrap(), b"fs/ext4.ko.xz: fs/jbd2.ko\nfs/jbd2.ko:\n");
    }

    #[test]
    fn settings_come_as_toml_in_an_archive_of_their_own() {
        let recipe = crate::recipe::parse_file("[settings]\nname = 'gpu-7'\n", "r.toml").unwrap();
        let archive = settings("rocm", &recipe.settings, 0).unwrap();
        assert!(archive.starts_with(b"070701"), "newc, not compressed");
        assert_eq!(archive.len() % 512, 0);
        let read = cpio::read(&archive, cpio::Limits::default()).unwrap();
        let Some(NodeKind::File(content)) = read.tree.get(SETTINGS).map(|node| node.kind.clone()) else {
            panic!("no settings in the archive")
        };
        assert_eq!(content, Content::from("recipe = \"rocm\"\nname = \"gpu-7\"\n"));
    }
}
