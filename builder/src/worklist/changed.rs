//! Finds packages that differ from a lock, themselves or in what they depend on.

use std::collections::{BTreeMap, HashSet, VecDeque};

use archive::index::Package;

use super::rdeps::{dependencies, is_rocms};
use super::{Candidate, Indexes, names_in};
use crate::lock::Lock;

/// Description of what has changed for a candidate since the lock was made, if anything: the version of one of its own
/// binary packages, or of a package that they or its tests depend on. The dependencies of the ROCm team's packages are
/// followed, those of other packages are not: the C library changes often, and its dependencies say little about ROCm.
/// A package that the lock does not have is new.
pub fn since(indexes: &Indexes<'_>, lock: &Lock, candidate: &Candidate) -> Option<String> {
    let locked: BTreeMap<&str, &str> =
        lock.packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    let own = indexes.binaries(&candidate.package);
    if !own.iter().any(|binary| locked.contains_key(binary.name())) {
        return Some("it is not in the lock".to_owned());
    }
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
        let Some(package) = newest else {
            // A virtual package: the providers that the lock has are meant.
            let providers = indexes.universe.providers(name);
            let providers = providers.into_iter().filter_map(|(id, _)| indexes.universe.get(id));
            waiting.extend(providers.map(|package| package.name()).filter(|name| locked.contains_key(name)));
            match locked.get(name) {
                Some(before) => return Some(format!("{name} {before} is gone")),
                None => continue,
            }
        };
        match locked.get(name) {
            Some(before) if *before != package.version() => {
                return Some(format!("{name} {before} -> {}", package.version()));
            }
            _ => {}
        }
        if is_rocms(&package) || own.iter().any(|own| own.name() == name) {
            waiting.extend(dependencies(&package));
        }
    }
    None
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
        };
        let archive = LockedArchive { suite: "sid".into(), components: Vec::new(), date: 0, release: digest };
        Lock::new(digest, archive, packages.iter().map(package).collect())
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
    fn a_package_that_is_not_in_the_lock_is_new() {
        with(("", ""), |indexes| {
            let found = select(indexes);
            let changed: Vec<_> = found.iter().filter_map(|one| since(indexes, &lock(&[]), one)).collect();
            assert_eq!(changed.len(), found.len());
        });
    }
}
