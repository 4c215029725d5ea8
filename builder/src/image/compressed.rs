//! The compressed disk and its block map, for flashing.

use std::fs::File;

use anyhow::{Context as _, Result};
use diskimage::blockmap::BlockMap;
use diskimage::compress;

use super::publish::Staging;
use crate::report::Reporter;

/// Writes the block map of a finished disk.
pub(super) fn map_disk(staging: &mut Staging, name: &str, reporter: &Reporter) -> Result<()> {
    let source = staging.current(name);
    let disk = File::open(&source).with_context(|| format!("opening {}", source.display()))?;
    let map = BlockMap::of(&disk, reporter).with_context(|| format!("mapping the blocks of {name}"))?;
    staging.write(&format!("{name}.bmap"), map.to_xml().as_bytes())
}

/// Compresses a finished disk.
pub(super) fn compress_disk(staging: &mut Staging, name: &str, reporter: &Reporter) -> Result<()> {
    let (source, compressed) = (staging.current(name), format!("{name}.zst"));
    let disk = File::open(&source).with_context(|| format!("opening {}", source.display()))?;
    let target = staging.create(&compressed)?;
    let options = compress::CompressOptions::default();
    compress::compress(&disk, &target, options, reporter).with_context(|| format!("compressing {name}"))?;
    let size = target.metadata().with_context(|| format!("examining {compressed}"))?.len();
    let sha256 = diskimage::sparse::sha256(&target).with_context(|| format!("hashing {compressed}"))?;
    staging.finished(&compressed, size, sha256);
    Ok(())
}
