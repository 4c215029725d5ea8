//! Decompression of module files, as compressed with `CONFIG_MODULE_COMPRESS`.

use std::borrow::Cow;
use std::io::{self, Read};

/// Limit on the decompressed size of a module in bytes; Debian's largest (amdgpu) has about 30 MiB. More is an attack
/// or a broken file.
pub const MAX_MODULE_SIZE: u64 = 256 << 20;

/// Compression format of a module file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A plain ELF file.
    None,
    /// `.ko.xz`.
    Xz,
    /// `.ko.zst`.
    Zstd,
    /// `.ko.gz`.
    Gzip,
}

impl Compression {
    /// Detects the format by the first bytes, ignoring the file name.
    pub fn detect(bytes: &[u8]) -> Self {
        match bytes {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0x1f, 0x8b, ..] => Self::Gzip,
            _ => Self::None,
        }
    }
}

/// A module file that cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The compressed data is damaged or truncated.
    #[error("decompressing {compression:?} data: {source}; the file is damaged")]
    Damaged {
        /// Detected format.
        compression: Compression,
        /// Error of the decompressor.
        source: io::Error,
    },
    /// The output has more than [`MAX_MODULE_SIZE`] bytes.
    #[error("decompresses to more than {} MiB, which no kernel module does", MAX_MODULE_SIZE >> 20)]
    TooLarge,
}

/// Returns the ELF bytes of a module file; uncompressed files are not copied.
pub fn decompress(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DecompressError> {
    let compression = Compression::detect(bytes);
    let damaged = |source| DecompressError::Damaged { compression, source };
    let reader: Box<dyn Read + '_> = match compression {
        Compression::None => return Ok(Cow::Borrowed(bytes)),
        Compression::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(bytes)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).map_err(damaged)?),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
    };
    let mut plain = Vec::with_capacity(bytes.len().saturating_mul(6).min(MAX_MODULE_SIZE as usize));
    reader.take(MAX_MODULE_SIZE + 1).read_to_end(&mut plain).map_err(damaged)?;
    if plain.len() as u64 > MAX_MODULE_SIZE {
        return Err(DecompressError::TooLarge);
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_compression_gives_the_bytes_back() {
        let plain = b"\x7fELF and the rest".repeat(100);
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&plain[..], 1).read_to_end(&mut xz).unwrap();
        let zst = zstd::encode_all(&plain[..], 1).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        for packed in [xz, zst, gzip.finish().unwrap(), plain.clone()] {
            assert_eq!(*decompress(&packed).unwrap(), plain[..], "{:?}", Compression::detect(&packed));
        }
    }

    #[test]
    fn a_cut_file_is_an_error() {
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&[7_u8; 5000][..], 1).read_to_end(&mut xz).unwrap();
        xz.truncate(xz.len() / 2);
        assert!(matches!(decompress(&xz), Err(DecompressError::Damaged { compression: Compression::Xz, .. })));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::encode_all(io::repeat(0).take(MAX_MODULE_SIZE + 1), 1).unwrap();
        assert!(matches!(decompress(&bomb), Err(DecompressError::TooLarge)));
    }
}
