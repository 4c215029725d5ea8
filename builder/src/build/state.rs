//! What an image directory was built from, so that a build which changes only settings keeps its root file system.
//!
//! The file is a note to ourselves, hidden in the image directory. Where it is missing or does not fit the files, they
//! are written anew.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use store::Digest;

use super::disk::RootImage;
use super::manifest::ImageFile;
use super::programs;
use super::publish::Staging;
use crate::atomic;

const NAME: &str = ".state.json";

#[derive(Serialize, Deserialize)]
struct State {
    /// What the root file system is made from.
    identity: Digest,
    /// The program that made it: another one may write the same tree in another way.
    program: String,
    /// The file as it was published.
    sha256: Digest,
    size: u64,
    /// Nanoseconds since 1970; a file touched since is not trusted.
    modified: u128,
}

/// The `root.img` in the directory, if it is what `identity` would become again and nobody has touched it.
pub fn unchanged(staging: &Staging, identity: &Digest) -> Result<Option<RootImage>> {
    let directory = staging.directory();
    let Ok(text) = fs::read_to_string(directory.join(NAME)) else { return Ok(None) };
    let Ok(state) = serde_json::from_str::<State>(&text) else { return Ok(None) };
    let fits = state.identity == *identity
        && state.program == programs::stamp()?
        && stamp(directory)?.is_some_and(|(size, modified)| size == state.size && modified == state.modified);
    Ok(fits.then_some(RootImage { sha256: state.sha256, size: state.size }))
}

/// Notes what was published.
pub fn remember(directory: &Path, identity: &Digest, files: &[ImageFile]) -> Result<()> {
    let root = files.iter().find(|file| file.name == "root.img").context("no root.img was built")?;
    let (size, modified) = stamp(directory)?.context("root.img is gone")?;
    let state = State { identity: *identity, program: programs::stamp()?, sha256: root.sha256, size, modified };
    let path = directory.join(NAME);
    atomic::write(&path, serde_json::to_string(&state)?.as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}

fn stamp(directory: &Path) -> Result<Option<(u64, u128)>> {
    let path = directory.join("root.img");
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("examining {}", path.display())),
    };
    let modified = metadata.modified().context("reading a file's time")?;
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Some((metadata.len(), since.as_nanos())))
}
