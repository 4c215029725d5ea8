//! Errors of starting and running a hub. What a hub answers to requests are [`protocol::api::Problem`]s.

use std::io;
use std::path::PathBuf;

/// Why a hub cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The data directory, or something in it.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was tried: `create`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// Another hub runs there.
    #[error("{0} is in use by another hub: end that one, or use another data directory")]
    InUse(PathBuf),
    /// The database.
    #[error("cannot use the database {path}: {error}; if it is damaged, put back a backup")]
    Database {
        /// Its file.
        path: PathBuf,
        /// What `SQLite` says.
        error: rusqlite::Error,
    },
    /// A later version has written it.
    #[error("the database {path} has layout {found}, and this rocbed knows up to {known}: use the later rocbed")]
    TooNew {
        /// Its file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// There is no room for what a database needs when it is opened.
    #[error(
        "there is no room on the disk of {0}, and the database has to be brought up to date first: make some room there"
    )]
    Full(PathBuf),
    /// The certificate or its key.
    #[error("cannot use the certificate {path}: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The operating system has no random numbers or threads for us.
    #[error("the system gives no {what}: {reason}")]
    System {
        /// What it does not give.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl HubError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { action, path, error }
    }
}
