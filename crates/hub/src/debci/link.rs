//! [`Link`]: what the threads of the bridge share with each other and with requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amqp::Receipt;
use jiff::Timestamp;
use protocol::api::{DebciProblem, DebciStatus};

use crate::debci::broker::Broker;

/// How long the threads have when the hub ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The connection to a debci server, as requests see it.
pub(crate) struct Link {
    pub(super) broker: Arc<dyn Broker>,
    /// Messages that the broker keeps for us, by the number of their job in the table.
    held: Mutex<HashMap<i64, Receipt>>,
    /// Numbers of jobs that the broker has forgotten. That is written down later: a job that seems to be there still is only
    /// looked for in vain.
    forgotten: Mutex<Vec<i64>>,
    status: Mutex<DebciStatus>,
    is_over: AtomicBool,
    /// A worker waits for a job.
    pub(crate) free: Wake,
    /// A job has ended.
    pub(crate) ended: Wake,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Wakes a thread.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake {
    /// Wakes the thread that waits, or the next one that wants to.
    pub(crate) fn wake(&self) {
        *lock(&self.is_woken) = true;
        self.woken.notify_all();
    }

    /// Waits until it is woken, at most so long.
    pub(super) fn wait(&self, most: Duration) {
        let mut is_woken = lock(&self.is_woken);
        if !*is_woken {
            is_woken = self.woken.wait_timeout(is_woken, most).unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_woken = false;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(broker: Arc<dyn Broker>, server: &str) -> Self {
        Self {
            broker,
            held: Mutex::default(),
            forgotten: Mutex::default(),
            status: Mutex::new(DebciStatus { server: Some(server.to_owned()), ..DebciStatus::default() }),
            is_over: AtomicBool::new(false),
            free: Wake::default(),
            ended: Wake::default(),
            threads: Mutex::default(),
        }
    }

    pub(super) fn keep(&self, thread: JoinHandle<()>) {
        lock(&self.threads).push(thread);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Ends the threads and the connection. Blocks until they have ended, but not for long: a broker that does not answer
    /// gets its jobs back when the process is gone.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.free.wake();
        self.ended.wake();
        let broker = Arc::clone(&self.broker);
        if let Ok(closing) = std::thread::Builder::new().name("debci-end".into()).spawn(move || broker.close()) {
            self.keep(closing);
        }
        let until = Instant::now() + LAST_WORDS;
        let threads = std::mem::take(&mut *lock(&self.threads));
        while threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How it stands.
    pub(crate) fn status(&self) -> DebciStatus {
        let held = lock(&self.held).len() as u64;
        DebciStatus { held, ..lock(&self.status).clone() }
    }

    pub(super) fn connected(&self, since: Option<Timestamp>) {
        lock(&self.status).connected = since;
    }

    pub(super) fn queues(&self, queues: Vec<String>) {
        lock(&self.status).queues = queues;
    }

    pub(super) fn took(&self, count: usize) {
        lock(&self.status).taken += count as u64;
    }

    pub(super) fn answered(&self) {
        lock(&self.status).answered += 1;
    }

    /// Notes what went wrong. The log has it once, however often it happens in a row.
    pub(super) fn problem(&self, what: String) {
        let mut status = lock(&self.status);
        if status.problem.as_ref().is_none_or(|known| known.what != what) {
            tracing::warn!("debci: {what}");
        }
        status.problem = Some(DebciProblem { when: Timestamp::now(), what });
    }

    /// Keeps the receipt of a job's message. Returns false if the broker keeps another message of this job for us, over the
    /// same connection.
    pub(super) fn hold(&self, number: i64, receipt: Receipt) -> bool {
        let mut held = lock(&self.held);
        if held.get(&number).is_some_and(|known| known.connection() == receipt.connection()) {
            return false;
        }
        held.insert(number, receipt);
        true
    }

    pub(super) fn receipt(&self, number: i64) -> Option<Receipt> {
        lock(&self.held).get(&number).copied()
    }

    /// Forgets a receipt, unless there is a newer one.
    pub(super) fn let_go(&self, number: i64, receipt: Receipt) {
        let mut held = lock(&self.held);
        if held.get(&number) == Some(&receipt) {
            held.remove(&number);
        }
    }

    /// Has the broker forget a job that nothing is left to do for. If the connection is lost, it comes again, and is known
    /// then.
    pub(super) fn acknowledge(&self, number: i64, receipt: Receipt) {
        if self.broker.acknowledge(receipt).is_ok() {
            lock(&self.forgotten).push(number);
        }
        self.let_go(number, receipt);
    }

    /// Takes the numbers of jobs that the broker has forgotten since the last call.
    pub(super) fn forgotten(&self) -> Vec<i64> {
        std::mem::take(&mut *lock(&self.forgotten))
    }

    /// Forgets the receipts of other connections than this: those messages are back in their queues.
    pub(super) fn keep_only(&self, connection: u64) {
        lock(&self.held).retain(|_, receipt| receipt.connection() == connection);
    }
}
