//! [`OffersLink`]: the connection to the broker of debci's workers, as requests see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use advice::Advice;
use jiff::Timestamp;
use protocol::api::{DebciProblem, DebciWorkers};

use crate::debci::broker::Broker;
use crate::debci::link::Wake;

/// How long the thread has when the hub ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The connection to the broker of debci's workers.
pub(crate) struct OffersLink {
    pub(super) broker: Arc<dyn Broker>,
    status: Mutex<DebciWorkers>,
    is_over: AtomicBool,
    wake: Wake,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl OffersLink {
    pub(super) fn new(broker: Arc<dyn Broker>, server: &str, queues: Vec<String>) -> Self {
        Self {
            broker,
            status: Mutex::new(DebciWorkers { server: server.to_owned(), queues, ..DebciWorkers::default() }),
            is_over: AtomicBool::new(false),
            wake: Wake::default(),
            threads: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, DebciWorkers> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// How it stands, but for the number of jobs that are offered.
    pub(crate) fn status(&self) -> DebciWorkers {
        self.lock().clone()
    }

    /// Ends the thread and the connection. Blocks until it has ended, but not for long: what is not acknowledged comes again.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.wake.wake();
        let broker = Arc::clone(&self.broker);
        if let Ok(closing) = std::thread::Builder::new().name("debci-end".into()).spawn(move || broker.close()) {
            self.keep(closing);
        }
        let until = Instant::now() + LAST_WORDS;
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        while threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits, but not when the hub ends.
    pub(super) fn rest(&self, most: Duration) {
        if !self.is_over() {
            self.wake.wait(most);
        }
    }

    pub(super) fn connected(&self) {
        self.lock().connected.get_or_insert_with(Timestamp::now);
    }

    pub(super) fn got_result(&self) {
        self.lock().results += 1;
    }

    /// Notes that a message was refused, with the reason.
    pub(super) fn refused(&self, reason: String) {
        self.lock().refused += 1;
        self.problem(reason);
    }

    /// Notes what went wrong. The log has it once, however often it happens in a row.
    pub(super) fn problem(&self, what: String) {
        let mut status = self.lock();
        if status.problem.as_ref().is_none_or(|known| known.what != what) {
            tracing::warn!("workers of debci: {what}");
        }
        status.problem = Some(DebciProblem { when: Timestamp::now(), what });
    }

    /// An error of the broker with its help. Notes that the connection is lost, if it is.
    pub(super) fn failed(&self, error: &amqp::Error) -> Advice {
        if self.broker.connection().is_none() {
            self.lock().connected = None;
        }
        Advice::of(error)
    }
}
