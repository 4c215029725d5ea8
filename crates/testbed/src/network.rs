//! The loopback interface of a new network namespace.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Enables the loopback interface (`rtnetlink(7)`, `RTM_NEWLINK`). In a new namespace it is down and has index 1.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::send(&socket, &request(), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default())
}

/// The request: `struct nlmsghdr` and `struct ifinfomsg`.
fn request() -> Vec<u8> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_AND_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence number, port
    message.extend([0; 4]); // family, type
    message.extend(1_i32.to_ne_bytes()); // index
    message.extend(IFF_UP.to_ne_bytes()); // flags
    message.extend(IFF_UP.to_ne_bytes()); // which of them to change
    message
}

/// Checks the kernel's answer, `struct nlmsgerr`: 0, or a negative error number.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    const NLMSG_ERROR: [u8; 2] = 2_u16.to_ne_bytes();
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (answer.get(4..6), code) {
        (Some(kind), Some(0)) if kind == NLMSG_ERROR => Ok(()),
        (Some(kind), Some(code)) if kind == NLMSG_ERROR => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not understood")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Vec<u8> {
        let mut answer = vec![0; 36];
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        answer[16..20].copy_from_slice(&code.to_ne_bytes());
        answer
    }

    #[test]
    fn reads_the_kernels_answer() {
        assert!(acknowledged(&answer(0)).is_ok());
        assert_eq!(acknowledged(&answer(-1)).unwrap_err().raw_os_error(), Some(1));
        assert_eq!(acknowledged(b"short").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_request_says_its_length() {
        assert_eq!(request().len(), 32);
    }
}
