//! The DHCP client's state machine (RFC 2131 section 4.4, figure 5).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::action::{Action, Identity, Listen, Phase, Via};
use super::lease::Lease;
use super::message::Message;
use super::options::{DhcpOptions, MessageKind, code};
use super::timing::{Random, Time, wait};
use crate::event::Loss;

/// How often an offered address is requested before the search begins again.
const REQUESTS: u32 = 4;
/// How often the address from before the carrier was lost is requested.
const REBOOT_REQUESTS: u32 = 2;
/// The longest UDP payload that fits into an Ethernet packet.
const LONGEST_MESSAGE: u16 = 1472;
/// The options that servers are asked for.
const PARAMETERS: [u8; 12] = [
    // RFC 3442: the classless routes have to come first, before the router.
    code::ROUTES,
    code::SUBNET_MASK,
    code::ROUTER,
    code::DNS,
    code::HOST_NAME,
    code::DOMAIN,
    code::MTU,
    code::NTP,
    code::LEASE_TIME,
    code::T1,
    code::T2,
    code::SEARCH,
];

/// The requests of one exchange.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    xid: u32,
    tries: u32,
    /// When the last one was sent: a lease's time starts there.
    at: Time,
    /// When to send the next one.
    again: Time,
}

#[derive(Debug, Clone)]
enum State {
    Idle,
    /// Pauses after a server took its offer back, so that the client does not request the same address for ever.
    Resting {
        until: Time,
    },
    Selecting(Asked),
    Requesting(Asked, Box<Lease>),
    Rebooting(Asked),
    Bound,
    Renewing(Asked),
    Rebinding(Asked),
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    since: Time,
}

impl Held {
    fn after(&self, time: Duration) -> Time {
        self.since.saturating_add(time)
    }

    fn expiry(&self) -> Time {
        self.after(self.lease.configuration.lifetime.unwrap_or(Time::MAX))
    }
}

/// A DHCP client for one link. It does no I/O itself: it returns actions.
#[derive(Debug, Clone)]
pub struct Client {
    identity: Identity,
    random: Random,
    state: State,
    held: Option<Held>,
    /// The address that another client had on this link before.
    before: Option<Ipv4Addr>,
    /// Since when the client has been without an address that it needs.
    wanting: Option<Time>,
    refusals: u32,
    /// When to renew, with a random jitter for each lease.
    renew: Time,
}

impl Client {
    /// A client that waits for [`start`](Self::start). The `seed` should differ for each link and each boot.
    pub fn new(identity: Identity, seed: u64) -> Self {
        let random = Random::new(seed);
        Self {
            identity,
            random,
            state: State::Idle,
            held: None,
            before: None,
            wanting: None,
            refusals: 0,
            renew: Time::MAX,
        }
    }

    /// Takes over from another client on this link, such as one of the program that ran before: its address is
    /// requested first, in one exchange (RFC 2131 section 3.2).
    #[must_use]
    pub fn after(self, address: Ipv4Addr) -> Self {
        Self { before: Some(address), ..self }
    }

    /// Handles a new carrier: looks for a server, or asks whether an earlier lease is still valid.
    pub fn start(&mut self, now: Time) -> Vec<Action> {
        self.wanting = Some(now);
        self.refusals = 0;
        if self.held.as_ref().is_some_and(|held| held.expiry() <= now) {
            self.held = None;
        }
        let known = self.held.is_some() || self.before.is_some();
        if known { self.ask(now, State::Rebooting) } else { self.ask(now, State::Selecting) }
    }

    /// Handles a lost carrier. The lease is remembered, the address is removed.
    pub fn pause(&mut self) -> Vec<Action> {
        let had = self.has_address();
        self.state = State::Idle;
        self.wanting = None;
        if had { vec![Action::Remove(Loss::Carrier)] } else { Vec::new() }
    }

    /// Releases the address (RFC 2131 section 4.4.6) and stops.
    pub fn stop(&mut self, now: Time) -> Vec<Action> {
        let had = self.has_address();
        self.state = State::Idle;
        self.wanting = None;
        let Some(held) = self.held.take().filter(|_| had) else { return Vec::new() };
        if held.expiry() <= now {
            // The lease has expired, so there is nothing to release, but the link still has the address.
            return vec![Action::Remove(Loss::Expired)];
        }
        let (source, server) = (held.lease.configuration.address, held.lease.server);
        let mut options = DhcpOptions::default();
        options.set_kind(MessageKind::Release);
        options.set(code::SERVER, &server.octets());
        let mut message = self.message(now, self.random.clone().next(), options);
        message.ciaddr = source;
        let via = Via::Parting { source, server };
        vec![Action::Send { message: message.to_bytes(), via }, Action::Remove(Loss::Released)]
    }

    /// Takes a received message: the content of a UDP packet, which may be anything.
    pub fn packet(&mut self, bytes: &[u8], now: Time) -> Vec<Action> {
        let Ok(message) = Message::parse(bytes) else { return Vec::new() };
        let Some(asked) = self.asked() else { return Vec::new() };
        if !message.reply || message.xid != asked.xid || message.chaddr != self.identity.mac {
            return Vec::new();
        }
        let kind = message.options.kind();
        if kind == Some(MessageKind::Nak) {
            return self.refused(&message, now);
        }
        let Ok(lease) = Lease::new(&message) else { return Vec::new() };
        match (&self.state, kind) {
            // The first offer is taken: waiting for others would slow down every boot, and hardly any network has
            // several servers.
            (State::Selecting(_), Some(MessageKind::Offer)) => {
                let offer = Box::new(lease);
                self.ask(now, |asked| State::Requesting(asked, offer))
            }
            (State::Requesting(_, offer), Some(MessageKind::Ack)) if offer.server == lease.server => {
                self.bind(lease, asked.at)
            }
            (State::Rebooting(_) | State::Renewing(_) | State::Rebinding(_), Some(MessageKind::Ack)) => {
                self.bind(lease, asked.at)
            }
            _ => Vec::new(),
        }
    }

    /// Handles the passing of time. To be called at the [`deadline`](Self::deadline); calling earlier is harmless.
    pub fn tick(&mut self, now: Time) -> Vec<Action> {
        let expired = self.has_address() && self.held.as_ref().is_some_and(|held| held.expiry() <= now);
        if expired {
            return self.lose(Loss::Expired, now);
        }
        match &self.state {
            State::Resting { until } if *until <= now => self.ask(now, State::Selecting),
            State::Selecting(asked) if asked.again <= now => self.repeat(now),
            State::Requesting(asked, _) if asked.again <= now => {
                if asked.tries < REQUESTS {
                    self.repeat(now)
                } else {
                    self.ask(now, State::Selecting)
                }
            }
            State::Rebooting(asked) if asked.again <= now => {
                if asked.tries < REBOOT_REQUESTS {
                    self.repeat(now)
                } else {
                    // No server knows the old address, or no server is left: any address will do.
                    (self.held, self.before) = (None, None);
                    self.ask(now, State::Selecting)
                }
            }
            State::Bound | State::Renewing(_) if self.rebind_at() <= now => self.ask(now, State::Rebinding),
            State::Bound if self.renew <= now => self.ask(now, State::Renewing),
            State::Renewing(asked) | State::Rebinding(asked) if asked.again <= now => self.repeat(now),
            _ => Vec::new(),
        }
    }

    /// When [`tick`](Self::tick) has to be called; `None` if never.
    pub fn deadline(&self) -> Option<Time> {
        let expiry = || self.held.as_ref().map_or(Time::MAX, Held::expiry);
        let at = match &self.state {
            State::Idle => return None,
            State::Resting { until } => *until,
            State::Selecting(asked) | State::Requesting(asked, _) | State::Rebooting(asked) => asked.again,
            State::Bound => self.renew.min(self.rebind_at()).min(expiry()),
            State::Renewing(asked) => asked.again.min(self.rebind_at()).min(expiry()),
            State::Rebinding(asked) => asked.again.min(expiry()),
        };
        (at < Time::MAX).then_some(at)
    }

    /// The packets that the client has to receive in its present state.
    pub fn listen(&self) -> Listen {
        match self.state {
            State::Idle => Listen::Nothing,
            State::Resting { .. } | State::Selecting(_) | State::Requesting(..) | State::Rebooting(_) => Listen::Frames,
            State::Bound | State::Renewing(_) | State::Rebinding(_) => Listen::Udp,
        }
    }

    /// The client's phase.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Resting { .. } | State::Selecting(_) | State::Requesting(..) | State::Rebooting(_) => Phase::Asking,
            State::Bound => Phase::Bound,
            State::Renewing(_) => Phase::Renewing,
            State::Rebinding(_) => Phase::Rebinding,
        }
    }

    /// Since when the client has been without an address that it needs; `None` if it has one or needs none.
    pub fn wanting_since(&self) -> Option<Time> {
        self.wanting
    }

    fn has_address(&self) -> bool {
        matches!(self.state, State::Bound | State::Renewing(_) | State::Rebinding(_))
    }

    fn rebind_at(&self) -> Time {
        self.held.as_ref().map_or(Time::MAX, |held| held.after(held.lease.rebind))
    }

    fn asked(&self) -> Option<Asked> {
        match &self.state {
            State::Selecting(asked)
            | State::Requesting(asked, _)
            | State::Rebooting(asked)
            | State::Renewing(asked)
            | State::Rebinding(asked) => Some(*asked),
            State::Idle | State::Resting { .. } | State::Bound => None,
        }
    }

    /// Begins an exchange: enters a state and sends its first request.
    fn ask(&mut self, now: Time, state: impl FnOnce(Asked) -> State) -> Vec<Action> {
        // A request answers an offer, so it keeps the offer's id (RFC 2131 section 4.4.1).
        let xid = match &self.state {
            State::Selecting(asked) => asked.xid,
            _ => self.random.next(),
        };
        self.state = state(Asked { xid, ..Asked::default() });
        self.repeat(now)
    }

    /// Sends the state's request, and sets the time of the next one.
    fn repeat(&mut self, now: Time) -> Vec<Action> {
        let Some(mut asked) = self.asked() else { return Vec::new() };
        let pause = match &self.state {
            State::Renewing(_) => self.half_until(self.rebind_at(), now),
            State::Rebinding(_) => self.half_until(self.held.as_ref().map_or(Time::MAX, Held::expiry), now),
            _ => wait(&mut self.random, asked.tries),
        };
        asked.tries = asked.tries.saturating_add(1);
        asked.at = now;
        asked.again = now.saturating_add(pause);
        if let State::Selecting(a)
        | State::Requesting(a, _)
        | State::Rebooting(a)
        | State::Renewing(a)
        | State::Rebinding(a) = &mut self.state
        {
            *a = asked;
        }
        let (message, via) = self.question(now, asked.xid);
        vec![Action::Send { message: message.to_bytes(), via }]
    }

    /// Half of the remaining time, but at least a minute (RFC 2131 section 4.4.5), or for leases of minutes at least
    /// a sixteenth of the lease.
    fn half_until(&self, end: Time, now: Time) -> Duration {
        let lifetime = self.held.as_ref().and_then(|held| held.lease.configuration.lifetime).unwrap_or(Time::MAX);
        let least = Duration::from_secs(60).min(lifetime / 16);
        (end.saturating_sub(now) / 2).max(least)
    }

    /// The message of each state (RFC 2131 section 4.3.2 and table 5).
    fn question(&self, now: Time, xid: u32) -> (Message, Via) {
        let mut options = DhcpOptions::default();
        let discover = matches!(self.state, State::Selecting(_));
        options.set_kind(if discover { MessageKind::Discover } else { MessageKind::Request });
        let mut ciaddr = Ipv4Addr::UNSPECIFIED;
        let mut via = Via::Broadcast;
        let held = self.held.as_ref().map(|held| (held.lease.configuration.address, held.lease.server));
        match (&self.state, held) {
            (State::Requesting(_, offer), _) => {
                options.set(code::REQUESTED_ADDRESS, &offer.configuration.address.octets());
                options.set(code::SERVER, &offer.server.octets());
            }
            (State::Rebooting(_), held) => {
                // One of the two is the requested address.
                let address = held.map(|(address, _)| address).or(self.before).unwrap_or(Ipv4Addr::UNSPECIFIED);
                options.set(code::REQUESTED_ADDRESS, &address.octets());
            }
            (State::Renewing(_), Some((address, server))) => (ciaddr, via) = (address, Via::Udp(server)),
            (State::Rebinding(_), Some((address, _))) => (ciaddr, via) = (address, Via::Udp(Ipv4Addr::BROADCAST)),
            _ => {}
        }
        options.set(code::MAX_SIZE, &LONGEST_MESSAGE.to_be_bytes());
        options.set(code::PARAMETERS, &PARAMETERS);
        if let Some(name) = &self.identity.hostname {
            options.set(code::HOST_NAME, name.as_bytes());
        }
        let mut message = self.message(now, xid, options);
        message.ciaddr = ciaddr;
        (message, via)
    }

    fn message(&self, now: Time, xid: u32, mut options: DhcpOptions) -> Message {
        match &self.identity.client_id {
            Some(id) => options.set(code::CLIENT_ID, id),
            None => options.set(code::CLIENT_ID, &[&[1], self.identity.mac.0.as_slice()].concat()),
        }
        let none = Ipv4Addr::UNSPECIFIED;
        let waited = self.wanting.map_or(0, |since| now.saturating_sub(since).as_secs());
        let secs = u16::try_from(waited).unwrap_or(u16::MAX);
        Message {
            reply: false,
            xid,
            secs,
            ciaddr: none,
            yiaddr: none,
            giaddr: none,
            chaddr: self.identity.mac,
            options,
        }
    }

    fn bind(&mut self, lease: Lease, since: Time) -> Vec<Action> {
        let before = self.held.as_ref().filter(|_| self.has_address()).map(|held| held.lease.configuration.address);
        let configuration = lease.configuration.clone();
        // The machines of a rack that was switched on at once should not all renew at the same moment.
        self.renew = since.saturating_add(self.random.less(lease.renew, 5));
        self.held = Some(Held { lease, since });
        self.before = None;
        self.state = State::Bound;
        self.wanting = None;
        self.refusals = 0;
        if before == Some(configuration.address) {
            vec![Action::Renew(configuration)]
        } else {
            vec![Action::Configure(configuration)]
        }
    }

    /// Handles a DHCPNAK. One from a server that was not asked does not count (RFC 2131 section 3.1, 4).
    fn refused(&mut self, message: &Message, now: Time) -> Vec<Action> {
        match &self.state {
            State::Selecting(_) => Vec::new(),
            State::Requesting(_, offer) => {
                if message.options.address(code::SERVER).is_some_and(|server| server != offer.server) {
                    return Vec::new();
                }
                let pause = if self.refusals == 0 { Duration::ZERO } else { wait(&mut self.random, self.refusals) };
                self.refusals = self.refusals.saturating_add(1);
                self.state = State::Resting { until: now.saturating_add(pause) };
                self.tick(now)
            }
            _ if self.has_address() => self.lose(Loss::Refused, now),
            _ => {
                (self.held, self.before) = (None, None);
                self.ask(now, State::Selecting)
            }
        }
    }

    fn lose(&mut self, why: Loss, now: Time) -> Vec<Action> {
        self.held = None;
        self.wanting = Some(now);
        let mut actions = vec![Action::Remove(why)];
        // From a state other than Selecting, so that the search gets an id of its own.
        self.state = State::Idle;
        actions.extend(self.ask(now, State::Selecting));
        actions
    }
}
