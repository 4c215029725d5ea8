//! The single writer: all changes go through one thread that owns the only database connection that writes.
//!
//! Requests that change something are sent to it as [commands](Core::write). It takes all commands that have arrived,
//! runs them in one transaction, commits, and only then answers. So every answer that was sent survives a power cut,
//! and many simultaneous requests cost one write to the disk. A command checks before it writes; if the database fails,
//! all commands of the transaction fail, none of their changes remain, and the in-memory state is loaded from the
//! database again.

mod claims;
mod complete;
pub(crate) mod debci;
mod expiry;
mod jobs;
mod kept;
mod leases;
mod load;
mod machine;
pub(crate) mod need;
pub(crate) mod offers;
mod package_files;
pub(crate) mod queue;
pub(crate) mod reservations;
mod shards;
pub(crate) mod state;
mod uploads;
pub(crate) mod waiters;
mod why;
pub(crate) mod worker;
mod workers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocol::api::{Claimed, Problem, ProblemCode};
use rusqlite::Connection;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

pub(crate) use claims::ClaimAnswer;
pub(crate) use complete::{Completion, Delivered, WorkerClock};
pub(crate) use need::{Need, Offer};
pub(crate) use package_files::PEOPLE;
pub(crate) use shards::JoinedResult;
pub(crate) use state::State;
pub(crate) use uploads::UploadRow;
pub(crate) use why::Reasons;

use crate::clock::millis;
use crate::config::Config;
use crate::error::HubError;
use crate::problem::internal;
use crate::store::Readers;
use crate::store::bundles::Directory;

/// Most commands in one transaction.
const BATCH: usize = 256;

/// A change, for open pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HubEvent {
    /// A job has changed: its number.
    Job(i64),
    /// A job's log has grown: the job's number.
    Log(i64),
    /// A worker has changed: its id.
    Worker(String),
}

/// Reason why a command has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request is refused; the command has written nothing.
    Refused(Problem),
    /// The database failed.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Refused(internal(&error))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(internal(&error))
    }
}

/// The transaction in which commands run.
pub(crate) struct Tx<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) state: &'a mut State,
    pub(crate) config: &'a Config,
    /// The package files of jobs.
    pub(crate) package_files: &'a Directory,
    /// Current time in milliseconds since 1970.
    pub(crate) now: i64,
    after: &'a mut Vec<Notice>,
}

/// An action to take after the commit.
enum Notice {
    Grant(oneshot::Sender<Result<Claimed, Problem>>, Box<Claimed>),
    Event(HubEvent),
    /// The results of a job's parts can be joined.
    Join,
}

impl Tx<'_> {
    pub(crate) fn event(&mut self, event: HubEvent) {
        self.after.push(Notice::Event(event));
    }

    /// Deadline of a lease that is renewed now.
    pub(crate) fn deadline(&self) -> i64 {
        self.config.clock.monotonic().saturating_add(millis(self.config.lease))
    }
}

type Answer = Box<dyn FnOnce(Result<(), Problem>) + Send>;
type Command = Box<dyn FnOnce(&mut Tx) -> Result<Answer, rusqlite::Error> + Send>;

/// Handle to the writer thread, with the in-memory state.
#[derive(Clone)]
pub(crate) struct Core {
    commands: mpsc::Sender<Command>,
    state: Arc<RwLock<State>>,
    events: broadcast::Sender<HubEvent>,
    /// Told when the results of a job's parts can be joined.
    joinable: Arc<Notify>,
    /// Whether the disk was full when the database was opened, so that it is read-only.
    read_only: Arc<AtomicBool>,
}

impl Core {
    /// Starts the writer thread with the loaded state. It ends when the last clone of the handle is dropped. Without a
    /// connection (the disk is full) nothing is written until the readers can provide one.
    pub(crate) fn start(
        db: Option<Connection>,
        state: State,
        config: &Config,
        package_files: Directory,
        readers: Readers,
    ) -> Self {
        let state = Arc::new(RwLock::new(state));
        let (commands, receiver) = mpsc::channel(4 * BATCH);
        let (events, _) = broadcast::channel(1024);
        let read_only = Arc::new(AtomicBool::new(db.is_none()));
        let (config, shared, told) = (config.clone(), state.clone(), events.clone());
        let joinable = Arc::new(Notify::new());
        let join = joinable.clone();
        let full = read_only.clone();
        std::thread::spawn(move || {
            let mut commands = receiver;
            let db = match db {
                Some(db) => Some(db),
                None => wait_for_room(&mut commands, &readers),
            };
            full.store(false, Ordering::SeqCst);
            drop(readers);
            if let Some(db) = db {
                Writer { db, config, package_files, state: shared, events: told, joinable: join }.run(commands);
            }
        });
        Self { commands, state, events, joinable, read_only }
    }

    /// Whether nothing can be written because the disk was full when the hub started.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::SeqCst)
    }

    /// The problem for a command that cannot be run.
    fn gone(&self) -> Problem {
        if self.is_read_only() {
            Problem::new(
                ProblemCode::DiskFull,
                "the hub was started on a full disk, and only reads until there is room",
            )
        } else {
            Problem::new(ProblemCode::Unavailable, "the database could not take the change")
        }
    }

    /// Runs a command in the next transaction and waits until it is committed.
    pub(crate) async fn write<T, F>(&self, command: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx) -> Result<T, Failure> + Send + 'static,
    {
        let (command, receiver) = boxed(command);
        self.commands.send(command).await.map_err(|_| self.gone())?;
        receiver.await.map_err(|_| self.gone())?
    }

    /// Like `write`, for code that is not async.
    pub(crate) fn write_blocking<T, F>(&self, command: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx) -> Result<T, Failure> + Send + 'static,
    {
        let (command, receiver) = boxed(command);
        self.commands.blocking_send(command).map_err(|_| self.gone())?;
        receiver.blocking_recv().map_err(|_| self.gone())?
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<HubEvent> {
        self.events.subscribe()
    }

    /// Waits until the results of a job's parts can be joined.
    pub(crate) async fn until_joinable(&self) {
        self.joinable.notified().await;
    }

    /// Notifies open pages.
    pub(crate) fn tell(&self, event: HubEvent) {
        // There is no receiver as long as no page is open.
        let _ = self.events.send(event);
    }
}

/// Refuses every command until there is room for the database. Expiry sends a command every second, so this is checked
/// at least as often. Returns `None` if the handle is gone.
fn wait_for_room(commands: &mut mpsc::Receiver<Command>, readers: &Readers) -> Option<Connection> {
    loop {
        let command = commands.blocking_recv()?;
        if let Some(db) = readers.reopen() {
            tracing::warn!("there is room on the disk again: the hub writes again");
            return Some(db);
        }
        // Dropping the command sends the reason to its caller.
        drop(command);
    }
}

/// Boxes a command, with the receiver for its answer.
fn boxed<T, F>(command: F) -> (Command, oneshot::Receiver<Result<T, Problem>>)
where
    T: Send + 'static,
    F: FnOnce(&mut Tx) -> Result<T, Failure> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let command: Command = Box::new(move |tx| {
        let result = match command(tx) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(problem)) => Err(problem),
            Err(Failure::Database(error)) => return Err(error),
        };
        Ok(Box::new(move |outcome: Result<(), Problem>| {
            // The client may have gone and no longer wait.
            let _ = sender.send(outcome.and(result));
        }))
    });
    (command, receiver)
}

struct Writer {
    db: Connection,
    config: Config,
    package_files: Directory,
    state: Arc<RwLock<State>>,
    events: broadcast::Sender<HubEvent>,
    joinable: Arc<Notify>,
}

impl Writer {
    fn run(self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH {
                let Ok(next) = commands.try_recv() else { break };
                batch.push(next);
            }
            let mut after = Vec::new();
            let (answers, failed) = self.transact(batch, &mut after);
            let outcome = failed.map_or(Ok(()), |error| Err(problem_of(&error)));
            if outcome.is_err() {
                self.undo();
            } else {
                self.deliver(after);
            }
            for answer in answers {
                answer(outcome.clone());
            }
        }
    }

    fn transact(&self, batch: Vec<Command>, after: &mut Vec<Notice>) -> (Vec<Answer>, Option<rusqlite::Error>) {
        let mut answers = Vec::with_capacity(batch.len());
        if let Err(error) = self.db.execute_batch("BEGIN IMMEDIATE") {
            return (answers, Some(error));
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for command in batch {
            let now = self.config.clock.millis();
            let (config, package_files) = (&self.config, &self.package_files);
            let mut tx = Tx { db: &self.db, state: &mut state, config, package_files, now, after };
            match command(&mut tx) {
                Ok(answer) => answers.push(answer),
                Err(error) => return (answers, Some(error)),
            }
        }
        drop(state);
        let failed = self.db.execute_batch("COMMIT").err();
        (answers, failed)
    }

    /// Discards the in-memory changes of a failed transaction.
    fn undo(&self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match State::load(&self.db, &self.config) {
            Ok(fresh) => state.replace(fresh),
            Err(error) => tracing::error!(%error, "the database cannot be read"),
        }
    }

    fn deliver(&self, after: Vec<Notice>) {
        for notice in after {
            match notice {
                Notice::Grant(answer, claimed) => {
                    // If the client has gone, it repeats the request and gets the same lease.
                    let _ = answer.send(Ok(*claimed));
                }
                Notice::Event(event) => {
                    // There is no receiver as long as no page is open.
                    let _ = self.events.send(event);
                }
                Notice::Join => self.joinable.notify_one(),
            }
        }
    }
}

fn problem_of(error: &rusqlite::Error) -> Problem {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(Code::DiskFull | Code::SystemIoFailure) => {
            tracing::error!(%error, "the database cannot be written");
            Problem::new(ProblemCode::DiskFull, "the database cannot be written")
        }
        _ => internal(error),
    }
}
