//! Sends signed requests, and repeats them where that may help.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::thread::sleep;

use transfer::Backoff;
use ureq::http::{HeaderMap, Request as HttpRequest, Response, Uri};
use ureq::{Agent, Body, SendBody};

use crate::bucket::{Bucket, Options};
use crate::error::S3Error;
use crate::refusal::{self, Miss};
use crate::request::{Payload, Request};
use crate::sign::{Signer, Unsigned, canonical_query, encode_path};

/// Longest document that is read from an answer, in bytes. A list of 1,000 parts has less than half of it.
const MAX_DOCUMENT: u64 = 1 << 20;

/// Payloads of this length and more are sent only after the server agreed to it (RFC 9110, section 10.1.1): a refusal
/// then costs nothing, and is heard.
const ASK_FIRST: u64 = 256 << 10;

/// Makes attempts until one succeeds or another one is pointless.
pub(crate) fn repeat<T>(
    options: &Options,
    endpoint: &str,
    mut attempt: impl FnMut() -> Result<T, Miss>,
) -> Result<T, S3Error> {
    let mut backoff = Backoff::new(options.first_pause, options.longest_pause);
    let attempts = options.attempts.max(1);
    let mut made = 1;
    loop {
        let (reason, wished, error) = match attempt() {
            Ok(found) => return Ok(found),
            Err(Miss::Final(error)) => return Err(*error),
            Err(Miss::Again { reason, wished, error }) => (reason, wished, error),
        };
        if made >= attempts {
            let unreachable = S3Error::Unreachable { endpoint: endpoint.to_owned(), reason, attempts: made };
            return Err(error.map_or(unreachable, |error| *error));
        }
        tracing::debug!(endpoint, made, reason, "a request to storage is made again");
        sleep(backoff.next_pause_after(wished));
        made += 1;
    }
}

impl Bucket {
    /// The path of an object or of the bucket, encoded.
    pub(crate) fn path(&self, key: Option<&str>) -> String {
        let base = self.location.endpoint.parse::<Uri>().map(|uri| uri.path().trim_end_matches('/').to_owned());
        let base = base.unwrap_or_default();
        let rest = match key {
            Some(key) => format!("/{}/{}{key}", self.location.bucket, self.location.prefix),
            None => format!("/{}", self.location.bucket),
        };
        format!("{base}{}", encode_path(&rest))
    }

    /// The server's address without a path.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.location.endpoint.split("://").next().unwrap_or_default(), self.host())
    }

    /// The value of the header `host`.
    pub(crate) fn host(&self) -> String {
        let uri = self.location.endpoint.parse::<Uri>();
        uri.ok().and_then(|uri| Some(uri.authority()?.to_string())).unwrap_or_default()
    }

    /// The object or bucket in words.
    pub(crate) fn what(&self, key: Option<&str>) -> String {
        match key {
            Some(key) => self.name(key),
            None => format!("bucket {}", self.location.bucket),
        }
    }

    /// Sends a request until there is an answer with a status of success.
    pub(crate) fn send(&self, request: &Request) -> Result<Response<Body>, S3Error> {
        repeat(&self.options, &self.location.endpoint, || self.attempt(request))
    }

    /// Sends a request that is answered with a document, and parses that. A document that is cut off is asked for again.
    pub(crate) fn document<T>(&self, request: &Request, parse: impl Fn(&str) -> Option<T>) -> Result<T, S3Error> {
        repeat(&self.options, &self.location.endpoint, || {
            let response = self.attempt(request)?;
            let again = |error: io::Error| Miss::Again { reason: error.to_string(), wished: None, error: None };
            let headers = response.headers().clone();
            let text = text(response).map_err(again)?;
            // Long operations are answered with 200 before their outcome is known.
            if let Some(body) = crate::xml::error(&text) {
                return Err(self.refused(request, 200, &headers, Some(body)));
            }
            let odd = || S3Error::Answer {
                endpoint: self.location.endpoint.clone(),
                reason: format!("to {} {}", request.action, self.what(request.key)),
            };
            parse(&text).ok_or_else(|| Miss::Final(odd().into()))
        })
    }

    pub(crate) fn attempt(&self, request: &Request) -> Result<Response<Body>, Miss> {
        let signer =
            Signer { credentials: &self.credentials, region: &self.location.region, at: (self.options.clock)() };
        let (path, payload) = (self.path(request.key), request.payload.digest().to_string());
        let mut headers = request.headers.clone();
        headers.extend([
            ("host", self.host()),
            ("x-amz-content-sha256", payload.clone()),
            ("x-amz-date", signer.date()),
        ]);
        if let Some(session) = &self.credentials.session {
            headers.push(("x-amz-security-token", session.reveal().to_owned()));
        }
        let unsigned = Unsigned {
            method: request.method,
            path: &path,
            query: &request.query,
            headers: &headers,
            payload: &payload,
        };
        headers.push(("authorization", signer.authorization(&unsigned)));
        let query = canonical_query(&request.query);
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.origin());
        let response = exchange(&self.agent, request.method, &url, &headers, request.payload)
            .map_err(|failed| failed.miss(&self.location.endpoint))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = text(response).ok().and_then(|text| crate::xml::error(&text));
        Err(self.refused(request, status, &headers, body))
    }

    fn refused(
        &self,
        request: &Request,
        status: u16,
        headers: &HeaderMap,
        body: Option<crate::xml::ErrorBody>,
    ) -> Miss {
        let context = refusal::Context {
            endpoint: &self.location.endpoint,
            bucket: &self.location.bucket,
            key_id: &self.credentials.key_id,
            action: request.action,
            what: self.what(request.key),
            is_object: request.key.is_some(),
            here: (self.options.clock)(),
        };
        context.miss(status, headers, body)
    }
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// The file that is to be sent cannot be read.
    File(Box<S3Error>),
    /// The connection.
    Http(ureq::Error),
}

impl NoAnswer {
    pub(crate) fn miss(self, endpoint: &str) -> Miss {
        match self {
            Self::File(error) => Miss::Final(error),
            Self::Http(error) => refusal::unanswered(endpoint, error),
        }
    }
}

/// Sends one request as it is.
pub(crate) fn exchange(
    agent: &Agent,
    method: &str,
    url: &str,
    headers: &[(impl AsRef<str>, String)],
    payload: Payload,
) -> Result<Response<Body>, NoAnswer> {
    let mut builder = HttpRequest::builder().method(method).uri(url);
    for (name, value) in headers {
        builder = builder.header(name.as_ref(), value);
    }
    let length = payload.length();
    let http = |error: ureq::http::Error| NoAnswer::Http(error.into());
    if matches!(payload, Payload::Nothing) && !matches!(method, "PUT" | "POST") {
        return agent.run(builder.body(SendBody::none()).map_err(http)?).map_err(NoAnswer::Http);
    }
    builder = builder.header("content-length", length.to_string());
    if length >= ASK_FIRST {
        builder = builder.header("expect", "100-continue");
    }
    let run = |request: HttpRequest<SendBody>| agent.run(request).map_err(NoAnswer::Http);
    match payload {
        Payload::Nothing => run(builder.body(SendBody::from_reader(&mut io::empty())).map_err(http)?),
        Payload::Bytes(mut bytes) => run(builder.body(SendBody::from_reader(&mut bytes)).map_err(http)?),
        Payload::Piece { path, offset, length, .. } => {
            let failed = |error| NoAnswer::File(S3Error::File { path: path.to_owned(), error }.into());
            let mut file = File::open(path).map_err(failed)?;
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            run(builder.body(SendBody::from_reader(&mut file.take(length))).map_err(http)?)
        }
    }
}

/// The text of an answer, up to the limit.
pub(crate) fn text(response: Response<Body>) -> io::Result<String> {
    let mut bytes = Vec::new();
    response.into_body().into_reader().take(MAX_DOCUMENT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, Location};
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread::{JoinHandle, spawn};
    use std::time::Duration;

    /// Answers one request after the other with these; returns what was asked.
    fn server(answers: &'static [&'static str]) -> io::Result<(Bucket, JoinHandle<Vec<String>>)> {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("s3+http://{}/results/lab", socket.local_addr()?);
        let asked = spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = socket.accept().expect("a connection");
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let length = stream.read(&mut buffer).expect("a request");
                    request.extend_from_slice(&buffer[..length]);
                }
                asked.push(String::from_utf8_lossy(&request).into_owned());
                stream.write_all(answer.as_bytes()).expect("it is sent");
            }
            asked
        });
        let location = Location::parse(&address, |_| None).map_err(io::Error::other)?;
        let options = Options { attempts: 3, first_pause: Duration::from_millis(1), ..Options::default() };
        let bucket = Bucket::new(location, Credentials::new("id", "s3cret"), &options).map_err(io::Error::other)?;
        Ok((bucket, asked))
    }

    const SLOW: &str = "HTTP/1.1 503 Slow Down\r\nconnection: close\r\ncontent-length: 46\r\n\r\n\
                        <Error><Code>SlowDown</Code><Message/></Error>";
    const FOUND: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn a_request_is_repeated_until_the_server_has_time() -> Result<(), Box<dyn std::error::Error>> {
        let (bucket, asked) = server(&[SLOW, "HTTP/1.1 200 OK\r\ncontent-le", FOUND])?;
        bucket.check()?;
        let asked = asked.join().map_err(|_| "the server failed")?;
        assert_eq!(asked.len(), 3);
        assert!(asked[2].starts_with("GET /results?list-type=2&max-keys=1&prefix=lab%2F HTTP/1.1\r\n"), "{}", asked[2]);
        let signed = "SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=";
        assert!(asked[2].contains(signed) && !asked[2].contains("s3cret"), "{}", asked[2]);
        Ok(())
    }

    #[test]
    fn after_the_last_attempt_the_servers_reason_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let (bucket, asked) = server(&[SLOW, SLOW, SLOW])?;
        let error = bucket.check().unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("status 503 SlowDown"), "{error}");
        asked.join().map_err(|_| "the server failed")?;
        Ok(())
    }

    #[test]
    fn an_answer_of_200_may_be_an_error() -> Result<(), Box<dyn std::error::Error>> {
        const LATE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 50\r\n\r\n\
                            <Error><Code>NoSuchUpload</Code><Message/></Error>";
        let (bucket, asked) = server(&[LATE])?;
        let request = Request::new("POST", "complete the upload of", Some("a"));
        let error = bucket.document(&request, |_| Some(())).unwrap_err();
        assert!(matches!(error, S3Error::NoUpload { .. }), "{error}");
        asked.join().map_err(|_| "the server failed")?;
        Ok(())
    }
}
