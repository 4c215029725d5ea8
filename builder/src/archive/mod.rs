//! The archive as it is now: a Release file with a checked signature, and the indexes whose digests it lists.

mod address;
mod indexes;
mod release;

use advice::WithHelp as _;
use anyhow::{Context, Result};
use archive::index::{IndexText, SourceIndex, Universe};
use progress::Progress;
use sha256::Digest;
use store::Fetcher;

pub use address::quote;

use crate::architecture::ARCHITECTURE;
use crate::lock::ReleaseNames;
use crate::mirror::{Mirror, NAME_ANOTHER, Origin};
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
    /// The states of further archives that it was opened with, by name.
    pub extra: Vec<ExtraState>,
}

/// The state of a further archive.
pub struct ExtraState {
    /// Its name.
    pub name: String,
    /// `Date` of the Release file, in seconds since 1970.
    pub date: i64,
    /// Digest of the signed text.
    pub release: Digest,
    /// What the Release file calls it.
    pub names: ReleaseNames,
    /// Whether apt takes nothing from it unless it is asked to (`NotAutomatic`).
    pub not_automatic: bool,
}

/// An archive to open.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Name that its packages get.
    pub name: &'a str,
    /// What it has to be.
    pub archive: &'a recipe::Archive,
    /// Where it is fetched from.
    pub mirror: &'a Mirror,
}

impl Wanted<'_> {
    /// Fetches and verifies it.
    fn read(&self, fetcher: &Fetcher, progress: &dyn Progress) -> Result<(Verified, Vec<IndexText>)> {
        let Self { name, archive, mirror } = self;
        let keyring = release::keyring(archive)?;
        let read = || -> Result<_> {
            let verified = Verified::fetch(archive, &keyring, mirror, fetcher, progress)?;
            let texts = indexes(IndexKind::Packages, archive, &verified, fetcher, progress)?;
            Ok((verified, texts.into_iter().map(|index| index.into_text(name)).collect()))
        };
        let elsewhere = matches!(mirror.origin, Origin::ExtraArchive(_));
        let help = if elsewhere {
            "its mirror, suite and keyrings are in [[extra-archive]] of the recipe"
        } else {
            NAME_ANOTHER
        };
        read().with_context(|| format!("the mirror is {mirror}")).help(help)
    }
}

/// Fetches and verifies archives, the main one first. `more` is an index that needs no verification.
pub fn open_all<'a>(
    wanted: impl Iterator<Item = Wanted<'a>>,
    more: Option<IndexText>,
    fetcher: &Fetcher,
    progress: &dyn Progress,
) -> Result<Archive> {
    let (mut texts, mut states) = (Vec::new(), Vec::new());
    for one in wanted {
        let (verified, more) = one.read(fetcher, progress)?;
        texts.extend(more);
        states.push(ExtraState::of(one.name, verified));
    }
    texts.extend(more);
    let task = progress.task("reading package indexes", None, progress::Unit::Items);
    let universe = Universe::new(texts, ARCHITECTURE).context("reading the package indexes")?;
    drop(task);
    tell_left_out(&universe, progress);
    let mut states = states.into_iter();
    let main = states.next().context("there is no archive to open")?;
    Ok(Archive { date: main.date, release: main.release, universe, extra: states.collect() })
}

/// Most packages that are named one by one where several are left out.
const MOST_NAMED: usize = 5;

fn tell_left_out(universe: &Universe, progress: &dyn Progress) {
    let left_out = universe.left_out();
    for one in left_out.iter().take(MOST_NAMED) {
        let name = if one.name.is_empty() { "a package".to_owned() } else { format!("the package {:?}", one.name) };
        progress.warn(&format!("{name} is left out: {}", one.error));
    }
    if let Some(more) = left_out.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        progress.warn(&format!("{more} more packages are left out"));
    }
}

impl ExtraState {
    fn of(name: &str, Verified { release, digest, .. }: Verified) -> Self {
        Self {
            name: name.to_owned(),
            date: release.date.as_second(),
            release: digest,
            not_automatic: release.not_automatic,
            names: ReleaseNames {
                origin: release.origin,
                label: release.label,
                suite: release.suite,
                codename: release.codename,
            },
        }
    }
}

/// Fetches and verifies the recipe's suite and components from `mirror`.
pub fn open(wish: &recipe::Archive, mirror: &Mirror, fetcher: &Fetcher, progress: &dyn Progress) -> Result<Archive> {
    let wanted = Wanted { name: &wish.suite, archive: wish, mirror };
    open_all(std::iter::once(wanted), None, fetcher, progress)
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
    let keyring = release::keyring(wish)?;
    let open = || -> Result<Option<WithSources>> {
        let verified = Verified::fetch(wish, &keyring, mirror, fetcher, progress)?;
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
        tell_left_out(&universe, progress);
        drop(task);
        Ok(Archive { date: self.release.date.as_second(), release: self.digest, universe, extra: Vec::new() })
    }
}
