//! [`LinkWatch`]: the netlink socket for events about links.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::link::{self, Change};
use super::message::messages;
use super::socket::{BUFFER, open, receive};
use crate::error::Error;

/// `RTMGRP_LINK`: events about links.
const LINK_GROUP: u32 = 1;

/// Receives events about links.
#[derive(Debug)]
pub(crate) struct LinkWatch {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// The result of [`LinkWatch::next`].
#[derive(Debug)]
pub(crate) enum LinkEvents {
    /// These changes, in order.
    Changes(Vec<Change>),
    /// Events were lost because the socket was full: all links have to be listed again.
    Missed,
    /// Nothing more.
    Nothing,
}

impl LinkWatch {
    pub fn open() -> Result<Self, Error> {
        let socket = open(SocketFlags::NONBLOCK, LINK_GROUP).map_err(Error::system("watching the network links"))?;
        Ok(Self { socket, buffer: vec![0; BUFFER] })
    }

    /// Reads the pending events, without waiting.
    pub fn next(&mut self) -> Result<LinkEvents, Error> {
        match receive(self.socket.as_fd(), &mut self.buffer) {
            Ok(Some(datagram)) => Ok(LinkEvents::Changes(
                messages(datagram).filter_map(|message| link::parse(message.kind, message.payload)).collect(),
            )),
            Ok(None) | Err(Errno::INTR) => Ok(LinkEvents::Changes(Vec::new())),
            Err(Errno::NOBUFS) => Ok(LinkEvents::Missed),
            Err(Errno::AGAIN) => Ok(LinkEvents::Nothing),
            Err(errno) => Err(Error::system("watching the network links")(errno)),
        }
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
