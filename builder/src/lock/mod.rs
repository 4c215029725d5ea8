//! The lock: the exact versions of all packages of a recipe, until newer ones are asked for.
//!
//! It is a TOML file beside the recipe, written by the program and read by people in reviews, so packages are sorted
//! by name and every fact stands on its own line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use advice::{Advise, Help};
use serde::{Deserialize, Serialize};
use sha256::Digest;

/// Format version that this program writes and reads.
const VERSION: u32 = 1;

/// A lock that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Reading failed.
    #[error("reading the lock {path}: {error}")]
    Read {
        /// Path of the lock file.
        path: PathBuf,
        /// Cause.
        error: io::Error,
    },
    /// Writing failed.
    #[error("writing the lock {path}: {error}")]
    Write {
        /// Path of the lock file.
        path: PathBuf,
        /// Cause.
        error: io::Error,
    },
    /// The content is not a valid lock.
    #[error("{origin} is not a valid lock: {message}")]
    Invalid {
        /// Path, or `NAME (shipped)`.
        origin: String,
        /// Description of the problem.
        message: String,
    },
}

impl Advise for LockError {
    fn help(&self) -> Help {
        if self.is_invalid() { "`rocbed lock --update` makes it anew".into() } else { Help::none() }
    }
}

impl LockError {
    /// Whether the file could be read but is not a usable lock.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid { .. })
    }
}

/// The exact packages of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// Format version: 1.
    pub version: u32,
    /// Digest of the recipe's request to the solver. A lock is out of date if the recipe requests something else.
    pub request: Digest,
    /// State of the archive.
    pub archive: LockedArchive,
    /// All packages, by name.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// The archive at the time of locking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedArchive {
    /// Suite.
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// `Date` of the Release file, in seconds since 1970: the `SOURCE_DATE_EPOCH` of every build.
    pub date: i64,
    /// Digest of the verified Release text.
    pub release: Digest,
}

/// Purpose of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Installed in the root file system.
    #[default]
    Root,
    /// Used only by the build, such as the package of the UKI stub.
    Build,
    /// Some of its files are on the EFI system partition; it is not installed in the root.
    Esp,
}

impl Role {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_root(&self) -> bool {
        *self == Self::Root
    }
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedPackage {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture; may be `all`.
    pub architecture: String,
    /// Path of the .deb in the archive.
    pub filename: String,
    /// Size of the .deb in bytes.
    pub size: u64,
    /// SHA-256 digest of the .deb.
    pub sha256: Digest,
    /// Installed size in bytes, as the archive estimates it.
    pub installed_size: u64,
    /// `Essential: yes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// Purpose of the package.
    #[serde(default, skip_serializing_if = "Role::is_root")]
    pub role: Role,
}

impl Lock {
    /// Makes a lock of the current format, with its packages sorted.
    pub fn new(request: Digest, archive: LockedArchive, mut packages: Vec<LockedPackage>) -> Self {
        packages.sort_by(|a, b| (a.role as u8, &a.name).cmp(&(b.role as u8, &b.name)));
        Self { version: VERSION, request, archive, packages }
    }

    /// Parses a lock's text; `origin` is its name in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, LockError> {
        let invalid = |message: String| LockError::Invalid { origin: origin.to_owned(), message };
        let lock: Self = toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end().to_owned()))?;
        if lock.version != VERSION {
            return Err(invalid(format!("its format is {}, this program reads {VERSION}", lock.version)));
        }
        if !(0..=i64::from(u32::MAX)).contains(&lock.archive.date) {
            return Err(invalid(format!(
                "its archive date, {}, is not a time between 1970 and 2106",
                lock.archive.date
            )));
        }
        let mut names = std::collections::BTreeSet::new();
        for package in &lock.packages {
            if !names.insert(&package.name) {
                return Err(invalid(format!("{} is in it twice", package.name)));
            }
            let path = &package.filename;
            if path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return Err(invalid(format!("the file name of {} leaves the archive: {path}", package.name)));
            }
        }
        Ok(lock)
    }

    /// Reads a lock file; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        match fs::read_to_string(path) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Self::parse(&text, &path.display().to_string()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LockError::Read { path: path.to_owned(), error }),
        }
    }

    /// Text form of the lock.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        let text = toml::to_string(self)?;
        Ok(format!("# Written by `rocbed lock`; change the recipe, not this file.\n{text}"))
    }

    /// Writes the lock file atomically.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let write = |text: String| durable::replace(path, text.as_bytes(), durable::Readers::Everyone);
        let written = self.to_text().map_err(io::Error::other).and_then(write);
        written.map_err(|error| LockError::Write { path: path.to_owned(), error })
    }

    /// The packages installed in the root.
    pub fn root_packages(&self) -> impl Iterator<Item = &LockedPackage> {
        self.packages.iter().filter(|package| package.role == Role::Root)
    }

    /// A package by name.
    pub fn package(&self, name: &str) -> Option<&LockedPackage> {
        self.packages.iter().find(|package| package.name == name)
    }
}

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
    },
    /// A package that only the old one has.
    Removed {
        /// Package name.
        name: String,
        /// Package version.
        version: String,
    },
    /// A package with another version.
    Changed {
        /// Package name.
        name: String,
        /// Old version.
        from: String,
        /// New version.
        to: String,
    },
    /// A package with the same version but different bytes.
    Rebuilt {
        /// Package name.
        name: String,
        /// Package version.
        version: String,
    },
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Added { name, version } => write!(f, "+ {name} {version}"),
            Self::Removed { name, version } => write!(f, "- {name} {version}"),
            Self::Changed { name, from, to } => write!(f, "~ {name} {from} -> {to}"),
            Self::Rebuilt { name, version } => write!(f, "! {name} {version}: same version, other content"),
        }
    }
}

/// Packages by name, with their version and, if known, the digest of their .deb.
pub type Versions = BTreeMap<String, (String, Option<String>)>;

/// The packages of a lock, for comparison.
pub fn versions(lock: &Lock) -> Versions {
    let entry =
        |package: &LockedPackage| (package.name.clone(), (package.version.clone(), Some(package.sha256.to_string())));
    lock.packages.iter().map(entry).collect()
}

/// The packages that a lock installs, by version alone, for comparison with an image's root.
pub fn root_versions(lock: &Lock) -> Versions {
    lock.root_packages().map(|package| (package.name.clone(), (package.version.clone(), None))).collect()
}

/// Changes from one set of packages to another, by name.
pub fn diff(old: &Versions, new: &Versions) -> Vec<Change> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (None, Some((version, _))) => Some(Change::Added { name: name.clone(), version: version.clone() }),
        (Some((version, _)), None) => Some(Change::Removed { name: name.clone(), version: version.clone() }),
        (Some((from, _)), Some((to, _))) if from != to => {
            Some(Change::Changed { name: name.clone(), from: from.clone(), to: to.clone() })
        }
        (Some((version, Some(before))), Some((_, Some(now)))) if before != now => {
            Some(Change::Rebuilt { name: name.clone(), version: version.clone() })
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
pub(crate) mod tests {
    use super::*;
    use advice::Advice;

    pub(crate) fn package(name: &str, version: &str) -> LockedPackage {
        LockedPackage {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            filename: format!("pool/main/{name}_{version}.deb"),
            size: 1000,
            sha256: Digest::of(format!("{name} {version}").as_bytes()),
            installed_size: 4096,
            essential: name == "dpkg",
            role: Role::Root,
        }
    }

    pub(crate) fn lock(packages: Vec<LockedPackage>) -> Lock {
        let archive = LockedArchive {
            suite: "sid".into(),
            components: vec!["main".into()],
            date: 1_793_347_681,
            release: Digest::of(b"release"),
        };
        Lock::new(Digest::of(b"request"), archive, packages)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let lock = lock(vec![package("mawk", "1.3"), package("dpkg", "1.23")]);
        assert_eq!(Lock::parse(&lock.to_text().unwrap(), "test").unwrap(), lock);
        assert_eq!(lock.packages[0].name, "dpkg", "sorted by name");
    }

    #[test]
    fn a_file_name_that_leaves_the_archive_is_refused() {
        let text = lock(vec![package("mawk", "1.3")]).to_text().unwrap().replace("pool/main", "../..");
        let error = Advice::of(&Lock::parse(&text, "x.lock").unwrap_err()).in_one_line();
        assert!(error.contains("leaves the archive") && error.contains("rocbed lock"), "{error}");
    }

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
}
