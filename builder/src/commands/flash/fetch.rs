//! Download of images into the store, from where an interrupted download resumes and the next stick is written.

use std::path::Path;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail, ensure};
use sha256::{Digest, sums};
use stick::source::Source;
use store::{Download, FetchOptions, Fetcher};

use crate::context::Context;
use crate::image_path;

/// Size limit of a `SHA256SUMS` file in bytes.
const SUMS: u64 = 1 << 20;

/// Size limit of an image in bytes.
const LARGEST: u64 = 256 << 30;

/// Fails if an image given by path is not there.
pub(super) fn require(image: &str) -> Result<()> {
    let path = Path::new(image);
    ensure!(is_address(image) || path.exists(), image_path::missing(path));
    Ok(())
}

/// Opens an image given by path, or downloads it first.
pub(super) fn open(context: &Context, image: &str, sha256: Option<Digest>) -> Result<Source> {
    if is_address(image) {
        return download(context, image, sha256);
    }
    Ok(Source::open(Path::new(image), sha256)?)
}

fn is_address(image: &str) -> bool {
    image.starts_with("http://") || image.starts_with("https://")
}

fn download(context: &Context, url: &str, sha256: Option<Digest>) -> Result<Source> {
    let proxies = crate::mirror::proxies().proxies;
    let options = FetchOptions { size_limit: LARGEST, proxies, ..FetchOptions::default() };
    let fetcher = Fetcher::new(context.store()?, options)?;
    let is_file = [".img", ".zst"].iter().any(|end| url.ends_with(end));
    let (directory, name) =
        if is_file { url.rsplit_once('/').unwrap_or((url, "")) } else { (url.trim_end_matches('/'), "") };
    let (name, digest) = match sha256 {
        Some(digest) if is_file => (name.to_owned(), digest),
        Some(_) => bail!(Advice::new(
            format!("--sha256 is the digest of a file, and {url} is a directory"),
            "add /disk.img.zst to the address"
        )),
        None => from_sums(&fetcher, directory, name)?,
    };
    let url = format!("{directory}/{name}");
    let download = Download { urls: vec![url.clone()], size: None, digest, label: name };
    let paths = fetcher.fetch_checked(&[download], &context.reporter).with_context(|| format!("downloading {url}"))?;
    let path = paths.first().context("the store has lost the image")?;
    context.reporter.detail(&format!("{url} is {}", path.display()));
    Ok(Source::open(path, Some(digest))?)
}

/// The image's file name and its digest in the `SHA256SUMS` beside it.
fn from_sums(fetcher: &Fetcher, directory: &str, name: &str) -> Result<(String, Digest)> {
    let sums = format!("{directory}/SHA256SUMS");
    let text = fetcher
        .fetch_bytes(&sums, SUMS)
        .context("reading the digests beside the image")
        .with_help(|| format!("give the image's digest with --sha256 if the server has no {sums}"))?;
    let text = String::from_utf8_lossy(&text);
    let names: &[&str] = if name.is_empty() { &["disk.img.zst", "disk.img"] } else { &[name] };
    let found = names.iter().find_map(|name| Some(((*name).to_owned(), sums::find(&text, name)?)));
    found.with_context(|| format!("{sums} has no {}", names.join(" and no ")))
}

/// Whether what is fetched could be replaced in transit: by plain HTTP, except from this machine itself.
pub(super) fn is_by_plain_http(image: &str) -> bool {
    if !image.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        return false;
    }
    let server = transfer::server_of(image);
    let is_here = |name: &str| server.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    !["localhost", "127.0.0.1", "[::1]"].into_iter().any(is_here)
}

#[cfg(test)]
mod tests {
    use super::is_by_plain_http;

    #[test]
    fn only_what_others_can_touch_on_the_way_is_warned_about() {
        for url in [
            "http://images.example/rocm",
            "HTTP://192.0.2.7:8000/disk.img",
            "http://localhost.example/",
            "http://images.example#@localhost/",
            "http://",
        ] {
            assert!(is_by_plain_http(url), "{url}");
        }
        for url in [
            "https://images.example/rocm",
            "http://localhost:80/x",
            "http://127.0.0.1/",
            "http://[::1]:1/",
            "images/rocm",
            "",
        ] {
            assert!(!is_by_plain_http(url), "{url}");
        }
    }
}
