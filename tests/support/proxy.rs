//! An HTTP proxy on a loopback port. It behaves like Squid in its default configuration, and for requests like those to
//! a mirror, like apt-cacher-ng.
//!
//! Requests to `http:` servers have complete addresses (RFC 9112, 3.2.2). It opens tunnels (RFC 9110, 9.3.6) to a few
//! ports, and may require a user name and a password (RFC 9110, 11.7).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Configuration of a proxy.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Required value of `Proxy-Authorization`; without it, all clients are allowed.
    authorization: Option<String>,
    /// Ports to which it opens tunnels, besides 443.
    tunnels: Vec<u16>,
    /// Servers that only the proxy can find: `host` or `host:port`, and the address.
    servers: Vec<(String, SocketAddr)>,
}

impl Rules {
    /// Requires this `Proxy-Authorization`.
    #[must_use]
    pub fn authorization(mut self, value: &str) -> Self {
        self.authorization = Some(value.to_owned());
        self
    }

    /// Opens tunnels to this port too.
    #[must_use]
    pub fn tunnels_to(mut self, port: u16) -> Self {
        self.tunnels.push(port);
        self
    }

    /// Resolves this server name to this address.
    #[must_use]
    pub fn server(mut self, name: &str, address: SocketAddr) -> Self {
        self.servers.push((name.to_owned(), address));
        self
    }
}

/// A proxy that records its requests and runs until the test program ends.
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
    /// Starts a proxy that allows all clients, and opens tunnels to port 443 only.
    pub fn start() -> Self {
        Self::start_with(Rules::default())
    }

    /// Starts a proxy with these rules.
    pub fn start_with(rules: Rules) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("binding a loopback port"), rules)
    }

    /// Starts a proxy on an existing socket. It connects to servers in the caller's network.
    pub fn on(listener: TcpListener, rules: Rules) -> Self {
        let address = listener.local_addr().expect("the port just bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, rules) = (Arc::clone(&requests), Arc::new(rules));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, rules) = (Arc::clone(&seen), Arc::clone(&rules));
                // Both sides may close their connections at any time.
                thread::spawn(move || serve(stream, &rules, &seen).unwrap_or_default());
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

/// Handles one connection: one request and its answer.
fn serve(client: TcpStream, rules: &Rules, seen: &Mutex<Vec<String>>) -> io::Result<()> {
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
    let refuse = |status: &str| write!(&client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let field = |line: &String, name: &str| {
        line.split_once(':')
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    if let Some(wanted) = &rules.authorization
        && !head.iter().any(|line| field(line, "proxy-authorization").as_ref() == Some(wanted))
    {
        return refuse("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"");
    }
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method == "CONNECT" {
        let port = target.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        if port != 443 && !rules.tunnels.contains(&port) {
            return refuse("403 Forbidden");
        }
        let server = connect(target, rules)?;
        (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        return tunnel(reader, client, server);
    }
    // Requests to it as a cache are for /HOST/PATH.
    let Some(rest) = target.strip_prefix("http://").or_else(|| target.strip_prefix('/')) else {
        return refuse("400 Bad Request");
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Ok(mut server) = connect(host, rules) else { return refuse("503 Service Unavailable") };
    // Fields for the proxy are not passed on; one request per connection.
    let ours = |line: &&String| {
        ["proxy-authorization", "proxy-connection", "connection"].iter().all(|name| field(line, name).is_none())
    };
    let headers: String = head.iter().skip(1).filter(ours).cloned().collect();
    write!(server, "{method} /{path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")?;
    tunnel(reader, client, server)
}

/// Connects to `host:port` or `host`.
fn connect(name: &str, rules: &Rules) -> io::Result<TcpStream> {
    if let Some((_, address)) = rules.servers.iter().find(|(known, _)| known == name) {
        return TcpStream::connect(address);
    }
    if name.contains(':') { TcpStream::connect(name) } else { TcpStream::connect((name, 80)) }
}

/// Passes data in both directions until both sides have closed.
fn tunnel(mut from_client: BufReader<TcpStream>, mut to_client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (mut from_server, mut to_server) = (server.try_clone()?, server);
    let there = thread::spawn(move || {
        io::copy(&mut from_client, &mut to_server).and_then(|_| to_server.shutdown(std::net::Shutdown::Write))
    });
    io::copy(&mut from_server, &mut to_client)?;
    to_client.shutdown(std::net::Shutdown::Both)?;
    there.join().expect("no thread panicked")
}
