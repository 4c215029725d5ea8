//! Reads an image from its first byte to its last before anything is erased for it.

use std::io::{self, Read};

use diskimage::blockmap::Verifier;
use progress::{Progress, Unit};

use crate::image::{Image, ImageError};
use crate::source::Source;

/// Bytes between two progress reports.
const STEP: u64 = 4 << 20;

/// Checks that an image can be written: it has the expected digest, decompresses to the length in its partition
/// table, and matches its block map, as far as it has these. Writing checks the digest once more, but by then the
/// device has been erased.
///
/// # Errors
/// See [`ImageError`].
pub fn check(source: &Source, progress: &dyn Progress) -> Result<(), ImageError> {
    let inner = source.reader().map_err(ImageError::Read)?;
    let mapped = Mapped { inner, verifier: source.map.as_ref().map(Verifier::new) };
    let mut image = Image::open(Box::new(mapped), source.map.as_ref())?;
    let size = image.size();
    let task = progress.task("checking the image", Some(size), Unit::Bytes);
    task.advance(image.position);
    while image.position < size {
        let before = image.position;
        image.skip_to(size.min(before + STEP))?;
        task.advance(image.position - before);
    }
    image.finish()
}

/// Compares the bytes that are read with a block map.
struct Mapped<'a> {
    inner: Box<dyn Read + Send + 'a>,
    verifier: Option<Verifier<'a>>,
}

impl Read for Mapped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        let matches = match &mut self.verifier {
            Some(verifier) if count > 0 => verifier.update(bytes),
            Some(_) if !buffer.is_empty() => self.verifier.take().map_or(Ok(()), Verifier::finish),
            _ => Ok(()),
        };
        matches.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        Ok(count)
    }
}
