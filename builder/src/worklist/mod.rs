//! Selects the packages that are worth a job, from an archive's indexes, with the reason for each.
//!
//! [`select`] takes source packages that have tests and belong to ROCm; [`rdeps`] those that another package may
//! break; [`changed`] keeps those in which, or below which, something has changed; [`need`] finds the GPUs they need.

pub mod changed;
pub mod need;
pub mod rdeps;

use std::collections::HashMap;

use archive::index::{Package, SourceIndex, SourcePackage, Universe};
use debian::relation::parse;

/// Package that tests on GPUs depend on.
const TOOLS: &str = "pkg-rocm-tools";
/// Name and address of the ROCm maintainers.
const TEAM: [&str; 2] = ["ROCm Team", "debian-ai@lists.debian.org"];

/// A source package that is worth a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Source package name.
    pub package: String,
    /// Newest version.
    pub version: String,
    /// Reason for its selection, for people.
    pub why: String,
}

/// Package indexes, with results that are needed repeatedly.
pub struct Indexes<'a> {
    /// Source packages of each component.
    pub sources: &'a [SourceIndex],
    /// Binary packages.
    pub universe: &'a Universe,
    binaries: HashMap<&'a str, Vec<Package<'a>>>,
}

impl<'a> Indexes<'a> {
    /// Records which binary packages come from which source.
    pub fn new(sources: &'a [SourceIndex], universe: &'a Universe) -> Self {
        let mut binaries: HashMap<&str, Vec<Package<'_>>> = HashMap::new();
        for package in universe.ids().filter_map(|id| universe.get(id)) {
            binaries.entry(package.source().0).or_default().push(package);
        }
        Self { sources, universe, binaries }
    }

    /// Binary packages of a source, for the images' architecture.
    pub fn binaries(&self, source: &str) -> &[Package<'a>] {
        self.binaries.get(source).map(Vec::as_slice).unwrap_or_default()
    }

    /// The newest version of a source package.
    pub fn newest(&self, name: &str) -> Option<SourcePackage<'a>> {
        let newest = self.sources.iter().filter_map(|index| index.candidates(name).into_iter().next());
        newest.reduce(|a, b| if debian::version::compare(b.version(), a.version()).is_gt() { b } else { a })
    }

    /// The newest version of each source package that has tests and binary packages to install for them, by name.
    pub fn tested(&self) -> Vec<SourcePackage<'a>> {
        let mut names: Vec<&str> = self.sources.iter().flat_map(SourceIndex::names).collect();
        names.sort_unstable();
        names.dedup();
        let tested = |source: &SourcePackage<'_>| {
            source.testsuite().iter().any(|suite| suite.starts_with("autopkgtest"))
                && !self.binaries(source.name()).is_empty()
        };
        names.into_iter().filter_map(|name| self.newest(name)).filter(tested).collect()
    }
}

impl Candidate {
    fn new(source: &SourcePackage<'_>, why: String) -> Self {
        Self { package: source.name().to_owned(), version: source.version().to_owned(), why }
    }
}

/// Packages whose tests concern ROCm: they use pkg-rocm-tools, or the ROCm team maintains them.
pub fn select(indexes: &Indexes<'_>) -> Vec<Candidate> {
    let reason = |source: &SourcePackage<'_>| {
        let uses = [("Testsuite-Triggers", "its tests use"), ("Build-Depends", "it is built with")]
            .into_iter()
            .chain([("Build-Depends-Arch", "it is built with"), ("Build-Depends-Indep", "it is built with")])
            .find(|(field, _)| names_in(source.field(field).unwrap_or_default()).contains(&TOOLS));
        match uses {
            Some((_, how)) => Some(format!("{how} {TOOLS}")),
            None if TEAM.iter().all(|part| source.maintainer().contains(part)) => {
                Some("the ROCm team maintains it".to_owned())
            }
            None => None,
        }
    };
    indexes.tested().iter().filter_map(|source| Some(Candidate::new(source, reason(source)?))).collect()
}

/// Names of all packages in a relation field, regardless of alternatives, versions and architectures. A field that
/// does not parse, which some archives have, is split into words.
fn names_in(field: &str) -> Vec<&str> {
    match parse(field) {
        Ok(relations) => relations.0.iter().flat_map(|item| &item.0).map(|relation| relation.name).collect(),
        Err(_) => field.split(|char: char| char.is_whitespace() || ",|()<>[]".contains(char)).collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use archive::index::IndexText;

    const SOURCES: &str = include_str!("tests/Sources");
    const PACKAGES: &str = include_str!("tests/Packages");

    /// Small indexes similar to sid's, with one package replaced.
    pub(crate) fn with<T>(change: (&str, &str), check: impl FnOnce(&Indexes<'_>) -> T) -> T {
        let sources = [SourceIndex::new(SOURCES.as_bytes().to_vec()).unwrap()];
        assert!(change.0.is_empty() || PACKAGES.contains(change.0));
        let text = PACKAGES.replace(change.0, if change.0.is_empty() { "" } else { change.1 }).into_bytes();
        let text = IndexText { archive: "sid".into(), component: "main".into(), text };
        let universe = Universe::new(vec![text], "amd64").unwrap();
        check(&Indexes::new(&sources, &universe))
    }

    pub(crate) fn names(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|candidate| candidate.package.as_str()).collect()
    }

    #[test]
    fn rocms_packages_with_tests_are_selected() {
        with(("", ""), |indexes| {
            let found = select(indexes);
            assert_eq!(names(&found), ["hipcub", "rocminfo", "rocrand", "spfft"]);
            let why = |name: &str| found.iter().find(|one| one.package == name).map(|one| one.why.as_str());
            assert_eq!(why("rocrand"), Some("its tests use pkg-rocm-tools"));
            assert_eq!(why("hipcub"), Some("it is built with pkg-rocm-tools"));
            assert_eq!(why("rocminfo"), Some("the ROCm team maintains it"));
        });
    }

    #[test]
    fn the_newest_version_counts() {
        with(("", ""), |indexes| {
            let found = select(indexes);
            let versions: Vec<_> = found.iter().filter(|one| one.package == "rocrand").collect();
            assert_eq!((versions.len(), versions[0].version.as_str()), (1, "6.4.3-1"));
        });
    }

    #[test]
    fn names_come_out_of_any_field() {
        assert_eq!(names_in("a (>= 1) [amd64] <!nocheck>, b | c:any"), ["a", "b", "c"]);
        assert!(names_in("a (>=, pkg-rocm-tools").contains(&"pkg-rocm-tools"));
    }
}
