//! The host's end of a command in a virtual machine: passes on its streams, signals and status.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};

use super::wire::{Credit, Frame, Message, Program, Stream};
use crate::process::Signals;

/// The host's files for the streams of a command.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Standard input; without it the command has none.
    pub(crate) input: Option<File>,
    /// Standard output; without it, what the command writes is dropped.
    pub(crate) output: Option<File>,
    /// Standard error.
    pub(crate) errors: Option<File>,
}

impl Streams {
    /// This process's own.
    pub(crate) fn own() -> io::Result<Self> {
        let file = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        Ok(Self {
            input: Some(file(io::stdin().as_fd())?),
            output: Some(file(io::stdout().as_fd())?),
            errors: Some(file(io::stderr().as_fd())?),
        })
    }

    /// Whether output and errors go to the same place, so that their order matters.
    fn are_together(&self) -> bool {
        let id = |file: &Option<File>| {
            let stat = rustix::fs::fstat(file.as_ref()?).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        id(&self.output).is_some_and(|output| Some(output) == id(&self.errors))
    }
}

/// A command that runs.
struct Running<'a> {
    socket: UnixStream,
    streams: Streams,
    signals: &'a Signals,
    credit: Credit,
}

/// Runs a command and returns its status. `socket` is the one that the server listens on.
///
/// # Errors
/// If the machine is gone, or a file cannot be read. A file that takes no more output ends that stream of the command.
pub(crate) fn run(
    socket: &Path,
    environment: Vec<std::ffi::OsString>,
    words: Vec<std::ffi::OsString>,
    streams: Streams,
    signals: &Signals,
) -> io::Result<u8> {
    let socket = UnixStream::connect(socket)?;
    let program = Program { together: streams.are_together(), environment, words };
    let mut running = Running { socket, streams, signals, credit: Credit::new() };
    running.send(Message::Start(program))?;
    if running.streams.input.is_none() {
        running.send(Message::End(Stream::Input))?;
    }
    loop {
        if let Some(status) = running.step()? {
            return Ok(status);
        }
    }
}

impl Running<'_> {
    /// Sends a message. If nobody takes it any more, what was sent before the end can still be read.
    fn send(&mut self, message: Message) -> io::Result<()> {
        match (Frame { channel: 0, message }).write(&mut self.socket) {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
            other => other,
        }
    }

    /// Waits for something, and passes it on. Returns the status once the command has ended.
    fn step(&mut self) -> io::Result<Option<u8>> {
        let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN), PollFd::new(self.signals, PollFlags::IN)];
        let input = self.streams.input.as_ref().filter(|_| self.credit.available() > 0);
        fds.extend(input.map(|input| PollFd::new(input, PollFlags::IN)));
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            other => drop(other?),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready.get(1) == Some(&true) {
            let number = self.signals.read()?;
            self.send(Message::Signal(u8::try_from(number).unwrap_or(0)))?;
        }
        if ready.first() == Some(&true) {
            return self.receive();
        }
        if ready.get(2) == Some(&true) {
            self.pass_input()?;
        }
        Ok(None)
    }

    fn receive(&mut self) -> io::Result<Option<u8>> {
        let frame = match Frame::read(&mut self.socket) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            other => other?,
        };
        let Some(Frame { message, .. }) = frame else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the virtual machine is gone"));
        };
        match message {
            Message::Data(stream, bytes) => {
                let to = if stream == Stream::Errors { &mut self.streams.errors } else { &mut self.streams.output };
                if to.as_mut().is_some_and(|file| file.write_all(&bytes).is_err()) {
                    *to = None;
                    self.send(Message::End(stream))?;
                }
                self.send(Message::Credit(Credit::cost(bytes.len())))?;
            }
            Message::End(Stream::Input) => self.streams.input = None,
            Message::Credit(bytes) => self.credit.give(bytes),
            Message::Exit(status) => return Ok(Some(status)),
            // Nothing else comes from the machine's end of a command; a hostile one may say what it wants.
            _ => {}
        }
        Ok(None)
    }

    fn pass_input(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.streams.input else { return Ok(()) };
        let mut buffer = vec![0; self.credit.available()];
        let length = match input.read(&mut buffer) {
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                return Ok(());
            }
            other => other?,
        };
        if length == 0 {
            self.streams.input = None;
            return self.send(Message::End(Stream::Input));
        }
        buffer.truncate(length);
        self.credit.take(length);
        self.send(Message::Data(Stream::Input, buffer))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Runs a command whose machine does what `machine` does; returns the status and the output.
    fn with_machine(
        input: Option<&[u8]>,
        machine: impl FnOnce(UnixStream) + Send + 'static,
    ) -> (io::Result<u8>, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("commands");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || machine(listener.accept().unwrap().0));
        let file = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            io::Seek::rewind(&mut file).unwrap();
            file
        };
        let output = file(b"");
        let streams =
            Streams { input: input.map(file), output: Some(output.try_clone().unwrap()), errors: Some(file(b"")) };
        let signals = Signals::block(&[libc::SIGUSR2]).unwrap();
        let status = run(&path, vec!["A=b".into()], vec!["cat".into()], streams, &signals);
        thread.join().unwrap();
        let (mut said, mut output) = (Vec::new(), output);
        io::Seek::rewind(&mut output).unwrap();
        output.read_to_end(&mut said).unwrap();
        (status, said)
    }

    fn next(socket: &mut UnixStream) -> Message {
        Frame::read(socket).unwrap().unwrap().message
    }

    fn say(socket: &mut UnixStream, message: Message) {
        Frame { channel: 0, message }.write(socket).unwrap();
    }

    #[test]
    fn streams_and_status_are_passed_on() {
        let (status, said) = with_machine(Some(b"typed"), |mut socket| {
            let Message::Start(program) = next(&mut socket) else { panic!("no start") };
            assert_eq!((program.words, program.environment), (vec!["cat".into()], vec!["A=b".into()]));
            let Message::Data(Stream::Input, bytes) = next(&mut socket) else { panic!("no input") };
            assert_eq!(next(&mut socket), Message::End(Stream::Input));
            let length = bytes.len();
            say(&mut socket, Message::Data(Stream::Output, bytes));
            assert_eq!(next(&mut socket), Message::Credit(Credit::cost(length)));
            say(&mut socket, Message::Exit(7));
        });
        assert_eq!((status.unwrap(), said.as_slice()), (7, &b"typed"[..]));
    }

    #[test]
    fn a_command_that_has_ended_before_its_input_is_heard() {
        let (status, said) = with_machine(Some(b"typed"), |mut socket| {
            next(&mut socket);
            say(&mut socket, Message::Data(Stream::Output, b"done".to_vec()));
            say(&mut socket, Message::Exit(0));
        });
        assert_eq!((status.unwrap(), said.as_slice()), (0, &b"done"[..]));
    }

    #[test]
    fn a_machine_that_is_gone_is_an_error() {
        let (status, _) = with_machine(None, |mut socket| drop(next(&mut socket)));
        assert!(status.unwrap_err().to_string().contains("the virtual machine is gone"));
    }

    #[test]
    fn input_waits_for_credit() {
        let (status, _) = with_machine(Some(&vec![b'x'; 1 << 20]), |mut socket| {
            next(&mut socket);
            let mut heard = 0;
            // Without credit, no more than the window comes.
            socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
            while let Ok(Some(Frame { message: Message::Data(_, bytes), .. })) = Frame::read(&mut socket) {
                heard += bytes.len();
            }
            assert!((64 << 10..=128 << 10).contains(&heard), "{heard}");
            say(&mut socket, Message::End(Stream::Input));
            say(&mut socket, Message::Exit(0));
        });
        assert_eq!(status.unwrap(), 0);
    }
}
