//! [`browse`]: asks for services and collects the answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::collect::{Collector, Found};
use super::error::MessageError;
use super::message::Message;
use super::name::Name;
use super::{GROUP, LOCAL};
use crate::error::Error;
use crate::netlink::Requests;
use crate::socket::link_socket;

/// Pauses between questions (RFC 6762, section 5.2); the last one is repeated.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The port that servers of ordinary DNS listen on.
const DNS: u16 = 53;

/// The longest packet that is received, in bytes (RFC 6762, section 17).
const LONGEST: usize = 9000;

/// Where to ask in addition to all links.
#[derive(Debug, Clone, Default)]
pub struct Browse {
    /// Name servers and the domain to ask them about, usually those of DHCP.
    pub servers: Vec<IpAddr>,
    /// See [`Self::servers`].
    pub domain: Option<String>,
}

/// A server or link to ask.
struct Channel {
    socket: UdpSocket,
    to: SocketAddr,
    /// The index of its collector; all multicast DNS channels share one.
    collector: usize,
    /// The id that matches answers to questions.
    id: u16,
}

/// Looks for services of a type ([`HUB`](super::HUB)) for `time`, or until `enough` of the services found. Returns
/// all that were found; those of the local link first.
///
/// # Errors
/// If no socket can be opened, or the name of the type or domain is not valid. Links that cannot be asked are left
/// out.
pub fn browse(
    kind: &str,
    places: &Browse,
    time: Duration,
    enough: &mut dyn FnMut(&[Found]) -> bool,
) -> Result<Vec<Found>, Error> {
    let name = |domain: &str| Name::parse(&format!("{kind}.{domain}")).map_err(wrong);
    let mut collectors = vec![Collector::new(name(LOCAL)?)];
    if let Some(domain) = &places.domain {
        collectors.push(Collector::ordinary(name(domain)?));
    }
    let channels = channels(places)?;
    let began = Instant::now();
    let (mut next, mut asked) = (began, 0);
    let mut buffer = vec![0; LONGEST];
    loop {
        let now = Instant::now();
        let left = time.saturating_sub(now - began);
        if left.is_zero() {
            return Ok(found(&collectors));
        }
        if now >= next {
            for channel in &channels {
                channel.ask(&collectors);
            }
            next = now + PAUSES.get(asked).or(PAUSES.last()).copied().unwrap_or(time);
            asked += 1;
        }
        wait(&channels, left.min(next.saturating_duration_since(now)))?;
        let before = questions(&collectors);
        for channel in &channels {
            channel.hear(&mut collectors, &mut buffer);
        }
        let all = found(&collectors);
        if enough(&all) {
            return Ok(all);
        }
        if questions(&collectors) > before {
            next = Instant::now(); // something new to ask about
        }
    }
}

fn found(collectors: &[Collector]) -> Vec<Found> {
    collectors.iter().flat_map(Collector::found).collect()
}

fn questions(collectors: &[Collector]) -> usize {
    collectors.iter().map(|collector| collector.questions().len()).sum()
}

fn wrong(error: MessageError) -> Error {
    Error::io("asking for services")(std::io::Error::other(error))
}

fn channels(places: &Browse) -> Result<Vec<Channel>, Error> {
    let mut channels = Vec::new();
    for link in Requests::open()?.links()?.iter().filter(|link| link.up && !link.loopback) {
        // From a port of its own: then answers come to this socket only (RFC 6762, section 5.1).
        if let Ok(socket) = link_socket(link, 0) {
            channels.push(Channel { socket, to: GROUP.into(), collector: 0, id: 0 });
        }
    }
    let servers = places.servers.iter().filter(|_| places.domain.is_some());
    for server in servers {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { "::".parse().unwrap_or(*server) };
        let socket = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect((*server, DNS)).map(|()| socket)
        });
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
            .map_err(Error::system("drawing a random number"))?;
        if let Ok(socket) = socket {
            channels.push(Channel { socket, to: (*server, DNS).into(), collector: 1, id: u16::from_be_bytes(id) });
        }
    }
    Ok(channels)
}

impl Channel {
    fn ask(&self, collectors: &[Collector]) {
        let Some(collector) = collectors.get(self.collector) else { return };
        let multicast = self.to == SocketAddr::from(GROUP);
        let all = collector.questions();
        // Servers of ordinary DNS answer one question at a time.
        for questions in all.chunks(if multicast { all.len().max(1) } else { 1 }) {
            let questions = questions.to_vec();
            let message = Message { id: self.id, recursion: !multicast, questions, ..Message::default() };
            let Ok(packet) = message.encode() else { continue };
            // A packet lost by a link that is going down is lost like any other: the question is repeated.
            let _ = if multicast { self.socket.send_to(&packet, self.to) } else { self.socket.send(&packet) };
        }
    }

    fn hear(&self, collectors: &mut [Collector], buffer: &mut [u8]) {
        while let Ok((length, from)) = self.socket.recv_from(buffer) {
            // Answers come from the port that was asked (RFC 6762, section 6).
            if from.port() != self.to.port() {
                continue;
            }
            let message = buffer.get(..length).and_then(|packet| Message::parse(packet).ok());
            let message = message.filter(|message| message.id == self.id);
            if let (Some(message), Some(collector)) = (message, collectors.get_mut(self.collector)) {
                collector.take(message);
            }
        }
    }
}

fn wait(channels: &[Channel], time: Duration) -> Result<(), Error> {
    let mut fds: Vec<_> = channels.iter().map(|channel| PollFd::new(&channel.socket, PollFlags::IN)).collect();
    let time = Timespec::try_from(time).ok();
    match poll(&mut fds, time.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Error::system("waiting for answers")(error)),
    }
}
