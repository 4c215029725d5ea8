//! [`Readers`]: a pool of read-only connections, used outside of the async threads, one query at a time each.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{AcquireError, Semaphore};
use tokio::task::JoinError;

use crate::error::HubError;
use crate::store::{free_bytes, schema};

const READERS: usize = 4;

/// Reason why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The database could not be opened again.
    #[error(transparent)]
    Open(#[from] HubError),
    /// The query was interrupted.
    #[error("a query was broken off: {0}")]
    Broken(#[from] JoinError),
    /// The hub is shutting down.
    #[error("no connection can be had: {0}")]
    Closed(#[from] AcquireError),
}
/// Free bytes needed before a database on a full disk is opened again.
const ROOM: u64 = 1 << 20;

/// A pool of read-only connections.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn open(path: &Path) -> Result<Self, HubError> {
        let idle = (0..READERS).map(|_| schema::open_reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { path: path.to_owned(), idle: Arc::new(Mutex::new(idle)), turns: Arc::new(Semaphore::new(READERS)) })
    }

    /// A pool with the single connection to a database on a full disk.
    pub(crate) fn alone(path: &Path, connection: Connection) -> Self {
        let idle = Arc::new(Mutex::new(vec![connection]));
        Self { path: path.to_owned(), idle, turns: Arc::new(Semaphore::new(1)) }
    }

    /// If there is room again, returns the writing connection and restores the full pool. Call it from one place only.
    pub(crate) fn reopen(&self) -> Option<Connection> {
        let room = self.path.parent().and_then(|directory| free_bytes(directory).ok()).unwrap_or(u64::MAX);
        // The connection is in use: the next call tries again.
        let turn = self.turns.clone().try_acquire_owned().ok().filter(|_| room >= ROOM)?;
        // The exclusive connection has to be closed before another can be opened.
        drop(self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop());
        match schema::open(&self.path) {
            Ok(connection) => {
                self.turns.add_permits(READERS.saturating_sub(1));
                drop(turn);
                Some(connection)
            }
            Err(error) => {
                tracing::error!(%error, "the database cannot be opened for writing yet");
                match schema::open_full(&self.path) {
                    Ok(connection) => self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection),
                    Err(error) => tracing::error!(%error, "the database cannot be read"),
                }
                None
            }
        }
    }

    /// Runs a query on a free connection.
    pub(crate) async fn run<T, F>(&self, query: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = self.turns.clone().acquire_owned().await?;
        let (idle, path) = (self.idle.clone(), self.path.clone());
        let task = tokio::task::spawn_blocking(move || -> Result<T, ReadError> {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match taken {
                Some(connection) => connection,
                None => schema::open_reader(&path)?,
            };
            let answer = query(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(turn);
            Ok(answer?)
        });
        task.await?
    }
}
