//! The lock: the exact versions of all packages of a recipe, until newer ones are asked for.
//!
//! It is a TOML file beside the recipe, written by the program and read by people in reviews, so packages are sorted
//! by name and every fact stands on its own line.

mod diff;

use std::path::{Path, PathBuf};
use std::{fs, io};

use advice::{Advise, Help};
use serde::{Deserialize, Serialize};
use sha256::Digest;

pub use diff::{Change, PackageState, Versions, diff, root_versions, summary, versions};

use crate::recipe::LOCAL;

/// Format version of a lock whose packages are all of one archive.
const VERSION: u32 = 1;

/// Format version of a lock with packages from elsewhere. A program that knows only the first version cannot fetch these.
const VERSION_WITH_OTHERS: u32 = 2;

/// A lock that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Reading failed.
    #[error("reading the lock {path}: {error}")]
    Read {
        /// Path of the lock file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Writing failed.
    #[error("writing the lock {path}: {error}")]
    Write {
        /// Path of the lock file.
        path: PathBuf,
        /// The cause.
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
        match self {
            Self::Read { error, .. } => Help::of_path(error),
            Self::Write { .. } => Help::none(),
            Self::Invalid { .. } => "`rocbed lock --update` makes it anew".into(),
        }
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
    /// Format version: 1, or 2 with packages from elsewhere.
    pub version: u32,
    /// Digest of the recipe's request to the solver. A lock is out of date if the recipe requests something else.
    pub request: Digest,
    /// State of the archive.
    pub archive: LockedArchive,
    /// States of the extra archives, by name.
    #[serde(default, rename = "extra-archive", skip_serializing_if = "Vec::is_empty")]
    pub extra_archives: Vec<LockedExtraArchive>,
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
    /// `Date` of the Release file, in seconds since 1970.
    pub date: i64,
    /// Digest of the verified Release text.
    pub release: Digest,
}

/// An extra archive at the time of locking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedExtraArchive {
    /// Its name in the recipe.
    pub name: String,
    /// Suite.
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// `Date` of the Release file, in seconds since 1970.
    pub date: i64,
    /// Digest of the verified Release text.
    pub release: Digest,
    /// What its Release file calls it, by which apt finds its packages.
    #[serde(default, skip_serializing_if = "ReleaseNames::is_empty")]
    pub release_names: ReleaseNames,
}

/// What a Release file says about its archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReleaseNames {
    /// `Origin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// `Label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `Suite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// `Codename`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
}

impl ReleaseNames {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
    /// Name of the extra archive that it is from, or `local`; none if it is from the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

impl LockedPackage {
    /// Whether it is a local file.
    pub fn is_local(&self) -> bool {
        self.archive.as_deref() == Some(LOCAL)
    }
}

impl Lock {
    /// Makes a lock of the current format, with its packages sorted.
    pub fn new(
        request: Digest,
        archive: LockedArchive,
        extra_archives: Vec<LockedExtraArchive>,
        mut packages: Vec<LockedPackage>,
    ) -> Self {
        packages.sort_by(|a, b| (a.role as u8, &a.name).cmp(&(b.role as u8, &b.name)));
        let is_simple = extra_archives.is_empty() && packages.iter().all(|package| package.archive.is_none());
        let version = if is_simple { VERSION } else { VERSION_WITH_OTHERS };
        Self { version, request, archive, extra_archives, packages }
    }

    /// Parses a lock's text; `origin` is its name in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, LockError> {
        let invalid = |message: String| LockError::Invalid { origin: origin.to_owned(), message };
        let lock: Self = toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end().to_owned()))?;
        if ![VERSION, VERSION_WITH_OTHERS].contains(&lock.version) {
            let known = format!("this program reads {VERSION} and {VERSION_WITH_OTHERS}");
            return Err(invalid(format!("its format is {}, {known}", lock.version)));
        }
        for date in std::iter::once(lock.archive.date).chain(lock.extra_archives.iter().map(|extra| extra.date)) {
            if !(0..=i64::from(u32::MAX)).contains(&date) {
                return Err(invalid(format!("its archive date, {date}, is not a time between 1970 and 2106")));
            }
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
            let is_known = |name: &str| name == LOCAL || lock.extra_archives.iter().any(|extra| extra.name == name);
            if let Some(name) = package.archive.as_deref().filter(|name| !is_known(name)) {
                return Err(invalid(format!("{} is from {name}, which is not among its archives", package.name)));
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

    /// Date of the newest of its archives, in seconds since 1970: the `SOURCE_DATE_EPOCH` of every build.
    pub fn date(&self) -> i64 {
        self.extra_archives.iter().map(|extra| extra.date).fold(self.archive.date, i64::max)
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
            archive: None,
        }
    }

    pub(crate) fn lock(packages: Vec<LockedPackage>) -> Lock {
        let archive = LockedArchive {
            suite: "sid".into(),
            components: vec!["main".into()],
            date: 1_793_347_681,
            release: Digest::of(b"release"),
        };
        Lock::new(Digest::of(b"request"), archive, Vec::new(), packages)
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
    fn packages_from_elsewhere_make_another_format() {
        let state = lock(Vec::new()).archive;
        let names =
            ReleaseNames { origin: Some("Debian".into()), codename: Some("rc-buggy".into()), ..Default::default() };
        let LockedArchive { suite, components, date, release } = state.clone();
        let name = "experimental".into();
        let date = date + 1;
        let extra = LockedExtraArchive { name, suite, components, date, release, release_names: names };
        let of = |archive: &str| LockedPackage { archive: Some(archive.into()), ..package("mawk", "1.3") };
        let lock = Lock::new(Digest::of(b"x"), state, vec![extra], vec![of("experimental")]);
        let text = lock.to_text().unwrap();
        assert!(text.contains("version = 2\n") && text.contains("[[extra-archive]]"), "{text}");
        assert_eq!(Lock::parse(&text, "test").unwrap(), lock);
        assert_eq!(lock.date(), lock.archive.date + 1, "that of the newest archive");
        let error = Lock::parse(&text.replace("archive = \"experimental\"", "archive = \"mine\""), "test").unwrap_err();
        assert!(error.to_string().contains("mawk is from mine, which is not among its archives"), "{error}");
    }
}
