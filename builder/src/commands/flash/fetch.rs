//! Images from a server: into the store, where a download goes on after an interruption and the next stick finds it.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use stick::source::{self, Source};
use store::{Digest, Download, FetchOptions, Fetcher};

use crate::context::Context;

/// Bytes of a `SHA256SUMS` file, at most.
const SUMS: u64 = 1 << 20;

/// Bytes of an image, at most.
const LARGEST: u64 = 256 << 30;

/// Opens an image of a path, or downloads it first.
pub(super) fn open(context: &Context, image: &str, sha256: Option<[u8; 32]>) -> Result<Source> {
    if image.starts_with("http://") || image.starts_with("https://") {
        return download(context, image, sha256);
    }
    Ok(Source::open(Path::new(image), sha256)?)
}

fn download(context: &Context, url: &str, sha256: Option<[u8; 32]>) -> Result<Source> {
    let options = FetchOptions { size_limit: LARGEST, ..FetchOptions::default() };
    let fetcher = Fetcher::new(context.store()?, options)?;
    let is_file = [".img", ".zst"].iter().any(|end| url.ends_with(end));
    let (directory, name) =
        if is_file { url.rsplit_once('/').unwrap_or((url, "")) } else { (url.trim_end_matches('/'), "") };
    let (name, digest) = match sha256 {
        Some(digest) if is_file => (name.to_owned(), digest),
        Some(_) => bail!(
            "--sha256 is the digest of a file, and {url} is a directory\n  help: add /disk.img.zst to the address"
        ),
        None => from_sums(&fetcher, directory, name)?,
    };
    let url = format!("{directory}/{name}");
    let download = Download { urls: vec![url.clone()], size: None, digest: Digest::from(digest), label: name };
    let paths = fetcher.fetch_all(&[download], &context.reporter).with_context(|| format!("downloading {url}"))?;
    let path = paths.first().context("the store has lost the image")?;
    context.reporter.detail(&format!("{url} is {}", path.display()));
    Ok(Source::open(path, Some(digest))?)
}

/// The name and digest of the image in the list beside it.
fn from_sums(fetcher: &Fetcher, directory: &str, name: &str) -> Result<(String, [u8; 32])> {
    let sums = format!("{directory}/SHA256SUMS");
    let text = fetcher.fetch_bytes(&sums, SUMS).with_context(|| {
        format!("reading the digests beside the image\n  help: give the image's digest with --sha256 if the server has no {sums}")
    })?;
    let text = String::from_utf8_lossy(&text);
    let names: &[&str] = if name.is_empty() { &["disk.img.zst", "disk.img"] } else { &[name] };
    let found = names.iter().find_map(|name| Some(((*name).to_owned(), source::digest_in_sums(&text, name)?)));
    found.with_context(|| format!("{sums} has no {}", names.join(" and no ")))
}
