//! The protocol between an appliance in QEMU and the program that started it, which needs no network: frames on a
//! virtio-serial port (virtio 1.2, section 5.3), in both directions.
//!
//! A frame is a byte with its type, three zero bytes, the payload's length (32 bits, little endian), and the payload.
//! `J` frames hold one JSON message, [`ToAppliance`] or [`FromAppliance`]; `D` frames the bytes of the source tree or
//! bundle that was announced last; `L` frames the log. Nothing is lost if one side opens the port after the other has
//! begun to write: QEMU blocks the writer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::{JobList, Machine, Verdict};

/// Name of the port on both sides; QEMU's option is `virtserialport,name=`.
pub const PORT_NAME: &str = "org.rocbed.handover";

/// Messages to the appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "message", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum ToAppliance {
    /// The jobs. The source trees that they name by path follow, each in `D` frames, in this order.
    Jobs {
        /// Version of this protocol.
        version: u32,
        /// The job list.
        list: JobList,
        /// The source trees.
        sources: Vec<SourceTree>,
        /// Further settings, with the names that they have on the kernel command line after `rocbed.`.
        #[serde(default)]
        settings: BTreeMap<String, String>,
    },
    /// The bundle with this digest is stored; the appliance may delete it.
    Kept {
        /// SHA-256 of the bundle, in hexadecimal digits.
        sha256: Digest,
    },
}

/// A source tree that a job list names, on the host's file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceTree {
    /// Id of the job that names it.
    pub job: String,
    /// The file's name, which shows its type: `tree.tar`.
    pub name: String,
    /// The file's length in bytes.
    pub size: u64,
}

/// Messages from the appliance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "message", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum FromAppliance {
    /// It is ready for work.
    Ready {
        /// Version of this protocol.
        version: u32,
        /// Description of the machine.
        machine: Box<Machine>,
        /// Seconds since the kernel started.
        uptime: f64,
    },
    /// A job has begun.
    Started {
        /// The job's id.
        job: String,
    },
    /// The log that follows is this job's. Without this it is that of the job that was started last.
    LogOf {
        /// The job's id.
        job: String,
    },
    /// A job has ended. Its bundle follows, in `D` frames.
    Finished {
        /// The job's id.
        job: String,
        /// The verdict.
        verdict: Verdict,
        /// A summary in a few words, for people.
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
        /// The reason.
        why: String,
    },
    /// There is a problem with the machine or the list.
    Problem {
        /// The problem.
        what: String,
        /// What to do about it.
        advice: String,
    },
    /// All jobs are done; the machine powers off.
    Done,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message in JSON: [`Frame::message`] reads it.
    Message(Vec<u8>),
    /// Bytes of the announced source tree or bundle.
    Data(Vec<u8>),
    /// Bytes of the log.
    Log(Vec<u8>),
}

/// The reason why bytes are not frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A byte that is not a frame's type.
    #[error("byte {0:#04x} begins no frame: the two sides are of different versions, or something else uses the port")]
    Kind(u8),
    /// A payload that is longer than the limit.
    #[error("a frame of {0} bytes: no frame has more than {LONGEST}")]
    TooLong(u64),
    /// The message is not one that this version knows.
    #[error("a message that is not understood: {0}")]
    Message(String),
}

const HEADER: usize = 8;

/// The longest payload in bytes. Longer data is sent in several frames.
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

    /// The bytes to send. Data that is too long for one frame is sent in several.
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

/// Decodes frames from the received bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame.
    ///
    /// # Errors
    /// If the bytes are not a frame; the connection cannot be used any more.
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

    /// Whether a frame was received in part.
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
