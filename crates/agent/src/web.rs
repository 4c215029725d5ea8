//! [`Web`]: an HTTP client for a job list on a plain web server, and for results that are put onto one.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha256::Digest;
use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode};

use super::uploader::UploadOutcome;

/// The largest job list that is accepted, in bytes.
const MAX_LIST: u64 = 4 << 20;

/// How much of a server's error message is shown, in bytes.
const MAX_WORDS: u64 = 300;

/// Timeout for a silent server.
const PATIENCE: Duration = Duration::from_secs(60);

/// The version validators of a list from the last answer, sent with the next request (RFC 9110, sections 8.8 and
/// 13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    etag: Option<String>,
    modified: Option<String>,
}

/// The outcome of fetching a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The list and its validators.
    List(Vec<u8>, Validators),
    /// The list has not changed.
    Unchanged,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The server does not answer, or its answer breaks off.
    #[error("{address}: {error}")]
    Http {
        /// The list's address.
        address: String,
        /// The error of the connection.
        error: ureq::Error,
    },
    /// The server does not give it out.
    #[error("{address}: {answer}")]
    Refused {
        /// The list's address.
        address: String,
        /// The status, and the beginning of the server's message.
        answer: String,
    },
}

/// An HTTP client for lists and results.
#[derive(Debug, Clone)]
pub struct Web {
    agent: Agent,
}

impl Web {
    /// Makes a client that trusts the system's certificate authorities.
    ///
    /// # Errors
    /// If their certificates cannot be read.
    pub fn new() -> Result<Self, client::ClientError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("rocbed/", env!("CARGO_PKG_VERSION")))
            .max_redirects_will_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .timeout_per_write(Some(PATIENCE))
            .tls_config(transfer::tls::trusting(None)?);
        Ok(Self { agent: config.build().into() })
    }

    /// Fetches a list, unless the known version is still current.
    ///
    /// # Errors
    /// If there is no answer, or the server refuses.
    pub fn fetch(&self, address: &str, known: &Validators) -> Result<Fetched, WebError> {
        let failed = |error| WebError::Http { address: address.to_owned(), error };
        let mut request = self.agent.get(address);
        if let Some(etag) = &known.etag {
            request = request.header("if-none-match", etag);
        }
        if let Some(modified) = &known.modified {
            request = request.header("if-modified-since", modified);
        }
        let mut answer = request.call().map_err(failed)?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => Ok(Fetched::Unchanged),
            StatusCode::OK => {
                let headers = answer.headers();
                let validators = Validators { etag: text(headers, "etag"), modified: text(headers, "last-modified") };
                let list = answer.body_mut().with_config().limit(MAX_LIST).read_to_vec();
                list.map(|bytes| Fetched::List(bytes, validators)).map_err(failed)
            }
            _ => Err(WebError::Refused { address: address.to_owned(), answer: refusal(answer) }),
        }
    }

    /// Uploads a file with its digest (RFC 9530, `Repr-Digest`). Only a 2xx answer counts as success. Every other
    /// answer may be fixed on the server, so the upload is retried.
    pub fn put(&self, address: &str, file: &Path, size: u64, sha256: &Digest) -> UploadOutcome {
        let body = match File::open(file) {
            Ok(body) => body,
            Err(error) => return UploadOutcome::Refused(format!("opening {}: {error}", file.display())),
        };
        let request = self.agent.put(address).config().max_redirects(0).build();
        let sent = request
            .content_type("application/zstd")
            .header("content-length", size.to_string())
            .header("repr-digest", format!("sha-256=:{}:", BASE64_STANDARD.encode(sha256.as_bytes())))
            .send(body);
        match sent {
            Ok(answer) if answer.status().is_success() => UploadOutcome::Delivered,
            Ok(answer) => UploadOutcome::Later(format!("{address}: {}", refusal(answer))),
            Err(error) => UploadOutcome::Later(format!("{address}: {error}")),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The status and the beginning of the server's message.
fn refusal(answer: Response<ureq::Body>) -> String {
    let status = answer.status();
    let mut words = Vec::new();
    // If reading fails, the part that was read is shown.
    let _ = answer.into_body().into_reader().take(MAX_WORDS).read_to_end(&mut words);
    let words = String::from_utf8_lossy(&words);
    let first = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if first.is_empty() || first.starts_with('<') { status.to_string() } else { format!("{status}: {first}") }
}
