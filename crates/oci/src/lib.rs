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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(sha256::Digest);

impl Digest {
    /// The digest of these bytes.
    fn of(bytes: &[u8]) -> Self {
        Self(sha256::Digest::of(bytes))
    }

    /// The hexadecimal digits: the name of a blob.
    pub fn hex(&self) -> String {
        self.0.to_string()
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}
