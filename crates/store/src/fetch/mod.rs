//! Verified, parallel, resumable downloads into a store.

mod attempt;
mod client;
mod connector;
mod error;
mod job;
mod partial;
pub mod proxy;
mod resolver;
mod retry;
mod settings;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use progress::{Progress, Unit};
use sha256::Digest;
use transfer::{Backoff, server_of};

pub use error::{Cause, Failure, FetchError, LocalFile, Missing, Problem};

use crate::Store;
use client::Client;
use job::{Job, Outcome};
use proxy::Proxies;
use safetext::without_password;

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// URLs (`http:`, `https:`, `file:`), in the order to try.
    pub urls: Vec<String>,
    /// Size in bytes, if known. No more than that is ever read.
    pub size: Option<u64>,
    /// Expected digest.
    pub digest: Digest,
    /// Description in messages: a package's name and version.
    pub label: String,
}

/// Options of a [`Fetcher`].
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Number of parallel downloads.
    pub parallel: usize,
    /// Use only stored files; access neither the network nor `file:` URLs.
    pub offline: bool,
    /// Number of attempts for one URL in a row without progress.
    pub attempts: u32,
    /// Timeout for looking up a host's address, and for connecting to it.
    pub connect_timeout: Duration,
    /// Timeout while no data arrives.
    pub idle_timeout: Duration,
    /// Timeout for one attempt as a whole.
    pub total_timeout: Duration,
    /// Backoff before the first retry; it doubles with every further one.
    pub first_backoff: Duration,
    /// Longest wait before a retry, also if a server asks for more with `Retry-After`.
    pub longest_backoff: Duration,
    /// Size limit in bytes for files of unknown size.
    pub size_limit: u64,
    /// Proxies to use.
    pub proxies: Proxies,
}

impl FetchOptions {
    /// The pauses between attempts.
    fn backoff(&self) -> Backoff {
        Backoff::new(self.first_backoff, self.longest_backoff)
    }
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            parallel: 8,
            offline: false,
            attempts: 5,
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(3600),
            first_backoff: Duration::from_millis(500),
            longest_backoff: Duration::from_secs(30),
            size_limit: 4 << 30,
            proxies: Proxies::from_environment(),
        }
    }
}

/// Downloads into a [`Store`]. It can be shared by many threads, and keeps connections open for the next call.
#[derive(Debug)]
pub struct Fetcher {
    store: Store,
    options: FetchOptions,
    client: Client,
}

impl Fetcher {
    /// Makes a fetcher into `store`. It trusts the authorities of [`transfer::tls::trusting`].
    ///
    /// # Errors
    /// [`FetchError::Certificates`].
    pub fn new(store: Store, options: FetchOptions) -> Result<Self, FetchError> {
        let client = Client::new(&options)?;
        Ok(Self { store, options, client })
    }

    /// The store that downloads go to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes sure that all of `downloads` are stored, and returns their paths in the same order. Stored files are not
    /// requested; an interrupted download is resumed if the server supports that. A URL is tried again after timeouts,
    /// broken connections and server errors; after any other error the next URL is tried at once.
    ///
    /// # Errors
    /// [`FetchError::Failed`] lists every file that could not be downloaded; the others are stored by then.
    /// [`FetchError::Offline`] likewise. [`FetchError::Store`] stops everything.
    pub fn fetch_all(&self, downloads: &[Download], progress: &dyn Progress) -> Result<Vec<PathBuf>, FetchError> {
        let mut missing = Vec::new();
        for download in downloads {
            if self.store.get(&download.digest, download.size)?.is_none() {
                missing.push(download);
            }
        }
        if missing.is_empty() {
            return Ok(downloads.iter().map(|download| self.store.path(&download.digest)).collect());
        }
        if self.options.offline {
            let files = missing.into_iter().map(|download| Missing {
                label: download.label.clone(),
                url: download.urls.first().cloned().unwrap_or_default(),
                size: download.size,
            });
            return Err(FetchError::Offline(files.collect()));
        }
        self.fetch_missing(&missing, progress)?;
        Ok(downloads.iter().map(|download| self.store.path(&download.digest)).collect())
    }

    /// As [`Self::fetch_all`], but stored files are read and compared with their digests, and fetched again if they
    /// differ: for callers that use files without hashing them.
    ///
    /// # Errors
    /// As [`Self::fetch_all`].
    pub fn fetch_checked(&self, downloads: &[Download], progress: &dyn Progress) -> Result<Vec<PathBuf>, FetchError> {
        for download in downloads {
            self.store.has_checked(&download.digest, download.size)?;
        }
        self.fetch_all(downloads, progress)
    }

    fn fetch_missing(&self, missing: &[&Download], progress: &dyn Progress) -> Result<(), FetchError> {
        let total = missing.iter().map(|download| download.size).sum::<Option<u64>>();
        let task = progress.task("downloading", total, Unit::Bytes);
        let (cancelled, unreachable) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let job = Job {
            store: &self.store,
            options: &self.options,
            client: &self.client,
            unreachable: &unreachable,
            cancelled: &cancelled,
            task: &*task,
        };
        let outcomes = parallel::map(missing, self.options.parallel, |download| {
            if cancelled.load(Ordering::Relaxed) {
                return Outcome::Cancelled;
            }
            let outcome = job.run(download);
            if matches!(outcome, Outcome::Local(_)) {
                cancelled.store(true, Ordering::Relaxed);
            }
            outcome
        });
        let mut failures = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Local(error) => return Err(error.into()),
                Outcome::Failed(failure) => failures.push(failure),
                Outcome::Stored | Outcome::Cancelled => {}
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(FetchError::Failed {
            failures,
            requested: missing.len(),
            unreachable: unreachable.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
        })
    }

    /// Downloads a small file of unknown digest, such as `InRelease`, with the same retries. It is not stored. At most
    /// `limit` bytes are read.
    ///
    /// # Errors
    /// [`FetchError::Failed`] (see [`FetchError::is_not_found`]), [`FetchError::Offline`].
    pub fn fetch_bytes(&self, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        if self.options.offline {
            let missing = Missing { label: without_password(url), url: url.to_owned(), size: None };
            return Err(FetchError::Offline(vec![missing]));
        }
        let (mut failures, mut backoff) = (0, self.options.backoff());
        loop {
            let (problem, wait) = match attempt::small(&self.client, url, limit) {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => failed,
            };
            failures += 1;
            if !problem.is_transient() || failures >= self.options.attempts {
                let host = format!("{}{}", server_of(url), self.client.through(url));
                let unreachable = if matches!(problem, Problem::Unreachable(_)) { vec![host] } else { Vec::new() };
                let cause = Cause { url: url.to_owned(), attempts: failures, problem };
                let failure = Failure { label: without_password(url), causes: vec![cause] };
                return Err(FetchError::Failed { failures: vec![failure], requested: 1, unreachable });
            }
            job::pause(&mut backoff, wait, &AtomicBool::new(false));
        }
    }
}

/// Reads `source` to its end if it has at most `limit` bytes.
fn read_limited(source: impl Read, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > limit { None } else { Some(bytes) })
}
