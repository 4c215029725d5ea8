//! HTTP requests with retries.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use protocol::VERSION;
use protocol::api::{PREFIX, PROBLEM_TYPE, PROTOCOL_HEADER, Problem, ProblemCode};
use safetext::{Secret, printable, redacted};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transfer::{Backoff, tls};
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::{Agent, Body, SendBody};

use crate::certificate::{Refusal, refusal};
use crate::error::ClientError;

/// Largest document in an answer, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;

/// Attempts for a request to the hub's storage.
const STORAGE_ATTEMPTS: u32 = 3;

/// Options of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// PEM file of an authority to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Attempts for each call. 8, which takes about half a minute with the pauses.
    pub attempts: u32,
    /// The first pause; each further one is twice as long. 250 ms.
    pub first_pause: Duration,
    /// The longest pause. 15 s.
    pub longest_pause: Duration,
    /// Timeout for an answer, in addition to the waiting time of a claim, and for each further piece of data. 60 s.
    pub timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            attempts: 8,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(15),
            timeout: Duration::from_secs(60),
        }
    }
}

/// A connection to a hub. Clones share it.
#[derive(Clone)]
pub struct Client {
    base: String,
    /// Prefix of paths: that of the API, or empty for pages.
    prefix: &'static str,
    agent: Agent,
    token: Option<Secret>,
    options: ClientOptions,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &redacted(&self.base))
            .field("token", &self.token)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A request to send.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<&'a [u8]>,
    /// Additional time for the answer.
    pub(crate) wait: Duration,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: None, wait: Duration::ZERO }
    }

    pub(crate) fn bytes(mut self, body: &'a [u8]) -> Self {
        self.headers.push(("content-type", "application/octet-stream".into()));
        self.body = Some(body);
        self
    }

    fn json(mut self, body: &'a [u8]) -> Self {
        self.headers.push(("content-type", "application/json".into()));
        self.body = Some(body);
        self
    }
}

/// Reason why one attempt failed.
enum Miss {
    /// Another attempt may succeed.
    Again { reason: String, wished: Option<Duration>, problem: Option<Box<Problem>> },
    /// Another attempt is pointless.
    Final(ClientError),
}

impl Client {
    /// Creates a client for the hub at an address: `https://hub.example:8420`.
    ///
    /// # Errors
    ///
    /// If the address is not valid, or certificates cannot be read.
    pub fn new(address: &str, options: &ClientOptions) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(redacted(address).into_owned());
        let uri: ureq::http::Uri = address.trim().parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        // A token is for this hub only.
        let config = transfer::one_server(options.timeout, tls::trusting(options.ca_file.as_deref())?);
        Ok(Self {
            base: address.trim().trim_end_matches('/').to_owned(),
            prefix: PREFIX,
            agent: config.build().into(),
            token: None,
            options: options.clone(),
        })
    }

    /// The same client with a token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// The same client with at most this many attempts per call.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts;
        self
    }

    /// The same client for the hub's pages instead of its API.
    pub(crate) fn pages(&self) -> Self {
        Self { prefix: "", ..self.clone() }
    }

    /// Options for requests to the hub's storage: it is tried a few times, as there is another way.
    pub(crate) fn storage_options(&self) -> s3::Options {
        s3::Options {
            ca_file: self.options.ca_file.clone(),
            attempts: self.options.attempts.min(STORAGE_ATTEMPTS),
            first_pause: self.options.first_pause,
            longest_pause: self.options.longest_pause,
            timeout: self.options.timeout,
            ..s3::Options::default()
        }
    }

    /// The token, if there is one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Secret::reveal)
    }

    /// The hub's address.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The address of a request.
    fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.base, self.prefix)
    }

    /// The address of a request for errors and logs, without a password that it may contain.
    pub(crate) fn shown(&self, path: &str) -> String {
        redacted(&self.url(path)).into_owned()
    }

    /// Sends a request, with retries, until there is an answer.
    pub(crate) fn call(&self, call: &Call) -> Result<Response<Body>, ClientError> {
        let mut backoff = Backoff::new(self.options.first_pause, self.options.longest_pause);
        let attempts = self.options.attempts.max(1);
        for attempt in 1.. {
            let miss = match self.attempt(call) {
                Ok(response) => return Ok(response),
                Err(miss) => miss,
            };
            match miss {
                Miss::Final(error) => return Err(error),
                Miss::Again { problem: Some(problem), .. } if attempt >= attempts => {
                    return Err(ClientError::Refused(problem));
                }
                Miss::Again { reason, .. } if attempt >= attempts => {
                    return Err(ClientError::Unreachable { url: self.shown(&call.path), reason, attempts });
                }
                Miss::Again { reason, wished, .. } => {
                    tracing::debug!(path = call.path, attempt, reason, "a call is made again");
                    sleep(backoff.next_pause_after(wished));
                }
            }
        }
        Err(ClientError::Unreachable { url: self.shown(&call.path), reason: "never tried".into(), attempts })
    }

    fn attempt(&self, call: &Call) -> Result<Response<Body>, Miss> {
        let url = self.url(&call.path);
        let mut builder =
            Request::builder().method(call.method.clone()).uri(&url).header(PROTOCOL_HEADER, VERSION.to_string());
        if let Some(token) = &self.token {
            builder = builder.header("authorization", format!("Bearer {}", token.reveal()));
        }
        // The date lets the hub notice when this machine's clock is wrong (RFC 9110, section 6.6.1). It is that of the
        // attempt, as the whole call may take long.
        if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
            builder = builder.header("date", date);
        }
        for (name, value) in &call.headers {
            builder = builder.header(*name, value);
        }
        let wait = self.options.timeout.saturating_add(call.wait);
        let bad = |error: ureq::http::Error| Miss::Final(ClientError::Address(error.to_string()));
        let outcome = match call.body {
            Some(mut bytes) => {
                let length = bytes.len().to_string();
                let request = builder.header("content-length", length).body(SendBody::from_reader(&mut bytes));
                self.run(request.map_err(bad)?, wait)
            }
            None => self.run(builder.body(SendBody::none()).map_err(bad)?, wait),
        };
        let shown = redacted(&url);
        let response = outcome.map_err(|error| miss(&shown, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(refused(&shown, response))
    }

    fn run(&self, request: Request<SendBody>, wait: Duration) -> Result<Response<Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_recv_response(Some(wait))
            .timeout_per_read(Some(wait))
            .build();
        self.agent.run(request)
    }

    /// Sends a JSON document and parses the JSON document in the answer, if there is one.
    pub(crate) fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        wait: Duration,
    ) -> Result<Option<T>, ClientError> {
        let odd = |reason: String| ClientError::NotAHub { url: self.shown(path), reason };
        let bytes = body.map(serde_json::to_vec).transpose().map_err(|error| odd(error.to_string()))?;
        let mut call = Call::new(method, path);
        if let Some(bytes) = &bytes {
            call = call.json(bytes);
        }
        call.wait = wait;
        let mut response = self.call(&call)?;
        if response.status().as_u16() == 204 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut reader = response.body_mut().as_reader().take(MAX_DOCUMENT);
        reader.read_to_end(&mut bytes).map_err(|error| odd(error.to_string()))?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| odd(error.to_string()))
    }

    /// Like `exchange`, for calls whose answer always has a document.
    pub(crate) fn document<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let empty = || ClientError::NotAHub { url: self.shown(path), reason: "it answers with nothing".into() };
        self.exchange(method, path, body, Duration::ZERO)?.ok_or_else(empty)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(Method::GET, path, None::<&()>)
    }
}

/// Classifies an error of ureq: whether to try again.
fn miss(url: &str, error: ureq::Error) -> Miss {
    let text = redacted(&error.to_string()).into_owned();
    let url = url.to_owned();
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Miss::Final(ClientError::Address(url)),
        ureq::Error::Tls(_) => Miss::Final(certificate(url, text, None)),
        ureq::Error::Rustls(error) => Miss::Final(certificate(url, text, Some(&error))),
        // A refused certificate is reported like this.
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            Miss::Final(certificate(url, text, inner))
        }
        _ => Miss::Again { reason: text, wished: None, problem: None },
    }
}

/// Converts a TLS error, with an explanation if there is one.
fn certificate(url: String, text: String, error: Option<&rustls::Error>) -> ClientError {
    let host = url.parse::<ureq::http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let help = "look at the certificate that the hub was given; docs/hub.md says how one is made";
    let other = Refusal { reason: text, help: help.to_owned() };
    let Refusal { reason, help } = error.and_then(|error| refusal(error, &host)).unwrap_or(other);
    ClientError::Certificate { url, reason, help }
}

fn refused(url: &str, mut response: Response<Body>) -> Miss {
    let status = response.status().as_u16();
    let wished = seconds(response.headers());
    let is_problem =
        response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM_TYPE.as_bytes()));
    let mut bytes = Vec::new();
    let read = response.body_mut().as_reader().take(1 << 20).read_to_end(&mut bytes);
    let problem = if is_problem && read.is_ok() { serde_json::from_slice::<Problem>(&bytes).ok() } else { None };
    let Some(problem) = problem else {
        let reason = match response.headers().get("location").and_then(|to| to.to_str().ok()) {
            Some(to) => format!("it leads to {}: use that address", printable(&redacted(to))),
            None => format!("status {status}"),
        };
        // A proxy answers for a hub that is unreachable.
        return if matches!(status, 408 | 429 | 500..) {
            Miss::Again { reason, wished, problem: None }
        } else {
            Miss::Final(ClientError::NotAHub { url: url.to_owned(), reason })
        };
    };
    let again = match problem.code {
        // These take longer: disk space has to be freed, a day has to pass, or the check has to end. The caller knows
        // better how long to wait.
        ProblemCode::DiskFull | ProblemCode::QuotaExceeded | ProblemCode::Checking | ProblemCode::BundleChanged => {
            false
        }
        ProblemCode::Busy | ProblemCode::TooSlow => true,
        _ => problem.status >= 500 || problem.status == 429,
    };
    let problem = Box::new(problem);
    if again {
        Miss::Again { reason: problem.to_string(), wished, problem: Some(problem) }
    } else {
        Miss::Final(ClientError::Refused(problem))
    }
}

/// Seconds of `Retry-After` (RFC 9110, section 10.2.3); `None` if it is a date.
fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none() {
        for address in ["", "hub", "ftp://hub", "http://", "file:///x"] {
            assert!(
                matches!(Client::new(address, &ClientOptions::default()), Err(ClientError::Address(_))),
                "{address}"
            );
        }
    }

    #[test]
    fn what_is_secret_is_not_printed() -> Result<(), Box<dyn std::error::Error>> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        drop(socket);
        let options = ClientOptions { attempts: 1, ..ClientOptions::default() };
        let client = Client::new(&format!("http://me:s3cret@{address}"), &options)?.with_token("rocbed-admin-1");
        assert_eq!(client.token(), Some("rocbed-admin-1"));
        let error = client.job("x").expect_err("nobody is there");
        let wrong = Client::new("https://me:s3cret@", &options).expect_err("it names no host");
        for text in [format!("{client:?}"), format!("{error} {error:?}"), format!("{wrong} {wrong:?}")] {
            assert!(!text.contains("s3cret") && !text.contains("rocbed-admin-1"), "{text}");
        }
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        Ok(())
    }

    #[test]
    fn a_hub_that_is_not_there_is_named() -> Result<(), Box<dyn std::error::Error>> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", socket.local_addr()?);
        drop(socket);
        let options = ClientOptions { attempts: 2, first_pause: Duration::from_millis(1), ..ClientOptions::default() };
        let error = Client::new(&address, &options)?.job("x").expect_err("nobody is there");
        assert!(error.is_passing() && error.to_string().contains(&address), "{error}");
        Ok(())
    }
}
