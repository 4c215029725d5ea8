//! [`Request`]: what is asked of storage, before it is signed.

use std::path::Path;

use sha256::Digest;

/// The payload of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Payload<'a> {
    #[default]
    Nothing,
    Bytes(&'a [u8]),
    /// A piece of a file, with its digest.
    Piece {
        path: &'a Path,
        offset: u64,
        length: u64,
        sha256: Digest,
    },
}

impl Payload<'_> {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Piece { length, .. } => *length,
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Nothing => Digest::of(b""),
            Self::Bytes(bytes) => Digest::of(bytes),
            Self::Piece { sha256, .. } => *sha256,
        }
    }
}

/// A request about an object or, without a key, about the bucket.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    /// The action in words, for errors.
    pub(crate) action: &'static str,
    pub(crate) key: Option<&'a str>,
    pub(crate) query: Vec<(&'static str, String)>,
    /// Names in lower case.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: &'static str, action: &'static str, key: Option<&'a str>) -> Self {
        Self { method, action, key, query: Vec::new(), headers: Vec::new(), payload: Payload::Nothing }
    }
}
