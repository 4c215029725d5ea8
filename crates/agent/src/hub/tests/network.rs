//! A proxy between an agent and its hub that fails at one chosen request.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// When the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The hub never hears of the request.
    Before,
    /// The hub gets this many bytes of it.
    Within(usize),
    /// The hub has answered, and the answer is lost.
    After,
}

/// What is done then, once.
type Action = Box<dyn FnOnce() + Send>;

struct Plan {
    /// What the first line of the request has in it.
    step: &'static str,
    when: When,
    action: Option<Action>,
}

/// Whether the network lets anything through.
#[derive(Debug, Clone, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn restore(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The proxy.
pub struct Network {
    pub address: String,
    plan: Arc<Mutex<Plan>>,
}

impl Network {
    pub fn new(
        to: SocketAddr,
        step: &'static str,
        when: When,
        action: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        Self::with_switch(to, step, when, Switch::default(), action)
    }

    pub fn with_switch(
        to: SocketAddr,
        step: &'static str,
        when: When,
        switch: Switch,
        action: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?.to_string();
        let plan = Arc::new(Mutex::new(Plan { step, when, action: Some(Box::new(action)) }));
        let network = Self { address, plan: Arc::clone(&plan) };
        thread::spawn(move || {
            for client in socket.incoming().flatten() {
                // A hub that is away takes no connections; nor does a network that is down.
                let Ok(server) = TcpStream::connect(to) else { continue };
                if !switch.is_cut() {
                    let (plan, switch) = (Arc::clone(&plan), switch.clone());
                    thread::spawn(move || drop(carry(&client, &server, &plan, &switch)));
                }
            }
        });
        Ok(network)
    }

    /// Whether the planned failure has happened.
    pub fn is_done(&self) -> bool {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).action.is_none()
    }
}

/// Forwards one connection, until it is cut or closed.
fn carry(client: &TcpStream, server: &TcpStream, plan: &Arc<Mutex<Plan>>, switch: &Switch) -> io::Result<()> {
    let end = |stream: &TcpStream| drop(stream.shutdown(Shutdown::Both));
    // Set while the answer to the request is awaited that is to be lost.
    let lost: Arc<Mutex<Option<Action>>> = Arc::default();
    let (theirs, from, to) = (Arc::clone(&lost), server.try_clone()?, client.try_clone()?);
    let back_switch = switch.clone();
    let back = thread::spawn(move || {
        let (mut from, mut to) = (from, to);
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let action = theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(action) = action {
                end(&to);
                end(&from);
                action();
                return;
            }
            if back_switch.is_cut() || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        end(&to);
        end(&from);
    });
    let (mut client_end, mut server_end) = (client.try_clone()?, server.try_clone()?);
    let mut buffer = vec![0; 1 << 16];
    let mut left: Option<(usize, Action)> = None;
    while let Ok(count @ 1..) = client_end.read(&mut buffer) {
        if switch.is_cut() {
            break;
        }
        let bytes = &buffer[..count];
        let line = String::from_utf8_lossy(bytes.get(..200.min(count)).unwrap_or_default()).into_owned();
        let first = line.lines().next().unwrap_or_default();
        let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = first.contains("HTTP/1.1") && first.contains(plan.step);
        if hit && let Some(action) = plan.action.take() {
            let when = plan.when;
            drop(plan);
            match when {
                When::Before => {
                    end(client);
                    end(server);
                    action();
                    break;
                }
                When::Within(bytes) => left = Some((bytes, action)),
                When::After => *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(action),
            }
        } else {
            drop(plan);
        }
        match left.take() {
            Some((room, action)) if room < count => {
                let _ = server_end.write_all(&bytes[..room]);
                end(client);
                end(server);
                action();
                break;
            }
            Some((room, action)) => left = Some((room - count, action)),
            None => {}
        }
        if server_end.write_all(bytes).is_err() {
            break;
        }
    }
    end(client);
    end(server);
    let _ = back.join();
    Ok(())
}
