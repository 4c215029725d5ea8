//! Reports on initramfs files: an uncompressed archive with the settings, then a compressed one.

use std::fs::File;
use std::io::Read;

use anyhow::{Context as _, Result, ensure};
use fsimage::{FileTree, NodeKind, cpio};
use serde::Serialize;

use crate::image::initramfs::SETTINGS;

/// Limit on the unpacked size, in bytes.
const MAX_SIZE: u64 = 4 << 30;

/// Report on an initramfs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InitramfsReport {
    /// Number of kernel modules in it.
    pub modules: usize,
    /// Length of rocbed-init in bytes.
    pub init: u64,
    /// The appliance's settings, as TOML.
    pub settings: String,
    /// All paths, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

pub(super) fn read(mut file: File, files: bool) -> Result<InitramfsReport> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let plain = cpio::read(&bytes, cpio::Limits::default()).context("reading the settings archive")?;
    let rest = bytes.get(plain.end..).unwrap_or_default();
    let mut unpacked = Vec::new();
    let decoder = zstd::Decoder::new(rest).context("reading the compressed archive")?;
    decoder.take(MAX_SIZE + 1).read_to_end(&mut unpacked).context("decompressing")?;
    ensure!(unpacked.len() as u64 <= MAX_SIZE, "it unpacks to over {MAX_SIZE} bytes");
    let main = cpio::read(&unpacked, cpio::Limits::default()).context("reading the compressed archive")?.tree;
    let is_module = |path: &[u8]| rootfs::finish::module_name(path).is_some();
    Ok(InitramfsReport {
        modules: main.iter().filter(|(path, _)| is_module(path)).count(),
        init: content(&main, "init").map_or(0, |bytes| bytes.len() as u64),
        settings: content(&plain.tree, SETTINGS)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default(),
        files: files.then(|| main.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect()),
    })
}

fn content(tree: &FileTree, path: &str) -> Option<Vec<u8>> {
    let NodeKind::File(content) = &tree.get(path)?.kind else { return None };
    let mut bytes = Vec::new();
    content.open().ok()?.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
