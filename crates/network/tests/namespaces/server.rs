//! A DHCP server whose leases are shorter than dnsmasq's two minutes. It gives 10.1.0.10 to every client.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use network::dhcp::{Message, MessageKind, code};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::world::sh;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

#[derive(Default)]
struct Mood {
    silent: AtomicBool,
    only_broadcasts: AtomicBool,
    heard: Mutex<Vec<String>>,
}

/// The server, in a thread of the namespace `lan`.
pub struct Server(Arc<Mood>);

impl Server {
    /// Starts it on a link that has 10.1.0.1, with leases of so many seconds.
    pub fn start(link: &str, lease: u32) -> Self {
        sh(&format!("ip -n lan route add default dev {link}"));
        let mood = Arc::new(Mood::default());
        let (own, (ready, is_ready)) = (Arc::clone(&mood), std::sync::mpsc::channel());
        thread::spawn(move || {
            let lan = File::open("/run/netns/lan").unwrap();
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&lan), Some(LinkNameSpaceType::Network)).unwrap();
            // Two sockets, because one bound to any address does not say whether a packet was a broadcast.
            let any = UdpSocket::bind("255.255.255.255:67").unwrap();
            let unicast = UdpSocket::bind((SERVER, 67)).unwrap();
            unicast.set_broadcast(true).unwrap();
            ready.send(()).unwrap();
            let answers = (unicast.try_clone().unwrap(), Arc::clone(&own));
            thread::spawn(move || serve(&any, &answers.0, &answers.1, lease, true));
            serve(&unicast, &unicast, &own, lease, false);
        });
        is_ready.recv().unwrap();
        Self(mood)
    }

    pub fn be_silent(&self, silent: bool) {
        self.0.silent.store(silent, Ordering::SeqCst);
    }

    pub fn answer_only_broadcasts(&self) {
        self.0.only_broadcasts.store(true, Ordering::SeqCst);
    }

    /// The messages that it received.
    pub fn heard(&self) -> Vec<String> {
        self.0.heard.lock().unwrap().clone()
    }
}

fn serve(socket: &UdpSocket, answers: &UdpSocket, mood: &Mood, lease: u32, broadcast: bool) {
    let mut buffer = [0; 2000];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let mut message = Message::parse(&buffer[..length]).unwrap();
        let kind = message.options.kind().unwrap();
        let to = if broadcast { Ipv4Addr::BROADCAST } else { SERVER };
        mood.heard.lock().unwrap().push(format!("{} from {} to {to}", format!("{kind:?}").to_uppercase(), from.ip()));
        let deaf = mood.only_broadcasts.load(Ordering::SeqCst) && !broadcast;
        if mood.silent.load(Ordering::SeqCst) || deaf {
            continue;
        }
        let answer = match kind {
            MessageKind::Discover => MessageKind::Offer,
            MessageKind::Request => MessageKind::Ack,
            _ => continue,
        };
        message.reply = true;
        message.yiaddr = ADDRESS;
        message.options = network::dhcp::DhcpOptions::default();
        message.options.set_kind(answer);
        message.options.set(code::SERVER, &SERVER.octets());
        message.options.set(code::LEASE_TIME, &lease.to_be_bytes());
        message.options.set(code::SUBNET_MASK, &[255, 255, 255, 0]);
        let to = if from.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::BROADCAST, 68)) } else { from };
        answers.send_to(&message.to_bytes(), to).unwrap();
    }
}
