//! Reads blocks and inodes of an image.

use std::io::{Read, Seek, SeekFrom};

use super::error::{ReadError, damaged};
use super::superblock::Superblock;
use crate::ext4::checksum::inode_seed;
use crate::ext4::field::{get_split, get16, get32};
use crate::ext4::format::{SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE};
use crate::ext4::inode::{checksum, decode_time, has_high_checksum};
use crate::tree::Timestamp;

/// An image with access to its blocks.
#[derive(Debug)]
pub(super) struct Image<R> {
    reader: R,
    /// Offset of the file system in it in bytes.
    offset: u64,
    pub(super) superblock: Superblock,
}

impl<R: Read + Seek> Image<R> {
    pub(super) fn open(mut reader: R, offset: u64) -> Result<Self, ReadError> {
        let at = offset.saturating_add(SUPERBLOCK_OFFSET as u64);
        let mut bytes = [0; SUPERBLOCK_SIZE];
        read_at(&mut reader, at, &mut bytes)?;
        let superblock = Superblock::parse(&bytes, offset)?;
        Ok(Self { reader, offset, superblock })
    }

    /// Block size in bytes.
    pub(super) fn block_size(&self) -> u64 {
        u64::from(self.superblock.block_size)
    }

    /// Reads part of a block, from byte `skip` on.
    pub(super) fn read_in_block(&mut self, block: u64, skip: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        if block < self.superblock.first_data_block || block >= self.superblock.blocks {
            return damaged(format!("block {block} is behind the end"));
        }
        let at = block.saturating_mul(self.block_size()).saturating_add(skip);
        read_at(&mut self.reader, self.offset.saturating_add(at), bytes)
    }

    /// Reads a whole block.
    pub(super) fn block(&mut self, block: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; self.superblock.block_size as usize];
        self.read_in_block(block, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads an inode.
    pub(super) fn inode(&mut self, number: u32) -> Result<RawInode, ReadError> {
        let superblock = &self.superblock;
        if number == 0 || number > superblock.inodes {
            return damaged(format!("there is no inode {number}"));
        }
        let (block_size, inode_size) = (self.block_size(), u64::from(superblock.inode_size));
        let group = u64::from((number - 1) / superblock.inodes_per_group);
        let index = u64::from((number - 1) % superblock.inodes_per_group);
        let descriptor_size = usize::from(superblock.descriptor_size);
        let per_block = block_size / descriptor_size as u64;
        let (first, checksums, seed) = (superblock.first_data_block + 1, superblock.has_checksums(), superblock.seed);
        let mut descriptor = vec![0; descriptor_size];
        let skip = group % per_block * descriptor_size as u64;
        self.read_in_block(first + group / per_block, skip, &mut descriptor)?;
        let table =
            if descriptor_size >= 64 { get_split(&descriptor, 8, 40) } else { u64::from(get32(&descriptor, 8)) };
        let at = index * inode_size;
        let mut bytes = vec![0; inode_size as usize];
        self.read_in_block(table.saturating_add(at / block_size), at % block_size, &mut bytes)?;
        let inode = RawInode { number, bytes };
        if checksums && !inode.checksum_holds(seed) {
            return damaged(format!("the checksum of inode {number} is wrong"));
        }
        Ok(inode)
    }
}

fn read_at(reader: &mut (impl Read + Seek), offset: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
    let length = bytes.len() as u64;
    let mut read = || {
        reader.seek(SeekFrom::Start(offset))?;
        reader.read_exact(bytes)
    };
    read().map_err(|source| ReadError::Io { offset, length, source })
}

/// The raw bytes of an inode.
#[derive(Debug, Clone)]
pub(super) struct RawInode {
    pub(super) number: u32,
    pub(super) bytes: Vec<u8>,
}

impl RawInode {
    fn checksum_holds(&self, seed: u32) -> bool {
        let computed = checksum(&self.bytes, self.seed(seed));
        let low = u32::from(get16(&self.bytes, 124));
        if has_high_checksum(&self.bytes) {
            computed == low | u32::from(get16(&self.bytes, 130)) << 16
        } else {
            computed & 0xffff == low
        }
    }

    /// Seed of the checksums of the inode's blocks.
    pub(super) fn seed(&self, file_system_seed: u32) -> u32 {
        inode_seed(file_system_seed, self.number, get32(&self.bytes, 100))
    }

    pub(super) fn mode(&self) -> u16 {
        get16(&self.bytes, 0)
    }

    pub(super) fn uid(&self) -> u32 {
        u32::from(get16(&self.bytes, 2)) | u32::from(get16(&self.bytes, 120)) << 16
    }

    pub(super) fn gid(&self) -> u32 {
        u32::from(get16(&self.bytes, 24)) | u32::from(get16(&self.bytes, 122)) << 16
    }

    pub(super) fn size(&self) -> u64 {
        get_split(&self.bytes, 4, 108)
    }

    pub(super) fn flags(&self) -> u32 {
        get32(&self.bytes, 32)
    }

    pub(super) fn links(&self) -> u16 {
        get16(&self.bytes, 26)
    }

    /// `i_block`.
    pub(super) fn block(&self) -> &[u8] {
        self.bytes.get(40..100).unwrap_or_default()
    }

    pub(super) fn xattr_block(&self) -> u64 {
        u64::from(get32(&self.bytes, 104)) | u64::from(get16(&self.bytes, 118)) << 32
    }

    /// Size in bytes of the fields after the first 128.
    pub(super) fn extra_size(&self) -> usize {
        usize::from(get16(&self.bytes, 128))
    }

    pub(super) fn mtime(&self) -> Timestamp {
        let extra = if self.extra_size() >= 12 { get32(&self.bytes, 136) } else { 0 };
        decode_time(get32(&self.bytes, 16), extra)
    }
}
