//! Decompression of the tar members (deb(5): `control.tar`, `data.tar` and their suffixes).

use std::io::{BufReader, Read};

use liblzma::stream::{CONCATENATED, Stream};

use super::{DebError, limits};

/// Compression of a member, from its suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.tar`
    None,
    /// `.tar.gz`
    Gzip,
    /// `.tar.xz`
    Xz,
    /// `.tar.lzma`, deprecated
    Lzma,
    /// `.tar.zst`
    Zstd,
}

impl Compression {
    /// Compression of a member called `stem` plus a suffix; `None` if the name does not begin with `stem`.
    pub fn of_member(name: &str, stem: &str) -> Option<Result<Self, DebError>> {
        let suffix = name.strip_prefix(stem)?;
        Some(match suffix {
            "" => Ok(Self::None),
            ".gz" => Ok(Self::Gzip),
            ".xz" => Ok(Self::Xz),
            ".lzma" => Ok(Self::Lzma),
            ".zst" => Ok(Self::Zstd),
            _ => Err(DebError::Compression(name.to_owned())),
        })
    }

    /// A reader of the decompressed bytes.
    pub fn decoder<'a>(self, member: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>, DebError> {
        let lzma = |error: liblzma::stream::Error| DebError::Read {
            what: "the start of an xz member".into(),
            source: error.into(),
        };
        Ok(match self {
            // Headers are read in pieces of 512 bytes.
            Self::None => Box::new(BufReader::new(member)),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(member)),
            Self::Xz => {
                let stream = Stream::new_stream_decoder(limits::MEMORY, CONCATENATED).map_err(lzma)?;
                Box::new(liblzma::read::XzDecoder::new_stream(member, stream))
            }
            Self::Lzma => {
                let stream = Stream::new_lzma_decoder(limits::MEMORY).map_err(lzma)?;
                Box::new(liblzma::read::XzDecoder::new_stream(member, stream))
            }
            Self::Zstd => {
                let start = |error| DebError::read("the start of a zstd member")(error);
                let mut decoder = zstd::Decoder::new(member).map_err(start)?;
                decoder.window_log_max(limits::ZSTD_WINDOW_LOG).map_err(start)?;
                Box::new(decoder)
            }
        })
    }
}
