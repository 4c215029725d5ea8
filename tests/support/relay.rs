//! A relay to a server on this machine, which a test can cut.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Forwards connections until the test program ends.
#[derive(Clone)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    away: bool,
    /// Bytes that still pass to the server, and from it; then everything is cut and the server is away.
    to_server: Option<u64>,
    from_server: Option<u64>,
    sent: u64,
    connections: Vec<TcpStream>,
}

impl State {
    fn cut(&mut self) {
        self.away = true;
        for connection in self.connections.drain(..) {
            // It may have ended.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Relay {
    /// Starts a relay to a port of the loopback interface.
    pub fn start(port: u16) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let relay = Self { address: socket.local_addr().expect("its address"), state: Arc::default() };
        let state = Arc::clone(&relay.state);
        thread::spawn(move || {
            for client in socket.incoming().flatten() {
                if lock(&state).away {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let copies = [&client, &client, &server, &server].map(|stream| stream.try_clone().expect("a copy"));
                let [one, from_client, two, from_server] = copies;
                lock(&state).connections.extend([one, two]);
                let (there, back) = (Arc::clone(&state), Arc::clone(&state));
                thread::spawn(move || copy(from_client, server, &there, true));
                thread::spawn(move || copy(from_server, client, &back, false));
            }
        });
        relay
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts everything, also what comes later.
    pub fn cut(&self) {
        lock(&self.state).cut();
    }

    /// Cuts everything once so many more bytes have passed to the server.
    pub fn cut_after(&self, bytes: u64) {
        lock(&self.state).to_server = Some(bytes);
    }

    /// Ends the connections once so many more bytes have passed from the server; new ones are taken.
    pub fn cut_answers_after(&self, bytes: u64) {
        lock(&self.state).from_server = Some(bytes);
    }

    /// Forwards again.
    pub fn mend(&self) {
        let mut state = lock(&self.state);
        (state.away, state.to_server, state.from_server) = (false, None, None);
    }

    /// How many bytes have passed to the server since this was last asked.
    pub fn sent(&self) -> u64 {
        std::mem::take(&mut lock(&self.state).sent)
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>, to_server: bool) {
    let mut buffer = vec![0; 16 << 10];
    let mut pass = || -> io::Result<bool> {
        let length = from.read(&mut buffer)?;
        let mut allowed = length;
        {
            let mut state = lock(state);
            let left = if to_server { &mut state.to_server } else { &mut state.from_server };
            if let Some(left) = left {
                allowed = length.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= allowed as u64;
            }
            if to_server {
                state.sent += allowed as u64;
            }
        }
        to.write_all(&buffer[..allowed])?;
        if allowed == length {
            return Ok(length > 0);
        }
        let mut state = lock(state);
        state.cut();
        if !to_server {
            (state.away, state.from_server) = (false, None);
        }
        Ok(false)
    };
    while pass().unwrap_or(false) {}
    let _ = to.shutdown(Shutdown::Write);
}
