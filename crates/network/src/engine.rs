//! The event loop: waits for netlink, packets and timers, and drives each link.

use std::collections::BTreeMap;
use std::fs;
use std::io::{PipeReader, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::dhcp::Time;
use crate::error::Error;
use crate::event::NetworkEvent;
use crate::hostname;
use crate::interface::{Context, Interface};
use crate::netlink::{Change, Link, LinkEvents, LinkWatch, Requests};
use crate::plan::Plans;
use crate::resolv;
use crate::settings::NetworkSettings;
use crate::status::Status;

/// The event loop's state.
pub(crate) struct Engine {
    settings: NetworkSettings,
    plans: Plans,
    requests: Requests,
    watch: LinkWatch,
    interfaces: BTreeMap<u32, Interface>,
    events: Sender<NetworkEvent>,
    /// The last published status.
    shared: Arc<Mutex<Status>>,
    ended: PipeReader,
    began: Instant,
    /// The host name as it was last set.
    hostname: Option<String>,
    /// The last content for `resolv.conf`, even if it could not be written.
    resolv: Option<String>,
}

impl Engine {
    pub fn new(
        settings: NetworkSettings,
        events: Sender<NetworkEvent>,
        shared: Arc<Mutex<Status>>,
        ended: PipeReader,
    ) -> Result<Self, Error> {
        Ok(Self {
            plans: Plans::new(&settings),
            requests: Requests::open()?,
            // Before the first listing of links, so that none is missed in between.
            watch: LinkWatch::open()?,
            settings,
            interfaces: BTreeMap::new(),
            events,
            shared,
            ended,
            began: Instant::now(),
            hostname: None,
            resolv: None,
        })
    }

    /// Runs until it is told to end.
    pub fn run(mut self) {
        let mut events = Vec::new();
        self.set_hostname(&mut events);
        self.update_all_links(&mut events);
        loop {
            self.publish(&mut events);
            self.interfaces.values_mut().for_each(Interface::close_retired);
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    events.push(NetworkEvent::Problem { link: None, error });
                    return self.publish(&mut events);
                }
            };
            if ready.ended {
                return self.end(&mut events);
            }
            if ready.links {
                self.handle_link_events(&mut events);
            }
            for index in ready.interfaces {
                self.with(index, &mut events, Interface::receive);
            }
            let silence = self.settings.silence;
            let indexes: Vec<u32> = self.interfaces.keys().copied().collect();
            for index in indexes {
                self.with(index, &mut events, |interface, context| interface.tick(silence, context));
            }
        }
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn with(&mut self, index: u32, events: &mut Vec<NetworkEvent>, act: impl FnOnce(&mut Interface, &mut Context<'_>)) {
        let now = self.now();
        if let Some(interface) = self.interfaces.get_mut(&index) {
            act(interface, &mut Context { requests: &mut self.requests, events, now });
        }
    }

    /// Waits for the first event.
    fn wait(&self) -> Result<Ready, Error> {
        let deadline = self.interfaces.values().filter_map(|interface| interface.deadline(self.settings.silence)).min();
        // Rounded up by the smallest step, so that the loop does not spin just before a deadline.
        let left = deadline.map(|at| at.saturating_sub(self.now()).saturating_add(Duration::from_nanos(1)));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let sockets: Vec<_> =
            self.interfaces.iter().filter_map(|(index, interface)| Some((*index, interface.socket()?))).collect();
        let mut polled = vec![PollFd::new(&self.ended, PollFlags::IN), PollFd::new(&self.watch, PollFlags::IN)];
        polled.extend(sockets.iter().map(|(_, socket)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)));
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(Error::system("waiting for the network")(errno)),
        }
        let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            ended: ready.next().unwrap_or(false),
            links: ready.next().unwrap_or(false),
            interfaces: sockets.iter().zip(ready).filter(|(_, ready)| *ready).map(|((index, _), _)| *index).collect(),
        })
    }

    /// Handles netlink events about links.
    fn handle_link_events(&mut self, events: &mut Vec<NetworkEvent>) {
        loop {
            match self.watch.next() {
                Ok(LinkEvents::Changes(changes)) => {
                    for change in changes {
                        match change {
                            Change::Is(link) => self.update_link(link, events),
                            Change::Gone(index) => self.gone(index, events),
                        }
                    }
                }
                Ok(LinkEvents::Missed) => self.update_all_links(events),
                Ok(LinkEvents::Nothing) => return,
                Err(error) => {
                    events.push(NetworkEvent::Problem { link: None, error });
                    return;
                }
            }
        }
    }

    fn update_all_links(&mut self, events: &mut Vec<NetworkEvent>) {
        match self.requests.links() {
            Ok(links) => {
                let gone: Vec<u32> = self
                    .interfaces
                    .keys()
                    .copied()
                    .filter(|index| links.iter().all(|link| link.index != *index))
                    .collect();
                for index in gone {
                    self.gone(index, events);
                }
                for link in links {
                    self.update_link(link, events);
                }
            }
            Err(error) => events.push(NetworkEvent::Problem { link: None, error }),
        }
    }

    /// Handles a link that is new or has changed.
    fn update_link(&mut self, mut link: Link, events: &mut Vec<NetworkEvent>) {
        let index = link.index;
        if link.loopback {
            if !link.up {
                self.set_up(&link, events);
            }
            return;
        }
        let Some(known) = self.interfaces.get_mut(&index) else {
            link.physical = link.physical && !is_wireless(&link.name);
            if self.plans.concern(&link) {
                let interface = Interface::new(Link { carrier: false, ..link.clone() });
                self.interfaces.insert(index, interface);
                self.set_hostname(events);
                if link.up { self.carrier(link, events) } else { self.set_up(&link, events) }
            }
            return;
        };
        link.physical = known.link.physical;
        let (renamed, replaced) = (known.link.name != link.name, known.link.mac != link.mac);
        if renamed || replaced {
            // Sockets and the client are bound to the name and the address.
            self.carrier(Link { carrier: false, ..link.clone() }, events);
            if replaced && let Some(known) = self.interfaces.get_mut(&index) {
                known.forget();
            }
            if !link.up {
                self.set_up(&link, events);
            }
        }
        self.carrier(link, events);
    }

    /// Records the new state of a link in use, and acts if its carrier came or went.
    fn carrier(&mut self, link: Link, events: &mut Vec<NetworkEvent>) {
        let Some(interface) = self.interfaces.get_mut(&link.index) else { return };
        let before = std::mem::replace(&mut interface.link, link.clone()).carrier;
        let (index, name) = (link.index, link.name.clone());
        match (before, link.carrier) {
            (false, true) => {
                let plan = self.plans.take(&link);
                let own = self.own_name().map(|name| hostname::short(&name).to_owned());
                let seed = seed(&link, self.began);
                let last = self.settings.before.get(&name).copied();
                events.push(NetworkEvent::LinkUp { link: link.name });
                self.with(index, events, |interface, context| {
                    interface.start(plan, own.as_deref(), (seed, last), context);
                });
            }
            (true, false) => {
                self.with(index, events, Interface::pause);
                events.push(NetworkEvent::LinkDown { link: name, gone: false });
            }
            _ => {}
        }
    }

    fn gone(&mut self, index: u32, events: &mut Vec<NetworkEvent>) {
        if let Some(interface) = self.interfaces.remove(&index) {
            self.plans.give_back(index);
            let link = interface.link.name.clone();
            interface.gone(events);
            events.push(NetworkEvent::LinkDown { link, gone: true });
        }
    }

    fn set_up(&mut self, link: &Link, events: &mut Vec<NetworkEvent>) {
        if let Err(error) = self.requests.set_up(link) {
            events.push(NetworkEvent::Problem { link: Some(link.name.clone()), error });
        }
    }

    /// The host name without those from servers: the configured one, or the one derived from the first link.
    fn own_name(&self) -> Option<String> {
        let fixed = self.settings.hostname.as_deref().or(self.plans.hostname());
        fixed.map(str::to_owned).or_else(|| {
            let mac = self.interfaces.values().find_map(|interface| interface.link.mac)?;
            self.settings.set_hostname.then(|| hostname::default(mac))
        })
    }

    /// Sets the host name if it has changed. A name from a server stays when its lease ends.
    fn set_hostname(&mut self, events: &mut Vec<NetworkEvent>) {
        let fixed = self.settings.hostname.as_deref().or(self.plans.hostname()).map(str::to_owned);
        let leased = || {
            let mut names =
                self.interfaces.values().filter_map(|interface| interface.configuration()?.hostname.clone());
            names.find(|name| hostname::short(name) != "localhost")
        };
        let made = || if self.hostname.is_none() { self.own_name() } else { None };
        let Some(name) = fixed.or_else(leased).or_else(made) else { return };
        let name = hostname::short(&name).to_owned();
        if !self.settings.set_hostname || self.hostname.as_ref() == Some(&name) {
            return;
        }
        events.push(match rustix::system::sethostname(name.as_bytes()) {
            Ok(()) => NetworkEvent::Hostname { name: name.clone() },
            Err(errno) => {
                let error = Error::system(format!("setting the host name {name}"))(errno);
                NetworkEvent::Problem { link: None, error }
            }
        });
        self.hostname = Some(name);
    }

    /// Name servers and search domains, in order and without duplicates.
    fn resolver(&self) -> (Vec<IpAddr>, Vec<String>) {
        let leases: Vec<_> = self.interfaces.values().filter_map(Interface::configuration).collect();
        let leased_dns = leases.iter().flat_map(|lease| &lease.dns).copied().map(IpAddr::V4);
        let dns = self.settings.dns.iter().copied().chain(self.plans.dns()).chain(leased_dns);
        let search = self.settings.search.iter().chain(leases.iter().flat_map(|lease| &lease.search)).cloned();
        (once_each(dns), once_each(search))
    }

    /// Updates host name, `resolv.conf` and status, and then sends the events: a receiver of an address can resolve
    /// names already.
    fn publish(&mut self, events: &mut Vec<NetworkEvent>) {
        self.set_hostname(events);
        let (dns, search) = self.resolver();
        if let Some(path) = &self.settings.resolv_conf {
            let text = resolv::text(&dns, &search);
            // An existing file stays as long as there is nothing to write.
            let needed = self.resolv.is_some() || !dns.is_empty() || !search.is_empty();
            if needed && self.resolv.as_ref() != Some(&text) {
                if let Err(error) = resolv::write(path, &text) {
                    events.push(NetworkEvent::Problem { link: None, error });
                }
                self.resolv = Some(text);
            }
        }
        let links = self.interfaces.values().map(|interface| interface.status(self.began)).collect();
        let leased =
            self.interfaces.values().filter_map(Interface::configuration).flat_map(|lease| &lease.ntp).copied();
        let ntp = once_each(self.plans.ntp().chain(leased));
        let status = Status { links, hostname: self.hostname.clone(), dns, search, ntp };
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = status;
        for event in events.drain(..) {
            // The receiver may be gone.
            let _ = self.events.send(event);
        }
    }

    fn end(mut self, events: &mut Vec<NetworkEvent>) {
        if matches!(self.ended.read(&mut [0]), Ok(1)) {
            let indexes: Vec<u32> = self.interfaces.keys().copied().collect();
            for index in indexes {
                self.with(index, events, Interface::stop);
            }
        }
        self.publish(events);
    }
}

/// The result of [`Engine::wait`].
#[derive(Debug, Default)]
struct Ready {
    ended: bool,
    links: bool,
    interfaces: Vec<u32>,
}

fn once_each<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut all, item| {
        if !all.contains(&item) {
            all.push(item);
        }
        all
    })
}

/// Netlink does not distinguish wireless links from wired ones; sysfs does.
fn is_wireless(name: &str) -> bool {
    let uevent = fs::read_to_string(format!("/sys/class/net/{name}/uevent")).unwrap_or_default();
    uevent.lines().any(|line| line == "DEVTYPE=wlan" || line == "DEVTYPE=wwan")
}

/// A seed, random if the kernel has random numbers already. Early in a boot it may not, and waiting for them would
/// stop the boot: then the link's address and the time have to distinguish machines.
fn seed(link: &Link, began: Instant) -> u64 {
    let mut seed = [0; 8];
    if let Ok(8) = getrandom(&mut seed, GetRandomFlags::NONBLOCK) {
        return u64::from_ne_bytes(seed);
    }
    let mac = link.mac.unwrap_or_default().0;
    let mac = mac.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    mac.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ began.elapsed().as_nanos() as u64
}
