//! What an appliance and the program that started it in QEMU say to each other, where there is no network: frames on a
//! virtio-serial port (virtio 1.2, section 5.3), in both directions.
//!
//! A frame is a byte that says what it is, three zero bytes, the payload's length (32 bits, little endian), the payload.
//! `J` frames hold one JSON message, [`ToAppliance`] or [`FromAppliance`]; `D` frames the bytes of the source tree or
//! bundle that was announced last; `L` frames the log. A port that is opened later than the other side's begins to write
//! loses nothing: QEMU keeps it waiting.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::{JobList, Machine, Verdict};

/// Name of the port on both sides; QEMU's option is `virtserialport,name=`.
pub const PORT_NAME: &str = "org.rocbed.handover";

/// What the appliance is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "message", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum ToAppliance {
    /// The jobs. The source trees that they name by path follow, each in `D` frames, in this order.
    Jobs {
        /// Version of this protocol.
        version: u32,
        /// What to run.
        list: JobList,
        /// Source trees.
        sources: Vec<SourceTree>,
        /// More settings, as the kernel command line would have them without `rocbed.`.
        #[serde(default)]
        settings: BTreeMap<String, String>,
    },
    /// The bundle with this digest is safe; the appliance may forget it.
    Kept {
        /// SHA-256, in hexadecimal digits.
        sha256: Digest,
    },
}

/// A source tree in a job list of which the appliance sees nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceTree {
    /// The job whose path it is.
    pub job: String,
    /// The file's name, which says what it is: `tree.tar`.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// What the appliance says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "message", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum FromAppliance {
    /// It is ready for work.
    Ready {
        /// Version of this protocol.
        version: u32,
        /// What it is.
        machine: Box<Machine>,
        /// Seconds since the kernel started.
        uptime: f64,
    },
    /// A job has begun.
    Started {
        /// The job's id.
        job: String,
    },
    /// A job has ended. Its bundle follows, in `D` frames.
    Finished {
        /// The job's id.
        job: String,
        /// What came of it.
        verdict: Verdict,
        /// In a few words, for people.
        summary: String,
        /// The bundle's length in bytes.
        size: u64,
        /// The bundle's SHA-256, in hexadecimal digits.
        sha256: Digest,
    },
    /// A job was not run.
    Declined {
        /// The job's id.
        job: String,
        /// Why.
        why: String,
    },
    /// Something is wrong with the machine or the list.
    Problem {
        /// What.
        what: String,
        /// What to do about it.
        advice: String,
    },
    /// That was all; it powers off.
    Done,
}

/// A piece of what goes over the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message in JSON: [`Frame::message`] reads it.
    Message(Vec<u8>),
    /// Bytes of what was announced.
    Data(Vec<u8>),
    /// Bytes of the log.
    Log(Vec<u8>),
}

/// Why bytes are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Something that never begins a frame.
    #[error("byte {0:#04x} begins no frame: the two sides are of different versions, or something else uses the port")]
    Kind(u8),
    /// Longer than any frame is.
    #[error("a frame of {0} bytes: no frame has more than {LONGEST}")]
    TooLong(u64),
    /// The message is not one that this version knows.
    #[error("a message that is not understood: {0}")]
    Message(String),
}

const HEADER: usize = 8;

/// The longest payload. What is longer goes in several frames; a length beyond it is not believed.
pub const LONGEST: usize = 1 << 20;

impl Frame {
    /// A frame of a message.
    ///
    /// # Errors
    /// If it is longer than a frame may be.
    pub fn of(message: &impl Serialize) -> Result<Self, FrameError> {
        let json = serde_json::to_vec(message).map_err(|error| FrameError::Message(error.to_string()))?;
        if json.len() > LONGEST { Err(FrameError::TooLong(json.len() as u64)) } else { Ok(Self::Message(json)) }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is not one of this type.
    pub fn message<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let message =
            serde_path_to_error::deserialize(&mut reader).map_err(|error| FrameError::Message(error.to_string()))?;
        reader.end().map_err(|error| FrameError::Message(error.to_string()))?;
        Ok(message)
    }

    /// The bytes that go over the port. A payload of more than a frame's goes in several.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload) = match self {
            Self::Message(bytes) => (b'J', bytes),
            Self::Data(bytes) => (b'D', bytes),
            Self::Log(bytes) => (b'L', bytes),
        };
        let mut out = Vec::with_capacity(payload.len() + HEADER);
        for chunk in payload.chunks(LONGEST) {
            out.extend([kind, 0, 0, 0]);
            out.extend((chunk.len() as u32).to_le_bytes());
            out.extend(chunk);
        }
        out
    }
}

/// Puts frames together again from bytes as they come.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that is complete.
    ///
    /// # Errors
    /// If what came is no frame; nothing that comes later is one either.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let [kind, zero @ .., a, b, c, d] = *header;
        if !matches!(kind, b'J' | b'D' | b'L') || zero != [0; 3] {
            return Err(FrameError::Kind(kind));
        }
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > LONGEST {
            return Err(FrameError::TooLong(length as u64));
        }
        let Some(payload) = self.buffer.get(HEADER..HEADER + length) else { return Ok(None) };
        let payload = payload.to_vec();
        self.buffer.drain(..HEADER + length);
        Ok(Some(match kind {
            b'J' => Frame::Message(payload),
            b'D' => Frame::Data(payload),
            _ => Frame::Log(payload),
        }))
    }

    /// Whether a frame has begun and not ended.
    pub fn is_within_frame(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn messages_come_through() -> Result<(), FrameError> {
        let kept = ToAppliance::Kept { sha256: Digest::of("") };
        let Frame::Message(json) = Frame::of(&kept)? else { panic!("no message") };
        assert_eq!(String::from_utf8_lossy(&json), format!(r#"{{"message":"kept","sha256":"{}"}}"#, Digest::of("")));
        assert_eq!(Frame::message::<ToAppliance>(&json)?, kept);
        assert!(Frame::message::<ToAppliance>(b"{\"message\":\"later\"}").is_err());
        let twice = [&json[..], &json[..]].concat();
        assert!(Frame::message::<ToAppliance>(&twice).is_err(), "a frame holds one message");
        Ok(())
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for (bytes, error) in [
            (&b"login: abc"[..], FrameError::Kind(b'l')),
            (&b"D\0\0\0\xff\xff\xff\xff"[..], FrameError::TooLong(u32::MAX as u64)),
            (&b"D\0\0\x01\0\0\0\0"[..], FrameError::Kind(b'D')),
        ] {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            assert_eq!(decoder.next_frame(), Err(error));
        }
    }

    proptest! {
        #[test]
        fn frames_survive_being_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
            cut in 1_usize..40,
        ) {
            let frames: Vec<_> = payloads.into_iter().map(Frame::Log).collect();
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
            for chunk in bytes.chunks(cut) {
                decoder.push(chunk);
                seen.extend(all(&mut decoder)?);
            }
            prop_assert!(!decoder.is_within_frame());
            prop_assert_eq!(seen, frames);
        }
    }
}
