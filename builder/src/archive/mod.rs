//! The archive as it is now: a Release file with a checked signature, and the indexes whose digests it lists.

mod address;
mod indexes;
mod release;

use advice::WithHelp as _;
use anyhow::{Context, Result};
use archive::index::{SourceIndex, Universe};
use progress::Progress;
use sha256::Digest;
use store::Fetcher;

pub use address::quote;

use crate::architecture::ARCHITECTURE;
use crate::mirror::{Mirror, NAME_ANOTHER};
use crate::recipe;
use indexes::{IndexKind, indexes};
use release::Verified;

/// An archive whose signature was checked.
pub struct Archive {
    /// `Date` of the Release file, in seconds since 1970.
    pub date: i64,
    /// Digest of the signed text.
    pub release: Digest,
    /// All packages of the recipe's components.
    pub universe: Universe,
}

/// Fetches and verifies the recipe's suite and components from `mirror`.
pub fn open(wish: &recipe::Archive, mirror: &Mirror, fetcher: &Fetcher, progress: &dyn Progress) -> Result<Archive> {
    let open = || Verified::fetch(wish, mirror, fetcher, progress)?.archive(wish, fetcher, progress);
    open().with_context(|| format!("the mirror is {mirror}")).help(NAME_ANOTHER)
}

/// An archive, with the source packages of each component.
pub type WithSources = (Archive, Vec<SourceIndex>);

/// As [`open`], with the source packages of each component.
pub fn open_with_sources(
    wish: &recipe::Archive,
    mirror: &Mirror,
    fetcher: &Fetcher,
    progress: &dyn Progress,
) -> Result<WithSources> {
    let opened = open_if_changed(wish, mirror, fetcher, progress, None)?;
    opened.context("the archive was not read")
}

/// As [`open_with_sources`]; `None`, and no index is fetched, if the Release file is still the `known` one.
pub fn open_if_changed(
    wish: &recipe::Archive,
    mirror: &Mirror,
    fetcher: &Fetcher,
    progress: &dyn Progress,
    known: Option<Digest>,
) -> Result<Option<WithSources>> {
    let open = || -> Result<Option<WithSources>> {
        let verified = Verified::fetch(wish, mirror, fetcher, progress)?;
        if known == Some(verified.digest) {
            return Ok(None);
        }
        let archive = verified.archive(wish, fetcher, progress)?;
        let read = |index: indexes::Index| {
            SourceIndex::new(index.text).with_context(|| format!("reading the source packages of {}", index.component))
        };
        let texts = indexes(IndexKind::Sources, wish, &verified, fetcher, progress)?;
        Ok(Some((archive, texts.into_iter().map(read).collect::<Result<_>>()?)))
    };
    open().with_context(|| format!("the mirror is {mirror}")).help(NAME_ANOTHER)
}

impl Verified {
    fn archive(&self, wish: &recipe::Archive, fetcher: &Fetcher, progress: &dyn Progress) -> Result<Archive> {
        let texts = indexes(IndexKind::Packages, wish, self, fetcher, progress)?;
        let task = progress.task("reading package indexes", None, progress::Unit::Items);
        let texts = texts.into_iter().map(|index| index.into_text(&wish.suite)).collect();
        let universe = Universe::new(texts, ARCHITECTURE).context("reading the package indexes")?;
        drop(task);
        Ok(Archive { date: self.release.date.as_second(), release: self.digest, universe })
    }
}
