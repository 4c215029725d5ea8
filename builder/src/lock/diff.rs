//! Differences between two locks or images, package by package.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use sha256::Digest;

use super::{Lock, LockedPackage};

/// One difference between two locks or images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A package that only the new one has.
    Added {
        /// Package name.
        name: String,
        /// Package version.
        version: String,
        /// Name of the archive that it is from; none for the main one, or if that is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
    },
    /// A package that only the old one has.
    Removed {
        /// Package name.
        name: String,
        /// Package version.
        version: String,
        /// Name of the archive that it is from; none for the main one, or if that is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
    },
    /// A package with another version.
    Changed {
        /// Package name.
        name: String,
        /// Old version.
        from: String,
        /// New version.
        to: String,
        /// Name of the archive that the old one is from, as for the others.
        #[serde(skip_serializing_if = "Option::is_none")]
        from_archive: Option<String>,
        /// Name of the archive that the new one is from.
        #[serde(skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
    },
    /// A package with the same version but different bytes.
    Rebuilt {
        /// Package name.
        name: String,
        /// Package version.
        version: String,
        /// Name of the archive that it is from; none for the main one, or if that is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
    },
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Added { name, version, archive } => write!(f, "+ {name} {version}{}", of(archive.as_ref())),
            Self::Removed { name, version, archive } => write!(f, "- {name} {version}{}", of(archive.as_ref())),
            Self::Changed { name, from, to, from_archive, archive } => {
                write!(f, "~ {name} {from}{} -> {to}{}", of(from_archive.as_ref()), of(archive.as_ref()))
            }
            Self::Rebuilt { name, version, archive } => {
                write!(f, "! {name} {version}{}: same version, other content", of(archive.as_ref()))
            }
        }
    }
}

/// ` (experimental)`, or nothing for the main archive.
fn of(archive: Option<&String>) -> String {
    archive.map(|name| format!(" ({name})")).unwrap_or_default()
}

/// What is compared of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    /// Version.
    pub version: String,
    /// Digest of its .deb, if known.
    pub digest: Option<Digest>,
    /// Name of the archive that it is from; none for the main one, or if that is not known.
    pub archive: Option<String>,
}

impl PackageState {
    /// A package of which only the version is known.
    pub fn of_version(version: String) -> Self {
        Self { version, digest: None, archive: None }
    }
}

/// Packages by name.
pub type Versions = BTreeMap<String, PackageState>;

/// The packages of a lock, for comparison.
pub fn versions(lock: &Lock) -> Versions {
    let entry = |package: &LockedPackage| {
        let (version, archive) = (package.version.clone(), package.archive.clone());
        (package.name.clone(), PackageState { version, digest: Some(package.sha256), archive })
    };
    lock.packages.iter().map(entry).collect()
}

/// The packages that a lock installs, by version alone, for comparison with an image's root.
pub fn root_versions(lock: &Lock) -> Versions {
    let entry = |package: &LockedPackage| (package.name.clone(), PackageState::of_version(package.version.clone()));
    lock.root_packages().map(entry).collect()
}

/// Changes from one set of packages to another, by name.
pub fn diff(old: &Versions, new: &Versions) -> Vec<Change> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (None, Some(PackageState { version, archive, .. })) => {
            Some(Change::Added { name: name.clone(), version: version.clone(), archive: archive.clone() })
        }
        (Some(PackageState { version, archive, .. }), None) => {
            Some(Change::Removed { name: name.clone(), version: version.clone(), archive: archive.clone() })
        }
        (Some(before), Some(now)) if before.version != now.version => Some(Change::Changed {
            name: name.clone(),
            from: before.version.clone(),
            to: now.version.clone(),
            from_archive: before.archive.clone(),
            archive: now.archive.clone(),
        }),
        (Some(before), Some(now)) if before.digest.is_some() && now.digest.is_some() && before.digest != now.digest => {
            let (version, archive) = (now.version.clone(), now.archive.clone());
            Some(Change::Rebuilt { name: name.clone(), version, archive })
        }
        _ => None,
    };
    names.into_iter().filter_map(change).collect()
}

/// One-line summary of changes: `3 added, 1 removed, 12 changed`.
pub fn summary(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing changed".into();
    }
    let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|change| wanted(change)).count();
    let mut text = String::new();
    for (number, word) in [
        (count(|change| matches!(change, Change::Added { .. })), "added"),
        (count(|change| matches!(change, Change::Removed { .. })), "removed"),
        (count(|change| matches!(change, Change::Changed { .. })), "changed"),
        (count(|change| matches!(change, Change::Rebuilt { .. })), "rebuilt"),
    ] {
        if number > 0 {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{number} {word}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{lock, package};
    use super::*;

    #[test]
    fn differences_are_told_by_package() {
        let old = versions(&lock(vec![package("a", "1"), package("b", "1"), package("c", "1")]));
        let mut rebuilt = package("c", "1");
        rebuilt.sha256 = Digest::of(b"other");
        let new = versions(&lock(vec![package("b", "2"), rebuilt, package("d", "1")]));
        let changes = diff(&old, &new);
        let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["- a 1", "~ b 1 -> 2", "! c 1: same version, other content", "+ d 1"]);
        assert_eq!(summary(&changes), "1 added, 1 removed, 1 changed, 1 rebuilt");
    }

    #[test]
    fn packages_from_elsewhere_are_told_with_their_archive() {
        let of = |version: &str, archive: Option<&str>| {
            let mut package = package("hello", version);
            package.archive = archive.map(ToOwned::to_owned);
            versions(&lock(vec![package]))
        };
        let line = |old: &Versions, new: &Versions| diff(old, new).iter().map(ToString::to_string).collect::<String>();
        assert_eq!(line(&of("1", None), &of("2", Some("experimental"))), "~ hello 1 -> 2 (experimental)");
        assert_eq!(line(&of("2", Some("local")), &of("1", None)), "~ hello 2 (local) -> 1");
        assert_eq!(line(&Versions::new(), &of("2", Some("local"))), "+ hello 2 (local)");
    }
}
