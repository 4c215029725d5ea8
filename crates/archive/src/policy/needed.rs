//! Which packages come from an archive because those that it is named for need them.

use std::collections::{HashMap, HashSet};

use debian::relation::{Alternatives, Relation, parse};

use crate::index::{Package, PackageId, Preference, Universe};

/// Marks as [`Preference::Needed`] what the named packages need, and what that needs: packages of the same archive for relations
/// that nothing else satisfies, newer ones of those that they break, and the other packages of the same source,
/// which often want to have one version.
pub(super) fn mark(universe: &mut Universe) {
    let refused = |universe: &Universe, id: PackageId| universe.preference(id) == Preference::NotNamed;
    if !universe.ids().any(|id| refused(universe, id)) {
        return;
    }
    let mut queue: Vec<PackageId> = universe.ids().filter(|id| universe.preference(*id) == Preference::Named).collect();
    let mut done: HashSet<PackageId> = queue.iter().copied().collect();
    let sources = sources(universe);
    while let Some(id) = queue.pop() {
        let found = wanted_by(universe, id, &sources);
        for id in found.into_iter().filter(|id| refused(universe, *id)).collect::<Vec<_>>() {
            universe.set_preference(id, Preference::Needed);
            if done.insert(id) {
                queue.push(id);
            }
        }
    }
}

/// Packages by archive and source package.
type Sources = HashMap<(String, String), Vec<PackageId>>;

/// Those of archives that do not give everything.
fn sources(universe: &Universe) -> Sources {
    let mut all = Sources::new();
    for id in universe.ids().filter(|id| matches!(universe.preference(*id), Preference::Named | Preference::NotNamed)) {
        if let Some(package) = universe.get(id) {
            all.entry((package.archive().to_owned(), package.source().0.to_owned())).or_default().push(id);
        }
    }
    all
}

fn wanted_by(universe: &Universe, id: PackageId, sources: &Sources) -> Vec<PackageId> {
    let Some(package) = universe.get(id) else { return Vec::new() };
    let mut found =
        sources.get(&(package.archive().to_owned(), package.source().0.to_owned())).cloned().unwrap_or_default();
    let items = |field: &'static str| package.field(field).and_then(|text| parse(text).ok()).unwrap_or_default().0;
    for item in items("Pre-Depends").into_iter().chain(items("Depends")) {
        let all = satisfying(universe, &item);
        if !all.iter().any(|id| universe.preference(*id) < Preference::Needed) {
            found.extend(all.into_iter().filter(|id| is_beside(universe, *id, &package)));
        }
    }
    for relation in items("Breaks").iter().chain(&items("Conflicts")).flat_map(|item| &item.0) {
        let newer = universe.named(relation.name).filter(|id| is_beside(universe, *id, &package));
        found.extend(
            newer.filter(|id| universe.get(*id).is_some_and(|other| !relation.accepts_version(other.version()))),
        );
    }
    found
}

/// Whether a package is of the same archive as another.
fn is_beside(universe: &Universe, id: PackageId, other: &Package<'_>) -> bool {
    universe.get(id).is_some_and(|package| package.archive() == other.archive())
}

/// All packages that satisfy one of the alternatives, also those that are not taken.
fn satisfying(universe: &Universe, item: &Alternatives<'_>) -> Vec<PackageId> {
    item.0.iter().flat_map(|relation| matching(universe, relation)).collect()
}

fn matching(universe: &Universe, relation: &Relation<'_>) -> Vec<PackageId> {
    let mut found: Vec<PackageId> = universe
        .named(relation.name)
        .filter(|id| universe.get(*id).is_some_and(|package| relation.accepts_version(package.version())))
        .collect();
    found.extend(universe.perhaps_providing(relation.name).filter(|id| provides(universe, *id, relation)));
    found
}

/// Whether a package provides what a relation asks for: Debian Policy 7.5.
fn provides(universe: &Universe, id: PackageId, relation: &Relation<'_>) -> bool {
    let provides = universe.get(id).and_then(|package| package.field("Provides")).unwrap_or_default();
    let provided = parse(provides).unwrap_or_default();
    provided.0.iter().flat_map(|item| &item.0).filter(|provided| provided.name == relation.name).any(|provided| {
        match provided.version {
            Some((_, version)) => relation.accepts_version(version),
            None => relation.version.is_none(),
        }
    })
}
