//! [`Network`]: the handle to the network thread.

use std::io::{PipeWriter, Write, pipe};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::engine::Engine;
use crate::error::Error;
use crate::event::NetworkEvent;
use crate::settings::NetworkSettings;
use crate::status::Status;

/// The machine's wired network, kept up by a thread of its own.
///
/// Dropping it ends the thread and leaves links, addresses and `resolv.conf` as they are, for the program that takes
/// over: the next [`start`](Self::start) asks for an address again. [`stop`](Self::stop) releases the addresses.
#[derive(Debug)]
pub struct Network {
    /// A byte means an orderly stop; the end of the pipe means to leave everything as it is.
    ending: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Mutex<Status>>,
}

impl Network {
    /// Sets the loopback device up and starts to configure the links, all in the caller's network namespace.
    ///
    /// Events come until the network is stopped; then the channel is closed. The receiver may be dropped. An error
    /// means that the kernel gives no netlink socket: no root privileges, or a kernel without netlink.
    pub fn start(settings: NetworkSettings) -> Result<(Self, Receiver<NetworkEvent>), Error> {
        let (sender, events) = channel();
        let (ended, ending) = pipe().map_err(Error::io("making a pipe"))?;
        let status = Arc::new(Mutex::new(Status::default()));
        let engine = Engine::new(settings, sender, Arc::clone(&status), ended)?;
        let thread = thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || engine.run())
            .map_err(Error::io("starting the network's thread"))?;
        Ok((Self { ending: Some(ending), thread: Some(thread), status }, events))
    }

    /// The present status.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Releases all addresses, removes them from the links, and ends. Does not wait for servers.
    pub fn stop(mut self) {
        if let Some(mut ending) = self.ending.take() {
            // It fails only if the thread has ended already.
            let _ = ending.write_all(b"s");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.ending.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed where it happened; there is nothing to add.
            let _ = thread.join();
        }
    }
}
