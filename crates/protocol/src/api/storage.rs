//! Where a hub keeps its bundles.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /storage`: where bundles are kept, and whether that works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BundleStorage {
    /// Address of the bucket; missing if bundles are in the hub's data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// How many bundles are not in the bucket yet, or became no result.
    pub waiting: u64,
    /// Their length in bytes.
    pub waiting_bytes: u64,
    /// How many bundles were put into the bucket since the hub's start.
    pub uploaded: u64,
    /// Length in bytes of the bundles that are in the bucket and on the hub's disk.
    pub cached_bytes: u64,
    /// Why bundles cannot be put into the bucket now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
}
