//! The data archive of a package: the files that it installs.

use std::io::{self, Read};

use tarball::{Entry, Reader};

use super::error::explained;
use super::{DebError, limits};

/// Reads the entries of a data archive in order. Between two calls of [`DataReader::next_entry`] it is a [`Read`] of the
/// entry's content.
pub struct DataReader<R>(Reader<R>);

impl<R: Read> DataReader<R> {
    /// Starts at the first byte of the decompressed archive. Fails later if it is larger than allowed for a package of this
    /// Installed-Size in KiB.
    pub fn new(archive: R, installed_size: Option<u64>) -> Self {
        Self(Reader::new(archive, limits::data(installed_size)))
    }

    /// The next entry, `None` at the end. Unread content of the previous entry is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, DebError> {
        let entry = self.0.next_entry().map_err(DebError::tar)?;
        // dpkg's file lists have one path per line: a line break in a name would make it several paths.
        match entry {
            Some(entry) if entry.path.contains(&b'\n') => {
                let path = String::from_utf8_lossy(&entry.path).into_owned();
                Err(DebError::Tar(format!("the path {path:?} has a line break")))
            }
            entry => Ok(entry),
        }
    }
}

impl<R: Read> Read for DataReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(explained)
    }
}
