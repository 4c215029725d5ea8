//! The archives of a recipe: the main one, and extra ones beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use ::archive::release::Keyring;
use serde::Serialize;
use toml::Spanned;

use super::layer::{Layer, RecipeError, last, last_in};
use super::model::{AptSourceEntry, ExtraArchiveEntry};
use super::value::Word;
use super::{ExtraFile, ExtraKind, Selector};
use crate::mirror::PUBLIC_MIRROR;

const DEFAULT_SNAPSHOT: &str = "https://snapshot.debian.org/archive/debian";

/// Archive that packages come from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Archive {
    /// Suite, for example `sid`.
    pub suite: String,
    /// Components, for example `main`.
    pub components: Vec<String>,
    /// The recipe's own mirror, if set.
    pub mirror: Option<String>,
    /// URL of the snapshot service; empty for none.
    pub snapshot: String,
    /// Refuse an archive past its `Valid-Until`.
    pub check_valid_until: bool,
    /// Keyring files; empty for the keyring embedded in rocbed.
    pub keyrings: Vec<PathBuf>,
}

/// An archive beside the main one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExtraArchive {
    /// Its name in the lock and in messages.
    pub name: String,
    /// Where it is, and who signs it.
    #[serde(flatten)]
    pub archive: Archive,
    /// The packages that come from it; `None` if the newest version counts, as with several sources of apt.
    pub packages: Option<Vec<Selector>>,
    /// Whether it has a mirror of its own.
    pub has_own_mirror: bool,
    /// Whether apt in the image knows it.
    pub in_apt: bool,
}

/// The main archive.
pub(super) fn archive(layers: &[Layer]) -> Result<Archive, RecipeError> {
    // Index of the last layer that names a suite.
    let named = layers.iter().rposition(|layer| layer.file.archive.suite.is_some());
    let suite = last(layers, |layer| layer.file.archive.suite.clone()).map_or_else(|| "sid".into(), |suite| suite.0);
    let components = last_in(layers, |layer| layer.file.archive.components.as_ref());
    // Values of a parent are for the parent's suite.
    let own =
        last_in(layers.get(named.unwrap_or(0)..).unwrap_or_default(), |layer| layer.file.archive.components.as_ref());
    let components = checked_components(&suite, components, own)?;
    Ok(Archive {
        components: components.unwrap_or_else(|| vec!["main".into()]),
        suite,
        mirror: last(layers, |layer| layer.file.archive.mirror.clone()),
        snapshot: last(layers, |layer| layer.file.archive.snapshot.clone()).unwrap_or_else(|| DEFAULT_SNAPSHOT.into()),
        check_valid_until: last(layers, |layer| layer.file.archive.check_valid_until).unwrap_or(true),
        keyrings: last(layers, |layer| keyrings(layer, layer.file.archive.keyrings.as_deref())).unwrap_or_default(),
    })
}

type InLayer<'a> = Option<(&'a Layer, &'a Spanned<Vec<Word>>)>;

/// The components of a suite; a flat one has none, and may not have `own` ones.
fn checked_components(
    suite: &str,
    components: InLayer<'_>,
    own: InLayer<'_>,
) -> Result<Option<Vec<String>>, RecipeError> {
    if suite.ends_with('/') {
        if let Some((layer, list)) = own.filter(|(_, list)| !list.get_ref().is_empty()) {
            let message = format!("the archive {suite:?} is flat, as its suite ends in a slash, and has no components");
            return Err(layer.wrong(list.span(), message));
        }
        return Ok(Some(Vec::new()));
    }
    if let Some((layer, list)) = components.filter(|(_, list)| list.get_ref().is_empty()) {
        let message =
            "no component to take packages from: name one, such as \"main\", or a flat archive (suite = \"./\")";
        return Err(layer.wrong(list.span(), message));
    }
    Ok(components.map(|(_, list)| list.get_ref().iter().map(|word| word.0.clone()).collect()))
}

fn keyrings(layer: &Layer, paths: Option<&[String]>) -> Option<Vec<PathBuf>> {
    let here = layer.directory.clone().unwrap_or_default();
    paths.map(|paths| paths.iter().map(|path| here.join(path)).collect())
}

/// The extra archives, by name.
pub(super) fn extra_archives(layers: &[Layer], main: &Archive) -> Result<Vec<ExtraArchive>, RecipeError> {
    let mut all = BTreeMap::new();
    for layer in layers {
        let mut here = Vec::new();
        for entry in &layer.file.extra_archives {
            let name = &entry.name.get_ref().0;
            let wrong = |message: String| layer.wrong(entry.name.span(), message);
            if here.contains(&name) {
                return Err(wrong(format!("two extra archives are called {name:?}: each needs a name of its own")));
            }
            if *name == main.suite {
                return Err(wrong(format!(
                    "{name:?} is what the archive of [archive] is called: give this one another name, and the suite by `suite`"
                )));
            }
            here.push(name);
            all.insert(name.clone(), extra_archive(entry, layer, main)?);
        }
    }
    Ok(all.into_values().collect())
}

fn extra_archive(entry: &ExtraArchiveEntry, layer: &Layer, main: &Archive) -> Result<ExtraArchive, RecipeError> {
    let name = entry.name.get_ref().0.clone();
    let suite = entry.suite.as_ref().map_or_else(|| name.clone(), |suite| suite.0.clone());
    let own = entry.components.as_ref().map(|list| (layer, list));
    let components = checked_components(&suite, own, own)?;
    let inherited = if main.components.is_empty() { vec!["main".to_owned()] } else { main.components.clone() };
    if let Some(list) = entry.packages.as_ref().filter(|list| list.get_ref().is_empty()) {
        let message =
            "no packages to take from it: name some, or leave the key out where the highest version is to count";
        return Err(layer.wrong(list.span(), message));
    }
    let has_own_mirror = entry.mirror.is_some();
    let snapshot = if has_own_mirror { String::new() } else { main.snapshot.clone() };
    let packages = entry.packages.as_ref();
    let packages = packages.map(|list| list.get_ref().iter().map(|selector| selector.0.clone()).collect());
    let archive = Archive {
        components: components.unwrap_or(inherited),
        suite,
        mirror: entry.mirror.clone().or_else(|| main.mirror.clone()),
        snapshot: entry.snapshot.clone().unwrap_or(snapshot),
        check_valid_until: entry.check_valid_until.unwrap_or(main.check_valid_until),
        keyrings: keyrings(layer, entry.keyrings.as_deref()).unwrap_or_else(|| main.keyrings.clone()),
    };
    let is_local = archive.mirror.as_deref().is_some_and(|mirror| !mirror.starts_with("http"));
    let in_apt = entry.apt.unwrap_or(true) && !is_local;
    Ok(ExtraArchive { name, archive, packages, has_own_mirror, in_apt })
}

impl ExtraArchive {
    /// The source for apt in the image, and the files with the keys that it names.
    pub(super) fn for_apt(&self) -> Result<Option<(AptSourceEntry, Vec<ExtraFile>)>, RecipeError> {
        if !self.in_apt {
            return Ok(None);
        }
        let keys = self.archive.keyrings.iter().enumerate().map(|(number, path)| self.key(number, path));
        let keys: Vec<ExtraFile> = keys.collect::<Result<_, _>>()?;
        // The build machine's own mirror never gets in.
        let address = if keys.is_empty() && !self.has_own_mirror { None } else { self.archive.mirror.clone() };
        let signed_by = keys.iter().map(|file| format!("/{}", file.path)).collect::<Vec<_>>().join(" ");
        let source = AptSourceEntry {
            // Tests come from the source packages of [archive] unless a [[apt-source]] says otherwise: apt takes the newest source
            // that it knows, also of packages whose binaries come from elsewhere.
            types: if self.packages.is_some() { vec!["deb".into()] } else { super::model::both_types() },
            uris: vec![address.unwrap_or_else(|| PUBLIC_MIRROR.into())],
            suites: vec![self.archive.suite.clone()],
            components: self.archive.components.clone(),
            check_valid_until: self.archive.check_valid_until,
            signed_by: if keys.is_empty() { super::model::debian_keyring() } else { signed_by },
        };
        Ok(Some((source, keys)))
    }

    fn key(&self, number: usize, path: &std::path::Path) -> Result<ExtraFile, RecipeError> {
        let bytes = fs::read(path).map_err(|error| RecipeError::Read { path: path.to_owned(), error })?;
        // The file itself may hold more than certificates, and apt reads fewer forms than the builder.
        let mut keyring = Keyring::new();
        keyring.add(&path.display().to_string(), &bytes)?;
        let bytes = keyring.to_bytes()?;
        let number = if number == 0 { String::new() } else { format!("-{number}") };
        Ok(ExtraFile {
            path: format!("etc/apt/keyrings/rocbed-{}{number}.pgp", self.name),
            kind: ExtraKind::File(bytes),
            mode: 0o644,
            owner: "root".into(),
            group: "root".into(),
        })
    }
}
