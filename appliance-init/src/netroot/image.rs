//! The root as it comes: decompressed if need be, hashed on the way, and handed on in blocks.

use std::io::{self, BufReader, Read};

use sha2::{Digest as _, Sha256};
use zstd::zstd_safe::get_frame_content_size;

/// How a Zstandard frame begins (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The longest header of a frame, with its magic number.
const FRAME_HEADER: usize = 18;

/// Bytes that are handed on at once.
pub const BLOCK: usize = 1 << 20;

/// No root is larger: a size beyond it is a mistake or an attack.
const MOST: u64 = 1 << 40;

/// Takes the root.
pub trait Target {
    /// The root will have this many bytes.
    fn begin(&mut self, size: u64) -> io::Result<()>;
    /// The next [`BLOCK`] bytes; only the last block may have fewer. Returns a buffer for the one after it, which may be
    /// this one again.
    fn write(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>>;
    /// That was all; comes back when everything is where it belongs.
    fn end(&mut self) -> io::Result<()>;
}

/// What is wrong with a root.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The bytes could not be had, or not be decompressed.
    #[error(transparent)]
    Read(io::Error),
    /// They could not be kept.
    #[error("{0}")]
    Write(io::Error),
    /// Nobody says how large it is.
    #[error(
        "the size of the root is not known: the server tells no length, or the compressed file none of its content"
    )]
    NoSize,
    /// It is larger or smaller than it said.
    #[error("the root should have {expected} bytes and has {found}")]
    Size {
        /// What was said.
        expected: u64,
        /// What came; where that is more, counting was given up.
        found: u64,
    },
    /// It is another one than the command line asks for.
    #[error("the root's SHA-256 is {found}, and the kernel command line wants {expected}")]
    Digest {
        /// On the command line.
        expected: String,
        /// What came.
        found: String,
    },
}

/// A root on its way: its first bytes have come.
pub struct Incoming<R> {
    start: Vec<u8>,
    rest: R,
    length: Option<u64>,
}

impl<R: Read> Incoming<R> {
    /// Reads the first bytes of a file of `length` bytes, if that is known.
    ///
    /// # Errors
    /// What reading says.
    pub fn open(mut input: R, length: Option<u64>) -> Result<Self, ImageError> {
        let mut start = vec![0; FRAME_HEADER];
        let count = fill(&mut input, &mut start).map_err(ImageError::Read)?;
        start.truncate(count);
        Ok(Self { start, rest: input, length })
    }

    /// Whether it comes compressed with Zstandard.
    pub fn is_compressed(&self) -> bool {
        self.start.starts_with(&ZSTD)
    }

    /// The root's size in bytes, if somebody says it.
    pub fn size(&self) -> Option<u64> {
        if self.is_compressed() { get_frame_content_size(&self.start).ok().flatten() } else { self.length }
    }

    /// Reads the rest, and hands the root on. Comes back without an error only if it has this SHA-256. Returns its size.
    ///
    /// # Errors
    /// What is wrong with it; what the target has by then must not be used.
    pub fn receive(self, sha256: &[u8; 32], target: &mut dyn Target) -> Result<u64, ImageError> {
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

fn keep(mut input: impl Read, size: u64, sha256: &[u8; 32], target: &mut dyn Target) -> Result<u64, ImageError> {
    if size > MOST {
        return Err(ImageError::Size { expected: size, found: 0 });
    }
    target.begin(size).map_err(ImageError::Write)?;
    let (mut hash, mut found, mut block) = (Sha256::new(), 0_u64, Vec::new());
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
    let digest = hash.finalize();
    if digest[..] != sha256[..] {
        return Err(ImageError::Digest { expected: hex(sha256), found: hex(&digest) });
    }
    Ok(size)
}

/// Reads until the buffer is full or the input at its end.
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps everything, and the size that was announced.
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

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    fn compressed(with_size: bool) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        if with_size {
            encoder.set_pledged_src_size(Some(root().len() as u64)).unwrap();
        }
        io::Write::write_all(&mut encoder, &root()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], length: Option<u64>, digest: &[u8; 32]) -> (Result<u64, ImageError>, Memory) {
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
            assert!(matches!(read(&bytes, None, &[0; 32]).0, Err(ImageError::NoSize)));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_refused(bytes: Vec<u8>, zstd: bool) {
            let start = if zstd { &ZSTD[..] } else { &[] };
            let bytes = [start, &bytes].concat();
            proptest::prop_assert!(read(&bytes, Some(bytes.len() as u64), &[0; 32]).0.is_err());
        }
    }
}
