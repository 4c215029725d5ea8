//! Downloads that failed, told all at once.

use std::fmt;
use std::io;
use std::path::PathBuf;

use safetext::redacted;

use crate::fetch::proxy::BadProxy;
use crate::{Digest, StoreError};

/// How many failed files an error message lists.
const LISTED: usize = 10;

/// Downloads that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The local store failed: a full disk, missing permission.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// In offline mode, and these are not stored.
    #[error("{}", offline_message(.0))]
    Offline(Vec<Missing>),

    /// Some files could not be had from any of their URLs. Those that could are stored.
    #[error("{}", failed_message(failures, *requested, unreachable))]
    Failed {
        /// The files, in the order they were asked for.
        failures: Vec<Failure>,
        /// How many files had to be downloaded.
        requested: usize,
        /// Servers that never answered at all.
        unreachable: Vec<String>,
    },

    /// The certificates that TLS servers are checked against cannot be used.
    #[error("reading certificates from {}: {reason}; install ca-certificates or set SSL_CERT_FILE", path.display())]
    Certificates {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A file that is needed and not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What it is.
    pub label: String,
    /// Where it would come from.
    pub url: String,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
}

/// A file that could not be had.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What it is.
    pub label: String,
    /// Why, for each URL in the order they were tried.
    pub causes: Vec<Cause>,
}

/// Why one URL did not give the file.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The URL.
    pub url: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub problem: Problem,
}

/// What went wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No connection could be made.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing came for too long.
    #[error("no answer for too long ({0})")]
    TimedOut(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server answered with an HTTP status that is no success.
    #[error("the server answered {0}{explanation}", explanation = explain(*.0))]
    Status(u16),
    /// Fewer bytes came than should.
    #[error("ended after {got} of {expected} bytes")]
    Short {
        /// How many should come.
        expected: u64,
        /// How many came.
        got: u64,
    },
    /// The server has more bytes, or fewer, than the file should have.
    #[error("has the wrong size: expected {expected} bytes, the server has {got}")]
    WrongSize {
        /// How many it should have.
        expected: u64,
        /// How many it has, or at least has.
        got: u64,
    },
    /// The content is not what it should be.
    #[error(
        "is not the file that was asked for: expected SHA-256 {expected}, got {got}; the mirror or a proxy on the way \
         may hold another version of it: try again later, or another mirror"
    )]
    WrongDigest {
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        got: Digest,
    },
    /// The server sent another part of the file than the one asked for.
    #[error("the server sent another part of the file than it was asked for")]
    WrongRange,
    /// The redirections did not end, or led from https to http.
    #[error("redirection refused: {0}")]
    Redirection(String),
    /// The server's certificate is not good.
    #[error("TLS failed: {0}; if a proxy here has its own certificate authority, name its bundle in SSL_CERT_FILE")]
    Tls(String),
    /// A proxy would be asked, and cannot be.
    #[error(transparent)]
    Proxy(#[from] BadProxy),
    /// The proxy answered with an HTTP status instead of connecting to an https server.
    #[error("the proxy does not connect to it: {0}{explanation}", explanation = explain(*.0))]
    Tunnel(u16),
    /// A local file cannot be read.
    #[error("{0}")]
    LocalFile(LocalFile),
    /// The URL cannot be used.
    #[error("not a URL that can be fetched: {0}; http, https and file are known")]
    BadUrl(String),
}

/// Why a local file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct LocalFile {
    /// Of what kind the error is.
    pub kind: io::ErrorKind,
    /// What the system says.
    pub text: String,
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::LocalFile(LocalFile { kind: error.kind(), text: error.to_string() })
    }
}

impl Problem {
    /// Whether the file is not there: the server answered 404 or 410, or the directory does not have it.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status, 404 | 410),
            Self::LocalFile(file) => file.kind == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether trying the same URL again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Broken(_) | Self::Short { .. } | Self::WrongRange => true,
            Self::Status(status) | Self::Tunnel(status) => matches!(status, 408 | 416 | 425 | 429 | 500..=599),
            _ => false,
        }
    }
}

impl FetchError {
    /// Whether every file failed because every server said that it does not have it (404 or 410), or no such local file is
    /// there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Failed { failures, .. } if failures.iter().all(Failure::is_not_found))
    }
}

impl Failure {
    /// Whether no server, and no local directory, has the file.
    pub fn is_not_found(&self) -> bool {
        self.causes.iter().all(|cause| cause.problem.is_not_found())
    }
}

fn explain(status: u16) -> &'static str {
    match status {
        403 => " (forbidden)",
        404 => " (not found)",
        407 => " (the proxy wants a name and a password, or others: http://name:password@host:port)",
        410 => " (gone)",
        429 => " (too many requests)",
        503 => " (unavailable)",
        500..=599 => " (server error)",
        _ => "",
    }
}

fn offline_message(missing: &[Missing]) -> String {
    let known: u64 = missing.iter().filter_map(|file| file.size).sum();
    let mut lines = vec![format!("offline, and {} files ({known} bytes) are not stored:", missing.len())];
    lines.extend(
        missing.iter().take(LISTED).map(|file| format!("  {} ({})", redacted(&file.label), redacted(&file.url))),
    );
    lines.extend(more(missing.len()));
    lines.push("Run it once without offline mode.".to_owned());
    lines.join("\n")
}

fn failed_message(failures: &[Failure], requested: usize, unreachable: &[String]) -> String {
    let mut lines = vec![format!("{} of {requested} downloads failed:", failures.len())];
    lines.extend(failures.iter().take(LISTED).map(ToString::to_string));
    lines.extend(more(failures.len()));
    lines.extend(unreachable.iter().map(|host| {
        format!("{host} could not be reached at all: check the network, the proxy settings and the mirror's name.")
    }));
    if unreachable.is_empty() {
        lines.push("What was fetched is kept: the next run goes on from there.".to_owned());
    }
    lines.join("\n")
}

/// The line that stands for what is not listed.
fn more(count: usize) -> Option<String> {
    count.checked_sub(LISTED).filter(|left| *left > 0).map(|left| format!("  and {left} more"))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", redacted(&self.label))?;
        for Cause { url, attempts, problem } in &self.causes {
            write!(f, "\n    {}: {}", redacted(url), redacted(&problem.to_string()))?;
            if *attempts > 1 {
                write!(f, " ({attempts} attempts)")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_mirrors_and_proxies_are_not_printed() {
        let url = "https://me:s3cret@mirror.example/pool/x.deb".to_owned();
        let problem = Problem::Redirection("from https to http://me:s3cret@mirror.example/".into());
        let cause = Cause { url: url.clone(), attempts: 2, problem };
        let missing = Missing { label: url.clone(), url: url.clone(), size: Some(7) };
        let failure = Failure { label: url, causes: vec![cause] };
        for error in [
            FetchError::Offline(vec![missing]),
            FetchError::Failed { failures: vec![failure], requested: 1, unreachable: Vec::new() },
        ] {
            let text = error.to_string();
            assert!(!text.contains("s3cret") && text.contains("(not shown)@"), "{text}");
        }
    }
}
