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
    /// Length in bytes of the parts in which the worker may put the bundle there itself, if it is too large for one request;
    /// the last one is shorter. It asks for their addresses with `POST /uploads/{upload}/parts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_size: Option<u64>,
}

/// `POST /uploads/{upload}/parts`: asks for the addresses of the parts that the hub's storage has not. The same request
/// again goes on where the upload is, and when all parts are there, ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskParts {
    /// All parts, in order.
    pub parts: Vec<PartDigest>,
}

/// What a part has to contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartDigest {
    /// SHA-256, in hexadecimal digits.
    pub sha256: Digest,
    /// MD5, in hexadecimal digits: some storage tells nothing else of the parts that it has.
    pub md5: String,
}

/// The answer to [`AskParts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parts {
    /// Whether the bundle is complete in the storage.
    pub complete: bool,
    /// Parts to put, each to its address. If there are more, they come with the next answer.
    #[serde(default)]
    pub missing: Vec<DirectPart>,
}

/// A part to put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DirectPart {
    /// Its number, from 1.
    pub number: u32,
    /// Where to put it.
    #[serde(flatten)]
    pub to: DirectUpload,
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
