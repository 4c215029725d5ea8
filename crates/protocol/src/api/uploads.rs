//! Uploads of result bundles, which resume after an interruption.
//!
//! `POST /uploads` starts one, or finds the same worker's upload with the same digest. `PATCH /uploads/{upload}` with
//! [`super::OFFSET_HEADER`] appends bytes; `HEAD /uploads/{upload}` returns the offset from which to resume. After the
//! last byte the hub checks the digest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

/// `POST /uploads`: announces an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateUpload {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content, in hexadecimal digits.
    pub sha256: Digest,
}

/// The state of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upload {
    /// The upload's id.
    pub id: String,
    /// Number of bytes that the hub has.
    pub offset: u64,
    /// Length in bytes when it is complete.
    pub size: u64,
    /// Whether all bytes have arrived and have the announced digest.
    pub complete: bool,
}
