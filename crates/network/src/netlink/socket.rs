//! Netlink sockets, and [`Requests`] over one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, send, socket_with};

use super::message::{Request, error_code, messages};
use crate::error::Error;

/// The kernel's own messages are at most 32 KiB (`NLMSG_GOODSIZE` of dumps).
pub(super) const BUFFER: usize = 64 * 1024;

pub(super) fn open(flags: SocketFlags, groups: u32) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags | SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Receives one datagram; `None` if it is not from the kernel.
pub(super) fn receive<'b>(socket: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Errno> {
    let (length, _, from) = recvfrom(socket, &mut *buffer, RecvFlags::empty())?;
    // Any process may send to a netlink socket.
    let kernel = from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0);
    Ok(if kernel { buffer.get(..length) } else { None })
}

/// Sends requests to the kernel, one after the other.
#[derive(Debug)]
pub(crate) struct Requests {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let socket = open(SocketFlags::empty(), 0)?;
            // The kernel answers at once. If ever it does not, the problem of one link must not stop all of them for
            // ever.
            set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(5)))?;
            Ok(socket)
        };
        let socket = open().map_err(Error::system("opening a netlink socket"))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }
}

/// Sends a request, hands each message of the answer to `each`, and returns at the answer's end.
pub(super) fn ask(requests: &mut Requests, request: Request, mut each: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
    requests.sequence = requests.sequence.wrapping_add(1);
    let sequence = requests.sequence;
    send(&requests.socket, &request.finish(sequence), SendFlags::empty())?;
    loop {
        let Some(datagram) = receive(requests.socket.as_fd(), &mut requests.buffer)? else { continue };
        // Answers to an earlier request that was given up are skipped.
        for message in messages(datagram).filter(|message| message.sequence == sequence) {
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    return match error_code(message.payload) {
                        Some(0) => Ok(()),
                        code => Err(Errno::from_raw_os_error(code.map_or(libc::EPROTO, i32::wrapping_neg))),
                    };
                }
                _ => each(message.kind, message.payload),
            }
        }
    }
}
