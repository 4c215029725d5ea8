//! The service in the virtual machine: runs the commands that come by the port, each in a process of its own.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::switch::Switch;
use super::wire::{Frame, Message, VERSION};

/// Why the service has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceEnd {
    /// The host wants the machine to restart.
    Reboot,
    /// The host has closed the connection, so the machine is not needed any more.
    HostGone,
}

/// Serves the port. The calling program runs a command as `/proc/self/exe virt vm-session`.
///
/// # Errors
/// If the port cannot be written to, or something else than the host's server speaks there.
pub fn serve(mut port: File) -> io::Result<ServiceEnd> {
    let switch = Switch::new();
    switch.connect(Box::new(port.try_clone()?));
    switch.send(0, Message::Hello(VERSION))?;
    loop {
        match Frame::read(&mut port)? {
            None => return Ok(ServiceEnd::HostGone),
            Some(Frame { channel: 0, message: Message::Reboot }) => return Ok(ServiceEnd::Reboot),
            Some(frame @ Frame { message: Message::Start(_), .. }) => {
                let channel = frame.channel;
                if let Err(error) = start(&switch, channel) {
                    eprintln!("rocbed: starting a process for a command: {error}");
                    switch.send(channel, Message::Gone)?;
                    continue;
                }
                switch.deliver(frame);
            }
            // One whose process has ended is told so already.
            Some(frame) => drop(switch.deliver(frame)),
        }
    }
}

/// Starts the process of a channel.
fn start(switch: &Switch, channel: u32) -> io::Result<()> {
    let (socket, its) = UnixStream::pair()?;
    let program = "/proc/self/exe";
    let mut child = Command::new(program)
        .args(["virt", "vm-session"])
        .stdin(Stdio::from(OwnedFd::from(its)))
        .stdout(Stdio::null())
        .spawn()?;
    let reap = move || {
        // How its command ended was told over its socket; if not, that the socket closes is told.
        let _ = child.wait();
    };
    switch.attach(channel, socket, reap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_hello_and_ends_with_the_host() {
        for (message, end) in [(Some(Message::Reboot), ServiceEnd::Reboot), (None, ServiceEnd::HostGone)] {
            let (mut host, port) = UnixStream::pair().unwrap();
            let service = std::thread::spawn(move || serve(File::from(OwnedFd::from(port))));
            assert_eq!(Frame::read(&mut host).unwrap(), Some(Frame { channel: 0, message: Message::Hello(VERSION) }));
            if let Some(message) = message {
                Frame { channel: 0, message }.write(&mut host).unwrap();
            } else {
                host.shutdown(std::net::Shutdown::Write).unwrap();
            }
            assert_eq!(service.join().unwrap().unwrap(), end);
        }
    }
}
