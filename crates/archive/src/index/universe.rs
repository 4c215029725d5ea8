//! [`Universe`]: the packages of several `Packages` files together, found by name or by a name that they provide.

use super::{
    Package, Preference,
    scan::{IndexError, LeftOut, Scanned, Spans, decoded, scan, slice},
};
use debian::{relation::parse, version::compare};
use nearest::nearest;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One `Packages` file to add to a [`Universe`].
#[derive(Debug, Clone)]
pub struct IndexText {
    /// Name of the archive it belongs to, for example `sid`.
    pub archive: String,
    /// Component it belongs to, for example `main`.
    pub component: String,
    /// The decompressed file, whose digest the caller has checked.
    pub text: Vec<u8>,
}

/// Identifies a package of a [`Universe`], by its position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageId(u32);

/// All packages of several indexes, with lookup by name and by provided name.
#[derive(Debug, Default)]
pub struct Universe {
    indexes: Vec<Index>,
    /// Index and stanza of each package.
    packages: Vec<(u32, u32)>,
    /// Hash of a name and the packages called so, sorted by hash.
    names: Vec<(u64, u32)>,
    /// Hash of a provided name and its providers, sorted by hash.
    provided: Vec<(u64, u32)>,
    /// How readily each package is taken.
    preferences: Vec<Preference>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug)]
struct Index {
    archive: String,
    component: String,
    text: String,
    stanzas: Vec<Spans>,
}

impl Universe {
    /// Parses `texts`. Packages of architectures other than `architecture` and `all` are left out, and those whose stanza
    /// cannot be used ([`left_out`](Self::left_out)), unless it is one of the base system. If the same version
    /// of a package is in several indexes, the one added first counts.
    pub fn new(texts: Vec<IndexText>, architecture: &str) -> Result<Self, IndexError> {
        let mut universe = Self::default();
        for IndexText { archive, component, text } in texts {
            let label = format!("Packages of {archive}/{component}");
            let text = decoded(&label, text)?;
            let Scanned { stanzas, left_out } = scan(&label, &text)?;
            universe.left_out.extend(left_out);
            universe.indexes.push(Index { archive, component, text, stanzas });
        }
        for (number, index) in universe.indexes.iter().enumerate() {
            for (stanza, spans) in index.stanzas.iter().enumerate() {
                let found = slice(&index.text, &spans.architecture);
                if found != architecture && found != "all" {
                    continue;
                }
                let id = universe.packages.len() as u32;
                universe.packages.push((number as u32, stanza as u32));
                universe.names.push((hash(slice(&index.text, &spans.name)), id));
                // Only the names, and quickly: the solver parses the field properly for the few packages that it
                // needs.
                for item in slice(&index.text, &spans.provides).split(',') {
                    let item = item.trim_start();
                    let end = item.find(|c: char| c.is_whitespace() || "(:".contains(c)).unwrap_or(item.len());
                    let name = item.get(..end).unwrap_or_default();
                    if !name.is_empty() {
                        universe.provided.push((hash(name), id));
                    }
                }
            }
        }
        universe.names.sort_unstable();
        universe.provided.sort_unstable();
        universe.provided.dedup();
        universe.preferences = vec![Preference::default(); universe.packages.len()];
        Ok(universe)
    }

    /// The packages that cannot be used, in the order of the indexes.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Why packages called `name` cannot be used, for messages about its absence: empty, or in brackets.
    pub(crate) fn why_left_out(&self, name: &str) -> String {
        let of_name = self.left_out.iter().filter(|left_out| left_out.name == name);
        let reasons: Vec<String> = of_name.take(3).map(|left_out| left_out.error.to_string()).collect();
        if reasons.is_empty() { String::new() } else { format!(" (left out: {})", reasons.join("; ")) }
    }

    /// Number of packages.
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether there are no packages.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// All packages, in the order of the indexes.
    pub fn ids(&self) -> impl Iterator<Item = PackageId> + use<> {
        (0..self.packages.len() as u32).map(PackageId)
    }

    /// The package `id`; `None` for an id that is not from this universe.
    pub fn get(&self, id: PackageId) -> Option<Package<'_>> {
        let (index, spans) = self.spans(id)?;
        Some(Package {
            stanza: slice(&index.text, &spans.stanza),
            name: slice(&index.text, &spans.name),
            version: slice(&index.text, &spans.version),
            architecture: slice(&index.text, &spans.architecture),
            essential: spans.essential,
            archive: &index.archive,
            component: &index.component,
        })
    }

    fn spans(&self, id: PackageId) -> Option<(&Index, &Spans)> {
        let (index, stanza) = *self.packages.get(id.0 as usize)?;
        let index = self.indexes.get(index as usize)?;
        Some((index, index.stanzas.get(stanza as usize)?))
    }

    /// How readily a package is taken.
    pub fn preference(&self, id: PackageId) -> Preference {
        self.preferences.get(id.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn set_preference(&mut self, id: PackageId, preference: Preference) {
        if let Some(kept) = self.preferences.get_mut(id.0 as usize) {
            *kept = preference;
        }
    }

    /// Whether the packages are of one archive.
    pub fn is_of_one_archive(&self) -> bool {
        self.indexes.windows(2).all(|pair| matches!(pair, [one, other] if one.archive == other.archive))
    }

    /// All packages called `name`, also those that are not taken.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PackageId> + 'a {
        bucket(&self.names, name).filter(move |id| self.get(*id).is_some_and(|package| package.name == name))
    }

    /// All packages that may provide `name`, also those that are not taken.
    pub(crate) fn perhaps_providing(&self, name: &str) -> impl Iterator<Item = PackageId> + use<'_> {
        bucket(&self.provided, name)
    }

    /// Packages called `name`, most preferred and highest version first, each version once.
    pub fn candidates(&self, name: &str) -> Vec<PackageId> {
        let mut found: Vec<_> = self
            .named(name)
            .filter(|id| self.preference(*id).is_taken())
            .filter_map(|id| Some((id, self.get(id)?)))
            .collect();
        // Ids grow with the index, so a stable sort puts the index added first in front. Within one index the digest
        // decides, so that the order of stanzas does not matter.
        found.sort_by(|(a_id, a), (b_id, b)| {
            let index = |id: &PackageId| self.packages.get(id.0 as usize).map(|(index, _)| *index);
            compare(b.version, a.version)
                .then_with(|| self.preference(*a_id).cmp(&self.preference(*b_id)))
                .then_with(|| index(a_id).cmp(&index(b_id)))
                .then_with(|| a.field("SHA256").cmp(&b.field("SHA256")))
                .then_with(|| a.stanza.cmp(b.stanza))
        });
        found.dedup_by(|(_, a), (_, b)| compare(a.version, b.version).is_eq());
        found.sort_by_key(|(id, _)| self.preference(*id));
        found.into_iter().map(|(id, _)| id).collect()
    }

    /// Packages that provide `name`, each with the provided version (`Provides: name (= version)`). Sorted by package
    /// name, then highest version first. A package called `name` is included only if it provides its own name.
    pub fn providers(&self, name: &str) -> Vec<(PackageId, Option<&str>)> {
        let mut found = Vec::new();
        for id in bucket(&self.provided, name).filter(|id| self.preference(*id).is_taken()) {
            let Some((index, spans)) = self.spans(id) else { continue };
            let Ok(provides) = parse(slice(&index.text, &spans.provides)) else { continue };
            for relation in provides.0.iter().flat_map(|item| &item.0).filter(|relation| relation.name == name) {
                found.push((id, relation.version.map(|(_, version)| version)));
            }
        }
        found.sort_by(|(a, a_version), (b, b_version)| {
            let key = |id: &PackageId| self.get(*id).map(|package| (package.name, package.version)).unwrap_or_default();
            let ((a_name, a_own), (b_name, b_own)) = (key(a), key(b));
            a_name
                .cmp(b_name)
                .then_with(|| compare(b_own, a_own))
                .then_with(|| a.cmp(b))
                .then_with(|| a_version.cmp(b_version))
        });
        found
    }

    /// Whether any package has this name or provides it.
    pub fn knows(&self, name: &str) -> bool {
        !self.candidates(name).is_empty() || !self.providers(name).is_empty()
    }

    /// Packages with `Essential: yes`, by name.
    pub fn essential(&self) -> Vec<PackageId> {
        self.newest_of(|spans| spans.essential)
    }

    /// Packages with `Priority: required`, by name.
    pub fn required(&self) -> Vec<PackageId> {
        self.newest_of(|spans| spans.required)
    }

    /// The newest version of each name, if `wanted` holds for that version.
    fn newest_of(&self, wanted: impl Fn(&Spans) -> bool) -> Vec<PackageId> {
        let of_kind = |id: &PackageId| self.spans(*id).is_some_and(|(_, spans)| wanted(spans));
        let mut names: Vec<_> =
            self.ids().filter(of_kind).filter_map(|id| self.get(id)).map(|package| package.name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| self.candidates(name).first().copied()).filter(of_kind).collect()
    }

    /// A package for messages: `bash (5.3-1)`, and where there are several archives `bash (5.3-1, of sid)`.
    pub fn describe(&self, id: PackageId) -> String {
        match self.get(id) {
            None => String::new(),
            Some(package) if self.is_of_one_archive() => package.to_string(),
            Some(package) => format!("{} ({}, of {})", package.name(), package.version(), package.archive()),
        }
    }

    /// At most five names similar to `name`, best first.
    pub fn suggestions(&self, name: &str) -> Vec<&str> {
        nearest(name, self.ids().filter_map(|id| self.get(id)).map(|package| package.name))
    }
}

fn bucket<'a>(sorted: &'a [(u64, u32)], name: &str) -> impl Iterator<Item = PackageId> + use<'a> {
    let wanted = hash(name);
    let start = sorted.partition_point(|(hash, _)| *hash < wanted);
    let rest = sorted.get(start..).unwrap_or_default();
    rest.iter().take_while(move |(hash, _)| *hash == wanted).map(|(_, id)| PackageId(*id))
}

/// Hash for grouping names; a lookup compares the names themselves.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
