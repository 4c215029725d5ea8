//! Where the runs of a search are made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha256::Digest;

/// Where runs are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    /// At the hub with this address.
    Hub(String),
    /// In testbeds on this machine.
    Local(Local),
    /// In virtual machines on this machine, which boot the images that are searched.
    Machines(Machines),
}

/// Testbeds on this machine, as `rocbed test` makes them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Local {
    pub(super) recipe: String,
    /// The options of `rocbed test` besides those that the job gives.
    pub(super) options: Vec<String>,
    /// Address of the hub from which packages come that the archive has no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hub: Option<String>,
}

/// Images of a search, and how they are booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Machines {
    /// The directories of the images, in their order, or the locks of the first and the last image.
    pub(super) images: Vec<PathBuf>,
    /// What tells each of them from another one in its place.
    #[serde(default)]
    pub(super) digests: Vec<Digest>,
    /// With locks: the recipe that they are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recipe: Option<String>,
    /// Options of `rocbed boot`.
    pub(super) boot: Vec<String>,
    /// Options of `rocbed build`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) build: Vec<String>,
}
