//! Finds packages that differ from a lock, themselves or in what they depend on.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use archive::index::Package;

use super::rdeps::{dependencies, is_rocms};
use super::{Candidate, Indexes, names_in};
use crate::lock::Lock;

/// Description of what has changed for a candidate since the lock was made, if anything: the version of one of its own
/// binary packages, or of a package that they or its tests depend on. A package that the lock does not have is new.
pub fn since(indexes: &Indexes<'_>, lock: &Lock, candidate: &Candidate) -> Option<String> {
    let locked: BTreeMap<&str, &str> =
        lock.packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    if !indexes.binaries(&candidate.package).iter().any(|binary| locked.contains_key(binary.name())) {
        return Some("it is not in the lock".to_owned());
    }
    // Of a virtual package the providers that the lock has are meant.
    let changed = visit(
        indexes,
        candidate,
        |name| locked.contains_key(name),
        |name, version| match (locked.get(name), version) {
            (Some(before), None) => ControlFlow::Break(format!("{name} {before} is gone")),
            (Some(before), Some(now)) if *before != now => ControlFlow::Break(format!("{name} {before} -> {now}")),
            _ => ControlFlow::Continue(()),
        },
    );
    changed.break_value()
}

/// The packages that a candidate's tests run with, as far as they tell of ROCm, with their versions: its own binary
/// packages, and what they or its tests depend on.
pub fn tested_with(indexes: &Indexes<'_>, candidate: &Candidate) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let all: ControlFlow<()> = visit(
        indexes,
        candidate,
        |_| true,
        |name, version| {
            found.extend(version.map(|version| (name.to_owned(), version.to_owned())));
            ControlFlow::Continue(())
        },
    );
    // The closure above never breaks off.
    let _ = all;
    found
}

/// Goes through what a candidate's tests run with: calls `see` with each name, and the newest version if it is not the
/// name of a virtual package or of one that is gone. The dependencies of the ROCm team's packages are followed, those of
/// other packages are not: the C library changes often, and its dependencies say little about ROCm. Of the providers of a
/// virtual package those that are `meant` are followed.
fn visit<B>(
    indexes: &Indexes<'_>,
    candidate: &Candidate,
    meant: impl Fn(&str) -> bool,
    mut see: impl FnMut(&str, Option<&str>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let own = indexes.binaries(&candidate.package);
    let source = indexes.newest(&candidate.package);
    let triggers = source.map(|source| names_in(source.field("Testsuite-Triggers").unwrap_or_default()));
    let mut waiting: VecDeque<&str> = own.iter().map(Package::name).collect();
    waiting.extend(triggers.unwrap_or_default());
    let mut seen: HashSet<&str> = HashSet::new();
    while let Some(name) = waiting.pop_front() {
        if !seen.insert(name) {
            continue;
        }
        let newest = indexes.universe.candidates(name).first().and_then(|id| indexes.universe.get(*id));
        see(name, newest.as_ref().map(Package::version))?;
        let Some(package) = newest else {
            let providers = indexes.universe.providers(name);
            let providers = providers.into_iter().filter_map(|(id, _)| indexes.universe.get(id));
            waiting.extend(providers.map(|package| package.name()).filter(|name| meant(name)));
            continue;
        };
        if is_rocms(&package) || own.iter().any(|own| own.name() == name) {
            waiting.extend(dependencies(&package));
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{LockedArchive, LockedPackage, Role};
    use crate::worklist::select;
    use crate::worklist::tests::with;
    use sha256::Digest;

    fn lock(packages: &[(&str, &str)]) -> Lock {
        let digest = Digest::of(b"");
        let package = |(name, version): &(&str, &str)| LockedPackage {
            name: (*name).into(),
            version: (*version).into(),
            architecture: "amd64".into(),
            filename: "x".into(),
            size: 0,
            sha256: digest,
            installed_size: 0,
            essential: false,
            role: Role::Root,
            archive: None,
        };
        let archive = LockedArchive { suite: "sid".into(), components: Vec::new(), date: 0, release: digest };
        Lock::new(digest, archive, Vec::new(), packages.iter().map(package).collect())
    }

    const ALL: [(&str, &str); 6] = [
        ("librocrand1", "6.4.3-1"),
        ("libhipcub-dev", "6.4.3-2"),
        ("libamdhip64-6", "6.4.3-5"),
        ("libhsa-runtime64-1", "6.4.3-5"),
        ("libc6", "2.42-1"),
        ("libgcc-s1", "15.2-1"),
    ];

    /// What has changed for rocrand and hipcub if the archive differs from the lock in one place.
    fn changes(from: &str, to: &str) -> Vec<Option<String>> {
        with((from, to), |indexes| {
            let candidates = select(indexes);
            let find = |name: &str| candidates.iter().find(|one| one.package == name).unwrap();
            ["rocrand", "hipcub"].map(|name| since(indexes, &lock(&ALL), find(name))).to_vec()
        })
    }

    #[test]
    fn nothing_has_changed() {
        assert_eq!(changes("", ""), [None, None]);
    }

    #[test]
    fn its_own_version_and_those_below_count() {
        let own = changes(
            "Package: librocrand1\nSource: rocrand\nVersion: 6.4.3-1",
            "Package: librocrand1\nSource: rocrand\nVersion: 6.4.4-1",
        );
        assert_eq!(own, [Some("librocrand1 6.4.3-1 -> 6.4.4-1".to_owned()), None]);
        let below = changes("Source: rocr-runtime\nVersion: 6.4.3-5", "Source: rocr-runtime\nVersion: 7.0-1");
        assert_eq!(below[0].as_deref(), Some("libhsa-runtime64-1 6.4.3-5 -> 7.0-1"), "through a provided name");
        assert!(below[1].is_some());
        let c = changes("Source: glibc\nVersion: 2.42-1", "Source: glibc\nVersion: 2.43-1");
        assert!(c.iter().all(Option::is_some), "{c:?}");
    }

    #[test]
    fn what_the_c_library_depends_on_does_not() {
        assert_eq!(changes("Source: gcc-15\nVersion: 15.2-1", "Source: gcc-15\nVersion: 16-1"), [None, None]);
    }

    #[test]
    fn tests_run_with_what_they_depend_on() {
        with(("", ""), |indexes| {
            let candidates = select(indexes);
            let find = |name: &str| candidates.iter().find(|one| one.package == name).unwrap();
            let versions = tested_with(indexes, find("rocrand"));
            let names: Vec<&str> = versions.keys().map(String::as_str).collect();
            // The virtual package has no version; what provides it is there.
            assert_eq!(names, ["libamdhip64-6", "libc6", "libhsa-runtime64-1", "librocrand1", "librocrand1-tests"]);
            assert_eq!(versions["libhsa-runtime64-1"], "6.4.3-5");
        });
    }

    #[test]
    fn a_package_that_is_not_in_the_lock_is_new() {
        with(("", ""), |indexes| {
            let found = select(indexes);
            let changed: Vec<_> = found.iter().filter_map(|one| since(indexes, &lock(&[]), one)).collect();
            assert_eq!(changed.len(), found.len());
        });
    }
}
