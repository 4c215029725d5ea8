//! Kernel events about devices that come and go: netlink(7), `NETLINK_KOBJECT_UEVENT`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// A device event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uevent {
    /// A device was added, perhaps with a modalias by which a driver is found.
    Added {
        /// Its `MODALIAS`.
        modalias: Option<String>,
    },
    /// Anything else happened to a device.
    Other,
    /// Messages were lost: look at all devices again.
    Lost,
}

/// A source of device events.
pub trait Uevents {
    /// The next event, or `None` if none came in this time.
    fn next(&mut self, wait: Duration) -> io::Result<Option<Uevent>>;
}

/// The kernel's own device events.
#[derive(Debug)]
pub struct KernelUevents(OwnedFd);

impl KernelUevents {
    /// Starts to listen. Earlier devices are not reported.
    pub fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        // Loading one driver may bring hundreds of devices before we read again.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 16 << 20)?;
        bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Self(socket))
    }
}

impl Uevents for KernelUevents {
    fn next(&mut self, wait: Duration) -> io::Result<Option<Uevent>> {
        let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut message = [0; 8192];
        match recv(&self.0, &mut message, RecvFlags::empty()) {
            Ok((length, _)) => Ok(Some(parse(message.get(..length).unwrap_or_default()))),
            Err(Errno::NOBUFS) => Ok(Some(Uevent::Lost)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Parses a message: `ACTION@DEVPATH` and `KEY=value` strings, each NUL-terminated.
pub fn parse(message: &[u8]) -> Uevent {
    let mut fields = message.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    match fields.next() {
        Some(header) if header.starts_with("add@") => {
            let modalias = fields.find_map(|field| field.strip_prefix("MODALIAS=").map(str::to_owned));
            Uevent::Added { modalias }
        }
        _ => Uevent::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_device_tells_its_modalias() {
        let message = b"add@/devices/x\0ACTION=add\0SUBSYSTEM=virtio\0MODALIAS=virtio:d2v1AF4\0SEQNUM=1\0";
        assert_eq!(parse(message), Uevent::Added { modalias: Some("virtio:d2v1AF4".to_owned()) });
        assert_eq!(parse(b"add@/devices/y\0ACTION=add\0"), Uevent::Added { modalias: None });
        assert_eq!(parse(b"remove@/devices/x\0MODALIAS=a\0"), Uevent::Other);
        assert_eq!(parse(b""), Uevent::Other);
    }
}
