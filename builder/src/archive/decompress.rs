//! Decompression of package indexes, with a limit on the output.

use std::io::{self, Read};

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// Compression format of an index, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// xz(1), as Debian uses it.
    Xz,
    /// zstd(1).
    Zstd,
    /// gzip(1), used by archives that small tools made.
    Gzip,
    /// The old format of xz(1), `.lzma`.
    Lzma,
    /// Not compressed.
    None,
}

/// Memory limit for the xz decompressor, in bytes: `xz -9` needs 65 MiB.
const MEMORY: u64 = 256 << 20;

impl Compression {
    /// All formats, best first.
    pub const ALL: [Self; 5] = [Self::Xz, Self::Zstd, Self::Gzip, Self::Lzma, Self::None];

    /// File name extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Lzma => ".lzma",
            Self::None => "",
        }
    }

    /// Reads all of `source` if that is no more than `limit` bytes; `None` if it is more.
    pub fn read(self, source: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Xz => read(XzDecoder::new_stream(source, Stream::new_stream_decoder(MEMORY, CONCATENATED)?), limit),
            Self::Zstd => read(zstd::Decoder::new(source)?, limit),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(source), limit),
            Self::Lzma => read(XzDecoder::new_stream(source, Stream::new_lzma_decoder(MEMORY)?), limit),
            Self::None => read(source, limit),
        }
    }
}

fn read(source: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn compressed(how: Compression, bytes: &[u8]) -> Vec<u8> {
        match how {
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(bytes, 3).unwrap(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Lzma => {
                let stream = Stream::new_lzma_encoder(&liblzma::stream::LzmaOptions::new_preset(6).unwrap()).unwrap();
                let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::None => bytes.to_vec(),
        }
    }

    #[test]
    fn what_was_compressed_comes_back_and_no_more_than_allowed() {
        let text = b"Package: hello\n".repeat(10_000);
        for how in Compression::ALL {
            let bytes = compressed(how, &text);
            assert_eq!(how.read(&bytes[..], text.len() as u64).unwrap().as_ref(), Some(&text), "{how:?}");
            assert_eq!(how.read(&bytes[..], text.len() as u64 - 1).unwrap(), None, "{how:?}");
            if how != Compression::None {
                assert!(how.read(&bytes[..bytes.len() / 2], u64::MAX - 1).is_err(), "{how:?}");
            }
        }
    }

    #[test]
    fn several_streams_in_a_row_are_one_text() {
        for how in [Compression::Xz, Compression::Zstd, Compression::Gzip] {
            let bytes = [compressed(how, b"Package: a\n"), compressed(how, b"Version: 1\n")].concat();
            assert_eq!(how.read(&bytes[..], 100).unwrap().unwrap(), b"Package: a\nVersion: 1\n", "{how:?}");
        }
    }
}
