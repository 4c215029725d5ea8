//! Sockets: for DHCP a packet socket for a link without an address and a UDP socket for one with an address, for
//! discovery a multicast socket.
#![allow(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recv, send, socket_with,
    sockopt,
};

use crate::dhcp::{CLIENT_PORT, SERVER_PORT};
use crate::error::Error;
use crate::netlink::Link;

/// The longest frame or packet that is received, in bytes: jumbo frames are 9 KiB.
const BUFFER: usize = 16 * 1024;

/// The address of a packet socket (packet(7)): packets of one protocol on one link.
struct LinkAddress(libc::sockaddr_ll);

// SAFETY: the pointer is to a `sockaddr_ll` that lives during the call, with its own size as the length.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f((&raw const self.0).cast(), size_of::<libc::sockaddr_ll>() as SocketAddrLen)
    }
}

/// Sends and receives whole Ethernet frames with IPv4 on one link.
#[derive(Debug)]
pub(crate) struct FrameSocket(OwnedFd);

impl FrameSocket {
    pub fn open(link: &Link) -> Result<Self, Error> {
        let open = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            // No protocol until it is bound: otherwise it would receive from every link.
            let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
            // SAFETY: all zero is a valid `sockaddr_ll`, a struct of integers.
            let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
            address.sll_ifindex = link.index.cast_signed();
            bind(&socket, &LinkAddress(address))?;
            Ok(Self(socket))
        };
        open().map_err(Error::system(format!("opening a packet socket on {}", link.name)))
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        match send(&self.0, frame, SendFlags::empty()) {
            // The card's queue is full, or its other end has just gone: the packet is lost, as any may be on the way,
            // and is sent again later.
            Ok(_) | Err(rustix::io::Errno::NOBUFS) => Ok(()),
            Err(error) => Err(Error::system("sending a DHCP message")(error)),
        }
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// UDP port 68 of one link.
#[derive(Debug)]
pub(crate) struct ClientSocket(UdpSocket);

impl ClientSocket {
    pub fn open(link: &Link) -> Result<Self, Error> {
        let open = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let protocol: Option<Protocol> = Some(ipproto::UDP);
            let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, protocol)?;
            // There is one such socket for each link.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            sockopt::set_socket_broadcast(&socket, true)?;
            bind_to_device(&socket, &link.name)?;
            bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
            Ok(Self(UdpSocket::from(socket)))
        };
        open().map_err(Error::system(format!("opening UDP port {CLIENT_PORT} on {}", link.name)))
    }

    /// Sends a DHCP message.
    pub fn send(&self, message: &[u8], to: Ipv4Addr) -> Result<(), Error> {
        let sent = self.0.send_to(message, (to, SERVER_PORT)).map(drop);
        sent.map_err(Error::io(format!("sending a DHCP message to {to}")))
    }
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A UDP socket of one link, for IPv4 multicast (ip(7)); port 0 means any. The port can be shared with other sockets.
pub(crate) fn link_socket(link: &Link, port: u16) -> Result<UdpSocket, Error> {
    let open = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol: Option<Protocol> = Some(ipproto::UDP);
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, protocol)?;
        if port != 0 {
            sockopt::set_socket_reuseaddr(&socket, true)?;
            sockopt::set_socket_reuseport(&socket, true)?;
        }
        // Required by multicast DNS (RFC 6762, section 11).
        sockopt::set_ip_multicast_ttl(&socket, 255)?;
        bind_to_device(&socket, &link.name)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
        Ok(UdpSocket::from(socket))
    };
    open().map_err(Error::system(format!("opening a socket for multicast on {}", link.name)))
}

/// Joins a multicast group on a link.
pub(crate) fn join_group(socket: &UdpSocket, link: &Link, group: Ipv4Addr) -> Result<(), Error> {
    let joined = sockopt::set_ip_add_membership_with_ifindex(socket, &group, &Ipv4Addr::UNSPECIFIED, link.index);
    joined.map_err(Error::system(format!("joining {group} on {}", link.name)))
}

/// Receives one packet, without waiting; `None` if there is none.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Error> {
    let mut buffer = vec![0; BUFFER];
    match recv(socket, &mut buffer, RecvFlags::empty()) {
        Ok((length, _)) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        // NETDOWN is returned once when a link goes down, CONNREFUSED when a server's port is closed: neither is a
        // packet.
        Err(
            rustix::io::Errno::AGAIN
            | rustix::io::Errno::INTR
            | rustix::io::Errno::NETDOWN
            | rustix::io::Errno::CONNREFUSED,
        ) => Ok(None),
        Err(errno) => Err(Error::system("receiving DHCP messages")(errno)),
    }
}

/// Binds a socket to a link (`SO_BINDTODEVICE`, socket(7)), so that a broadcast leaves there and not by the default
/// route.
fn bind_to_device(socket: &OwnedFd, name: &str) -> Result<(), rustix::io::Errno> {
    let length = name.len() as libc::socklen_t;
    // SAFETY: the value is read during the call only, and is `length` bytes long.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr().cast(), length)
    };
    if done == 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Err(rustix::io::Errno::from_raw_os_error(errno))
}
