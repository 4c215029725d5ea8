//! The archive as it is now: a signed Release file and the indexes that it vouches for.

use std::fs;
use std::io::Read;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use debarchive::index::{IndexText, SourceIndex, Universe};
use debarchive::release::{Keyring, Release, ValidUntil, verify_inrelease};
use progress::Progress;
use store::{Digest, Download, Fetcher};

use crate::recipe;

/// Debian's name of the architecture that images are made for.
pub const ARCHITECTURE: &str = "amd64";

/// `InRelease` of sid has under 200 KiB.
const MAX_IN_RELEASE: u64 = 16 << 20;
/// sid's main index has 65 MiB decompressed; no index comes near this.
const MAX_INDEX: u64 = 2 << 30;

/// A verified archive.
pub struct Archive {
    /// The Release file's `Date`, in seconds since 1970.
    pub date: i64,
    /// Digest of the signed text.
    pub release: Digest,
    /// All packages of the recipe's components.
    pub universe: Universe,
}

/// Fetches and verifies what the recipe's suite and components offer at `mirror`.
pub fn open(wish: &recipe::Archive, mirror: &str, fetcher: &Fetcher, progress: &dyn Progress) -> Result<Archive> {
    Verified::fetch(wish, mirror, fetcher, progress)?.archive(wish, fetcher, progress)
}

/// The same, with the source packages of each component.
pub fn open_with_sources(
    wish: &recipe::Archive,
    mirror: &str,
    fetcher: &Fetcher,
    progress: &dyn Progress,
) -> Result<(Archive, Vec<SourceIndex>)> {
    let verified = Verified::fetch(wish, mirror, fetcher, progress)?;
    let archive = verified.archive(wish, fetcher, progress)?;
    let texts = indexes(Kind::Sources, wish, &verified, fetcher, progress)?;
    let read = |text: IndexText| {
        SourceIndex::new(text.text).with_context(|| format!("reading the source packages of {}", text.component))
    };
    Ok((archive, texts.into_iter().map(read).collect::<Result<_>>()?))
}

/// A Release file that somebody whom we trust has signed.
struct Verified {
    /// Address of the suite.
    suite: String,
    release: Release,
    digest: Digest,
}

impl Verified {
    fn fetch(wish: &recipe::Archive, mirror: &str, fetcher: &Fetcher, progress: &dyn Progress) -> Result<Self> {
        let suite = format!("{}/dists/{}", mirror.trim_end_matches('/'), wish.suite);
        let url = format!("{suite}/InRelease");
        let bytes = fetcher
            .fetch_bytes(&url, MAX_IN_RELEASE)
            .with_context(|| format!("fetching the Release file of {}", wish.suite))?;
        let now = SystemTime::now();
        let verified = verify_inrelease(&bytes, &keyring(wish)?, now).with_context(|| format!("verifying {url}"))?;
        for rejected in &verified.rejected {
            // Usual while keys rotate; the one good signature is what counts.
            progress.warn(&format!("{url}: signature by {} not counted: {}", rejected.key, rejected.detail));
        }
        let release = Release::parse(&verified.text).with_context(|| format!("reading {url}"))?;
        let names: Vec<&str> = [&release.suite, &release.codename].into_iter().flatten().map(String::as_str).collect();
        if !names.contains(&wish.suite.as_str()) {
            bail!(
                "{url} is of another distribution: it says {}, and the recipe asks for {}\n  help: the mirror is wrong or out of order; --mirror names another",
                names.join(" and "),
                wish.suite
            );
        }
        let policy = if wish.check_valid_until { ValidUntil::Check } else { ValidUntil::Ignore };
        release.check_valid_until(now, policy).with_context(|| format!("checking {url}"))?;
        Ok(Self { suite, digest: Digest::of(&verified.text), release })
    }

    fn archive(&self, wish: &recipe::Archive, fetcher: &Fetcher, progress: &dyn Progress) -> Result<Archive> {
        let texts = indexes(Kind::Packages, wish, self, fetcher, progress)?;
        let task = progress.task("reading package indexes", None, progress::Unit::Items);
        let universe = Universe::new(texts, ARCHITECTURE).context("reading the package indexes")?;
        drop(task);
        Ok(Archive { date: self.release.date.as_second(), release: self.digest, universe })
    }
}

fn keyring(wish: &recipe::Archive) -> Result<Keyring> {
    if wish.keyrings.is_empty() {
        return Keyring::debian_archive().context("reading the Debian archive keyring inside the program");
    }
    let mut keyring = Keyring::new();
    for path in &wish.keyrings {
        let bytes = fs::read(path).with_context(|| format!("reading the keyring {}", path.display()))?;
        keyring.add(&path.display().to_string(), &bytes)?;
    }
    Ok(keyring)
}

/// One index as the Release file lists it.
struct Wanted<'a> {
    component: &'a str,
    compressed: bool,
    download: Download,
}

/// Which indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Packages,
    Sources,
}

impl Kind {
    /// Its path in a suite, as the Release file has it.
    fn path(self, component: &str) -> String {
        match self {
            Self::Packages => format!("{component}/binary-{ARCHITECTURE}/Packages"),
            Self::Sources => format!("{component}/source/Sources"),
        }
    }
}

fn indexes(
    kind: Kind,
    wish: &recipe::Archive,
    Verified { suite, release, .. }: &Verified,
    fetcher: &Fetcher,
    progress: &dyn Progress,
) -> Result<Vec<IndexText>> {
    let mut wanted = Vec::new();
    for component in &wish.components {
        let plain = kind.path(component);
        let compressed = format!("{plain}.xz");
        let (path, entry) = [&compressed, &plain]
            .into_iter()
            .find_map(|path| release.indexes.get(path).map(|entry| (path, entry)))
            .with_context(|| {
                format!(
                    "the Release file of {} lists no {plain}\n  help: is {component:?} one of its components? It has: {}",
                    wish.suite,
                    release.components.join(", ")
                )
            })?;
        let digest: Digest = entry.sha256.parse().with_context(|| format!("reading the digest of {path}"))?;
        let mut urls = vec![format!("{suite}/{path}")];
        if release.acquire_by_hash {
            // By hash first: it stays the same file while the mirror is being updated.
            urls.insert(0, format!("{suite}/{}", entry.by_hash()));
        }
        let label = format!("{} {path}", wish.suite);
        let download = Download { urls, size: Some(entry.size), digest, label };
        wanted.push(Wanted { component, compressed: path == &compressed, download });
    }
    let downloads: Vec<Download> = wanted.iter().map(|index| index.download.clone()).collect();
    let paths = fetcher.fetch_checked(&downloads, progress).context("fetching the package indexes")?;
    let mut texts = Vec::new();
    for (index, path) in wanted.iter().zip(paths) {
        let file = fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let mut reader: Box<dyn Read> =
            if index.compressed { Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)) } else { Box::new(file) };
        let mut text = Vec::new();
        let length = reader
            .by_ref()
            .take(MAX_INDEX + 1)
            .read_to_end(&mut text)
            .with_context(|| format!("decompressing {}", index.download.label))?;
        if length as u64 > MAX_INDEX {
            bail!("{} is larger than any package index: over {MAX_INDEX} bytes", index.download.label);
        }
        texts.push(IndexText { suite: wish.suite.clone(), component: index.component.to_owned(), text });
    }
    Ok(texts)
}
