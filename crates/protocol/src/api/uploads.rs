//! Uploads of result bundles, which resume after an interruption.
//!
//! `POST /uploads` starts one, or finds the same worker's upload with the same digest. `PATCH /uploads/{upload}` with
//! [`super::OFFSET_HEADER`] appends bytes; `HEAD /uploads/{upload}` returns the offset from which to resume. After the
//! last byte the hub checks the digest.

use std::collections::BTreeMap;

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
    /// Whether the worker can upload to the hub's storage itself. False if it is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct: bool,
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
    /// Where the worker may put the whole bundle itself, instead of appending to this upload. Then it completes the
    /// lease; if the hub does not find the bundle, it appends here after all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectUpload>,
}

/// A signed address of the hub's storage. Who has it can put this one bundle there, for a limited time.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DirectUpload {
    /// The address, for a PUT request.
    pub url: String,
    /// The headers of that request, by their names.
    pub headers: BTreeMap<String, String>,
}

/// Without the signature.
impl std::fmt::Debug for DirectUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("DirectUpload").field("url", &url).finish_non_exhaustive()
    }
}
