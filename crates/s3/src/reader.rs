//! Reading objects, with their content verified.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha256::Hasher;

use crate::bucket::Bucket;
use crate::content::Content;
use crate::error::S3Error;
use crate::request::Request;
use transfer::Backoff;

/// An object that is read. It ends with an error, and not with an end, if its content was not the expected one; what was
/// read until then must not be used. The error has an [`S3Error`] in it.
pub struct ObjectReader {
    bucket: Bucket,
    key: String,
    content: Content,
    etag: String,
    body: Option<Box<dyn Read + Send>>,
    hasher: Hasher,
    read: u64,
    /// Attempts since the last byte.
    idle: u32,
    backoff: Backoff,
}

impl std::fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader").field("key", &self.key).field("read", &self.read).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Begins to read an object that has to have this content. A connection that breaks is resumed.
    ///
    /// # Errors
    ///
    /// [`S3Error::NoObject`] if there is none, [`S3Error::Changed`] if it has another length; or if the storage cannot be
    /// reached or refuses.
    pub fn read(&self, key: &str, content: &Content) -> Result<ObjectReader, S3Error> {
        let mut reader = ObjectReader {
            bucket: self.clone(),
            key: key.to_owned(),
            content: *content,
            etag: String::new(),
            body: None,
            hasher: Hasher::new(),
            read: 0,
            idle: 0,
            backoff: Backoff::new(self.options.first_pause, self.options.longest_pause),
        };
        reader.open()?;
        Ok(reader)
    }

    /// Copies an object that has to have this content.
    pub(crate) fn read_to(&self, key: &str, content: &Content, to: &mut dyn Write) -> Result<(), S3Error> {
        let mut reader = self.read(key, content)?;
        io::copy(&mut reader, to).map(drop).map_err(|error| match error.downcast::<S3Error>() {
            Ok(error) => error,
            Err(error) => S3Error::File { path: key.into(), error },
        })
    }

    /// Downloads an object to a file, which is replaced. If this fails there is no file.
    ///
    /// # Errors
    ///
    /// As [`Bucket::read`]; also if the file cannot be written.
    pub fn download(&self, key: &str, content: &Content, to: &Path) -> Result<(), S3Error> {
        let failed = |error| S3Error::File { path: to.to_owned(), error };
        let mut file = File::create(to).map_err(failed)?;
        let done = self.read_to(key, content, &mut file).map_err(|error| match error {
            S3Error::File { error, .. } => failed(error),
            other => other,
        });
        let done = done.and_then(|()| file.sync_all().map_err(failed));
        if done.is_err() {
            // The first error is the one to report.
            let _ = std::fs::remove_file(to);
        }
        done
    }
}

impl ObjectReader {
    fn changed(&self, why: String) -> S3Error {
        S3Error::Changed { what: self.bucket.name(&self.key), why }
    }

    /// Asks for the rest.
    fn open(&mut self) -> Result<(), S3Error> {
        let mut request = Request::new("GET", "get", Some(&self.key));
        if self.read > 0 {
            request.headers.push(("range", format!("bytes={}-", self.read)));
            request.headers.push(("if-match", self.etag.clone()));
        }
        let response = match self.bucket.send(&request) {
            Ok(response) => response,
            // Of the precondition: there is another object now.
            Err(S3Error::Exists { .. }) => return Err(self.changed("it was replaced while it was read".into())),
            Err(error) => return Err(error),
        };
        let headers = response.headers();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let length = header("content-length").and_then(|text| text.parse::<u64>().ok());
        let expected = self.content.size.saturating_sub(self.read);
        if self.read > 0 && response.status().as_u16() != 206 {
            return Err(self.changed("the storage does not go on where a download was cut".into()));
        }
        if let Some(length) = length.filter(|length| *length != expected) {
            let found = self.read.saturating_add(length);
            return Err(self.changed(format!("it has {found} bytes and not {}", self.content.size)));
        }
        if self.read == 0 {
            header("etag").unwrap_or_default().clone_into(&mut self.etag);
        }
        self.body = Some(Box::new(response.into_body().into_reader()));
        Ok(())
    }

    fn end(&self) -> io::Result<usize> {
        let found = self.hasher.clone().finish();
        if found == self.content.sha256 {
            return Ok(0);
        }
        let why = format!("its SHA-256 is {found} and not {}", self.content.sha256);
        Err(io::Error::other(self.changed(why)))
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.content.size.saturating_sub(self.read);
            if left == 0 || buffer.is_empty() {
                return if left == 0 { self.end() } else { Ok(0) };
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let outcome = match &mut self.body {
                Some(body) => body.read(buffer.get_mut(..most).unwrap_or_default()),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            let reason = match outcome {
                Ok(0) => "the connection ended early".to_owned(),
                Ok(length) => {
                    self.hasher.update(buffer.get(..length).unwrap_or_default());
                    self.read = self.read.saturating_add(length as u64);
                    self.idle = 0;
                    self.backoff.reset();
                    return Ok(length);
                }
                Err(error) => error.to_string(),
            };
            self.body = None;
            self.idle += 1;
            if self.idle > self.bucket.options.attempts {
                let endpoint = self.bucket.location.endpoint.clone();
                return Err(io::Error::other(S3Error::Unreachable { endpoint, reason, attempts: self.idle }));
            }
            std::thread::sleep(self.backoff.next_pause());
            self.open().map_err(io::Error::other)?;
        }
    }
}
