//! Packages that a hub keeps so that runs can be made again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PackageFile;

/// `POST /kept-packages`: asks which versions of packages the hub keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AskKept {
    /// The source package whose tests the jobs are to run.
    pub tested: String,
    /// The versions; at most [`AskKept::MOST`].
    pub packages: Vec<PackageVersion>,
}

/// A version of a binary package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PackageVersion {
    /// Name of the binary package.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Answer to [`AskKept`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct KeptPackages {
    /// Whether the hub keeps packages at all.
    pub keeps: bool,
    /// Whether who asks may download the files, which takes the admin token.
    #[serde(default)]
    pub may_fetch: bool,
    /// Those that it has, of the versions that were asked for.
    pub packages: Vec<KeptPackage>,
}

/// A kept version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptPackage {
    /// The package and its version.
    #[serde(flatten)]
    pub package: PackageVersion,
    /// Whether jobs that want the version get it from the hub.
    pub given: KeptUse,
    /// Its files, one for each architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PackageFile>,
}

/// Whether jobs that want a kept version get it from the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeptUse {
    /// They get it.
    Given,
    /// They do not: the archive had it when the hub read it last.
    InArchive,
    /// They do not: it is of the tested source, whose tests of that version are not kept.
    OfTestedSource,
}

impl AskKept {
    /// Most versions in one question.
    pub const MOST: usize = 4000;
}

impl std::fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
