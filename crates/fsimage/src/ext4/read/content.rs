//! Reads the content of a file sequentially.

use std::io::{self, Read, Seek};

use super::error::{ReadError, damaged};
use super::extents;
use super::image::{Image, RawInode};
use crate::ext4::extents::Extent;

/// Reads a regular file of an image from its start; holes read as zeros.
#[derive(Debug)]
pub struct FileReader<'i, R> {
    image: &'i mut Image<R>,
    extents: Vec<Extent>,
    /// Index of the next extent to use: all earlier ones end before `position`.
    next: usize,
    position: u64,
    size: u64,
}

impl<'i, R: Read + Seek> FileReader<'i, R> {
    pub(super) fn new(image: &'i mut Image<R>, inode: &RawInode) -> Result<Self, ReadError> {
        if inode.size() > image.block_size() << 32 {
            return damaged(format!("inode {} is larger than a file can be", inode.number));
        }
        let extents = extents::of(image, inode)?;
        Ok(Self { image, extents, next: 0, position: 0, size: inode.size() })
    }

    /// Length of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let block_size = self.image.block_size();
        let left = self.size.saturating_sub(self.position);
        let (at, skip) = (self.position / block_size, self.position % block_size);
        while self.extents.get(self.next).is_some_and(|extent| extent.logical + extent.length <= at) {
            self.next += 1;
        }
        let extent = self.extents.get(self.next).copied();
        let (physical, blocks) = match extent {
            Some(extent) if extent.logical <= at => {
                (Some(extent.physical + at - extent.logical), extent.logical + extent.length - at)
            }
            Some(extent) => (None, extent.logical - at),
            None => (None, u64::MAX),
        };
        let most = blocks.saturating_mul(block_size).saturating_sub(skip).min(left);
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        match physical {
            Some(block) if length > 0 => self.image.read_in_block(block, skip, buffer)?,
            _ => buffer.fill(0),
        }
        self.position += length as u64;
        Ok(length)
    }
}

impl<R: Read + Seek> Read for FileReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
    }
}
