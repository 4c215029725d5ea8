//! [`Config`]: how a container is started, and the documents of an image (image specification, `config.md` and `manifest.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error};

/// A member of a set in JSON: `{"8420/tcp": {}}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// How a container is started: the object `config` of `config.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
#[expect(clippy::zero_sized_map_values, reason = "the specification has maps to empty objects")]
pub struct Config {
    /// User and group, by name or number: `8420:8420`. Unset, root of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ports that it listens on: `8420/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment: `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Program and its first arguments. Those of the command line follow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments that those of the command line replace; without an entrypoint, the program as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Directories for data that outlives a container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels: `org.opencontainers.image.licenses` and others (`annotations.md`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Signal that ends it: `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// The configuration: a blob (`application/vnd.oci.image.config.v1+json`).
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    pub(crate) created: &'a str,
    pub(crate) architecture: &'static str,
    pub(crate) os: &'static str,
    pub(crate) config: &'a Config,
    pub(crate) rootfs: RootFs<'a>,
    pub(crate) history: Vec<History<'a>>,
}

#[derive(Serialize)]
pub(crate) struct RootFs<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Digests of the layers before compression, the lowest first.
    pub(crate) diff_ids: Vec<&'a Digest>,
}

/// What a layer is, an entry for each.
#[derive(Serialize)]
pub(crate) struct History<'a> {
    pub(crate) created: &'a str,
    pub(crate) created_by: &'a str,
}

/// Refers to a blob (`descriptor.md`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor<'a> {
    pub(crate) media_type: &'static str,
    pub(crate) digest: &'a Digest,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<&'static str, &'a str>,
}

/// The manifest: a blob (`application/vnd.oci.image.manifest.v1+json`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest<'a> {
    pub(crate) schema_version: u32,
    pub(crate) media_type: &'static str,
    pub(crate) config: Descriptor<'a>,
    pub(crate) layers: Vec<Descriptor<'a>>,
}

/// `index.json` (`image-index.md`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index<'a> {
    pub(crate) schema_version: u32,
    pub(crate) media_type: &'static str,
    pub(crate) manifests: [Descriptor<'a>; 1],
}

/// A time as the specification writes it (RFC 3339), from seconds since 1970.
pub(crate) fn time(seconds: i64) -> Result<String, Error> {
    let time = jiff::Timestamp::from_second(seconds).ok().filter(|_| seconds >= 0);
    time.map(|time| time.to_string()).ok_or(Error::Time(seconds))
}
