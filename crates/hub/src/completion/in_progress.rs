//! [`Completions`]: completions in progress, and what is remembered of each worker's earlier ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::Verdict;
use protocol::api::{Completed, Problem};
use sha256::Digest;
use tokio::sync::{Semaphore, watch};

use crate::checks::Turns;
use crate::quota::Debt;

/// Bundles open at once: each holds a zstd window and its result in memory.
const OPEN: usize = 16;

/// Completions in progress, and what is remembered of each worker's earlier ones.
#[derive(Debug)]
pub(crate) struct Completions {
    workers: Mutex<HashMap<String, OfWorker>>,
    pub(super) open: Semaphore,
    pub(super) turns: Arc<Turns>,
}

/// The answer to a completion.
pub(super) type Outcome = Result<Completed, Problem>;

/// The completions of one worker.
#[derive(Debug)]
pub(super) struct OfWorker {
    /// Permit for the one check of this worker that may run.
    pub(super) turn: Arc<Semaphore>,
    pub(super) under_way: HashMap<Key, watch::Receiver<Option<Outcome>>>,
    pub(super) refused: Vec<(Key, Problem)>,
    pub(super) debt: Debt,
}

/// Requests with the same key are the same request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) lease: String,
    pub(super) bundle: Digest,
    pub(super) verdict: Verdict,
}

impl Default for OfWorker {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            under_way: HashMap::new(),
            refused: Vec::new(),
            debt: Debt::default(),
        }
    }
}

impl Completions {
    pub(crate) fn new() -> Self {
        // One processor is left for everything else, if there are two or more.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: Mutex::default(),
            open: Semaphore::new(OPEN),
            turns: Arc::new(Turns::new(processors.saturating_sub(1))),
        }
    }

    pub(super) fn with<T>(&self, worker: &str, with: impl FnOnce(&mut OfWorker) -> T) -> T {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        with(workers.entry(worker.to_owned()).or_default())
    }
}
