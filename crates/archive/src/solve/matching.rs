//! Finds the packages that a relation matches.

use crate::index::{MultiArch, Package, PackageId, Preference, Universe};
use debian::relation::Relation;

/// Packages that satisfy `relation` on `architecture`, in the order in which to try them: those of that name, highest
/// version first, then those that provide it, by priority and then by name.
pub(super) fn satisfiers(universe: &Universe, relation: &Relation<'_>, architecture: &str) -> Vec<PackageId> {
    if !relation.applies_to(architecture) {
        return Vec::new();
    }
    let fits = |id: &PackageId| {
        universe.get(*id).is_some_and(|package| qualifier_fits(&package, relation.qualifier, architecture))
    };
    matching(universe, relation).into_iter().filter(fits).collect()
}

/// Packages that `relation` matches, real ones and providers. A versioned relation matches only providers of a version
/// that fits: Debian Policy 7.5.
pub(super) fn matching(universe: &Universe, relation: &Relation<'_>) -> Vec<PackageId> {
    let accepted =
        |id: &PackageId| universe.get(*id).is_some_and(|package| relation.accepts_version(package.version()));
    let mut found: Vec<_> = universe.candidates(relation.name).into_iter().filter(accepted).collect();
    let provided = |version: Option<&str>| match version {
        Some(version) => relation.accepts_version(version),
        None => relation.version.is_none(),
    };
    let providers = universe.providers(relation.name).into_iter().filter(|(_, version)| provided(*version));
    let mut providers: Vec<_> = providers.map(|(id, _)| id).filter(|id| !found.contains(id)).collect();
    providers.dedup();
    // Stable, so providers of equal importance stay sorted by name and version.
    providers
        .sort_by_key(|id| universe.get(*id).map(|package| (!package.is_essential(), importance(package.priority()))));
    found.extend(providers);
    // What is taken only where nothing else will do comes last, also by its own name. The order stays otherwise.
    found.sort_by_key(|id| universe.preference(*id) == Preference::Needed);
    found
}

/// deb-control(5), Multi-Arch: `name:any` matches a package with `Multi-Arch: allowed`; any other qualifier matches
/// the architecture it names. With one architecture there are no other cases.
fn qualifier_fits(package: &Package<'_>, qualifier: Option<&str>, architecture: &str) -> bool {
    match qualifier {
        None | Some("native") => true,
        Some("any") => package.multi_arch() == MultiArch::Allowed,
        Some(wanted) => wanted == architecture,
    }
}

fn importance(priority: &str) -> u8 {
    match priority {
        "required" => 0,
        "important" => 1,
        "standard" => 2,
        "optional" => 3,
        _ => 4,
    }
}
