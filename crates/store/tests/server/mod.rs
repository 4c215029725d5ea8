//! A small HTTP/1.1 server on the loopback interface that can misbehave in every way a mirror does.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Sends this, honouring `Range`.
    Whole(Vec<u8>),
    /// Sends this, knowing nothing of ranges.
    NoRanges(Vec<u8>),
    /// As `Whole`, but closes the connection after this many bytes of the body.
    Cut(Vec<u8>, usize),
    /// As `Cut`, knowing nothing of ranges.
    CutNoRanges(Vec<u8>, usize),
    /// Sends this many bytes of the body, then nothing more, keeping the connection open.
    Stall(Vec<u8>, usize),
    /// A status, with extra header lines.
    Status(u16, Vec<(&'static str, String)>),
    /// A body that does not end, without a length.
    Endless,
    /// This status line's 206 with this `Content-Range` and this body, whatever was asked for.
    Partial(String, Vec<u8>),
    /// Closes the connection without a word.
    Hangup,
    /// Sends the body in pieces with a pause between them.
    Slow(Vec<u8>, usize, Duration),
}

/// A request as it came: its path, and its `Range` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
}

#[derive(Default)]
struct State {
    /// For each path what to reply; the last reply is repeated.
    replies: HashMap<String, Vec<Reply>>,
    requests: Vec<Request>,
    heads: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, state: Arc::default() };
        let handler = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, handler) = (stream.unwrap(), handler.clone());
                // A client that hangs up makes this fail: that is its right.
                thread::spawn(move || drop(handler.serve(&stream)));
            }
        });
        server
    }

    /// Says what to reply to requests for `path`, one after the other; the last one is repeated. Returns the URL.
    pub(crate) fn on(&self, path: &str, replies: impl Into<Vec<Reply>>) -> String {
        self.state.lock().unwrap().replies.insert(path.to_owned(), replies.into());
        self.url(path)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The requests so far, each with all lines of its head.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut range = None;
            let mut head = line.clone();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header)?;
                head += &header;
                let Some((name, value)) = header.trim().split_once(':') else { break };
                if name.eq_ignore_ascii_case("range") {
                    range = Some(value.trim().to_owned());
                }
            }
            let reply = {
                let mut state = self.state.lock().unwrap();
                state.heads.push(head);
                state.requests.push(Request { path: path.clone(), range: range.clone() });
                match state.replies.get_mut(&path) {
                    Some(replies) if replies.len() > 1 => replies.remove(0),
                    Some(replies) => replies[0].clone(),
                    None => Reply::Status(404, vec![]),
                }
            };
            if !answer(stream, reply, range.as_deref())? {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

/// Sends one reply; whether the connection can go on.
fn answer(mut stream: &TcpStream, reply: Reply, range: Option<&str>) -> std::io::Result<bool> {
    match reply {
        Reply::Whole(body) => ranged(stream, &body, range, usize::MAX),
        Reply::Cut(body, length) => ranged(stream, &body, range, length),
        Reply::NoRanges(body) => ranged(stream, &body, None, usize::MAX),
        Reply::CutNoRanges(body, length) => ranged(stream, &body, None, length),
        Reply::Stall(body, length) => {
            ranged(stream, &body, range, length)?;
            // Until the client has enough of it.
            stream.read_to_end(&mut Vec::new())?;
            Ok(false)
        }
        Reply::Status(status, headers) => {
            write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n")?;
            for (name, value) in headers {
                write!(stream, "{name}: {value}\r\n")?;
            }
            write!(stream, "\r\n")?;
            Ok(true)
        }
        Reply::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 8192])?;
            }
        }
        Reply::Partial(content_range, body) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 206 Partial\r\nContent-Range: {content_range}\r\nContent-Length: {length}\r\n\r\n"
            )?;
            stream.write_all(&body)?;
            Ok(true)
        }
        Reply::Hangup => Ok(false),
        Reply::Slow(body, piece, pause) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
            for chunk in body.chunks(piece) {
                stream.write_all(chunk)?;
                thread::sleep(pause);
            }
            Ok(true)
        }
    }
}

fn ranged(mut stream: &TcpStream, body: &[u8], range: Option<&str>, send: usize) -> std::io::Result<bool> {
    let first = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let total = body.len();
    let rest = match first {
        Some(first) if first >= total => {
            write!(stream, "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(true);
        }
        Some(first) => {
            let last = total - 1;
            write!(stream, "HTTP/1.1 206 Partial\r\nContent-Range: bytes {first}-{last}/{total}\r\n")?;
            &body[first..]
        }
        None => {
            write!(stream, "HTTP/1.1 200 OK\r\n")?;
            body
        }
    };
    write!(stream, "Content-Length: {}\r\n\r\n", rest.len())?;
    stream.write_all(&rest[..send.min(rest.len())])?;
    stream.flush()?;
    Ok(send >= rest.len())
}
