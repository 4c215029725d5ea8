//! Packages that would do, and that the policy does not take.

use advice::Help;
use debian::relation::Relation;

use crate::index::{PackageId, Preference, Universe};

/// A package that is not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPackage {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Name of its archive.
    pub archive: String,
    /// Why: one of the preferences that are not taken.
    pub why: Preference,
}

impl std::fmt::Display for RefusedPackage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, version, archive, .. } = self;
        let why = match self.why {
            Preference::OtherVersion => "another version of it is asked for",
            Preference::Elsewhere => "the recipe takes it from elsewhere",
            _ => "others are taken from there",
        };
        write!(f, "{name} ({version}, of {archive}: {why})")
    }
}

/// What satisfies a relation by its own name and is not taken.
pub(super) fn refused(universe: &Universe, relation: &Relation<'_>) -> Vec<RefusedPackage> {
    let refused = |id: PackageId| {
        let (why, package) = (universe.preference(id), universe.get(id)?);
        let fits = !why.is_taken() && relation.accepts_version(package.version());
        fits.then(|| RefusedPackage {
            name: package.name().to_owned(),
            version: package.version().to_owned(),
            archive: package.archive().to_owned(),
            why,
        })
    };
    universe.named(relation.name).filter_map(refused).collect()
}

/// What to write so that refused packages are taken.
pub(super) fn help(refused: &[RefusedPackage]) -> Help {
    let line = |one: &RefusedPackage| match one.why {
        Preference::OtherVersion => {
            format!("packages.versions asks for another version of {}: change or remove it", one.name)
        }
        Preference::Elsewhere => {
            format!("take {} off packages.local or off packages of its [[extra-archive]]", one.name)
        }
        _ => format!("add {:?} to packages of the [[extra-archive]] {}", one.name, one.archive),
    };
    let mut lines: Vec<String> = refused.iter().map(line).collect();
    lines.dedup();
    lines.truncate(3);
    lines.into()
}
