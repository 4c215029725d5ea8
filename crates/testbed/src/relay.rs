//! Relays a command's output until the command ends.
//!
//! Processes that a command leaves running (a compile server, an agent) keep its standard output open. Reading that
//! output to its end would wait for them: a build that started `sccache` would last until its deadline. So where an
//! output is a pipe, the command gets a pipe of this program, which is read only while the command runs, as with
//! docker(1), lxc(1) and ssh(1).

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Most bytes read after the command has ended (a pipe holds less): processes left running may write for ever.
const MOST_AFTER_THE_END: usize = 1 << 20;

/// Standard output and standard error of a command that is about to start.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    output: Option<Pipe>,
    errors: Option<Pipe>,
    /// Both are the same pipe, so that their order is preserved.
    together: bool,
}

#[derive(Debug)]
struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Relay {
    /// Creates pipes for those of this process's streams that are pipes or sockets.
    pub(crate) fn new() -> io::Result<Self> {
        let (stdout, stderr) = (rustix::fs::fstat(io::stdout())?, rustix::fs::fstat(io::stderr())?);
        let is_read = |stat: &rustix::fs::Stat| {
            use rustix::fs::FileType::{Fifo, Socket};
            matches!(rustix::fs::FileType::from_raw_mode(stat.st_mode), Fifo | Socket)
        };
        let together = (stdout.st_dev, stdout.st_ino) == (stderr.st_dev, stderr.st_ino);
        let output = if is_read(&stdout) { Some(Pipe::new()?) } else { None };
        let errors = if is_read(&stderr) && !together { Some(Pipe::new()?) } else { None };
        Ok(Self { output, errors, together })
    }

    /// In the command's process: replaces its streams with the pipes, and closes the originals.
    pub(crate) fn take_place(&self) -> rustix::io::Result<()> {
        if let Some(pipe) = &self.output {
            rustix::stdio::dup2_stdout(&pipe.writer)?;
            if self.together {
                rustix::stdio::dup2_stderr(&pipe.writer)?;
            }
        }
        self.errors.as_ref().map_or(Ok(()), |pipe| rustix::stdio::dup2_stderr(&pipe.writer))
    }

    /// In this process, after the command's process was started: starts relaying.
    pub(crate) fn start(self) -> io::Result<Running> {
        let mut streams = Vec::new();
        // Bypasses the standard library's buffer, so that incomplete lines are passed on too. Only the command holds
        // the other end of the pipes.
        if let Some(Pipe { reader, .. }) = self.output {
            streams.push(Stream { from: reader, to: io::stdout().as_fd().try_clone_to_owned()?.into() });
        }
        if let Some(Pipe { reader, .. }) = self.errors {
            streams.push(Stream { from: reader, to: io::stderr().as_fd().try_clone_to_owned()?.into() });
        }
        Ok(Running { streams, buffer: vec![0; 1 << 16] })
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }
}

#[derive(Debug)]
struct Stream {
    from: PipeReader,
    to: File,
}

/// Output that is being relayed. No thread is used, as none can be started beside another pid namespace.
#[derive(Debug)]
pub(crate) struct Running {
    streams: Vec<Stream>,
    buffer: Vec<u8>,
}

impl Running {
    /// The descriptors to wait for.
    pub(crate) fn readers(&self) -> Vec<BorrowedFd<'_>> {
        self.streams.iter().map(|stream| stream.from.as_fd()).collect()
    }

    /// Passes on some of the available output. Returns the number of bytes.
    pub(crate) fn pass_on(&mut self) -> usize {
        let (buffer, mut passed) = (&mut self.buffer, 0);
        self.streams.retain_mut(|stream| match stream.from.read(buffer) {
            Ok(0) => false,
            // If there is no reader any more, the pipe is closed so that the command notices.
            Ok(length) => {
                passed += length;
                stream.to.write_all(buffer.get(..length).unwrap_or_default()).is_ok()
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        });
        passed
    }

    /// After the command has ended: passes on its remaining output.
    pub(crate) fn finish(mut self) {
        let mut left = MOST_AFTER_THE_END;
        while left > 0 {
            match self.pass_on() {
                0 => return,
                passed => left = left.saturating_sub(passed),
            }
        }
    }
}
