//! Container images by the OCI image specification 1.1, without a container engine.
//!
//! ```text
//! FileTree --Layer::write--> compressed tar with its digests
//! layers, Config --Image::write--> tar with an image layout: `podman load`, `skopeo copy oci-archive:FILE ...`
//! ```
//!
//! The same trees and settings give the same bytes. The four JSON documents are written here and not by the crate `oci-spec`, which
//! reads and writes all that the specification has, with thirty more crates to compile.

mod archive;
mod config;
mod error;
mod hashed;
mod layer;

pub use archive::Image;
pub use config::{Config, Empty};
pub use error::Error;
pub use flate2::Compression;
pub use layer::Layer;

/// A digest as the specification writes it: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_sha256(sha2::Sha256::digest(bytes).as_slice())
    }

    fn from_sha256(digest: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(digest)))
    }

    /// The hexadecimal digits: the name of a blob.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or(&self.0)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
