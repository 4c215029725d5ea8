//! The proxy of testbeds that have a network of their own, and may reach some hosts: a process of the machine's that
//! listens inside, and connects outside to what is allowed.
//!
//! It needs no interface, no packet filter and no rights, and works for root and for users alike. Names are looked up
//! outside, so nothing inside can send a packet anywhere, and answers of a name server cannot be made up inside.

mod hosts;
mod request;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Gid, Signal, Uid};

pub use self::hosts::AllowedHosts;
use self::request::Request;
use crate::Error;
use crate::detach::detach_from_the_server;
use crate::identity::Identity;
use crate::process::{self, Child, fork};

/// Where it listens inside: a port that no service has.
const INSIDE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 47_128);
/// Its address as programs have it.
pub(crate) const ADDRESS: &str = "http://127.0.0.1:47128";
/// Most connections at once; more are refused.
const CONNECTIONS: usize = 64;
/// The user that it runs as, as an id inside: nobody.
const USER: u32 = 65_534;
/// How long a head may take, and a connection to a host.
const HEAD: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(20);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(300);

/// Listens in this process's network namespace.
pub(crate) fn listen() -> Result<OwnedFd, Error> {
    TcpListener::bind(INSIDE).map(OwnedFd::from).map_err(Error::step("listening for the testbed's proxy"))
}

/// Starts the proxy of a testbed. It ends when it is killed, or with this process.
pub(crate) fn start(listener: OwnedFd, hosts: &AllowedHosts, identity: &Identity) -> Result<Child, Error> {
    let server = std::process::id();
    let (listener, hosts) = (std::cell::Cell::new(Some(listener)), hosts.clone());
    fork(|| {
        let Some(listener) = listener.take() else { return 1 };
        let prepared = confine(&listener, identity, server);
        u8::from(prepared.and_then(|()| serve(&TcpListener::from(listener), &hosts)).is_err())
    })
    .map_err(Error::step("starting the testbed's proxy"))
}

/// Gives up what the process does not need: its rights, its files, its user.
fn confine(listener: &OwnedFd, identity: &Identity, server: u32) -> io::Result<()> {
    detach_from_the_server().map_err(|error| io::Error::other(error.to_string()))?;
    process::close_all_but(listener)?;
    if !identity.nested {
        let (user, group) = (Uid::from_raw(identity.outside(USER)), Gid::from_raw(identity.outside(USER)));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    // Changing the user undoes it, so it comes after that; the server may have ended before.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get().cast_unsigned());
    if parent == Some(server) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Answers connections, each in a thread.
fn serve(listener: &TcpListener, hosts: &AllowedHosts) -> io::Result<()> {
    let (hosts, count) = (Arc::new(hosts.clone()), Arc::new(AtomicUsize::new(0)));
    loop {
        let (client, _) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Err(error),
            // A client that has gone; or there are too many open files for a moment.
            Err(_) => {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        if count.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            refuse(&client, "503 Service Unavailable", &format!("there are {CONNECTIONS} connections already"));
            count.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (hosts, ours) = (Arc::clone(&hosts), Arc::clone(&count));
        let started = thread::Builder::new().spawn(move || {
            // It fails if one side has gone, and then nobody wants to know.
            let _ = answer(client, &hosts);
            ours.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Answers one request.
fn answer(mut client: TcpStream, hosts: &AllowedHosts) -> io::Result<()> {
    let Some((head, rest)) = read_head(&mut client)? else {
        refuse(&client, "431 Request Header Fields Too Large", "the request's head is too long");
        return Ok(());
    };
    let Some(request) = Request::parse(&head) else {
        refuse(&client, "400 Bad Request", "this proxy takes CONNECT, and requests for http:// addresses");
        return Ok(());
    };
    if !hosts.permit(&request.host, request.port) {
        let (host, port) = (&request.host, request.port);
        refuse(
            &client,
            "403 Forbidden",
            &format!("tests on this machine may not reach port {port} of {host}, but these hosts: {hosts}"),
        );
        return Ok(());
    }
    let mut host = match connect(&request.host, request.port) {
        Ok(host) => host,
        Err(error) => {
            refuse(&client, "502 Bad Gateway", &format!("connecting to {}: {error}", request.host));
            return Ok(());
        }
    };
    match &request.head {
        Some(head) => host.write_all(head)?,
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
    }
    host.write_all(&rest)?;
    relay(client, host)
}

/// Reads a head, and what came with it; `None` if it is too long.
fn read_head(client: &mut TcpStream) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let (mut bytes, mut buffer, began) = (Vec::new(), [0; 4096], Instant::now());
    loop {
        if let Some(length) = request::length(&bytes) {
            let rest = bytes.split_off(length);
            return Ok(Some((bytes, rest)));
        }
        if bytes.len() > request::LONGEST {
            return Ok(None);
        }
        let left = HEAD.checked_sub(began.elapsed()).filter(|left| !left.is_zero()).ok_or(io::ErrorKind::TimedOut)?;
        client.set_read_timeout(Some(left))?;
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// Connects to the first address of a host that answers.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Passes on bytes both ways until both sides have ended, or nothing has come for a while.
fn relay(client: TcpStream, host: TcpStream) -> io::Result<()> {
    for stream in [&client, &host] {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
    }
    let (mut from_client, mut to_host) = (client.try_clone()?, host.try_clone()?);
    let there = thread::Builder::new().spawn(move || {
        // What one side cannot take, the other need not send.
        let _ = io::copy(&mut from_client, &mut to_host);
        let _ = to_host.shutdown(Shutdown::Write);
    })?;
    let (mut from_host, mut to_client) = (host, client);
    let back = io::copy(&mut from_host, &mut to_client);
    // It fails if the client has gone.
    let _ = to_client.shutdown(if back.is_ok() { Shutdown::Write } else { Shutdown::Both });
    // The client's part ends with its connection.
    let _ = there.join();
    back.map(drop)
}

/// Tells a client why there is nothing for it. It may have gone.
fn refuse(mut client: &TcpStream, status: &str, why: &str) {
    let body = format!("{why}\n");
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n", body.len());
    let _ = client.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
    let _ = client.shutdown(Shutdown::Write);
}

/// Reads the head of a request as the proxy does, for fuzzing: what goes on to the host.
pub fn forwarded(head: &[u8]) -> Option<Vec<u8>> {
    Request::parse(head)?.head
}
