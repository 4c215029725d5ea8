//! A limit on the bytes of an archive.

use std::io::{self, Read};

/// Reads up to a limit. What is beyond it is an error, as a small file can be made that fills any disk and memory.
pub(crate) struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Limited<R> {
    pub(crate) fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, left: limit }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::FileTooLarge, TooLarge(self.limit))),
        }
        Ok(read)
    }
}

/// Wrapped in an [`io::Error`], as [`Read`] returns no other type.
#[derive(Debug, thiserror::Error)]
#[error("it has more than {0} bytes")]
struct TooLarge(u64);

/// The limit in bytes, if this is the error of a [`Reader`](crate::Reader) that reached it while a content was read.
pub fn too_large(error: &io::Error) -> Option<u64> {
    error.get_ref()?.downcast_ref().map(|TooLarge(limit)| *limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_the_limit_is_read_to_the_end() {
        let mut bytes = Vec::new();
        assert_eq!(Limited::new(&[7; 100][..], 100).read_to_end(&mut bytes).unwrap(), 100);
        let error = Limited::new(&[7; 101][..], 100).read_to_end(&mut bytes).unwrap_err();
        assert_eq!(too_large(&error), Some(100));
        assert_eq!(too_large(&io::Error::other("another")), None);
    }
}
