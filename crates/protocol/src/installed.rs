//! [`PackageList`]: the packages that were installed while a test ran, and [`InstalledLists`], how a result has them.
//!
//! A result has each different list once. The first is complete; the others are differences to an earlier one, since
//! the testbeds of a job differ by few packages. A list is named by its digest: the SHA-256 of its lines, each with a
//! newline. A line is `NAME ARCHITECTURE VERSION`, followed by `SOURCE` and `SOURCE-VERSION` where the source package
//! has another name, or another version, than the binary package.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

/// Version of the format of package lists.
pub const INSTALLED_FORMAT: u32 = 1;
/// Most packages in a list.
pub const MOST_PACKAGES: usize = 20_000;
/// Most lists in a result.
pub const MOST_LISTS: usize = 64;
/// Longest line of a list, in bytes.
const LONGEST_LINE: usize = 600;

/// An installed binary package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstalledPackage {
    /// Name of the binary package.
    pub name: String,
    /// Its architecture: `amd64`, `all`.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// Name of its source package.
    pub source: String,
    /// Version of its source package.
    pub source_version: String,
}

/// The installed packages of a testbed, sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageList(BTreeSet<InstalledPackage>);

/// The package lists of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InstalledLists {
    /// Version of the format of the lists: [`INSTALLED_FORMAT`].
    pub format: u32,
    /// The lists, each after its base.
    pub lists: Vec<InstalledList>,
    /// Package files that were given to the tests, besides the archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<LocalPackage>,
}

/// A package file from outside the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LocalPackage {
    /// Name of the file: `rocfft_7.2.4-2_amd64.deb`.
    pub file: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A package list, complete or as a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InstalledList {
    /// Digest of the list: SHA-256 of its lines.
    pub sha256: Digest,
    /// Digest of the earlier list that this one is a difference to; missing if it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// Lines that are not in the base: `NAME ARCHITECTURE VERSION [SOURCE [SOURCE-VERSION]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Lines of the base that are not in the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// Reason why package lists cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstalledError {
    /// The lists have a later format.
    #[error("the package lists have format {0}, and this program reads formats up to {INSTALLED_FORMAT}")]
    TooNew(u32),
    /// A list is larger than allowed.
    #[error("there are more than {most} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A line does not describe a package.
    #[error("`{0}` is not a line of a package list")]
    Line(String),
    /// The base of a list is not before it.
    #[error("package list {0} is a difference to a list that is not there")]
    NoBase(Digest),
    /// A list does not have the digest that it is named by.
    #[error("package list {0} has another digest")]
    Digest(Digest),
}

/// A source package that differs between two lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SourceChange {
    /// Name of the source package.
    pub source: String,
    /// Its version before; missing if none of its packages was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its version after; missing if none of its packages is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl fmt::Display for SourceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{} {} -> {}", self.source, version(&self.from), version(&self.to))
    }
}

impl InstalledPackage {
    /// Reads a line of a list.
    ///
    /// # Errors
    ///
    /// If it does not have three to five words.
    pub fn parse(line: &str) -> Result<Self, InstalledError> {
        let wrong = || InstalledError::Line(line.chars().take(200).collect());
        let words: Vec<&str> = line.split(' ').collect();
        if line.len() > LONGEST_LINE || words.iter().any(|word| word.is_empty() || word.contains(char::is_control)) {
            return Err(wrong());
        }
        let (name, architecture, version, source, source_version) = match words[..] {
            [name, architecture, version] => (name, architecture, version, name, version),
            [name, architecture, version, source] => (name, architecture, version, source, version),
            [name, architecture, version, source, source_version] => {
                (name, architecture, version, source, source_version)
            }
            _ => return Err(wrong()),
        };
        Ok(Self {
            name: name.to_owned(),
            architecture: architecture.to_owned(),
            version: version.to_owned(),
            source: source.to_owned(),
            source_version: source_version.to_owned(),
        })
    }
}

/// The package as a line of a [`PackageList`].
impl fmt::Display for InstalledPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.architecture, self.version)?;
        match (self.source == self.name, self.source_version == self.version) {
            (true, true) => Ok(()),
            (false, true) => write!(f, " {}", self.source),
            (_, false) => write!(f, " {} {}", self.source, self.source_version),
        }
    }
}

impl FromIterator<InstalledPackage> for PackageList {
    fn from_iter<T: IntoIterator<Item = InstalledPackage>>(packages: T) -> Self {
        Self(packages.into_iter().collect())
    }
}

impl PackageList {
    /// Reads a list from its lines.
    ///
    /// # Errors
    ///
    /// If a line is not a package, or there are too many.
    pub fn parse(text: &str) -> Result<Self, InstalledError> {
        let list = text.lines().map(InstalledPackage::parse).collect::<Result<BTreeSet<_>, _>>()?;
        if list.len() > MOST_PACKAGES {
            return Err(InstalledError::TooMany { what: "packages", most: MOST_PACKAGES });
        }
        Ok(Self(list))
    }

    /// The packages, sorted.
    pub fn packages(&self) -> impl Iterator<Item = &InstalledPackage> {
        self.0.iter()
    }

    /// Whether nothing is installed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines, each with a newline.
    pub fn text(&self) -> String {
        self.0.iter().map(|package| format!("{package}\n")).collect()
    }

    /// Digest of the list.
    pub fn sha256(&self) -> Digest {
        Digest::of(self.text())
    }

    /// Versions of source packages that are installed. If binary packages of a source have different versions, as
    /// when only some were upgraded, all of them with `+` between them.
    pub fn sources(&self) -> BTreeMap<&str, String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in &self.0 {
            versions.entry(&package.source).or_default().insert(&package.source_version);
        }
        let joined = |versions: BTreeSet<&str>| versions.into_iter().collect::<Vec<_>>().join(" + ");
        versions.into_iter().map(|(source, versions)| (source, joined(versions))).collect()
    }

    /// The version of a source package whose binary packages are installed.
    pub fn version_of(&self, source: &str) -> Option<String> {
        self.sources().remove(source)
    }

    /// Source packages that differ in a later list, sorted by name.
    pub fn changes(&self, later: &Self) -> Vec<SourceChange> {
        let (before, after) = (self.sources(), later.sources());
        let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        let changes = names.into_iter().map(|source| SourceChange {
            source: source.to_owned(),
            from: before.get(source).cloned(),
            to: after.get(source).cloned(),
        });
        changes.filter(|change| change.from != change.to).collect()
    }
}

impl Default for InstalledLists {
    fn default() -> Self {
        Self { format: INSTALLED_FORMAT, lists: Vec::new(), local: Vec::new() }
    }
}

impl InstalledLists {
    /// Whether there are neither lists nor package files.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.local.is_empty()
    }

    /// Adds a list, and returns its digest; `None` if there are too many already. One that is there is not added
    /// again. All lists but the first are written as differences to the first.
    pub fn add(&mut self, list: &PackageList) -> Option<Digest> {
        let sha256 = list.sha256();
        if self.lists.iter().any(|known| known.sha256 == sha256) {
            return Some(sha256);
        }
        if self.lists.len() >= MOST_LISTS || list.0.len() > MOST_PACKAGES {
            return None;
        }
        let lines = |packages: Vec<&InstalledPackage>| packages.into_iter().map(ToString::to_string).collect();
        let base = self.lists.first().map(|first| (first.sha256, first.complete()));
        self.lists.push(match base {
            Some((base, Ok(first))) => InstalledList {
                sha256,
                base: Some(base),
                added: lines(list.0.difference(&first.0).collect()),
                removed: lines(first.0.difference(&list.0).collect()),
            },
            _ => InstalledList { sha256, base: None, added: lines(list.0.iter().collect()), removed: Vec::new() },
        });
        Some(sha256)
    }

    /// All lists with their digests, which are checked.
    ///
    /// # Errors
    ///
    /// If the format is a later one, or a list is not valid.
    pub fn resolve(&self) -> Result<BTreeMap<Digest, PackageList>, InstalledError> {
        if self.format > INSTALLED_FORMAT {
            return Err(InstalledError::TooNew(self.format));
        }
        if self.lists.len() > MOST_LISTS {
            return Err(InstalledError::TooMany { what: "package lists", most: MOST_LISTS });
        }
        let mut found: BTreeMap<Digest, PackageList> = BTreeMap::new();
        for list in &self.lists {
            let mut packages = match &list.base {
                None => PackageList::default(),
                Some(base) => found.get(base).cloned().ok_or(InstalledError::NoBase(list.sha256))?,
            };
            for line in &list.removed {
                packages.0.remove(&InstalledPackage::parse(line)?);
            }
            for line in &list.added {
                packages.0.insert(InstalledPackage::parse(line)?);
            }
            if packages.0.len() > MOST_PACKAGES {
                return Err(InstalledError::TooMany { what: "packages", most: MOST_PACKAGES });
            }
            if packages.sha256() != list.sha256 {
                return Err(InstalledError::Digest(list.sha256));
            }
            found.insert(list.sha256, packages);
        }
        Ok(found)
    }
}

impl InstalledList {
    /// The packages of a complete list.
    fn complete(&self) -> Result<PackageList, InstalledError> {
        Ok(PackageList(self.added.iter().map(|line| InstalledPackage::parse(line)).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(lines: &[&str]) -> PackageList {
        PackageList::parse(&lines.join("\n")).expect("a list")
    }

    #[test]
    fn a_line_names_the_source_only_where_it_differs() {
        for line in ["gzip amd64 1.14-1", "libc6 amd64 2.41-12 glibc", "g++ amd64 4:15.2.0-4 gcc-defaults 1.220"] {
            assert_eq!(InstalledPackage::parse(line).expect(line).to_string(), line);
        }
        // A binary rebuild has the source's name and another version.
        let rebuilt = InstalledPackage::parse("zlib1g amd64 1.3-1+b1 zlib 1.3-1").expect("a line");
        assert_eq!((rebuilt.source.as_str(), rebuilt.source_version.as_str()), ("zlib", "1.3-1"));
        let same_name = InstalledPackage::parse("gzip amd64 1.14-1+b2 gzip 1.14-1").expect("a line");
        assert_eq!(same_name.to_string(), "gzip amd64 1.14-1+b2 gzip 1.14-1");
        for line in ["", "gzip", "gzip amd64", "gzip  amd64 1", "a b c d e f", "gzip amd64 1\u{1b}"] {
            assert!(InstalledPackage::parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn lists_after_the_first_are_differences() {
        let first = list(&["gzip amd64 1.14-1", "libc6 amd64 2.41-12 glibc", "rocrand-tests amd64 6.4-1 rocrand"]);
        let second = list(&["gzip amd64 1.14-1+local1", "libc6 amd64 2.41-12 glibc", "cmake amd64 4.1-1"]);
        let mut lists = InstalledLists::default();
        let digests = [lists.add(&first), lists.add(&second), lists.add(&first)].map(Option::unwrap);
        assert_eq!((lists.lists.len(), &digests[0]), (2, &digests[2]));
        assert_eq!(lists.lists[1].base.as_ref(), Some(&digests[0]));
        assert_eq!((lists.lists[1].added.len(), lists.lists[1].removed.len()), (2, 2));
        let resolved = lists.resolve().expect("lists");
        assert_eq!(resolved.get(&digests[1]), Some(&second));
        let changes: Vec<String> = first.changes(&second).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["cmake none -> 4.1-1", "gzip 1.14-1 -> 1.14-1+local1", "rocrand 6.4-1 -> none"]);
        assert_eq!(second.version_of("gzip").as_deref(), Some("1.14-1+local1"));
    }

    #[test]
    fn a_source_of_which_a_part_was_upgraded_has_both_versions() {
        let mixed = list(&["hip-dev amd64 7.1 rocm-hip", "libhip amd64 7.2 rocm-hip"]);
        assert_eq!(mixed.version_of("rocm-hip").as_deref(), Some("7.1 + 7.2"));
    }

    #[test]
    fn lists_that_are_not_what_they_are_named_are_refused() {
        let mut lists = InstalledLists::default();
        lists.add(&list(&["gzip amd64 1.14-1"]));
        let damaged = |change: fn(&mut InstalledLists)| {
            let mut lists = lists.clone();
            change(&mut lists);
            lists.resolve().unwrap_err().to_string()
        };
        assert!(damaged(|lists| lists.lists[0].added.push("bash amd64 5".into())).ends_with("has another digest"));
        assert!(damaged(|lists| lists.lists[0].base = Some(Digest::of(""))).contains("is not there"));
        assert!(damaged(|lists| lists.lists[0].added.push("bash".into())).contains("`bash` is not a line"));
        assert!(damaged(|lists| lists.format = 9).contains("format 9"));
        assert!(damaged(|lists| lists.lists = vec![lists.lists[0].clone(); 65]).contains("more than 64"));
    }

    proptest! {
        #[test]
        fn every_list_is_found_again(
            sets in prop::collection::vec(prop::collection::btree_set((0..30_u8, 0..3_u8), 0..20), 1..8)
        ) {
            let made: Vec<PackageList> = sets.iter().map(|set| {
                set.iter().map(|(name, version)| InstalledPackage {
                    name: format!("p{name}"),
                    architecture: "amd64".into(),
                    version: format!("{version}-1"),
                    source: format!("s{}", name / 3),
                    source_version: format!("{version}"),
                }).collect()
            }).collect();
            let mut lists = InstalledLists::default();
            for list in &made {
                let digest = lists.add(list).expect("room");
                let resolved = lists.resolve().expect("valid");
                prop_assert_eq!(resolved.get(&digest), Some(list));
            }
        }
    }
}
