//! Objects: put, look at, delete.

use std::path::Path;

use sha256::Digest;
use ureq::http::HeaderMap;

use crate::bucket::Bucket;
use crate::content::{Content, base64, from_base64};
use crate::error::S3Error;
use crate::request::{Payload, Request};

/// Header with the SHA-256 of the whole content as hexadecimal digits. Servers keep it as they get it. It is there for
/// objects that were uploaded in parts, for which servers know the digests of the parts only.
pub(crate) const DIGEST_HEADER: &str = "x-amz-meta-sha256";

/// Header with the SHA-256 that the server compares with what it receives.
pub(crate) const CHECKSUM_HEADER: &str = "x-amz-checksum-sha256";

/// The header with the type of bundles: they are compressed with Zstandard.
pub(crate) const CONTENT_TYPE: (&str, &str) = ("content-type", "application/zstd");

/// What came of putting an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there now.
    Stored,
    /// It was there, with the same content.
    AlreadyThere,
}

/// What the storage says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Length in bytes.
    pub size: u64,
    /// Identifies this version of it.
    pub etag: String,
    /// SHA-256, as the server has computed it or the uploader has said it; not all servers tell one of them.
    pub sha256: Option<Digest>,
}

impl ObjectInfo {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let computed = header(CHECKSUM_HEADER).and_then(from_base64);
        let said = || header(DIGEST_HEADER)?.parse().ok();
        Some(Self {
            size: header("content-length")?.parse().ok()?,
            etag: header("etag").unwrap_or_default().to_owned(),
            sha256: computed.or_else(said),
        })
    }
}

/// The headers with which an object of this content is made.
pub(crate) fn headers_for(content: &Content) -> Vec<(&'static str, String)> {
    vec![
        (CHECKSUM_HEADER, base64(&content.sha256)),
        (DIGEST_HEADER, content.sha256.to_string()),
        (CONTENT_TYPE.0, CONTENT_TYPE.1.to_owned()),
    ]
}

impl Bucket {
    /// Puts a file, which has to have this content. If there is an object of that name, it is compared instead.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has another content, the storage cannot be reached or refuses, or there is an object
    /// of that name with another content ([`S3Error::Changed`]).
    pub fn put(&self, key: &str, file: &Path, content: &Content) -> Result<Put, S3Error> {
        let put = if content.size <= self.options.single_limit {
            self.put_whole(key, file, content)
        } else {
            self.put_in_parts(key, file, content)
        };
        match put {
            Ok(()) => Ok(Put::Stored),
            Err(S3Error::Exists { .. }) => self.verify(key, content).map(|()| Put::AlreadyThere),
            Err(S3Error::Refused { .. } | S3Error::Unreachable { .. }) if Content::of_file(file)? != *content => {
                Err(S3Error::FileChanged(file.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    fn put_whole(&self, key: &str, file: &Path, content: &Content) -> Result<(), S3Error> {
        let mut request = Request::new("PUT", "put", Some(key));
        request.headers = headers_for(content);
        request.headers.push(("if-none-match", "*".into()));
        request.payload = Payload::Piece { path: file, offset: 0, length: content.size, sha256: content.sha256 };
        self.send(&request).map(drop)
    }

    /// What the storage says of an object; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the storage cannot be reached or refuses.
    pub fn head(&self, key: &str) -> Result<Option<ObjectInfo>, S3Error> {
        let mut request = Request::new("HEAD", "look at", Some(key));
        request.headers.push(("x-amz-checksum-mode", "ENABLED".into()));
        let response = match self.send(&request) {
            Ok(response) => response,
            Err(S3Error::NoObject { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let endpoint = self.location.endpoint.clone();
        let odd = || S3Error::Answer { endpoint, reason: format!("it tells no length of {}", self.name(key)) };
        ObjectInfo::of(response.headers()).map(Some).ok_or_else(odd)
    }

    /// Compares an object with what it has to contain: by size and digest, and if the storage tells no digest by reading
    /// it.
    ///
    /// # Errors
    ///
    /// [`S3Error::Changed`] if it differs, [`S3Error::NoObject`] if there is none; or if the storage cannot be reached or
    /// refuses.
    pub fn verify(&self, key: &str, content: &Content) -> Result<(), S3Error> {
        let changed = |why| S3Error::Changed { what: self.name(key), why };
        let info = self.head(key)?.ok_or_else(|| S3Error::NoObject { what: self.name(key) })?;
        if info.size != content.size {
            return Err(changed(format!("it has {} bytes and not {}", info.size, content.size)));
        }
        match info.sha256 {
            Some(sha256) if sha256 == content.sha256 => Ok(()),
            Some(sha256) => Err(changed(format!("its SHA-256 is {} and not {}", sha256, content.sha256))),
            None => self.read_to(key, content, &mut std::io::sink()),
        }
    }

    /// Deletes an object, if there is one.
    ///
    /// # Errors
    ///
    /// If the storage cannot be reached or refuses.
    pub fn delete(&self, key: &str) -> Result<(), S3Error> {
        match self.send(&Request::new("DELETE", "delete", Some(key))) {
            Ok(_) | Err(S3Error::NoObject { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
