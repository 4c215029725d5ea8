//! Presigned addresses: who has one needs no key for what it is signed for.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use safetext::Secret;
use ureq::http::Uri;

use crate::bucket::{Bucket, Options};
use crate::content::{Content, base64};
use crate::error::S3Error;
use crate::multipart::Piece;
use crate::object::{CHECKSUM_HEADER, Put, headers_for};
use crate::refusal;
use crate::request::Payload;
use crate::send::{exchange, repeat, text};
use crate::sign::{Signer, UNSIGNED, Unsigned};

/// Permission to put one object of one content, for a limited time.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedPut {
    /// The address. Whoever has it can use it.
    pub url: Secret,
    /// Headers that have to be sent with it.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for PresignedPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignedPut").field("url", &shown(self.url.reveal())).finish_non_exhaustive()
    }
}

/// How an upload in parts stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresignedParts {
    /// The object is there.
    Complete,
    /// These parts are to be put; by their numbers. There may be more.
    Missing(Vec<(u32, PresignedPut)>),
}

/// An address without its query, which has the signature in it.
fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

impl Bucket {
    /// Signs for a time, at most seven days, that an object with this content may be put if there is none of its name. The
    /// storage refuses any other content. At most [`Options::single_limit`] bytes.
    pub fn presign_put(&self, key: &str, content: &Content, valid: Duration) -> PresignedPut {
        let mut headers = headers_for(content);
        headers.push(("if-none-match", "*".into()));
        self.presigned_put(key, &[], headers, valid)
    }

    /// Goes on with an upload in parts of an object with this content, for somebody who has the file and no key: signs for
    /// a time that the pieces which the storage has not may be put, the first `most` of them. If it has all of them, the
    /// upload is completed. The same call again, also after a restart, goes on where the upload is.
    ///
    /// The storage refuses a part of any other content. That the pieces are those of the content is not known before the
    /// object is read.
    ///
    /// # Errors
    ///
    /// If the storage cannot be reached or refuses.
    pub fn presign_parts(
        &self,
        key: &str,
        content: &Content,
        pieces: &[Piece],
        valid: Duration,
        most: usize,
    ) -> Result<PresignedParts, S3Error> {
        if self.head(key)?.is_some() {
            return Ok(PresignedParts::Complete);
        }
        let earlier = self.earlier(key)?;
        let id = match earlier {
            Some(id) => id,
            None => self.begin(key, content)?,
        };
        let (done, missing) = match self.parts_of(key, &id, pieces) {
            Ok(found) => found,
            // Somebody has aborted or completed it meanwhile.
            Err(S3Error::NoUpload { .. }) if self.head(key)?.is_some() => return Ok(PresignedParts::Complete),
            other => other?,
        };
        if missing.is_empty() {
            return match self.complete(key, &id, &done) {
                Ok(()) => Ok(PresignedParts::Complete),
                // Another upload was faster, or the answer to this request was lost.
                Err(S3Error::Exists { .. }) => self.abort(key, &id).map(|()| PresignedParts::Complete),
                Err(S3Error::NoUpload { .. }) if self.head(key)?.is_some() => Ok(PresignedParts::Complete),
                Err(error) => Err(error),
            };
        }
        let part = |piece: &&Piece| {
            let query = [("partNumber", piece.number.to_string()), ("uploadId", id.clone())];
            let headers = vec![(CHECKSUM_HEADER, base64(&piece.sha256))];
            (piece.number, self.presigned_put(key, &query, headers, valid))
        };
        Ok(PresignedParts::Missing(missing.iter().take(most).map(part).collect()))
    }

    fn presigned_put(
        &self,
        key: &str,
        query: &[(&str, String)],
        headers: Vec<(&str, String)>,
        valid: Duration,
    ) -> PresignedPut {
        let url = self.presigned("PUT", key, query, &headers, valid);
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        PresignedPut { url: Secret::new(url), headers }
    }

    /// Signs for a time, at most seven days, that an object may be got.
    pub fn presign_get(&self, key: &str, valid: Duration) -> Secret {
        Secret::new(self.presigned("GET", key, &[], &[], valid))
    }

    fn presigned(
        &self,
        method: &str,
        key: &str,
        query: &[(&str, String)],
        headers: &[(&str, String)],
        valid: Duration,
    ) -> String {
        let at = (self.options.clock)();
        let signer = Signer { credentials: &self.credentials, region: &self.location.region, at };
        let path = self.path(Some(key));
        let mut signed = headers.to_vec();
        signed.push(("host", self.host()));
        let request = Unsigned { method, path: &path, query, headers: &signed, payload: UNSIGNED };
        format!("{}{path}?{}", self.origin(), signer.presigned_query(&request, valid))
    }
}

/// Puts a file to a presigned address. Returns [`Put::AlreadyThere`] if there is an object of that name, without
/// comparing it: reading is not allowed with this address.
///
/// # Errors
///
/// If the file cannot be read, the address has expired, or the storage cannot be reached or refuses.
pub fn put_presigned(
    options: &Options,
    presigned: &PresignedPut,
    file: &Path,
    content: &Content,
) -> Result<Put, S3Error> {
    let payload = Payload::Piece { path: file, offset: 0, length: content.size, sha256: content.sha256 };
    match put_payload(options, presigned, payload) {
        Ok(()) => Ok(Put::Stored),
        Err(S3Error::Exists { .. }) => Ok(Put::AlreadyThere),
        Err(error) => Err(error),
    }
}

/// Puts a piece of a file to the presigned address of its part. Putting it twice is no error.
///
/// # Errors
///
/// As [`put_presigned`]; [`S3Error::Expired`] and [`S3Error::NoUpload`] are reasons to ask for new addresses.
pub fn put_presigned_part(
    options: &Options,
    presigned: &PresignedPut,
    file: &Path,
    piece: &Piece,
) -> Result<(), S3Error> {
    let Piece { offset, length, sha256, .. } = *piece;
    put_payload(options, presigned, Payload::Piece { path: file, offset, length, sha256 })
}

fn put_payload(options: &Options, presigned: &PresignedPut, payload: Payload<'_>) -> Result<(), S3Error> {
    let (agent, url) = (options.agent()?, presigned.url.reveal());
    let odd = |reason: &str| S3Error::Answer { endpoint: shown(url).to_owned(), reason: reason.to_owned() };
    let uri: Uri = url.parse().map_err(|_| odd("it is not an address"))?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(odd("it is not an address of http or https"));
    };
    let endpoint = format!("{scheme}://{authority}");
    repeat(options, &endpoint, || {
        let response =
            exchange(&agent, "PUT", url, &presigned.headers, payload).map_err(|failed| failed.miss(&endpoint))?;
        if response.status().is_success() {
            return Ok(());
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = text(response).ok().and_then(|text| crate::xml::error(&text));
        let context = refusal::Context {
            endpoint: &endpoint,
            bucket: uri.path().split('/').nth(1).unwrap_or_default(),
            key_id: "that the address was signed with",
            action: "put",
            what: shown(url).to_owned(),
            is_object: true,
            here: (options.clock)(),
        };
        Err(context.miss(status, &headers, body))
    })
}
