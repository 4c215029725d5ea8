//! Compression formats of Debian's archives: of package members (deb(5)), package indexes and source tarballs. The one
//! home of their decoders, with limits on memory for what comes from outside.

use std::io::{self, BufReader, Read};

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// Memory limit of a decoder in bytes. dpkg-deb uses at most 65 MiB with xz and 128 MiB with zstd.
pub const MEMORY: u64 = 160 << 20;

/// The same for zstd, as the logarithm of its window: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Compression format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// xz(1), as Debian uses it.
    Xz,
    /// zstd(1).
    Zstd,
    /// gzip(1).
    Gzip,
    /// The old format of xz(1), deprecated.
    Lzma,
    /// Not compressed.
    None,
}

impl Compression {
    /// All formats, in the order of preference for an index that a mirror has in several.
    pub const ALL: [Self; 5] = [Self::Xz, Self::Zstd, Self::Gzip, Self::Lzma, Self::None];

    /// File name extension: `.xz`; nothing if it is not compressed.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Lzma => ".lzma",
            Self::None => "",
        }
    }

    /// The format with this file name extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// The format of a file that begins with these bytes, at least 6 of them. The old format of xz has no magic number
    /// and counts as not compressed.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// A reader of the decompressed bytes, of all streams in a row. It needs no more memory than [`MEMORY`] and a few
    /// buffers; how much comes out is for the caller to limit.
    ///
    /// # Errors
    /// If the decoder cannot be started.
    pub fn decoder<'a>(self, source: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            // Headers of tar archives are read in pieces of 512 bytes.
            Self::None => Box::new(BufReader::new(source)),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
            Self::Xz => Box::new(XzDecoder::new_stream(source, Stream::new_stream_decoder(MEMORY, CONCATENATED)?)),
            Self::Lzma => Box::new(XzDecoder::new_stream(source, Stream::new_lzma_decoder(MEMORY)?)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }

    /// Reads all of `source` if that is no more than `limit` bytes; `None` if it is more.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn read(self, source: impl Read + Send, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.decoder(source)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }
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
    fn formats_are_known_by_extension_and_first_bytes() {
        for how in Compression::ALL {
            assert_eq!(Compression::of_extension(how.extension()), Some(how));
            let expected = if how == Compression::Lzma { Compression::None } else { how };
            assert_eq!(Compression::detect(&compressed(how, b"Package: hello")), expected);
        }
        assert_eq!(Compression::of_extension(".bz2"), None);
    }

    #[test]
    fn several_streams_in_a_row_are_one_text() {
        for how in [Compression::Xz, Compression::Zstd, Compression::Gzip] {
            let bytes = [compressed(how, b"Package: a\n"), compressed(how, b"Version: 1\n")].concat();
            assert_eq!(how.read(&bytes[..], 100).unwrap().unwrap(), b"Package: a\nVersion: 1\n", "{how:?}");
        }
    }
}
