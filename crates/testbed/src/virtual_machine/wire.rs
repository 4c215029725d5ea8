//! The frames between the host and the programs in a virtual machine: this is the one place that knows their format.
//!
//! All commands of a testbed share one virtio-serial port (virtio 1.2, section 5.3), so each frame names a channel:
//! channel 0 is for the machine itself, every other one is a command. On the local sockets between the switch and the
//! processes of a command, frames have the same format, and their channel is 0.
//!
//! A frame is the channel (u32), the kind (u8), the length of the payload (u32), all little-endian, and the payload.
//! What comes from the machine is as trustworthy as the test in it: every length is checked before memory is taken.
//!
//! Each side of a channel may have [`WINDOW`] bytes of data under way ([`Credit`]), so that a command whose output nobody
//! reads does not hold up the others.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Version of the protocol. Both sides must have the same.
pub(crate) const VERSION: u32 = 1;

/// Name of the virtio-serial port.
pub const PORT_NAME: &str = "org.rocbed.testbed";

/// Most bytes of data that a channel has under way in one direction.
const WINDOW: u32 = 128 << 10;

/// Bytes that a frame counts for besides its data, so that many small frames are limited too.
const PER_FRAME: u32 = 512;

/// Most bytes of data in a frame.
pub(crate) const CHUNK: usize = 16 << 10;

/// Longest payload: that of a command, whose words the kernel limits to a part of this.
const LONGEST: usize = 4 << 20;

const HEADER: usize = 9;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The channel.
    pub(crate) channel: u32,
    /// The message.
    pub(crate) message: Message,
}

/// A message. All but the first two are about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// From the machine, when commands can be run: the [`VERSION`].
    Hello(u32),
    /// To the machine: restart, in the way that its init does it.
    Reboot,
    /// To the machine: run a command. The first message of a channel.
    Start(Program),
    /// Bytes of a stream.
    Data(Stream, Vec<u8>),
    /// The sender of a stream has come to its end, or its receiver wants no more.
    End(Stream),
    /// The receiver has passed on data that counted this many bytes.
    Credit(u32),
    /// To the machine: send the command a signal.
    Signal(u8),
    /// From the machine: the command has ended with this status, as a shell has it. All its output came before.
    Exit(u8),
    /// The sender's process is gone.
    Gone,
}

/// A stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

/// A command to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Program {
    /// Whether standard error goes where standard output goes, in the order of the writes.
    pub(crate) together: bool,
    /// `NAME=value`, besides the environment that all commands have.
    pub(crate) environment: Vec<OsString>,
    /// The program and its arguments.
    pub(crate) words: Vec<OsString>,
}

impl Stream {
    const ALL: [Self; 3] = [Self::Input, Self::Output, Self::Errors];

    fn code(self) -> u8 {
        match self {
            Self::Input => 0,
            Self::Output => 1,
            Self::Errors => 2,
        }
    }

    fn of(code: u8) -> io::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|stream| stream.code() == code)
            .ok_or_else(|| invalid("a stream that no command has"))
    }
}

impl Frame {
    /// The bytes of the frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, payload) = match &self.message {
            Message::Hello(version) => (b'h', version.to_le_bytes().to_vec()),
            Message::Reboot => (b'r', Vec::new()),
            Message::Start(program) => (b's', program.encode()),
            Message::Data(stream, bytes) => (b'd', [&[stream.code()], bytes.as_slice()].concat()),
            Message::End(stream) => (b'e', vec![stream.code()]),
            Message::Credit(bytes) => (b'c', bytes.to_le_bytes().to_vec()),
            Message::Signal(number) => (b'k', vec![*number]),
            Message::Exit(status) => (b'x', vec![*status]),
            Message::Gone => (b'g', Vec::new()),
        };
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend(self.channel.to_le_bytes());
        bytes.push(kind);
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Writes the frame at once, so that a reader which sees its beginning does not wait long for its end.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let bytes = self.encode();
        if bytes.len() > HEADER + LONGEST {
            return Err(invalid("a command of more than 4 MiB"));
        }
        to.write_all(&bytes)
    }

    /// Reads a frame; `None` at the end of the stream.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        if read_start(from, &mut header)? == 0 {
            return Ok(None);
        }
        let [channel @ .., kind, _, _, _, _] = header;
        let [_, _, _, _, _, length @ ..] = header;
        let (channel, length) = (u32::from_le_bytes(channel), u32::from_le_bytes(length) as usize);
        let most = match kind {
            b's' => LONGEST,
            b'd' => CHUNK + 1,
            _ => 4,
        };
        if length > most {
            return Err(invalid("a frame that is longer than its kind can be"));
        }
        let mut payload = vec![0; length];
        from.read_exact(&mut payload)?;
        Ok(Some(Self { channel, message: Message::decode(kind, &payload)? }))
    }
}

impl Message {
    fn decode(kind: u8, payload: &[u8]) -> io::Result<Self> {
        let number =
            |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).map_err(|_| invalid("a number of no 4 bytes"));
        Ok(match (kind, payload) {
            (b'h', bytes) => Self::Hello(number(bytes)?),
            (b'r', []) => Self::Reboot,
            (b's', bytes) => Self::Start(Program::decode(bytes)?),
            (b'd', [stream, bytes @ ..]) => Self::Data(Stream::of(*stream)?, bytes.to_vec()),
            (b'e', [stream]) => Self::End(Stream::of(*stream)?),
            (b'c', bytes) => Self::Credit(number(bytes)?),
            (b'k', [number]) => Self::Signal(*number),
            (b'x', [status]) => Self::Exit(*status),
            (b'g', []) => Self::Gone,
            _ => return Err(invalid("a frame of a kind that this version does not know")),
        })
    }
}

impl Program {
    /// A byte for `together`, the number of variables, and each text with its length before it; numbers have 4 bytes.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.together)];
        bytes.extend((self.environment.len() as u32).to_le_bytes());
        for text in self.environment.iter().chain(&self.words) {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> io::Result<Self> {
        let cut = || invalid("a command that is cut off");
        let number = |bytes: &mut &[u8]| -> io::Result<usize> {
            let (first, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
            *bytes = rest;
            Ok(u32::from_le_bytes(*first) as usize)
        };
        let (together, rest) = bytes.split_first().ok_or_else(cut)?;
        bytes = rest;
        let variables = number(&mut bytes)?;
        let mut texts = Vec::new();
        while !bytes.is_empty() {
            let length = number(&mut bytes)?;
            let (text, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
            texts.push(OsString::from_vec(text.to_vec()));
            bytes = rest;
        }
        if variables > texts.len() {
            return Err(cut());
        }
        let words = texts.split_off(variables);
        Ok(Self { together: *together != 0, environment: texts, words })
    }
}

/// How much data one side of a channel may still send.
#[derive(Debug)]
pub(crate) struct Credit(u32);

impl Credit {
    /// What one side of a new channel may send before it hears from the other.
    pub(crate) fn new() -> Self {
        Self(WINDOW)
    }

    /// What a frame with so much data counts.
    pub(crate) fn cost(length: usize) -> u32 {
        u32::try_from(length).unwrap_or(u32::MAX).saturating_add(PER_FRAME)
    }

    /// Most bytes that can be sent now.
    pub(crate) fn available(&self) -> usize {
        (self.0.saturating_sub(PER_FRAME) as usize).min(CHUNK)
    }

    /// Takes what a frame counts.
    pub(crate) fn take(&mut self, length: usize) {
        self.0 = self.0.saturating_sub(Self::cost(length));
    }

    /// Gives back what the other side has passed on.
    pub(crate) fn give(&mut self, bytes: u32) {
        self.0 = self.0.saturating_add(bytes).min(WINDOW);
    }
}

/// Reads a whole header, or nothing at the end of the stream; returns the number of bytes.
fn read_start(from: &mut impl Read, header: &mut [u8; HEADER]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) if filled == 0 => return Ok(0),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let text = || prop::collection::vec(any::<u8>(), 0..20).prop_map(OsString::from_vec);
        let texts = || prop::collection::vec(text(), 0..4);
        let stream = || prop_oneof![Just(Stream::Input), Just(Stream::Output), Just(Stream::Errors)];
        prop_oneof![
            any::<u32>().prop_map(Message::Hello),
            Just(Message::Reboot),
            (any::<bool>(), texts(), texts()).prop_map(|(together, environment, words)| Message::Start(Program {
                together,
                environment,
                words
            })),
            (stream(), prop::collection::vec(any::<u8>(), 0..200))
                .prop_map(|(stream, bytes)| Message::Data(stream, bytes)),
            stream().prop_map(Message::End),
            any::<u32>().prop_map(Message::Credit),
            any::<u8>().prop_map(Message::Signal),
            any::<u8>().prop_map(Message::Exit),
            Just(Message::Gone),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(messages in prop::collection::vec((any::<u32>(), message()), 0..8)) {
            let frames: Vec<Frame> = messages.into_iter().map(|(channel, message)| Frame { channel, message }).collect();
            let mut bytes = Vec::new();
            for frame in &frames {
                frame.write(&mut bytes).unwrap();
            }
            let mut rest = bytes.as_slice();
            for frame in &frames {
                prop_assert_eq!(&Frame::read(&mut rest).unwrap().unwrap(), frame);
            }
            prop_assert!(Frame::read(&mut rest).unwrap().is_none());
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Frame::read(&mut bytes.as_slice());
        }

        #[test]
        fn any_payload_of_a_command_is_one_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Program::decode(&bytes);
        }
    }

    #[test]
    fn a_length_that_no_frame_has_takes_no_memory() {
        for kind in [b'd', b's', b'c', b'?'] {
            let bytes = [&[0, 0, 0, 0, kind][..], &u32::MAX.to_le_bytes(), &[0; 64]].concat();
            let error = Frame::read(&mut bytes.as_slice()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", kind as char);
        }
        let cut = Frame { channel: 7, message: Message::Exit(3) }.encode();
        assert!(Frame::read(&mut &cut[..5]).is_err());
    }

    #[test]
    fn small_frames_use_up_the_credit_too() {
        let mut credit = Credit::new();
        assert_eq!(credit.available(), CHUNK);
        let mut sent = 0_u32;
        while credit.available() > 0 {
            credit.take(1);
            sent += 1;
        }
        assert!(sent < 300, "{sent}");
        credit.give(u32::MAX);
        assert_eq!(credit.available(), CHUNK, "never more than the window");
    }
}
