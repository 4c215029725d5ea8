//! Finds packages that a change in another package may break.

use std::collections::BTreeSet;

use advice::Advice;
use anyhow::{Result, bail};

use super::{Candidate, Indexes, TEAM, names_in};

/// The source packages with tests that name one of these packages, or whose binary packages depend on it. A source
/// package stands for all its binary packages, and is not among its own reverse dependencies.
pub fn of(indexes: &Indexes<'_>, asked: &[String]) -> Result<Vec<Candidate>> {
    let (mut names, mut own) = (BTreeSet::new(), BTreeSet::new());
    for name in asked {
        let binaries = indexes.newest(name).map(|source| source.binaries()).unwrap_or_default();
        if !binaries.is_empty() {
            own.insert(name.as_str());
            names.extend(binaries);
        } else if indexes.universe.knows(name) {
            names.insert(name.as_str());
        } else {
            let near = indexes.universe.suggestions(name).join(", ");
            let near = (!near.is_empty()).then(|| format!("there are {near}"));
            bail!(Advice::new(format!("--rdeps-of {name}: there is no source or binary package of that name"), near));
        }
    }
    let mut found = Vec::new();
    for source in indexes.tested() {
        if own.contains(source.name()) {
            continue;
        }
        let triggers = names_in(source.field("Testsuite-Triggers").unwrap_or_default());
        let why = match triggers.iter().find(|name| names.contains(*name)) {
            Some(name) => Some(format!("its tests use {name}")),
            None => indexes.binaries(source.name()).iter().find_map(|binary| {
                let depends = dependencies(binary);
                let name = depends.iter().find(|name| names.contains(*name))?;
                Some(format!("{} depends on {name}", binary.name()))
            }),
        };
        found.extend(why.map(|why| Candidate::new(&source, why)));
    }
    Ok(found)
}

/// Dependencies of a binary package, all alternatives included.
pub(super) fn dependencies<'a>(package: &archive::index::Package<'a>) -> Vec<&'a str> {
    let names = |field| names_in(package.field(field).unwrap_or_default());
    [names("Pre-Depends"), names("Depends")].concat()
}

/// Whether the ROCm team maintains a binary package.
pub(super) fn is_rocms(package: &archive::index::Package<'_>) -> bool {
    let maintainer = package.field("Maintainer").unwrap_or_default();
    TEAM.iter().all(|part| maintainer.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worklist::tests::{names, with};

    #[test]
    fn tests_and_binaries_count() -> Result<()> {
        with(("", ""), |indexes| {
            let of = |name: &str| of(indexes, &[name.to_owned()]);
            assert_eq!(names(&of("rocm-hipamd")?), ["hipcub", "rocrand"]);
            assert_eq!(of("libamdhip64-6")?[0].why, "libhipcub-tests depends on libamdhip64-6");
            assert_eq!(names(&of("rocminfo")?), ["spfft"], "not itself");
            assert_eq!(names(&of("librocrand1")?), ["rocrand"], "its tests need its library");
            let error = crate::error::report(&of("rocmimfo").unwrap_err()).to_string();
            assert!(error.contains("rocmimfo") && error.contains("rocminfo"), "{error}");
            Ok(())
        })
    }
}
