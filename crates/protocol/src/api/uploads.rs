//! Uploads of result bundles, which go on where they were cut.
//!
//! `POST /uploads` makes one, or finds the same worker's one of the same digest. `PATCH /uploads/{upload}` with
//! [`super::OFFSET_HEADER`] appends bytes; `HEAD /uploads/{upload}` asks where to go on. When the last byte is there
//! the hub checks the digest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

/// `POST /uploads`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateUpload {
    /// How many bytes there will be.
    pub size: u64,
    /// Their SHA-256, in hexadecimal digits.
    pub sha256: Digest,
}

/// An upload as the hub has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// How many bytes the hub has.
    pub offset: u64,
    /// How many there will be.
    pub size: u64,
    /// Whether all are there and their digest was checked.
    pub complete: bool,
}
