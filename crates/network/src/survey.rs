//! Lists links and finds DHCP servers on them, without changing anything: for programs that serve a network.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::configuration::Mac;
use crate::dhcp::frame::{self, Ends};
use crate::dhcp::{Action, Client, Identity, Message, MessageKind, code};
use crate::error::Error;
use crate::netlink::{Link, Requests};
use crate::socket::{self, FrameSocket};

/// A link of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Its name.
    pub name: String,
    /// Whether it is up and has a carrier.
    pub carrier: bool,
    /// Whether it is hardware, not a virtual link.
    pub physical: bool,
    /// Its IPv4 addresses, with their prefix lengths.
    pub addresses: Vec<(Ipv4Addr, u8)>,
}

/// All links but the loopback device.
///
/// # Errors
/// If the kernel gives no netlink socket.
pub fn interfaces() -> Result<Vec<InterfaceInfo>, Error> {
    let mut requests = Requests::open()?;
    let links = requests.links()?.into_iter().filter(|link| !link.loopback);
    links
        .map(|link| {
            let addresses = requests.addresses(link.index)?;
            Ok(InterfaceInfo { carrier: link.carrier, physical: link.physical, name: link.name, addresses })
        })
        .collect()
}

/// How often servers are asked: a request may be lost, and a switch may forward nothing for the first seconds.
const ASK_AGAIN: Duration = Duration::from_millis(1500);

/// Finds the DHCP servers that answer on a link within `patience`. Repeatedly asks for an offer, and does not accept
/// it. Needs `CAP_NET_RAW`.
///
/// # Errors
/// If there is no such link, or no packet socket can be opened.
pub fn dhcp_servers(name: &str, patience: Duration) -> Result<Vec<Ipv4Addr>, Error> {
    let link = find(name)?;
    let mac = link.mac.unwrap_or_default();
    let socket = FrameSocket::open(&link)?;
    let seed = u64::from(std::process::id());
    // Another client identifier: this machine's own lease stays as it is.
    let identity = Identity { mac, client_id: Some(b"\0rocbed looks for DHCP servers".to_vec()), hostname: None };
    let first = Client::new(identity, seed).start(Duration::ZERO).into_iter().find_map(|action| match action {
        Action::Send { message, .. } => Some(message),
        _ => None,
    });
    // If the request were not valid, every network would look as if it had no server.
    let no_question = || Error::io("making a question for DHCP servers")(std::io::ErrorKind::InvalidData.into());
    let question = first.ok_or_else(no_question)?;
    let (source, destination) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let ends = Ends { source_mac: mac, destination_mac: Mac::BROADCAST, source, destination };
    let packet = frame::write(&ends, &question);
    let xid = Message::parse(&question).map_err(|_| no_question())?.xid;
    let (mut found, start, mut next) = (Vec::new(), Instant::now(), Duration::ZERO);
    while let Some(left) = patience.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        if start.elapsed() >= next {
            socket.send(&packet)?;
            next = start.elapsed() + ASK_AGAIN;
        }
        let wait = left.min(next.saturating_sub(start.elapsed()));
        let mut polled = [PollFd::new(&socket, PollFlags::IN)];
        match poll(&mut polled, Timespec::try_from(wait).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::system("waiting for DHCP servers")(errno)),
        }
        while let Some(bytes) = socket::receive(socket.as_fd())? {
            let offer = frame::read(&bytes).and_then(|received| Message::parse(received.payload).ok());
            let Some(offer) = offer.filter(|offer| offer.reply && offer.xid == xid) else { continue };
            let server = offer.options.address(code::SERVER).unwrap_or(Ipv4Addr::UNSPECIFIED);
            if offer.options.kind() == Some(MessageKind::Offer) && !found.contains(&server) {
                found.push(server);
            }
        }
    }
    Ok(found)
}

fn find(name: &str) -> Result<Link, Error> {
    let missing = || Error::io(format!("looking for the network link {name}"))(std::io::ErrorKind::NotFound.into());
    Requests::open()?.links()?.into_iter().find(|link| link.name == name).ok_or_else(missing)
}
