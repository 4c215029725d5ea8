//! Inodes ("ext4 Data Structures: Index Nodes").

use super::checksum::crc;
use super::error::{WriteError, shown};
use super::field::{get16, put_split, put16, put32};
use super::format::{EXTRA_ISIZE, INODE_SIZE, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK};
use crate::tree::{Metadata, NodeKind, Timestamp};

/// The fields of an inode.
pub(super) struct Inode<'a> {
    /// File type and permissions.
    pub(super) mode: u16,
    pub(super) metadata: &'a Metadata,
    pub(super) size: u64,
    pub(super) links: u16,
    /// Number of blocks in use for it, of 4 KiB.
    pub(super) blocks: u64,
    pub(super) flags: u32,
    /// `i_block`.
    pub(super) block: [u8; 60],
    /// Block number of the extended attributes, 0 for none.
    pub(super) xattr_block: u64,
    /// Extended attributes stored after the fields.
    pub(super) xattrs: &'a [u8],
}

impl Inode<'_> {
    /// Encodes the inode; its path is for errors.
    pub(super) fn encode(&self, path: &[u8], seed: u32) -> Result<[u8; INODE_SIZE], WriteError> {
        let mut bytes = [0; INODE_SIZE];
        put16(&mut bytes, 0, self.mode);
        put16(&mut bytes, 2, self.metadata.uid as u16);
        put16(&mut bytes, 120, (self.metadata.uid >> 16) as u16);
        put16(&mut bytes, 24, self.metadata.gid as u16);
        put16(&mut bytes, 122, (self.metadata.gid >> 16) as u16);
        put_split(&mut bytes, 4, 108, self.size);
        put16(&mut bytes, 26, self.links);
        let sectors = self.blocks * 8;
        put32(&mut bytes, 28, sectors as u32);
        put16(&mut bytes, 116, (sectors >> 32) as u16);
        put32(&mut bytes, 32, self.flags);
        bytes[40..100].copy_from_slice(&self.block);
        put32(&mut bytes, 104, self.xattr_block as u32);
        put16(&mut bytes, 118, (self.xattr_block >> 32) as u16);
        put16(&mut bytes, 128, EXTRA_ISIZE as u16);
        let (time, extra) = encode_time(self.metadata.mtime)
            .ok_or_else(|| WriteError::TimeOutOfRange { path: shown(path), seconds: self.metadata.mtime.seconds })?;
        for (field, extra_field) in [(8, 140), (12, 132), (16, 136), (144, 148)] {
            put32(&mut bytes, field, time); // last read, inode changed, content changed, made
            put32(&mut bytes, extra_field, extra);
        }
        let xattrs = 128 + EXTRA_ISIZE;
        bytes[xattrs..xattrs + self.xattrs.len()].copy_from_slice(self.xattrs);
        let checksum = checksum(&bytes, seed);
        put16(&mut bytes, 124, checksum as u16);
        put16(&mut bytes, 130, (checksum >> 16) as u16);
        Ok(bytes)
    }
}

/// Checksum of an inode, ignoring the content of its checksum fields; those behind byte 128 only if it has them.
pub(super) fn checksum(inode: &[u8], seed: u32) -> u32 {
    let mut copy = inode.to_vec();
    if copy.len() >= 128 {
        put16(&mut copy, 124, 0);
    }
    if has_high_checksum(&copy) {
        put16(&mut copy, 130, 0);
    }
    crc(seed, &copy)
}

/// Whether the inode has `i_checksum_hi`.
pub(super) fn has_high_checksum(inode: &[u8]) -> bool {
    inode.len() >= 132 && get16(inode, 128) >= 4
}

/// Encodes a time as 32 bits of seconds, and a word of two more bits of them and the nanoseconds. `None` if out of
/// range.
fn encode_time(time: Timestamp) -> Option<(u32, u32)> {
    let low = time.seconds as i32;
    let epoch = (time.seconds.checked_sub(i64::from(low))?) >> 32;
    let fits = (0..4).contains(&epoch) && time.nanoseconds < 1_000_000_000;
    fits.then_some((low as u32, time.nanoseconds << 2 | epoch as u32))
}

/// Decodes a time from [`encode_time`].
pub(super) fn decode_time(seconds: u32, extra: u32) -> Timestamp {
    let seconds = i64::from(seconds.cast_signed()) + (i64::from(extra & 3) << 32);
    Timestamp { seconds, nanoseconds: (extra >> 2).min(999_999_999) }
}

/// File type bits of `i_mode`.
pub(super) fn mode_of(kind: &NodeKind) -> u16 {
    match kind {
        NodeKind::Directory => S_IFDIR,
        NodeKind::File(_) => S_IFREG,
        NodeKind::Symlink(_) => S_IFLNK,
        NodeKind::CharDevice { .. } => S_IFCHR,
        NodeKind::BlockDevice { .. } => S_IFBLK,
        NodeKind::Fifo => S_IFIFO,
        NodeKind::Socket => S_IFSOCK,
    }
}

/// `i_block` of a device: small numbers in the old format in its first word, others in the new format in its second.
pub(super) fn encode_device(major: u32, minor: u32) -> Option<[u8; 60]> {
    let mut block = [0; 60];
    if major < 256 && minor < 256 {
        put32(&mut block, 0, major << 8 | minor);
    } else if major < 1 << 12 && minor < 1 << 20 {
        put32(&mut block, 4, (minor & 0xff) | major << 8 | (minor & !0xff) << 12);
    } else {
        return None;
    }
    Some(block)
}

/// Decodes major and minor number from [`encode_device`].
pub(super) fn decode_device(old: u32, new: u32) -> (u32, u32) {
    if old != 0 { (old >> 8 & 0xff, old & 0xff) } else { (new >> 8 & 0xfff, (new & 0xff) | (new >> 12 & 0xfff00)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext4::field::get32;

    #[test]
    fn times_go_from_1901_to_2446() {
        for seconds in [-0x8000_0000, -1, 0, 0x7fff_ffff, 0x8000_0000, 0x3_7fff_ffff] {
            let time = Timestamp { seconds, nanoseconds: 999_999_999 };
            let (low, extra) = encode_time(time).unwrap();
            assert_eq!(decode_time(low, extra), time);
        }
        assert_eq!(encode_time(Timestamp::from_seconds(-0x8000_0001)), None);
        assert_eq!(encode_time(Timestamp::from_seconds(0x3_8000_0000)), None);
        assert_eq!(encode_time(Timestamp::from_seconds(i64::MIN)), None);
    }

    #[test]
    fn device_numbers_come_back() {
        for (major, minor) in [(1, 3), (255, 255), (8, 256), (0, 0), (256, 0), (4095, 0xf_ffff)] {
            let block = encode_device(major, minor).unwrap();
            assert_eq!(decode_device(get32(&block, 0), get32(&block, 4)), (major, minor));
        }
        assert_eq!(encode_device(4096, 0), None);
    }
}
