//! [`Responder`]: announces a service until it is dropped.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::answer::{announcement, answer};
use super::error::MessageError;
use super::message::Message;
use super::{GROUP, Service};
use crate::error::Error;
use crate::netlink::{Link, Requests};
use crate::socket::{join_group, link_socket};

/// How often links are listed again.
const LIST_LINKS_EVERY: Duration = Duration::from_secs(5);

/// The longest wait on a link's socket, and so the delay before the end is noticed.
const STEP: Duration = Duration::from_millis(200);

/// The time between the two announcements of a service (RFC 6762, section 8.3).
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);

/// The longest packet that is received, in bytes (RFC 6762, section 17).
const LONGEST: usize = 9000;

/// Answers questions about a service on all links with multicast, in a thread of its own. Other responders on the
/// same machine, such as Avahi, are not disturbed.
///
/// It does not check whether the names are taken: two hubs with one name on one network are seen as one.
#[derive(Debug)]
pub struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Starts the responder.
    ///
    /// # Errors
    /// If a name is not valid, no link can be listened on, or the thread cannot be started.
    pub fn start(service: Service) -> Result<Self, Error> {
        announcement(&service, &[], false).and_then(|message| message.encode()).map_err(wrong)?;
        let mut responder = ResponderThread { service, links: Vec::new() };
        responder.update_links()?;
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = thread::Builder::new().name("discovery".into()).spawn(move || responder.run(&theirs));
        Ok(Self { stop, thread: Some(thread.map_err(Error::io("starting a thread for discovery"))?) })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, there is nothing left to withdraw.
            let _ = thread.join();
        }
    }
}

fn wrong(error: MessageError) -> Error {
    Error::io("announcing a service")(std::io::Error::other(error))
}

struct ResponderThread {
    service: Service,
    links: Vec<AnnouncedLink>,
}

/// A link where the service is announced.
struct AnnouncedLink {
    index: u32,
    socket: UdpSocket,
    addresses: Vec<Ipv4Addr>,
    /// When the service is announced again, if at all.
    again: Option<Instant>,
}

impl ResponderThread {
    fn run(mut self, stop: &AtomicBool) {
        let mut looked = Instant::now();
        let mut buffer = vec![0; LONGEST];
        while !stop.load(Ordering::Relaxed) {
            if looked.elapsed() >= LIST_LINKS_EVERY {
                // A link that cannot be listened on is tried again next time.
                let _ = self.update_links();
                looked = Instant::now();
            }
            self.announce_again();
            let mut fds: Vec<_> = self.links.iter().map(|link| PollFd::new(&link.socket, PollFlags::IN)).collect();
            let time = Timespec::try_from(STEP).ok();
            if poll(&mut fds, time.as_ref()).is_err() {
                thread::sleep(STEP);
            }
            for link in &self.links {
                link.hear(&self.service, &mut buffer);
            }
        }
        for link in &self.links {
            link.tell(&self.service, true);
        }
    }

    /// Adds new links and addresses, and drops those that are gone. Fails if there are links, but none can be
    /// listened on.
    fn update_links(&mut self) -> Result<(), Error> {
        let mut requests = Requests::open()?;
        let mut links = requests.links()?;
        links.retain(|link| link.up && !link.loopback);
        self.links.retain(|announced| links.iter().any(|link| link.index == announced.index));
        let mut problem = None;
        for link in &links {
            let addresses: Vec<_> = requests.addresses(link.index)?.into_iter().map(|(address, _)| address).collect();
            match self.links.iter_mut().find(|announced| announced.index == link.index) {
                Some(announced) if announced.addresses == addresses => {}
                Some(announced) => {
                    announced.addresses = addresses;
                    announced.again = Some(Instant::now());
                }
                None => match listen(link) {
                    Ok(socket) => {
                        let again = Some(Instant::now() + ANNOUNCE_AGAIN);
                        let announced = AnnouncedLink { index: link.index, socket, addresses, again };
                        announced.tell(&self.service, false);
                        self.links.push(announced);
                    }
                    Err(error) => problem = Some(error),
                },
            }
        }
        problem.filter(|_| self.links.is_empty()).map_or(Ok(()), Err)
    }

    fn announce_again(&mut self) {
        for link in &mut self.links {
            if link.again.is_some_and(|at| Instant::now() >= at) {
                link.again = None;
                link.tell(&self.service, false);
            }
        }
    }
}

fn listen(link: &Link) -> Result<UdpSocket, Error> {
    let socket = link_socket(link, GROUP.port())?;
    join_group(&socket, link, *GROUP.ip())?;
    Ok(socket)
}

impl AnnouncedLink {
    fn tell(&self, service: &Service, gone: bool) {
        if self.addresses.is_empty() {
            return; // no address yet: nobody could come
        }
        if let Ok(packet) = announcement(service, &self.addresses, gone).and_then(|message| message.encode()) {
            // Announcements may be lost like any packet; questions are answered.
            let _ = self.socket.send_to(&packet, GROUP);
        }
    }

    fn hear(&self, service: &Service, buffer: &mut [u8]) {
        while let Ok((length, from)) = self.socket.recv_from(buffer) {
            let Some(query) = buffer.get(..length).and_then(|packet| Message::parse(packet).ok()) else { continue };
            let legacy = from.port() != GROUP.port();
            let Ok(Some(reply)) = answer(service, &self.addresses, &query, legacy) else { continue };
            if self.addresses.is_empty() {
                continue;
            }
            let to = if reply.unicast { from } else { GROUP.into() };
            if let Ok(packet) = reply.message.encode() {
                // A client that does not get it asks again.
                let _ = self.socket.send_to(&packet, to);
            }
        }
    }
}
