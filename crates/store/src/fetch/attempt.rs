//! One attempt to download one file, or the rest of it, from one URL.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use safetext::without_password;
use transfer::range::ContentRange;

use crate::StoreError;
use crate::fetch::client::{Client, io_problem};
use crate::fetch::error::Problem;
use crate::fetch::partial::Partial;
use crate::fetch::read_limited;
use crate::fetch::retry::retry_after;

/// Reason why an attempt did not complete the file.
pub(crate) enum Stopped {
    /// A problem of the server or the network. The server may have said how long to wait.
    Problem(Problem, Option<Duration>),
    /// A problem of the local store: no other URL will help.
    Local(StoreError),
    /// Another file's download failed permanently.
    Cancelled,
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem, None)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Local(error)
    }
}

/// Destination of an attempt's bytes, and the limits for it.
pub(crate) struct Sink<'a> {
    pub(crate) partial: &'a mut Partial,
    /// Size of the file in bytes, if known.
    pub(crate) size: Option<u64>,
    /// Size limit in bytes.
    pub(crate) limit: u64,
    pub(crate) cancelled: &'a AtomicBool,
    /// Called with the new length after each piece.
    pub(crate) grown: &'a mut dyn FnMut(u64),
}

impl Sink<'_> {
    /// Downloads the missing part from `url`. On `Ok` the source came to its end and the size, if known, is right; the
    /// digest is not compared yet.
    pub(crate) fn fill(&mut self, client: &Client, url: &str) -> Result<(), Stopped> {
        if self.size.is_some_and(|size| self.partial.length() == size && size > 0) {
            return Ok(());
        }
        match url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("file") => self.fill_from_file(url),
            Some("http" | "https") => self.fill_from_server(client, url),
            _ => Err(Problem::BadUrl(without_password(url)).into()),
        }
    }

    fn fill_from_file(&mut self, url: &str) -> Result<(), Stopped> {
        let path = file_path(url).ok_or_else(|| Problem::BadUrl(without_password(url)))?;
        let file = File::open(&path).map_err(Problem::from)?;
        let metadata = file.metadata().map_err(Problem::from)?;
        if !metadata.is_file() {
            return Err(Problem::from(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")).into());
        }
        self.expect_size(metadata.len())?;
        self.partial.reset()?;
        self.pump(file)
    }

    fn fill_from_server(&mut self, client: &Client, url: &str) -> Result<(), Stopped> {
        let offset = self.partial.length();
        let response = client.get(url, offset)?;
        let header = |name: &str| response.headers().get(name).map(|value| value.as_bytes().to_vec());
        let range = header("content-range").and_then(|value| ContentRange::parse(&value).ok());
        match response.status().as_u16() {
            200 => {
                if let Some(length) = response.body().content_length() {
                    self.expect_size(length)?;
                }
                // The whole file, requested or not: some servers do not support ranges.
                self.partial.reset()?;
            }
            206 if offset > 0 => {
                let range = range.filter(|range| range.bytes.is_some_and(|(first, _)| first == offset));
                let Some(range) = range else {
                    self.partial.reset()?;
                    return Err(Problem::WrongRange.into());
                };
                if let Some(total) = range.total {
                    self.expect_size(total)?;
                }
            }
            // Either the whole file is already here, or what is here is not the beginning of this file.
            416 if offset > 0 => {
                if self.size.is_none() && range.and_then(|range| range.total) == Some(offset) {
                    return Ok(());
                }
                self.partial.reset()?;
                return Err(Problem::Status(416).into());
            }
            status => {
                let wait = header("retry-after").and_then(|value| retry_after(&value, Timestamp::now()));
                return Err(Stopped::Problem(Problem::Status(status), wait));
            }
        }
        self.pump(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Fails if the source reports another size than the file should have.
    fn expect_size(&self, got: u64) -> Result<(), Problem> {
        match self.size {
            Some(expected) if expected != got => Err(Problem::WrongSize { expected, got }),
            None if got > self.limit => Err(Problem::WrongSize { expected: self.limit, got }),
            _ => Ok(()),
        }
    }

    /// Appends data from `source`, at most as much as the file should have.
    fn pump(&mut self, mut source: impl Read) -> Result<(), Stopped> {
        let most = self.size.unwrap_or(self.limit);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Stopped::Cancelled);
            }
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(io_problem(e).into()),
            };
            let remaining = most.saturating_sub(self.partial.length());
            if count as u64 > remaining {
                let got = self.partial.length().saturating_add(count as u64);
                self.partial.reset()?;
                return Err(Problem::WrongSize { expected: most, got }.into());
            }
            self.partial.append(buffer.get(..count).unwrap_or_default(), remaining)?;
            (self.grown)(self.partial.length());
        }
        match self.size {
            Some(expected) if self.partial.length() < expected => {
                Err(Problem::Short { expected, got: self.partial.length() }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Downloads a small file at once. A failure has the delay that the server asked for.
pub(crate) fn small(client: &Client, url: &str, limit: u64) -> Result<Vec<u8>, (Problem, Option<Duration>)> {
    let too_long = || (Problem::WrongSize { expected: limit, got: limit.saturating_add(1) }, None);
    if url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file://")) {
        let path = file_path(url).ok_or_else(|| (Problem::BadUrl(without_password(url)), None))?;
        let read = File::open(path).and_then(|file| read_limited(file, limit));
        return read.map_err(|e| (Problem::from(e), None))?.ok_or_else(too_long);
    }
    let response = client.get(url, 0).map_err(|problem| (problem, None))?;
    if response.status().as_u16() != 200 {
        let wait = response.headers().get("retry-after").and_then(|v| retry_after(v.as_bytes(), Timestamp::now()));
        return Err((Problem::Status(response.status().as_u16()), wait));
    }
    let expected = response.body().content_length();
    let body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let bytes = read_limited(body, limit).map_err(|e| (io_problem(e), None))?.ok_or_else(too_long)?;
    match expected {
        Some(expected) if expected != bytes.len() as u64 => {
            Err((Problem::Short { expected, got: bytes.len() as u64 }, None))
        }
        _ => Ok(bytes),
    }
}

/// The path in a `file:` URL (RFC 8089) of this host.
fn file_path(url: &str) -> Option<PathBuf> {
    let rest = url.get("file://".len()..)?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return None;
    }
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let mut value = [0];
        hex::decode_to_slice(digits, &mut value).ok()?;
        decoded.push(value[0]);
    }
    Some(PathBuf::from(OsString::from_vec(decoded)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn file_urls_name_paths_of_this_host() {
        assert_eq!(file_path("file:///a/b%20c%25"), Some("/a/b c%".into()));
        assert_eq!(file_path("file://localhost/a"), Some("/a".into()));
        assert_eq!(file_path("FILE:///a"), Some("/a".into()));
        for bad in ["file://elsewhere/a", "file://", "file:///a%2", "file:///a%zz"] {
            assert_eq!(file_path(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_path_survives_percent_encoding(name: Vec<u8>) {
            let encoded = name.iter().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
            let path = file_path(&format!("file:///{encoded}")).unwrap();
            prop_assert_eq!(path.into_os_string().into_vec(), [b"/", name.as_slice()].concat());
        }
    }
}
