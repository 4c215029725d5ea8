//! [`Interface`]: one link in use: its DHCP client, its sockets, and its configuration.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::configuration::{Configuration, Mac};
use crate::dhcp::frame::{self, Ends};
use crate::dhcp::{Action, Client, Identity, Listen, Phase, Time, Via};
use crate::error::Error;
use crate::event::{Loss, NetworkEvent};
use crate::netlink::{Link, Requests, RouteContext};
use crate::plan::Plan;
use crate::socket::{self, ClientSocket, FrameSocket};
use crate::status::{LinkState, LinkStatus};

/// The number of packets that are read from a socket before it is another link's turn.
const PACKETS_AT_ONCE: usize = 64;

/// What a link needs from the event loop.
pub(crate) struct Context<'a> {
    pub requests: &'a mut Requests,
    pub events: &'a mut Vec<NetworkEvent>,
    pub now: Time,
}

/// The state of a link in use.
#[derive(Debug)]
pub(crate) struct Interface {
    pub link: Link,
    /// Its MTU before a server set another.
    mtu: u32,
    client: Option<Client>,
    frames: Option<FrameSocket>,
    /// A packet socket that is not needed any more. Closing one takes 10 ms (the kernel waits until no processor uses
    /// it), so it is closed after the address is in use.
    retired: Option<FrameSocket>,
    udp: Option<ClientSocket>,
    /// The hardware address that the server's last message came from.
    server_mac: Option<Mac>,
    configuration: Option<Configuration>,
    /// Whether [`NetworkEvent::NoAnswer`] was sent for this search.
    silence_told: bool,
}

impl Interface {
    pub fn new(link: Link) -> Self {
        let mtu = link.mtu;
        Self {
            link,
            mtu,
            client: None,
            frames: None,
            retired: None,
            udp: None,
            server_mac: None,
            configuration: None,
            silence_told: false,
        }
    }

    /// Handles a new carrier. A new client starts with a seed, and the address that the program before had here.
    pub fn start(
        &mut self,
        plan: Plan,
        hostname: Option<&str>,
        (seed, last): (u64, Option<Ipv4Addr>),
        context: &mut Context<'_>,
    ) {
        self.silence_told = false;
        match (plan, self.link.mac) {
            (Plan::Static(configuration), _) => {
                // It may have had a client before, if the settings were those of another link that is gone.
                self.client = None;
                self.configure(configuration, false, context);
            }
            (Plan::Dhcp { client_id }, Some(mac)) => {
                let hostname = hostname.map(str::to_owned);
                let client = self.client.get_or_insert_with(|| {
                    let client = Client::new(Identity { mac, client_id, hostname }, seed);
                    last.into_iter().fold(client, Client::after)
                });
                let actions = client.start(context.now);
                self.act(actions, context);
            }
            (Plan::Dhcp { .. } | Plan::Off, _) => self.client = None,
        }
    }

    /// Handles a lost carrier.
    pub fn pause(&mut self, context: &mut Context<'_>) {
        match self.client.as_mut().map(Client::pause) {
            Some(actions) => self.act(actions, context),
            None => self.remove(Loss::Carrier, context),
        }
    }

    /// Handles another link under the old index: drops all state.
    pub fn forget(&mut self) {
        self.client = None;
        self.server_mac = None;
    }

    /// Handles the link's removal, and with it that of its address and routes.
    pub fn gone(mut self, events: &mut Vec<NetworkEvent>) {
        if self.configuration.take().is_some() {
            events.push(NetworkEvent::Lost { link: self.link.name.clone(), why: Loss::Carrier });
        }
    }

    /// Releases the address.
    pub fn stop(&mut self, context: &mut Context<'_>) {
        match self.client.as_mut().map(|client| client.stop(context.now)) {
            Some(actions) => self.act(actions, context),
            None => self.remove(Loss::Released, context),
        }
    }

    /// The socket to wait for.
    pub fn socket(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.frames.as_ref().map(AsFd::as_fd).or(self.udp.as_ref().map(AsFd::as_fd))
    }

    /// Reads the packets that have arrived.
    pub fn receive(&mut self, context: &mut Context<'_>) {
        for _ in 0..PACKETS_AT_ONCE {
            // Asked for each time: a packet may switch from one socket to the other.
            let Some(socket) = self.socket() else { return };
            let bytes = match socket::receive(socket) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return,
                Err(error) => return self.problem(error, context),
            };
            let (payload, from) = if self.frames.is_some() {
                let Some(received) = frame::read(&bytes) else { continue };
                (received.payload, Some(received.source_mac))
            } else {
                (bytes.as_slice(), None)
            };
            let Some(client) = &mut self.client else { return };
            let actions = client.packet(payload, context.now);
            if !actions.is_empty() {
                self.server_mac = from.or(self.server_mac);
                self.act(actions, context);
            }
        }
    }

    /// When [`tick`](Self::tick) has to be called.
    pub fn deadline(&self, silence: Duration) -> Option<Time> {
        let client = self.client.as_ref()?;
        let silence = client.wanting_since().filter(|_| !self.silence_told).map(|since| since.saturating_add(silence));
        [client.deadline(), silence].into_iter().flatten().min()
    }

    /// Handles the passing of time.
    pub fn tick(&mut self, silence: Duration, context: &mut Context<'_>) {
        let Some(client) = &mut self.client else { return };
        let actions = client.tick(context.now);
        let waited = client.wanting_since().map(|since| context.now.saturating_sub(since));
        self.act(actions, context);
        if let Some(since) = waited.filter(|waited| *waited >= silence && !self.silence_told) {
            self.silence_told = true;
            context.events.push(NetworkEvent::NoAnswer { link: self.link.name.clone(), since });
        }
    }

    /// Closes sockets that are not needed any more, which could wait until the events were sent.
    pub fn close_retired(&mut self) {
        self.retired = None;
    }

    /// The link's configuration.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// The link's status; `began` is the moment from which the link's times are counted.
    pub fn status(&self, began: Instant) -> LinkStatus {
        let client = self.client.as_ref();
        let state = match (client.map(Client::phase), &self.configuration) {
            _ if !self.link.carrier => LinkState::NoCarrier,
            (Some(Phase::Asking), _) => {
                let since = client.and_then(Client::wanting_since).and_then(|since| began.checked_add(since));
                LinkState::Asking { since: since.unwrap_or(began) }
            }
            (Some(Phase::Renewing), _) => LinkState::Renewing,
            (Some(Phase::Rebinding), _) => LinkState::Rebinding,
            (_, Some(_)) => LinkState::Ready,
            (_, None) => LinkState::Unused,
        };
        let configuration = self.configuration.clone();
        LinkStatus { name: self.link.name.clone(), mac: self.link.mac, state, configuration }
    }

    fn act(&mut self, actions: Vec<Action>, context: &mut Context<'_>) {
        self.listen(context);
        for action in actions {
            match action {
                Action::Send { message, via } => {
                    if let Err(error) = self.send(&message, via) {
                        self.problem(error, context);
                    }
                }
                Action::Configure(configuration) => {
                    self.silence_told = false;
                    self.configure(configuration, false, context);
                }
                Action::Renew(configuration) => self.configure(configuration, true, context),
                Action::Remove(why) => self.remove(why, context),
            }
        }
    }

    /// Opens the socket that the client needs now, and closes the other. The packet socket is open only while there
    /// is no address: it receives every IPv4 packet of the link.
    fn listen(&mut self, context: &mut Context<'_>) {
        let wanted = self.client.as_ref().map_or(Listen::Nothing, Client::listen);
        if wanted != Listen::Frames {
            self.retired = self.frames.take().or(self.retired.take());
        } else if self.frames.is_none() {
            match FrameSocket::open(&self.link) {
                Ok(socket) => self.frames = Some(socket),
                Err(error) => self.problem(error, context),
            }
        }
        if wanted != Listen::Udp {
            self.udp = None;
        } else if self.udp.is_none() {
            match ClientSocket::open(&self.link) {
                Ok(socket) => self.udp = Some(socket),
                Err(error) => self.problem(error, context),
            }
        }
    }

    fn send(&self, message: &[u8], via: Via) -> Result<(), Error> {
        let (source, destination, destination_mac) = match via {
            Via::Udp(to) => return self.udp.as_ref().map_or(Ok(()), |udp| udp.send(message, to)),
            Via::Broadcast => ([0; 4].into(), [255; 4].into(), Mac::BROADCAST),
            Via::Parting { source, server } => (source, server, self.server_mac.unwrap_or(Mac::BROADCAST)),
        };
        let ends = Ends { source_mac: self.link.mac.unwrap_or_default(), destination_mac, source, destination };
        let frame = frame::write(&ends, message);
        match &self.frames {
            Some(frames) => frames.send(&frame),
            None => FrameSocket::open(&self.link)?.send(&frame),
        }
    }

    /// The route metric: of several links with a default route, the first one's is used.
    fn metric(&self) -> u32 {
        self.link.index.saturating_add(100)
    }

    fn route_context(&self, configuration: &Configuration, gateway: Option<Ipv4Addr>) -> RouteContext {
        RouteContext {
            index: self.link.index,
            source: configuration.address,
            metric: self.metric(),
            on_link: gateway.is_some_and(|gateway| !configuration.is_on_link(gateway)),
        }
    }

    /// Applies this configuration and removes everything else from the link.
    fn configure(&mut self, configuration: Configuration, renewed: bool, context: &mut Context<'_>) {
        let mtu = configuration.mtu.map_or(self.mtu, u32::from);
        if mtu != self.link.mtu
            && let Err(error) = context.requests.set_mtu(&self.link, mtu)
        {
            self.problem(error, context);
        }
        if let Err(error) = self.set_addresses(&configuration, context) {
            return self.problem(error, context);
        }
        if let Some(old) = self.configuration.take() {
            for route in old.routes.iter().filter(|route| !configuration.routes.contains(route)) {
                let route_context = self.route_context(&old, route.gateway);
                if let Err(error) = context.requests.remove_route(route, route_context) {
                    self.problem(error, context);
                }
            }
        }
        // Routes on the link come first: the gateways of other routes may be behind them.
        let (on_link, others): (Vec<_>, Vec<_>) =
            configuration.routes.iter().partition(|route| route.gateway.is_none());
        for route in on_link.into_iter().chain(others) {
            if let Err(error) = context.requests.set_route(route, self.route_context(&configuration, route.gateway)) {
                self.problem(error, context);
            }
        }
        self.configuration = Some(configuration.clone());
        let link = self.link.name.clone();
        context.events.push(if renewed {
            NetworkEvent::Renewed { link, configuration }
        } else {
            NetworkEvent::Configured { link, configuration }
        });
    }

    /// Adds the address. Addresses that another program or an earlier run left on the link are removed first: of two
    /// addresses in one subnet the kernel would send from the older.
    fn set_addresses(&mut self, configuration: &Configuration, context: &mut Context<'_>) -> Result<(), Error> {
        let (index, wanted) = (self.link.index, (configuration.address, configuration.prefix));
        for other in context.requests.addresses(index)?.into_iter().filter(|address| *address != wanted) {
            context.requests.remove_address(index, other)?;
        }
        context.requests.set_address(index, wanted, configuration.lifetime, self.metric())
    }

    fn remove(&mut self, why: Loss, context: &mut Context<'_>) {
        let Some(old) = self.configuration.take() else { return };
        for route in &old.routes {
            if let Err(error) = context.requests.remove_route(route, self.route_context(&old, route.gateway)) {
                self.problem(error, context);
            }
        }
        if let Err(error) = context.requests.remove_address(self.link.index, (old.address, old.prefix)) {
            self.problem(error, context);
        }
        context.events.push(NetworkEvent::Lost { link: self.link.name.clone(), why });
    }

    fn problem(&self, error: Error, context: &mut Context<'_>) {
        context.events.push(NetworkEvent::Problem { link: Some(self.link.name.clone()), error });
    }
}
