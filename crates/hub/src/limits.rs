//! [`Limits`]: limits for each address and each worker, so that none can slow down the others.
//!
//! A request is first counted for its party ([`Limits::admit`]): beyond the rate or the number of simultaneous requests
//! it is refused before any work is done. Requests without a token take turns among themselves, so they can never
//! occupy all threads for files. Long operations, such as searching a log or an open stream, have an additional limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::api::{Problem, ProblemCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::background::run_in_background;
use crate::concurrency::{ConcurrencyLimit, Permit};
use crate::config::Config;
use crate::party::Party;
use crate::rate::Rates;

/// Requests without a token processed at once; fewer than the threads for files.
const ANYBODY: usize = 16;

/// Requests of one party that are processed or wait for their turn.
const REQUESTS: usize = 64;

/// Longest wait of a request without a token for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Event streams of all clients without a token, and likewise downloads.
const STREAMS: usize = 1024;

/// Searches running or waiting: of one party, and of all clients without a token.
const SEARCHES: (usize, usize) = (2, 32);

/// Requests of one worker: per second on average, and in a burst. A worker with a job sends a few per second.
const OF_A_WORKER: (u32, u32) = (200, 2000);

/// Files of bundles that are unpacked or sent: of one party, and of all clients without a token.
const FILES: (usize, usize) = (8, 64);

/// Bundles that are unpacked at once for these; each takes a processor and up to 128 MiB.
const UNPACKING: usize = 2;

/// Size of a burst, as a multiple of the requests per second.
const BURST: u32 = 10;

/// The limits for addresses and workers.
#[derive(Debug)]
pub(crate) struct Limits {
    rates_of_anybody: Rates,
    rates_of_workers: Rates,
    requests: ConcurrencyLimit,
    turns: Arc<Semaphore>,
    streams: ConcurrencyLimit,
    downloads: ConcurrencyLimit,
    searches: ConcurrencyLimit,
    /// Permit for reading during a search: one search at a time already keeps a disk busy.
    reading: Arc<Semaphore>,
    files: ConcurrencyLimit,
    /// Permits for unpacking a bundle for a file of it.
    unpacking: Arc<Semaphore>,
}

/// A request that may be processed; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _permit: Option<Permit>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// Kind of a long answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Server-sent events.
    Events,
    /// A file.
    Download,
    /// A file of a bundle, which has room on the disk until it was sent.
    BundleFile,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            rates_of_anybody: Rates::new(config.max_requests, config.max_requests.saturating_mul(BURST)),
            rates_of_workers: Rates::new(OF_A_WORKER.0, OF_A_WORKER.1),
            requests: ConcurrencyLimit::new(REQUESTS, usize::MAX),
            turns: Arc::new(Semaphore::new(ANYBODY)),
            streams: ConcurrencyLimit::new(config.max_streams, STREAMS),
            downloads: ConcurrencyLimit::new(config.max_streams, STREAMS),
            searches: ConcurrencyLimit::new(SEARCHES.0, SEARCHES.1),
            reading: Arc::new(Semaphore::new(1)),
            files: ConcurrencyLimit::new(FILES.0, FILES.1),
            unpacking: Arc::new(Semaphore::new(UNPACKING)),
        }
    }

    /// Admits a request, or says why not. It counts until the returned value is dropped.
    pub(crate) async fn admit(&self, party: &Party) -> Result<Admitted, Problem> {
        let counted = match party {
            Party::Anybody(_) => self.rates_of_anybody.count(party, Instant::now()),
            Party::Worker(_) => self.rates_of_workers.count(party, Instant::now()),
            // These tokens are given to trusted machines and people; after a power failure a whole lab registers at
            // once.
            Party::Joining(_) | Party::Admin => return Ok(Admitted { _permit: None, _turn: None }),
        };
        counted.map_err(|wait| too_many("requests").after(wait.as_secs().saturating_add(1)))?;
        let permit = self.requests.acquire(party).ok_or_else(|| too_many("requests at once"))?;
        let turn = if party.is_anybody() {
            let busy = || Problem::new(ProblemCode::Unavailable, "too many others ask at the same time").after(5);
            let turn = tokio::time::timeout(TURN, self.turns.clone().acquire_owned()).await.map_err(|_| busy())?;
            Some(turn.map_err(|_| busy())?)
        } else {
            None
        };
        Ok(Admitted { _permit: Some(permit), _turn: turn })
    }

    /// Admits an answer that stays open.
    pub(crate) fn stream(&self, kind: Stream, party: &Party) -> Result<Permit, Problem> {
        let (limit, what) = match kind {
            Stream::Events => (&self.streams, "event streams"),
            Stream::Download => (&self.downloads, "downloads"),
            Stream::BundleFile => (&self.files, "files of bundles"),
        };
        limit.acquire(party).ok_or_else(|| too_many(what).after(10))
    }

    /// Runs a search on a low-priority thread, one at a time.
    pub(crate) async fn search<T, F>(&self, party: &Party, search: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permit = self.searches.acquire(party).ok_or_else(|| too_many("searches").after(2))?;
        in_turn(&self.reading, ("search", "search"), move || {
            let found = search();
            // A search counts until it is done, even if its client has gone.
            drop(permit);
            found
        })
        .await
    }

    /// Reads a bundle for a file of it, or for its list, on a low-priority thread. The caller has a permit for
    /// [`Stream::BundleFile`], and gives it to the work.
    pub(crate) async fn unpack<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        in_turn(&self.unpacking, ("unpack", "open files of bundles"), work).await
    }
}

/// Does work on a low-priority thread of this name once there is a permit, which it keeps until it is done.
async fn in_turn<T, F>(turns: &Arc<Semaphore>, (thread, what): (&str, &str), work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let busy = || Problem::new(ProblemCode::Unavailable, format!("too many others {what} at the same time")).after(5);
    let turn = tokio::time::timeout(TURN, turns.clone().acquire_owned()).await.map_err(|_| busy())?;
    let turn = turn.map_err(|_| busy())?;
    run_in_background(thread, move || {
        let done = work();
        drop(turn);
        done
    })
    .await
}

fn too_many(what: &str) -> Problem {
    Problem::new(ProblemCode::TooMany, format!("too many {what}")).after(1)
}
