//! Downloads one file over HTTP, as a stream that survives cut connections and restarted servers: it resumes with
//! `Range` (RFC 9110, section 14), or by reading the first part again if the server does not support ranges.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use transfer::range::ContentRange;
use transfer::{Backoff, tls};
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body, BodyReader};

/// Timeouts and backoff of a download.
#[derive(Debug, Clone)]
pub struct DownloadOptions {
    /// How long to retry without receiving a byte; `None` for ever.
    pub patience: Option<Duration>,
    /// The first pause between two attempts; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long a server may take to answer, or to send the next bytes.
    pub timeout: Duration,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        Self {
            patience: Some(Duration::from_secs(600)),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
        }
    }
}

impl DownloadOptions {
    /// An HTTP client with these timeouts.
    pub(super) fn agent(&self) -> Agent {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("rocbed-init/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(self.timeout))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(self.timeout))
            // An initramfs has no certificate authorities, and the clock of a machine without a battery is years off.
            // The digest on the kernel command line is what is trusted.
            .tls_config(tls::unverified());
        config.build().into()
    }
}

/// The reason why a download ended before the file did.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server answers, but not with the file.
    #[error("{url}: the server answers with status {status}")]
    Refused {
        /// URL of the file.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// No byte has come during the time to wait.
    #[error("{url}: nothing came for {} s: {reason}", waited.as_secs())]
    Silent {
        /// URL of the file.
        url: String,
        /// The error of the last attempt.
        reason: String,
        /// The time without a byte.
        waited: Duration,
    },
    /// The server has another file at this URL than at the beginning.
    #[error("{url}: the file was changed on the server during the download")]
    Changed {
        /// URL of the file.
        url: String,
    },
    /// The URL is not valid.
    #[error("{url} is not the address of a file: {reason}")]
    Address {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Distinguishes versions of the file at the same URL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    length: Option<u64>,
    /// `ETag`, or else `Last-Modified`.
    mark: Option<String>,
}

/// The download as a stream. Errors that [`Read`] returns hold a [`DownloadError`].
pub struct Download<'a> {
    url: String,
    options: DownloadOptions,
    agent: Agent,
    say: &'a mut dyn FnMut(&str),
    version: Option<Version>,
    body: Option<BodyReader<'static>>,
    at: u64,
    last_byte: Instant,
    backoff: Backoff,
}

impl<'a> Download<'a> {
    /// Requests a file; returns with the first answer. `say` gets a line for each cut and each resumption.
    ///
    /// # Errors
    /// See [`DownloadError`]; a server that cannot be reached is asked again.
    pub fn open(url: &str, options: &DownloadOptions, say: &'a mut dyn FnMut(&str)) -> Result<Self, DownloadError> {
        let mut download = Self {
            url: url.to_owned(),
            options: options.clone(),
            agent: options.agent(),
            say,
            version: None,
            body: None,
            at: 0,
            last_byte: Instant::now(),
            backoff: Backoff::new(options.first_pause, options.longest_pause),
        };
        download.connect()?;
        Ok(download)
    }

    /// The file's length in bytes, if the server tells it.
    pub fn length(&self) -> Option<u64> {
        self.version.as_ref()?.length
    }

    /// Tries until there is an answer whose body continues at our position.
    fn connect(&mut self) -> Result<(), DownloadError> {
        loop {
            match self.attempt() {
                Ok(body) => {
                    self.body = Some(body);
                    return Ok(());
                }
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::Again(reason)) => self.rest(reason)?,
            }
        }
    }

    fn attempt(&mut self) -> Result<BodyReader<'static>, Miss> {
        let mut request = self.agent.get(&self.url);
        if self.at > 0 {
            request = request.header("range", format!("bytes={}-", self.at));
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Miss::Final(DownloadError::Address { url: self.url.clone(), reason: error.to_string() })
            }
            other => Miss::Again(other.to_string()),
        })?;
        let status = response.status();
        let skip = match status {
            StatusCode::OK => self.at,
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers()) == Some(self.at) => 0,
            // A server that is starting, or is overloaded (RFC 9110, sections 15.5.9 and 15.6; RFC 6585).
            _ if matches!(status.as_u16(), 408 | 429 | 500..) => return Err(Miss::Again(format!("status {status}"))),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.changed()),
            other => {
                return Err(Miss::Final(DownloadError::Refused { url: self.url.clone(), status: other.as_u16() }));
            }
        };
        let version = version(&response);
        match &self.version {
            Some(first) if *first != version => return Err(self.changed()),
            _ => self.version = Some(version),
        }
        let mut body = response.into_body().into_reader();
        if skip > 0 {
            (self.say)(&format!("the server knows no ranges: reading the first {} MiB again", skip >> 20));
            let skipped = io::copy(&mut body.by_ref().take(skip), &mut io::sink());
            match skipped {
                Ok(count) if count == skip => {}
                Ok(_) => return Err(Miss::Again("the connection was cut".into())),
                Err(error) => return Err(Miss::Again(error.to_string())),
            }
        }
        Ok(body)
    }

    fn changed(&self) -> Miss {
        Miss::Final(DownloadError::Changed { url: self.url.clone() })
    }

    /// Waits before the next attempt, or fails if the time is over.
    fn rest(&mut self, reason: String) -> Result<(), DownloadError> {
        let waited = self.last_byte.elapsed();
        if self.options.patience.is_some_and(|patience| waited >= patience) {
            return Err(DownloadError::Silent { url: self.url.clone(), reason, waited });
        }
        let pause = self.backoff.next_pause();
        (self.say)(&format!("{}: {reason}; trying again in {:.1} s", self.url, pause.as_secs_f64()));
        std::thread::sleep(pause);
        Ok(())
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, DownloadError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(body) = &mut self.body else {
                self.connect()?;
                (self.say)(&format!("going on at {} MiB", self.at >> 20));
                continue;
            };
            let end = self.version.as_ref().and_then(|version| version.length);
            let reason = match body.read(buffer) {
                Ok(0) if end.is_none_or(|end| self.at >= end) => return Ok(0),
                Ok(0) => "the connection was cut".to_owned(),
                Ok(count) => {
                    self.at = self.at.saturating_add(count as u64);
                    self.last_byte = Instant::now();
                    self.backoff.reset();
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error.to_string(),
            };
            self.body = None;
            self.rest(reason)?;
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer).map_err(io::Error::other)
    }
}

/// The reason why one attempt failed.
enum Miss {
    /// The next attempt may succeed.
    Again(String),
    /// No attempt can succeed.
    Final(DownloadError),
}

fn version(response: &Response<Body>) -> Version {
    let text = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let length = match text("content-range") {
        Some(range) => ContentRange::parse(range.as_bytes()).ok().and_then(|range| range.total),
        None => text("content-length").and_then(|length| length.trim().parse().ok()),
    };
    Version { length, mark: text("etag").or_else(|| text("last-modified")) }
}

/// The offset at which a partial answer begins (RFC 9110, section 14.4).
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = ContentRange::parse(headers.get("content-range")?.as_bytes()).ok()?;
    range.bytes.map(|(first, _)| first)
}

#[cfg(test)]
mod tests;
