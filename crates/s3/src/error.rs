//! [`S3Error`]: what can go wrong with storage, with what to do about it.

use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};
use jiff::Timestamp;

/// Reason why something could not be done with storage. No message contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The address is not valid.
    #[error("{given:?} is not an address of S3 storage: {why}")]
    Address {
        /// What was given, without passwords.
        given: String,
        /// The reason.
        why: &'static str,
    },
    /// There is no key.
    #[error("{0} is not set, and the storage needs a key")]
    NoCredentials(&'static str),
    /// The certificate authorities cannot be read.
    #[error(transparent)]
    Roots(#[from] transfer::tls::RootsError),
    /// A local file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The storage cannot be reached, or cannot answer now.
    #[error("the storage at {endpoint} does not answer: {reason} (attempts: {attempts})")]
    Unreachable {
        /// The server's address.
        endpoint: String,
        /// The last reason.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server's certificate is refused.
    #[error("the certificate of {endpoint} is refused: {reason}")]
    Certificate {
        /// The server's address.
        endpoint: String,
        /// The reason.
        reason: String,
    },
    /// The key, or its secret, is not right.
    #[error("the storage at {endpoint} does not accept the key {key_id}: {code}")]
    WrongKey {
        /// The server's address.
        endpoint: String,
        /// Id of the key.
        key_id: String,
        /// The server's error code.
        code: String,
    },
    /// The key has not the right to do this.
    #[error("the storage refuses to {action} {what}: {code}")]
    Denied {
        /// What was tried: `put`.
        action: &'static str,
        /// The object or bucket.
        what: String,
        /// The server's error code.
        code: String,
    },
    /// The clocks differ too much.
    #[error("the storage refuses requests with this machine's time, {}{}", seconds(*here), and_there(*here, *there))]
    ClockSkew {
        /// This machine's time.
        here: Timestamp,
        /// The server's time, if it said it.
        there: Option<Timestamp>,
    },
    /// A presigned address is no longer valid.
    #[error("the address that was signed for {what} has expired")]
    Expired {
        /// The object.
        what: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket {bucket} at {endpoint}")]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// The server's address.
        endpoint: String,
    },
    /// There is no such object.
    #[error("there is no object {what}")]
    NoObject {
        /// The object.
        what: String,
    },
    /// There is an object of that name.
    #[error("there is an object {what} already")]
    Exists {
        /// The object.
        what: String,
    },
    /// There is no such upload: it was completed or aborted.
    #[error("there is no upload of {what} any more")]
    NoUpload {
        /// The object.
        what: String,
    },
    /// An object is not what was put there.
    #[error("the object {what} is not what was put there: {why}")]
    Changed {
        /// The object.
        what: String,
        /// The difference.
        why: String,
    },
    /// A local file is not what it was.
    #[error("{} changed while it was uploaded", .0.display())]
    FileChanged(PathBuf),
    /// Another refusal.
    #[error("the storage refuses to {action} {what}: status {status}{}{}", space(code), space(message))]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The object or bucket.
        what: String,
        /// Status of the answer.
        status: u16,
        /// The server's error code; may be empty.
        code: String,
        /// The server's message, made printable; may be empty.
        message: String,
    },
    /// An answer that is not one of S3.
    #[error("the answer of {endpoint} is not one of S3 storage: {reason}")]
    Answer {
        /// The server's address.
        endpoint: String,
        /// The reason.
        reason: String,
    },
}

fn space(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" {text}") }
}

/// Whole seconds: nobody reads more of a clock.
fn seconds(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

fn and_there(here: Timestamp, there: Option<Timestamp>) -> String {
    let Some(there) = there else { return String::new() };
    let off = here.as_second().saturating_sub(there.as_second());
    let direction = if off < 0 { "slow" } else { "fast" };
    format!(": its own is {}, so this clock is {} s {direction}", seconds(there), off.unsigned_abs())
}

impl S3Error {
    /// Whether the same may succeed later without anybody changing anything here.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => (*status >= 500 && *status != 501) || matches!(status, 408 | 409 | 429),
            _ => false,
        }
    }
}

impl Advise for S3Error {
    fn help(&self) -> Help {
        match self {
            Self::Address { .. } => Help::from(
                "write s3://BUCKET/PREFIX with AWS_ENDPOINT_URL set to the server, or s3+https://HOST:PORT/BUCKET/PREFIX",
            ),
            Self::NoCredentials(_) => {
                Help::from("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that may use the bucket")
            }
            Self::Unreachable { .. } => {
                Help::from("it is tried again; look whether the server runs and its address is right")
            }
            Self::Certificate { .. } => Help::from(
                "if a private authority has signed it, set AWS_CA_BUNDLE to a PEM file with that authority's certificate",
            ),
            Self::WrongKey { .. } => Help::from(
                "compare AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with what the storage has, and AWS_REGION with its region",
            ),
            Self::Denied { .. } => Help::from(
                "give the key the rights that docs/hub.md lists: get, put, delete, list and multipart uploads below the prefix",
            ),
            Self::ClockSkew { .. } => Help::from("set this machine's clock: `timedatectl set-ntp true`, or `ntpdate`"),
            Self::Expired { .. } => Help::from("ask for a new one: it is signed for a limited time"),
            Self::NoBucket { .. } => {
                Help::from("create the bucket, or correct its name; rocbed does not create buckets")
            }
            Self::Changed { .. } => Help::from(
                "somebody else writes to the bucket: put the object back from a backup or an older version, and look who may write there",
            ),
            _ => Help::none(),
        }
    }
}
