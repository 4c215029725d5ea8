//! [`Limits`]: what one address or one worker may do at once, so that nobody is held up by it.
//!
//! A request first counts for its party ([`Limits::admit`]): too many in a time, or at once, are refused before anything is
//! done for them. Requests without a token have turns of their own, and so never all threads for files. What takes long, such
//! as searching a log or holding a stream open, has a limit of its own besides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::api::{Problem, ProblemCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aside::aside;
use crate::config::Config;
use crate::gate::{Gate, Pass};
use crate::party::Party;
use crate::rate::Rates;

/// Requests without a token that are worked on at once. There are more threads for files than that.
const ANYBODY: usize = 16;

/// Requests of one party that are worked on or wait for their turn.
const REQUESTS: usize = 64;

/// So long a request without a token waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Event streams, downloads and the like of all without a token, for each kind.
const STREAMS: usize = 1024;

/// Searches of one party, and of all without a token, that are done or wait.
const SEARCHES: (usize, usize) = (2, 32);

/// Requests of a worker in a second, in the long run, and at once. One with a job makes some in a second.
const OF_A_WORKER: (u32, u32) = (200, 2000);

/// Requests at once are this many times those of a second.
const BURST: u32 = 10;

/// What one address or one worker may do at once.
#[derive(Debug)]
pub(crate) struct Limits {
    rates_of_anybody: Rates,
    rates_of_workers: Rates,
    requests: Gate,
    turns: Arc<Semaphore>,
    streams: Gate,
    downloads: Gate,
    searches: Gate,
    /// One search at a time reads: what it reads is a disk's whole work.
    reading: Arc<Semaphore>,
}

/// A request that may be worked on.
#[derive(Debug)]
pub(crate) struct Admitted {
    _pass: Option<Pass>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// What streams are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Server-sent events.
    Events,
    /// Files.
    Download,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            rates_of_anybody: Rates::new(config.max_requests, config.max_requests.saturating_mul(BURST)),
            rates_of_workers: Rates::new(OF_A_WORKER.0, OF_A_WORKER.1),
            requests: Gate::new(REQUESTS, usize::MAX),
            turns: Arc::new(Semaphore::new(ANYBODY)),
            streams: Gate::new(config.max_streams, STREAMS),
            downloads: Gate::new(config.max_streams, STREAMS),
            searches: Gate::new(SEARCHES.0, SEARCHES.1),
            reading: Arc::new(Semaphore::new(1)),
        }
    }

    /// Lets a request in, or says why not. It is in as long as what is returned is kept.
    pub(crate) async fn admit(&self, party: &Party) -> Result<Admitted, Problem> {
        let counted = match party {
            Party::Anybody(_) => self.rates_of_anybody.count(party, Instant::now()),
            Party::Worker(_) => self.rates_of_workers.count(party, Instant::now()),
            // Given to machines and people that are trusted; a lab that gets its power back registers at once.
            Party::Joining(_) | Party::Admin => return Ok(Admitted { _pass: None, _turn: None }),
        };
        counted.map_err(|wait| too_many("requests").after(wait.as_secs().saturating_add(1)))?;
        let pass = self.requests.enter(party).ok_or_else(|| too_many("requests at once"))?;
        let turn = if party.is_anybody() {
            let busy = || Problem::new(ProblemCode::Unavailable, "too many others ask at the same time").after(5);
            let turn = tokio::time::timeout(TURN, self.turns.clone().acquire_owned()).await.map_err(|_| busy())?;
            Some(turn.map_err(|_| busy())?)
        } else {
            None
        };
        Ok(Admitted { _pass: Some(pass), _turn: turn })
    }

    /// A place for an answer that goes on and on.
    pub(crate) fn stream(&self, kind: Stream, party: &Party) -> Result<Pass, Problem> {
        let (gate, what) = match kind {
            Stream::Events => (&self.streams, "event streams"),
            Stream::Download => (&self.downloads, "downloads"),
        };
        gate.enter(party).ok_or_else(|| too_many(what).after(10))
    }

    /// Runs a search: one at a time, aside.
    pub(crate) async fn search<T, F>(&self, party: &Party, search: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let pass = self.searches.enter(party).ok_or_else(|| too_many("searches").after(2))?;
        let busy = || Problem::new(ProblemCode::Unavailable, "too many others search at the same time").after(5);
        let turn = tokio::time::timeout(TURN, self.reading.clone().acquire_owned()).await.map_err(|_| busy())?;
        let turn = turn.map_err(|_| busy())?;
        aside("search", move || {
            let found = search();
            // Also where nobody waits for it any more it counts until it is done.
            drop((pass, turn));
            found
        })
        .await
    }
}

fn too_many(what: &str) -> Problem {
    Problem::new(ProblemCode::TooMany, format!("too many {what}")).after(1)
}
