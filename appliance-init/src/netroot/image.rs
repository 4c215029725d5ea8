//! Receives the root: decompresses it if necessary, hashes it, and passes it on in blocks.

use std::io::{self, BufReader, Read};

use chunked::Header;
use sha256::{Digest, Hasher};
use zstd::zstd_safe::get_frame_content_size;

/// The magic number of a Zstandard frame (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that tell the size: the header of a frame has 18 at most, that of a chunk file more.
const FRAME_HEADER: usize = Header::LENGTH;

/// Size of a block in bytes.
pub const BLOCK: usize = 1 << 20;

/// The largest root, in bytes: a larger size is a mistake or an attack.
const MOST: u64 = 1 << 40;

/// Receives the root's blocks.
pub trait Target {
    /// Announces the root's size in bytes.
    fn begin(&mut self, size: u64) -> io::Result<()>;
    /// Takes the next [`BLOCK`] bytes; only the last block may have fewer. Returns a buffer for the next block,
    /// perhaps the same one.
    fn write(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>>;
    /// Ends the root; returns when everything is written.
    fn end(&mut self) -> io::Result<()>;
}

/// An error in a root.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The bytes could not be read or decompressed.
    #[error(transparent)]
    Read(io::Error),
    /// The bytes could not be written.
    #[error("{0}")]
    Write(io::Error),
    /// The size is not known.
    #[error(
        "the size of the root is not known: the server tells no length, or the compressed file none of its content"
    )]
    NoSize,
    /// The size is not the announced one.
    #[error("the root should have {expected} bytes and has {found}")]
    Size {
        /// The announced size in bytes.
        expected: u64,
        /// The received size in bytes; if it is too large, receiving stopped here.
        found: u64,
    },
    /// The digest is not the one on the command line.
    #[error("the root's SHA-256 is {found}, and the kernel command line wants {expected}")]
    Digest {
        /// The digest on the command line.
        expected: Digest,
        /// The digest of the received root.
        found: Digest,
    },
}

/// A root whose first bytes have been received.
pub struct Incoming<R> {
    start: Vec<u8>,
    rest: R,
    length: Option<u64>,
}

impl<R: Read> Incoming<R> {
    /// Reads the first bytes of a file; `length` is its size in bytes, if that is known.
    ///
    /// # Errors
    /// If reading fails.
    pub fn open(mut input: R, length: Option<u64>) -> Result<Self, ImageError> {
        let mut start = vec![0; FRAME_HEADER];
        let count = fill(&mut input, &mut start).map_err(ImageError::Read)?;
        start.truncate(count);
        Ok(Self { start, rest: input, length })
    }

    /// Whether it is compressed with Zstandard.
    pub fn is_compressed(&self) -> bool {
        self.start.starts_with(&ZSTD) || Header::parse(&self.start).is_some()
    }

    /// The root's size in bytes, if it is known.
    pub fn size(&self) -> Option<u64> {
        match Header::parse(&self.start) {
            Some(header) => Some(header.size),
            None if self.is_compressed() => get_frame_content_size(&self.start).ok().flatten(),
            None => self.length,
        }
    }

    /// Reads the rest, and passes the root on. Succeeds only if it has this SHA-256. Returns its size in bytes.
    ///
    /// # Errors
    /// See [`ImageError`]; after an error the target's content must not be used.
    pub fn receive(self, sha256: &Digest, target: &mut dyn Target) -> Result<u64, ImageError> {
        let size = self.size().ok_or(ImageError::NoSize)?;
        let compressed = self.is_compressed();
        let input = BufReader::with_capacity(256 << 10, self.start.as_slice().chain(self.rest));
        if compressed {
            let decoder = zstd::Decoder::with_buffer(input).map_err(ImageError::Read)?;
            keep(decoder, size, sha256, target)
        } else {
            keep(input, size, sha256, target)
        }
    }
}

fn keep(mut input: impl Read, size: u64, sha256: &Digest, target: &mut dyn Target) -> Result<u64, ImageError> {
    if size > MOST {
        return Err(ImageError::Size { expected: size, found: 0 });
    }
    target.begin(size).map_err(ImageError::Write)?;
    let (mut hash, mut found, mut block) = (Hasher::new(), 0_u64, Vec::new());
    loop {
        block.resize(BLOCK, 0);
        let count = fill(&mut input, &mut block).map_err(ImageError::Read)?;
        found = found.saturating_add(count as u64);
        if count == 0 || found > size {
            break;
        }
        block.truncate(count);
        hash.update(&block);
        block = target.write(block).map_err(ImageError::Write)?;
    }
    target.end().map_err(ImageError::Write)?;
    if found != size {
        return Err(ImageError::Size { expected: size, found });
    }
    let digest = hash.finish();
    if digest != *sha256 {
        return Err(ImageError::Digest { expected: *sha256, found: digest });
    }
    Ok(size)
}

/// Reads until the buffer is full or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that keeps everything, and the announced size.
    #[derive(Default)]
    struct Memory(Vec<u8>, u64);

    impl Target for Memory {
        fn begin(&mut self, size: u64) -> io::Result<()> {
            self.1 = size;
            Ok(())
        }

        fn write(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>> {
            self.0.extend(&block);
            Ok(block)
        }

        fn end(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn root() -> Vec<u8> {
        (0..(5 * BLOCK / 2) as u32).map(|number| (number % 253) as u8).collect()
    }

    fn sha256(bytes: &[u8]) -> Digest {
        Digest::of(bytes)
    }

    fn compressed(with_size: bool) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        if with_size {
            encoder.set_pledged_src_size(Some(root().len() as u64)).unwrap();
        }
        io::Write::write_all(&mut encoder, &root()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], length: Option<u64>, digest: &Digest) -> (Result<u64, ImageError>, Memory) {
        let mut memory = Memory::default();
        let result = Incoming::open(bytes, length).and_then(|incoming| incoming.receive(digest, &mut memory));
        (result, memory)
    }

    #[test]
    fn a_root_comes_compressed_or_not() {
        let (root, size) = (root(), root().len() as u64);
        for bytes in [compressed(true), root.clone()] {
            let (result, memory) = read(&bytes, Some(bytes.len() as u64), &sha256(&root));
            assert_eq!(result.unwrap(), size);
            assert!(memory.0 == root && memory.1 == size);
        }
    }

    #[test]
    fn any_other_root_is_refused() {
        let mut tampered = root();
        tampered[BLOCK + 7] ^= 1;
        let (result, _) = read(&tampered, Some(tampered.len() as u64), &sha256(&root()));
        let text = result.unwrap_err().to_string();
        assert!(text.contains("SHA-256 is ") && text.contains("kernel command line wants "), "{text}");
    }

    #[test]
    fn a_root_that_is_too_short_or_too_long_is_refused() {
        let root = root();
        for length in [root.len() as u64 - 1, root.len() as u64 + 1] {
            let (result, _) = read(&root, Some(length), &sha256(&root));
            assert!(matches!(result, Err(ImageError::Size { .. })), "{result:?}");
        }
        let bytes = compressed(true);
        let (result, _) = read(&bytes[..bytes.len() - 9], None, &sha256(&root));
        assert!(matches!(result, Err(ImageError::Read(_))), "{result:?}");
    }

    #[test]
    fn a_root_of_unknown_size_is_refused() {
        for bytes in [compressed(false), root()] {
            assert!(matches!(read(&bytes, None, &[0; 32].into()).0, Err(ImageError::NoSize)));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_refused(bytes: Vec<u8>, zstd: bool) {
            let start = if zstd { &ZSTD[..] } else { &[] };
            let bytes = [start, &bytes].concat();
            proptest::prop_assert!(read(&bytes, Some(bytes.len() as u64), &[0; 32].into()).0.is_err());
        }
    }
}
