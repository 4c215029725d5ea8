//! Errors of downloads, all failed files in one error.

use std::fmt;
use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};
use safetext::redacted;
use sha256::Digest;

use crate::StoreError;
use crate::fetch::proxy::BadProxy;

/// Maximum number of failed files listed in an error message.
const LISTED: usize = 10;

/// Failed downloads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Error of the local store, such as a full disk or a missing permission.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// Files that are not stored, in offline mode.
    #[error("{}", offline_message(.0))]
    Offline(Vec<Missing>),

    /// Some files could not be downloaded from any of their URLs. The others are stored.
    #[error("{}", failed_message(failures, *requested, unreachable))]
    Failed {
        /// The files, in the order they were asked for.
        failures: Vec<Failure>,
        /// Number of files that had to be downloaded.
        requested: usize,
        /// Servers that never answered.
        unreachable: Vec<String>,
    },

    /// The CA certificates for TLS cannot be used.
    #[error("reading certificates from {}: {reason}", path.display())]
    Certificates {
        /// Path of the bundle.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

/// A required file that is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Description of the file.
    pub label: String,
    /// URL it would be downloaded from.
    pub url: String,
    /// Size in bytes, if known.
    pub size: Option<u64>,
}

/// A file that could not be downloaded.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Description of the file.
    pub label: String,
    /// Cause for each URL, in the order they were tried.
    pub causes: Vec<Cause>,
}

/// Cause of the failure of one URL.
#[derive(Debug, Clone)]
pub struct Cause {
    /// URL that was tried.
    pub url: String,
    /// Number of attempts.
    pub attempts: u32,
    /// Problem of the last attempt.
    pub problem: Problem,
}

/// Problem of one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No connection could be made.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No data arrived for too long.
    #[error("no answer for too long ({0})")]
    TimedOut(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server answered with an HTTP status other than success.
    #[error("the server answered {0}{explanation}", explanation = explain(*.0))]
    Status(u16),
    /// Fewer bytes arrived than expected.
    #[error("ended after {got} of {expected} bytes")]
    Short {
        /// Expected number of bytes.
        expected: u64,
        /// Number of bytes that arrived.
        got: u64,
    },
    /// The server's file has another size than expected.
    #[error("has the wrong size: expected {expected} bytes, the server has {got}")]
    WrongSize {
        /// Expected size in bytes.
        expected: u64,
        /// Size in bytes on the server, or a lower limit.
        got: u64,
    },
    /// The content does not match its digest.
    #[error("is not the file that was asked for: expected SHA-256 {expected}, got {got}")]
    WrongDigest {
        /// Expected digest.
        expected: Digest,
        /// Actual digest.
        got: Digest,
    },
    /// The server sent another range of the file than the requested one.
    #[error("the server sent another part of the file than it was asked for")]
    WrongRange,
    /// Too many redirections, or one from https to http.
    #[error("redirection refused: {0}")]
    Redirection(String),
    /// The server's certificate was rejected.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The configured proxy cannot be used.
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

/// Error of reading a local file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct LocalFile {
    /// Kind of error.
    pub kind: io::ErrorKind,
    /// Message of the operating system.
    pub text: String,
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::LocalFile(LocalFile { kind: error.kind(), text: error.to_string() })
    }
}

impl Problem {
    /// Whether the file does not exist: the server answered 404 or 410, or it is missing from the directory.
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

impl Problem {
    /// What to do about it, apart from trying again.
    fn help(&self) -> Option<&'static str> {
        match self {
            Self::WrongDigest { .. } => {
                Some("the mirror or a proxy on the way may hold another version: try again later, or another mirror")
            }
            Self::Tls(_) => Some("if a proxy here has its own certificate authority, name its bundle in SSL_CERT_FILE"),
            Self::Status(407) | Self::Tunnel(407) => {
                Some("write the proxy's name and password before its host: name:password@host:port")
            }
            Self::Proxy(BadProxy { reason, .. }) => Some(reason.help()),
            _ => None,
        }
    }
}

impl Advise for FetchError {
    fn help(&self) -> Help {
        match self {
            Self::Store(error) => error.help(),
            Self::Offline(_) => "run it once without offline mode".into(),
            Self::Failed { failures, unreachable, .. } => {
                let mut help = Help::none();
                let problems = failures.iter().flat_map(|failure| &failure.causes).map(|cause| &cause.problem);
                for text in problems.filter_map(Problem::help) {
                    help.extend(text.into());
                }
                help.extend(if unreachable.is_empty() {
                    "what was fetched is kept: the next run goes on from there".into()
                } else {
                    "check the network, the proxy settings and the mirror's name".into()
                });
                help
            }
            Self::Certificates { .. } => "install ca-certificates or set SSL_CERT_FILE".into(),
        }
    }
}

impl FetchError {
    /// Whether every file failed because it does not exist on any server (404 or 410) or in the local directory.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Failed { failures, .. } if failures.iter().all(Failure::is_not_found))
    }
}

impl Failure {
    /// Whether the file does not exist on any server or in the local directory.
    pub fn is_not_found(&self) -> bool {
        self.causes.iter().all(|cause| cause.problem.is_not_found())
    }
}

fn explain(status: u16) -> &'static str {
    match status {
        403 => " (forbidden)",
        404 => " (not found)",
        407 => " (the proxy wants a name and a password, or others)",
        410 => " (gone)",
        429 => " (too many requests)",
        503 => " (unavailable)",
        500..=599 => " (server error)",
        _ => "",
    }
}

fn offline_message(missing: &[Missing]) -> String {
    let known: u64 = missing.iter().filter_map(|file| file.size).sum();
    let mut lines = vec![match missing.len() {
        1 => format!("offline, and a file ({known} bytes) is not stored:"),
        count => format!("offline, and {count} files ({known} bytes) are not stored:"),
    }];
    lines.extend(
        missing.iter().take(LISTED).map(|file| format!("  {} ({})", redacted(&file.label), redacted(&file.url))),
    );
    lines.extend(more(missing.len()));
    lines.join("\n")
}

fn failed_message(failures: &[Failure], requested: usize, unreachable: &[String]) -> String {
    let mut lines = vec![format!("{} of {requested} downloads failed:", failures.len())];
    lines.extend(failures.iter().take(LISTED).map(ToString::to_string));
    lines.extend(more(failures.len()));
    lines.extend(unreachable.iter().map(|host| format!("{host} could not be reached at all")));
    lines.join("\n")
}

/// The line that says how many files are not listed.
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
