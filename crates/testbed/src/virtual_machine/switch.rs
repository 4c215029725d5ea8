//! Joins the local sockets of commands to the one port of the virtual machine. Both sides use it: on the host the sockets
//! are those of the programs that autopkgtest has started, in the machine those of the processes that run commands.
//!
//! Frames of a channel stay in order. A socket's buffer has room for all that the [credit](super::wire::Credit) of its
//! channel allows, so writing to one does not wait for its process.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::wire::{Frame, Message};

/// The channels, and the port while there is a machine. Clones are the same switch.
#[derive(Clone)]
pub(crate) struct Switch(Arc<State>);

struct State {
    port: Mutex<Option<Box<dyn Write + Send>>>,
    channels: Mutex<HashMap<u32, UnixStream>>,
}

impl Switch {
    /// A switch without a port and without channels.
    pub(crate) fn new() -> Self {
        Self(Arc::new(State { port: Mutex::new(None), channels: Mutex::default() }))
    }

    /// From now on frames go to this port.
    pub(crate) fn connect(&self, port: Box<dyn Write + Send>) {
        *lock(&self.0.port) = Some(port);
    }

    /// Ends all channels; there is no port any more.
    pub(crate) fn disconnect(&self) {
        *lock(&self.0.port) = None;
        for (_, socket) in lock(&self.0.channels).drain() {
            close(&socket);
        }
    }

    /// Sends a frame to the port.
    pub(crate) fn send(&self, channel: u32, message: Message) -> io::Result<()> {
        let mut port = lock(&self.0.port);
        let port = port.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Frame { channel, message }.write(port)
    }

    /// Makes a channel: frames from this socket go to the port, with the channel's number, until either of them is gone.
    /// `end` is called then.
    pub(crate) fn attach(
        &self,
        channel: u32,
        socket: UnixStream,
        end: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut from = socket.try_clone()?;
        lock(&self.0.channels).insert(channel, socket);
        let switch = self.clone();
        let forward = move || {
            while let Ok(Some(Frame { message, .. })) = Frame::read(&mut from) {
                if switch.send(channel, message).is_err() {
                    break;
                }
            }
            if switch.detach(channel) {
                // Without a port the other side cannot be told.
                let _ = switch.send(channel, Message::Gone);
            }
            end();
        };
        let started = thread::Builder::new().name("channel".into()).spawn(forward).map(drop);
        if started.is_err() {
            self.detach(channel);
        }
        started
    }

    /// Passes a frame from the port on to its channel; false if there is no such channel.
    pub(crate) fn deliver(&self, frame: Frame) -> bool {
        let Frame { channel, message } = frame;
        if message == Message::Gone {
            return self.detach(channel);
        }
        // Written without the lock, so that a full socket holds up only the port's reader.
        let socket = lock(&self.0.channels).get(&channel).map(UnixStream::try_clone);
        match socket {
            Some(Ok(mut socket)) => {
                // If its process is gone, the channel's thread notices.
                let _ = Frame { channel: 0, message }.write(&mut socket);
            }
            Some(Err(_)) => drop(self.detach(channel)),
            None => return false,
        }
        true
    }

    /// Ends a channel; false if there was none.
    fn detach(&self, channel: u32) -> bool {
        let socket = lock(&self.0.channels).remove(&channel);
        socket.inspect(close).is_some()
    }
}

/// Ends a connection for its other threads too.
fn close(socket: &UnixStream) {
    // An error means that it has ended.
    let _ = socket.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use super::super::wire::Stream;
    use super::*;

    /// A switch with one channel: the process's end, and the machine's.
    fn joined() -> (Switch, UnixStream, UnixStream, mpsc::Receiver<()>) {
        let (port, machine) = UnixStream::pair().unwrap();
        let (socket, process) = UnixStream::pair().unwrap();
        let (ended, end) = mpsc::channel();
        let switch = Switch::new();
        switch.connect(Box::new(port));
        switch.attach(7, socket, move || ended.send(()).unwrap()).unwrap();
        (switch, process, machine, end)
    }

    #[test]
    fn frames_get_and_lose_their_channels() {
        let (switch, mut process, mut machine, end) = joined();
        let data = Message::Data(Stream::Input, b"in".to_vec());
        Frame { channel: 0, message: data.clone() }.write(&mut process).unwrap();
        assert_eq!(Frame::read(&mut machine).unwrap(), Some(Frame { channel: 7, message: data }));
        assert!(switch.deliver(Frame { channel: 7, message: Message::Exit(3) }));
        assert_eq!(Frame::read(&mut process).unwrap(), Some(Frame { channel: 0, message: Message::Exit(3) }));
        assert!(!switch.deliver(Frame { channel: 8, message: Message::Exit(3) }));
        drop(process);
        assert_eq!(Frame::read(&mut machine).unwrap(), Some(Frame { channel: 7, message: Message::Gone }));
        end.recv().unwrap();
        assert!(!switch.deliver(Frame { channel: 7, message: Message::Exit(3) }));
    }

    #[test]
    fn a_machine_that_is_gone_ends_all_channels() {
        let (switch, mut process, _machine, end) = joined();
        switch.disconnect();
        assert_eq!(process.read(&mut [0; 9]).unwrap(), 0);
        end.recv().unwrap();
        assert!(switch.send(0, Message::Reboot).is_err());
    }

    #[test]
    fn garbage_from_a_process_ends_its_channel_only() {
        let (_switch, mut process, mut machine, end) = joined();
        process.write_all(&[0xff; 32]).unwrap();
        assert_eq!(Frame::read(&mut machine).unwrap(), Some(Frame { channel: 7, message: Message::Gone }));
        end.recv().unwrap();
    }
}
