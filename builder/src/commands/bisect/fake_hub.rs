//! A server in place of a hub, for tests: it may send anything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use anyhow::Result;
use clap::Parser as _;
use protocol::api::{Problem, ProblemCode};
use safetext::Secret;
use serde::Serialize;

use crate::cmdline::Cli;
use crate::context::Context;
use crate::hubs::HubAccess;

/// A context that says nothing but warnings.
pub(super) fn context() -> Result<Context> {
    Ok(Context::new(&Cli::try_parse_from(["rocbed", "--quiet", "recipe", "list"])?.global))
}

/// An answer to a request: a status with headers, and the body.
pub(super) type Answer = (String, Vec<u8>);

/// An answer with a file.
pub(super) fn whole(body: &[u8]) -> Answer {
    (format!("200 OK\r\ncontent-length: {}", body.len()), body.to_vec())
}

/// An answer with a document.
pub(super) fn json(document: &impl Serialize) -> Result<Answer> {
    let (head, body) = whole(&serde_json::to_vec(document)?);
    Ok((format!("{head}\r\ncontent-type: application/json"), body))
}

/// An answer with a problem.
pub(super) fn problem(code: ProblemCode) -> Result<Answer> {
    let body = serde_json::to_vec(&Problem::new(code, "it is so"))?;
    let head =
        format!("{} no\r\ncontent-type: application/problem+json\r\ncontent-length: {}", code.status(), body.len());
    Ok((head, body))
}

/// What was asked.
#[derive(Debug)]
pub(super) struct Asked {
    /// First line of the request.
    pub(super) line: String,
    /// The token, as it was sent.
    pub(super) token: Option<String>,
}

/// Answers requests, in their order; the hub with the token `admin`, and what was asked.
pub(super) fn serve(answers: Vec<Answer>) -> Result<(HubAccess, thread::JoinHandle<Vec<Asked>>)> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", socket.local_addr()?);
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for (head, body) in answers {
            let (mut stream, _) = socket.accept().expect("a connection");
            let mut request = BufReader::new(stream.try_clone().expect("the connection"));
            let lines: Vec<String> =
                request.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let header = |name: &str| {
                let fields = lines.iter().filter_map(|line| line.split_once(':'));
                let mut found = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
                found.next().map(|(_, value)| value.trim().to_owned())
            };
            // A request that is not read to its end is reset, and the answer may be lost with it.
            let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
            request.read_exact(&mut vec![0; length]).expect("the body");
            asked.push(Asked { line: lines.first().cloned().unwrap_or_default(), token: header("authorization") });
            write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").expect("an answer");
            stream.write_all(&body).expect("an answer");
        }
        asked
    });
    let hub = HubAccess { address, token: Some(Secret::new("admin")), join_token: None, ca: None };
    Ok((hub, server))
}
