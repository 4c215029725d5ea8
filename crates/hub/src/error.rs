//! Errors when starting and running a hub. Errors in answers to requests are [`protocol::api::Problem`]s.

use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};

/// Reason why a hub cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The data directory, or something in it, cannot be used.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// The action that failed, such as `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Another hub is running with this data directory.
    #[error("{0} is in use by another hub")]
    InUse(PathBuf),
    /// The database failed.
    #[error("cannot use the database {path}: {error}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// The error of `SQLite`.
        error: rusqlite::Error,
    },
    /// The database was written by a later version of rocbed.
    #[error("the database {path} has layout {found}, and this rocbed knows up to {known}")]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Its layout version.
        found: i64,
        /// The latest layout version that this program knows.
        known: i64,
    },
    /// The disk is too full for the files that a database needs when it is opened.
    #[error("there is no room on the disk of {0}, and the database has to be brought up to date first")]
    Full(PathBuf),
    /// The certificate or its key cannot be used.
    #[error("cannot use the certificate {path}: {reason}")]
    Certificate {
        /// The certificate or key file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The operating system refuses random numbers or threads.
    #[error("the system gives no {what}: {reason}")]
    System {
        /// The missing resource.
        what: &'static str,
        /// The reason.
        reason: String,
    },
}

impl Advise for HubError {
    fn help(&self) -> Help {
        match self {
            Self::InUse(_) => "end that one, or use another data directory".into(),
            Self::Database { .. } => "if it is damaged, put back a backup".into(),
            Self::TooNew { .. } => "use the later rocbed".into(),
            Self::Full(_) => "make some room there".into(),
            Self::Io { .. } | Self::Certificate { .. } | Self::System { .. } => Help::none(),
        }
    }
}

impl HubError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { action, path, error }
    }
}
