//! The files of a result's bundle, as a hub lists them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file or symbolic link in a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BundleFile {
    /// Its number in the bundle, which its address has.
    pub number: usize,
    /// Path in the bundle, as the test named it; what is not UTF-8 is replaced. Several may look the same.
    pub name: String,
    /// Length in bytes; 0 of a link.
    pub size: u64,
    /// Target of a symbolic link; missing of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the hub does not send it by itself, as it is large or far behind in the bundle: the whole bundle has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_in_bundle: bool,
}

/// `GET /results/{job}/files`: files of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BundleFiles {
    /// The files and links, in the order of the bundle.
    pub files: Vec<BundleFile>,
    /// Value of `after` for the next page; missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether the list ends before the bundle, which is large and from before hubs kept such lists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}
