//! An HTTP proxy on a loopback port (RFC 9110, 9.3.6, and RFC 9112, 3.2.2).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy for as long as the test program runs, which notes what it is asked for.
pub struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self::start()
    }
}

impl Proxy {
    /// Starts one that connects to whatever it is asked for.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binding a loopback port");
        let address = listener.local_addr().expect("the port just bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // Both ends may hang up as they like: their business.
                thread::spawn(move || serve(stream, &seen).unwrap_or_default());
            }
        });
        Self { address, requests }
    }

    /// Its address, for `http_proxy`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request lines so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread panicked").clone()
    }
}

fn serve(client: TcpStream, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let Some(request) = head.first().cloned() else { return Ok(()) };
    seen.lock().expect("no thread panicked").push(request.trim_end().to_owned());
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method == "CONNECT" {
        let server = TcpStream::connect(target)?;
        (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        return tunnel(reader, client, server);
    }
    let rest = target.strip_prefix("http://").unwrap_or(target);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut server = TcpStream::connect(host)?;
    write!(server, "{method} /{path} HTTP/1.1\r\n{}\r\n", head.get(1..).unwrap_or_default().concat())?;
    tunnel(reader, client, server)
}

/// Passes on what both say until both have ended.
fn tunnel(mut from_client: BufReader<TcpStream>, mut to_client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (mut from_server, mut to_server) = (server.try_clone()?, server);
    let there = thread::spawn(move || {
        io::copy(&mut from_client, &mut to_server).and_then(|_| to_server.shutdown(std::net::Shutdown::Write))
    });
    io::copy(&mut from_server, &mut to_client)?;
    to_client.shutdown(std::net::Shutdown::Write)?;
    there.join().expect("no thread panicked")
}
