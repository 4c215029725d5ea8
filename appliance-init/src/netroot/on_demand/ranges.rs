//! Parts of a file on a server (`Range`; RFC 9110, section 14).

use std::cmp::Ordering;
use std::io::Read;
use std::time::{Duration, Instant};

use transfer::Backoff;
use transfer::range::ContentRange;
use ureq::Agent;
use ureq::http::StatusCode;

use crate::netroot::download::{DownloadError, DownloadOptions};

/// A file, read in parts. Connections are kept and shared between threads.
#[derive(Debug, Clone)]
pub(super) struct Ranges {
    url: String,
    /// The length that the file must have, in bytes.
    length: u64,
    agent: Agent,
    backoff: Backoff,
}

/// Why a part is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Something waits for it.
    Needed,
    /// It may be needed later. The server is told (`Sec-Purpose` of the Fetch Standard), so that it knows what starts need
    /// first.
    Prefetch,
}

/// The reason why a part did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum RangesError {
    /// The server answers with the whole file: it knows no ranges.
    #[error("the server sends whole files only")]
    Unknown,
    /// The next attempt may succeed.
    #[error("{0}")]
    Again(String),
}

impl Ranges {
    /// The file at a URL, which must have this length in bytes.
    pub(super) fn new(url: &str, length: u64, options: &DownloadOptions) -> Self {
        Self {
            url: url.to_owned(),
            length,
            agent: options.agent(),
            backoff: Backoff::new(options.first_pause, options.longest_pause),
        }
    }

    /// Requests a part once.
    pub(super) fn try_get(&self, offset: u64, length: u64, purpose: Purpose) -> Result<Vec<u8>, RangesError> {
        let again = |error: &dyn std::fmt::Display| RangesError::Again(error.to_string());
        let last = offset.saturating_add(length).saturating_sub(1);
        let mut request = self.agent.get(&self.url).header("range", format!("bytes={offset}-{last}"));
        if purpose == Purpose::Prefetch {
            request = request.header("sec-purpose", "prefetch");
        }
        let response = request.call().map_err(|error| again(&error))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => return Err(RangesError::Unknown),
            status => return Err(again(&format!("status {status}"))),
        }
        let range =
            response.headers().get("content-range").and_then(|value| ContentRange::parse(value.as_bytes()).ok());
        let is_it = range.is_some_and(|range| {
            range.bytes == Some((offset, last)) && range.total.is_none_or(|total| total == self.length)
        });
        if !is_it {
            return Err(RangesError::Again("the server has another file there".into()));
        }
        let mut bytes = Vec::new();
        // Only once the end of the answer was read, the connection is used for the next request.
        let end = length.saturating_add(1);
        response.into_body().into_reader().take(end).read_to_end(&mut bytes).map_err(|error| again(&error))?;
        match (bytes.len() as u64).cmp(&length) {
            Ordering::Equal => Ok(bytes),
            Ordering::Less => Err(RangesError::Again("the connection was cut".into())),
            Ordering::Greater => Err(RangesError::Again("the server sends more than was asked for".into())),
        }
    }

    /// Waits until the server sends the start of the file, and looks whether it is this one. Returns false if the server sends
    /// whole files only. `say` gets a line for each attempt that failed.
    ///
    /// # Errors
    ///
    /// If that has not happened after `patience`; `None` waits for ever.
    pub(super) fn probe(
        &self,
        start: &[u8],
        patience: Option<Duration>,
        say: &mut dyn FnMut(&str),
    ) -> Result<bool, DownloadError> {
        let (began, mut backoff) = (Instant::now(), self.backoff.clone());
        loop {
            let reason = match self.try_get(0, start.len() as u64, Purpose::Needed) {
                Ok(bytes) if bytes == start => return Ok(true),
                Ok(_) => "the server has another root there".to_owned(),
                Err(RangesError::Unknown) => return Ok(false),
                Err(RangesError::Again(reason)) => reason,
            };
            let waited = began.elapsed();
            if patience.is_some_and(|patience| waited >= patience) {
                return Err(DownloadError::Silent { url: self.url.clone(), reason, waited });
            }
            let pause = backoff.next_pause();
            say(&format!("{}: {reason}; trying again in {:.1} s", self.url, pause.as_secs_f64()));
            std::thread::sleep(pause);
        }
    }

    /// Requests a part until it comes and `accept` takes it. `again` gets the reason of each attempt that failed, and the pause
    /// before the next one: it waits for that, and says whether the part is still wanted. Returns the part, and how long
    /// the attempt took that brought it.
    pub(super) fn get(
        &self,
        (offset, length): (u64, u64),
        purpose: Purpose,
        accept: impl Fn(&[u8]) -> Result<(), RangesError>,
        mut again: impl FnMut(&str, Duration) -> bool,
    ) -> Option<(Vec<u8>, Duration)> {
        let mut backoff = self.backoff.clone();
        loop {
            let began = Instant::now();
            let got = self.try_get(offset, length, purpose).and_then(|bytes| accept(&bytes).map(|()| bytes));
            let reason = match got {
                Ok(bytes) => return Some((bytes, began.elapsed())),
                Err(reason) => reason,
            };
            if !again(&reason.to_string(), backoff.next_pause()) {
                return None;
            }
        }
    }

    /// Pauses between attempts, from the shortest on.
    pub(super) fn backoff(&self) -> Backoff {
        self.backoff.clone()
    }
}
