//! The machine's end of a command: a process for each, which starts the command and speaks with the
//! [switch](super::switch) over its standard input.

use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;

use super::wire::{CHUNK, Credit, Frame, Message, Program, Stream};
use crate::enter::{ENVIRONMENT, NOT_EXECUTABLE, NOT_FOUND};
use crate::process::{Child, fork};

/// Most bytes that are passed on after the command has ended: processes that it left running may write for ever.
const MOST_AFTER_THE_END: usize = 1 << 20;

/// Status of a command that could not be started, as autopkgtest takes it for a failed testbed.
const FAILED: u8 = 255;

/// Runs the command that the first frame on standard input has.
pub(crate) fn main() -> ExitCode {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    match socket.and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rocbed: running a command: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves one command.
fn serve(mut socket: UnixStream) -> io::Result<()> {
    let Some(Frame { message: Message::Start(program), .. }) = Frame::read(&mut socket)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame of a channel starts no command"));
    };
    let mut session = Session::start(socket, &program)?;
    while !session.step()? {}
    session.finish()
}

/// A command that runs.
struct Session {
    socket: UnixStream,
    child: Child,
    /// Its standard input, until there is no more of it or the command has closed it.
    input: Option<PipeWriter>,
    /// Input that waits for the command. The other side's credit limits it.
    waiting: Vec<Vec<u8>>,
    /// How much of the first waiting part was written.
    written: usize,
    /// Whether all input has come.
    is_complete: bool,
    /// Standard output and standard error, with their names.
    outputs: Vec<(Stream, PipeReader)>,
    credit: Credit,
}

impl Session {
    fn start(socket: UnixStream, program: &Program) -> io::Result<Self> {
        let (its_input, input) = io::pipe()?;
        let (output, its_output) = io::pipe()?;
        let (errors, its_errors) = io::pipe()?;
        let child = fork(|| {
            let its_errors = if program.together { &its_output } else { &its_errors };
            execute(program, &its_input, &its_output, its_errors)
        })?;
        for fd in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(Self {
            socket,
            child,
            input: Some(input),
            waiting: Vec::new(),
            written: 0,
            is_complete: false,
            outputs: vec![(Stream::Output, output), (Stream::Errors, errors)],
            credit: Credit::new(),
        })
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        Frame { channel: 0, message }.write(&mut self.socket)
    }

    /// Waits for something, and passes it on. Returns whether the command has ended.
    fn step(&mut self) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.child, PollFlags::IN)];
        let input = self.input.as_ref().filter(|_| !self.waiting.is_empty());
        fds.extend(input.map(|input| PollFd::new(input, PollFlags::OUT)));
        let before_outputs = fds.len();
        if self.credit.available() > 0 {
            fds.extend(self.outputs.iter().map(|(_, output)| PollFd::new(output, PollFlags::IN)));
        }
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => return Ok(false),
            other => drop(other?),
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (from_host, ended, takes) = (ready(0), ready(1), before_outputs > 2 && ready(2));
        let outputs: Vec<Stream> = self
            .outputs
            .iter()
            .enumerate()
            .filter(|(index, _)| ready(before_outputs + index))
            .map(|(_, (stream, _))| *stream)
            .collect();
        drop(fds);
        if from_host {
            self.receive()?;
        }
        if takes {
            self.pass_input()?;
        }
        for stream in outputs {
            self.pass_output(stream)?;
        }
        Ok(ended)
    }

    /// Does what the host says. If that is gone, the command is ended.
    fn receive(&mut self) -> io::Result<()> {
        let Ok(Some(Frame { message, .. })) = Frame::read(&mut self.socket) else {
            self.kill();
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the caller is gone"));
        };
        match message {
            Message::Data(Stream::Input, bytes) if self.input.is_some() => {
                self.waiting.push(bytes);
                self.pass_input()?;
            }
            // The command takes no more; what is under way counts as passed on.
            Message::Data(Stream::Input, bytes) => self.send(Message::Credit(Credit::cost(bytes.len())))?,
            Message::End(Stream::Input) => {
                self.is_complete = true;
                self.pass_input()?;
            }
            Message::End(stream) => self.outputs.retain(|(known, _)| *known != stream),
            Message::Credit(bytes) => self.credit.give(bytes),
            Message::Signal(number) => {
                // If the command has just ended, there is nothing to tell it.
                let _ = Signal::from_named_raw(i32::from(number)).map(|signal| self.child.signal(signal));
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes what waits, as far as the command takes it.
    fn pass_input(&mut self) -> io::Result<()> {
        while let (Some(input), Some(part)) = (&mut self.input, self.waiting.first()) {
            match input.write(part.get(self.written..).unwrap_or_default()) {
                Ok(length) if self.written + length < part.len() => self.written += length,
                Ok(_) => {
                    let cost = Credit::cost(part.len());
                    self.waiting.remove(0);
                    self.written = 0;
                    self.send(Message::Credit(cost))?;
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    return Ok(());
                }
                Err(_) => {
                    self.input = None;
                    self.waiting.clear();
                    self.send(Message::End(Stream::Input))?;
                }
            }
        }
        if self.is_complete && self.waiting.is_empty() {
            self.input = None;
        }
        Ok(())
    }

    /// Passes on some output, if there is some. Returns the number of bytes.
    fn pass_output(&mut self, stream: Stream) -> io::Result<usize> {
        let mut buffer = vec![0; self.credit.available().min(CHUNK)];
        let Some((_, output)) = self.outputs.iter_mut().find(|(known, _)| *known == stream) else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        match output.read(&mut buffer) {
            Ok(0) => {
                self.outputs.retain(|(known, _)| *known != stream);
                Ok(0)
            }
            Ok(length) => {
                buffer.truncate(length);
                self.credit.take(length);
                self.send(Message::Data(stream, buffer))?;
                Ok(length)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// After the command has ended: passes on its remaining output, then its status.
    fn finish(mut self) -> io::Result<()> {
        let status = self.child.wait()?;
        let mut left = MOST_AFTER_THE_END;
        loop {
            while left > 0 && self.credit.available() == 0 && !self.outputs.is_empty() {
                self.receive()?;
            }
            let streams: Vec<Stream> = self.outputs.iter().map(|(stream, _)| *stream).collect();
            let mut passed = 0;
            for stream in streams {
                passed += self.pass_output(stream)?;
            }
            left = left.saturating_sub(passed);
            if left == 0 || (passed == 0 && (self.credit.available() > 0 || self.outputs.is_empty())) {
                break;
            }
        }
        let code = status.and_then(|status| {
            status.exit_status().or_else(|| status.terminating_signal().map(|signal| signal.saturating_add(128)))
        });
        let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED);
        self.send(Message::Exit(code))
    }

    /// Ends the command, with what it has started in its session.
    fn kill(&self) {
        // If it has just ended, there is nothing to do.
        let _ = rustix::process::kill_process_group(self.child.pid(), Signal::KILL);
        self.child.kill();
    }
}

/// Executes the command; returns only if that fails.
fn execute(program: &Program, input: &PipeReader, output: &PipeWriter, errors: &PipeWriter) -> u8 {
    let prepared = (|| -> io::Result<()> {
        rustix::stdio::dup2_stdin(input)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(errors)?;
        rustix::process::setsid()?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        rustix::process::chdir(c"/")?;
        // When memory runs out, a test is killed before the service, whose score this process has.
        std::fs::write("/proc/self/oom_score_adj", "0")?;
        ::confine::process::close_inherited_on_exec()
    })();
    let Some((name, arguments)) = program.words.split_first() else { return FAILED };
    if let Err(error) = prepared {
        eprintln!("rocbed: preparing to run {}: {error}", name.display());
        return FAILED;
    }
    let variables = program.environment.iter().filter_map(|setting| {
        let bytes = setting.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=')?;
        let (name, value) = bytes.split_at(at);
        Some((OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default())))
    });
    let error = Command::new(name).args(arguments).env_clear().envs(ENVIRONMENT).envs(variables).exec();
    eprintln!("rocbed: {}: {error}", Path::new(name).display());
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}
