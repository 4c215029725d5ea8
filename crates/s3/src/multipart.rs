//! Uploads in parts. Nothing about them is kept here: after an interruption, also of the program, the storage is asked
//! which parts it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use md5::{Digest as _, Md5};
use sha256::{Digest, Hasher};

use crate::bucket::Bucket;
use crate::content::{Content, base64};
use crate::error::S3Error;
use crate::object::{CHECKSUM_HEADER, CONTENT_TYPE, DIGEST_HEADER};
use crate::request::{Payload, Request};
use crate::xml::{self, Page, Part, Upload};

/// Most parts of an upload.
const MOST_PARTS: u64 = 10_000;

/// Most pages of a list that are asked for.
const MOST_PAGES: u32 = 1_000;

/// A piece of a file that is uploaded in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its number, from 1.
    pub number: u32,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// Its MD5 in hexadecimal digits: what the storage has as its `ETag`, unless it encrypts objects with a key of its own.
    pub etag: String,
}

/// The pieces of a file with their digests. Reads all of it, so that a part is never sent of a file that is not the one
/// meant. `part_size` is in bytes; parts are longer if there would be more than 10,000.
///
/// # Errors
///
/// If the file cannot be read, or has another content.
pub fn pieces(path: &Path, content: &Content, part_size: u64) -> Result<Vec<Piece>, S3Error> {
    let failed = |error| S3Error::File { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(failed)?;
    let (mut whole, mut buffer, mut pieces) = (Hasher::new(), vec![0; 1 << 17], Vec::new());
    for (number, offset, length) in places(content.size, part_size) {
        let (mut sha256, mut md5, mut left) = (Hasher::new(), Md5::new(), length);
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read(buffer.get_mut(..most).unwrap_or_default()).map_err(failed)?;
            if read == 0 {
                return Err(S3Error::FileChanged(path.to_owned()));
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            sha256.update(bytes);
            md5.update(bytes);
            whole.update(bytes);
            left -= read as u64;
        }
        pieces.push(Piece { number, offset, length, sha256: sha256.finish(), etag: hex::encode(md5.finalize()) });
    }
    if whole.finish() != content.sha256 || file.metadata().map_err(failed)?.len() != content.size {
        return Err(S3Error::FileChanged(path.to_owned()));
    }
    Ok(pieces)
}

/// Number, offset and length of each part of a file of `size` bytes.
pub fn places(size: u64, part_size: u64) -> impl Iterator<Item = (u32, u64, u64)> {
    let step = part_size.max(size.div_ceil(MOST_PARTS)).max(1);
    (1..)
        .zip(std::iter::successors(Some(0_u64), move |offset| offset.checked_add(step)))
        .take_while(move |(_, offset)| *offset < size)
        .map(move |(number, offset)| (number, offset, step.min(size - offset)))
}

impl Piece {
    /// Whether the storage has this part.
    fn is(&self, part: &Part) -> bool {
        let same = match &part.sha256 {
            Some(sha256) => *sha256 == self.sha256,
            None => part.etag.trim_matches('"') == self.etag,
        };
        part.size == self.length && same
    }
}

/// What the storage says, or `None` if the key may not ask, or the server does not know the request: then an upload begins
/// anew, which costs time only.
fn permitted<T>(answer: Result<T, S3Error>) -> Result<Option<T>, S3Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(S3Error::Denied { .. } | S3Error::Refused { status: 405 | 501, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Bucket {
    /// Puts a file in parts. Parts that the storage has from an earlier, interrupted attempt are not sent again.
    pub(crate) fn put_in_parts(&self, key: &str, file: &Path, content: &Content) -> Result<(), S3Error> {
        // An upload that is completed costs its parts' time only once the name is known to be free.
        if permitted(self.head(key))?.flatten().is_some() {
            return Err(S3Error::Exists { what: self.name(key) });
        }
        let pieces = pieces(file, content, self.options.part_size)?;
        let earlier = self.earlier(key)?;
        let resumed = earlier.is_some();
        let id = match earlier {
            Some(id) => id,
            None => self.begin(key, content)?,
        };
        match self.send_parts(key, &id, file, &pieces) {
            // It was completed and the answer was lost, or somebody has aborted it.
            Err(S3Error::NoUpload { .. }) if self.head(key)?.is_some() => Err(S3Error::Exists { what: self.name(key) }),
            Err(S3Error::NoUpload { .. }) if resumed => {
                let id = self.begin(key, content)?;
                self.send_parts(key, &id, file, &pieces)
            }
            Err(error @ S3Error::Exists { .. }) => {
                // Another upload was faster: what is left of this one is not needed.
                self.abort(key, &id)?;
                Err(error)
            }
            other => other,
        }
    }

    /// The upload of an object that was begun last and is not completed, if there is one.
    pub(crate) fn earlier(&self, key: &str) -> Result<Option<String>, S3Error> {
        let all = permitted(self.uploads(key))?.unwrap_or_default();
        let begun = all.into_iter().filter(|upload| upload.key == self.full(key));
        Ok(begun.max_by_key(|upload| upload.begun).map(|upload| upload.id))
    }

    /// The parts that the storage has of these pieces, and the pieces that it has not.
    pub(crate) fn parts_of<'a>(
        &self,
        key: &str,
        id: &str,
        pieces: &'a [Piece],
    ) -> Result<(Vec<Part>, Vec<&'a Piece>), S3Error> {
        let parts = permitted(self.parts(key, id))?.unwrap_or_default();
        let there: BTreeMap<u32, Part> = parts.into_iter().map(|part| (part.number, part)).collect();
        let (mut done, mut missing) = (Vec::new(), Vec::new());
        for piece in pieces {
            match there.get(&piece.number) {
                // Servers that do not tell the digests of parts want to have them all the same.
                Some(part) if piece.is(part) => done.push(Part { sha256: Some(piece.sha256), ..part.clone() }),
                _ => missing.push(piece),
            }
        }
        Ok((done, missing))
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.location.prefix)
    }

    pub(crate) fn begin(&self, key: &str, content: &Content) -> Result<String, S3Error> {
        let mut request = Request::new("POST", "begin an upload of", Some(key));
        request.query = vec![("uploads", String::new())];
        request.headers = vec![
            ("x-amz-checksum-algorithm", "SHA256".into()),
            (DIGEST_HEADER, content.sha256.to_string()),
            (CONTENT_TYPE.0, CONTENT_TYPE.1.into()),
        ];
        self.document(&request, xml::upload_id)
    }

    fn send_parts(&self, key: &str, id: &str, file: &Path, pieces: &[Piece]) -> Result<(), S3Error> {
        let (mut done, missing) = self.parts_of(key, id, pieces)?;
        for piece in missing {
            done.push(self.send_part(key, id, file, piece)?);
        }
        done.sort_by_key(|part| part.number);
        self.complete(key, id, &done)
    }

    fn send_part(&self, key: &str, id: &str, file: &Path, piece: &Piece) -> Result<Part, S3Error> {
        let mut request = Request::new("PUT", "put a part of", Some(key));
        request.query = vec![("partNumber", piece.number.to_string()), ("uploadId", id.to_owned())];
        request.headers = vec![(CHECKSUM_HEADER, base64(&piece.sha256))];
        let (offset, length, sha256) = (piece.offset, piece.length, piece.sha256);
        request.payload = Payload::Piece { path: file, offset, length, sha256 };
        let response = self.send(&request)?;
        let etag = response.headers().get("etag").and_then(|value| value.to_str().ok());
        let endpoint = self.location.endpoint.clone();
        let odd = || S3Error::Answer { endpoint, reason: format!("it tells no ETag of a part of {}", self.name(key)) };
        let etag = etag.ok_or_else(odd)?.to_owned();
        Ok(Part { number: piece.number, size: piece.length, etag, sha256: Some(piece.sha256) })
    }

    pub(crate) fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<(), S3Error> {
        let text = xml::complete(parts);
        let mut request = Request::new("POST", "complete the upload of", Some(key));
        request.query = vec![("uploadId", id.to_owned())];
        request.headers = vec![("content-type", "application/xml".into()), ("if-none-match", "*".into())];
        request.payload = Payload::Bytes(text.as_bytes());
        self.document(&request, |text| xml::is_completed(text).then_some(()))
    }

    pub(crate) fn abort(&self, key: &str, id: &str) -> Result<(), S3Error> {
        let mut request = Request::new("DELETE", "abort an upload of", Some(key));
        request.query = vec![("uploadId", id.to_owned())];
        match self.send(&request) {
            Ok(_) | Err(S3Error::NoUpload { .. } | S3Error::NoObject { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn parts(&self, key: &str, id: &str) -> Result<Vec<Part>, S3Error> {
        let mut request = Request::new("GET", "list the parts of", Some(key));
        request.query = vec![("uploadId", id.to_owned())];
        self.pages(request, xml::parts)
    }

    /// Uploads that were begun for keys with this beginning.
    fn uploads(&self, beginning: &str) -> Result<Vec<Upload>, S3Error> {
        let mut request = Request::new("GET", "list uploads to", None);
        request.query = vec![("uploads", String::new()), ("prefix", self.full(beginning))];
        self.pages(request, xml::uploads)
    }

    fn pages<T>(&self, mut request: Request, parse: fn(&str) -> Option<Page<T>>) -> Result<Vec<T>, S3Error> {
        let (first, mut found) = (request.query.clone(), Vec::new());
        for _ in 0..MOST_PAGES {
            let page = self.document(&request, parse)?;
            found.extend(page.entries);
            if page.next.is_empty() {
                break;
            }
            request.query = first.iter().cloned().chain(page.next).collect();
        }
        Ok(found)
    }

    /// Aborts uploads below the prefix that were begun before a time and never completed, so that the storage frees
    /// their parts. Returns how many there were.
    ///
    /// # Errors
    ///
    /// If the storage cannot be reached or refuses.
    pub fn abort_uploads(&self, before: Timestamp) -> Result<usize, S3Error> {
        let mut aborted = 0;
        for upload in self.uploads("")? {
            let Some(key) = upload.key.strip_prefix(&self.location.prefix) else { continue };
            if upload.begun.is_some_and(|begun| begun < before) {
                self.abort(key, &upload.id)?;
                aborted += 1;
            }
        }
        Ok(aborted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_part_is_the_shorter_one() {
        assert_eq!(places(12, 5).collect::<Vec<_>>(), [(1, 0, 5), (2, 5, 5), (3, 10, 2)]);
        assert_eq!(places(10, 5).collect::<Vec<_>>(), [(1, 0, 5), (2, 5, 5)]);
        assert_eq!(places(0, 5).count(), 0);
    }

    proptest! {
        #[test]
        fn parts_follow_each_other_and_are_not_too_many(size in 0..u64::MAX, part_size in (1_u64 << 50)..) {
            let mut end = 0;
            for (number, (given, offset, length)) in (1..).zip(places(size, part_size)) {
                prop_assert_eq!((given, offset), (number, end));
                prop_assert!(length > 0 && u64::from(number) <= MOST_PARTS);
                end += length;
            }
            prop_assert_eq!(end, size);
        }

        #[test]
        fn parts_of_a_large_file_are_longer(size in 1_u64..(1 << 50)) {
            prop_assert!(places(size, 1).count() as u64 <= MOST_PARTS);
        }
    }
}
