//! Reads extended attributes from an inode and its attribute block.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use super::error::{ReadError, damaged};
use super::image::{Image, RawInode};
use crate::ext4::acl;
use crate::ext4::field::{get8, get16, get32};
use crate::ext4::format::XATTR_MAGIC;
use crate::ext4::xattrs::{NAME_SPACES, block_checksum_holds};

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// All attributes of an inode.
pub(super) fn of<R: Read + Seek>(image: &mut Image<R>, inode: &RawInode) -> Result<Xattrs, ReadError> {
    let mut xattrs = BTreeMap::new();
    let start = 128 + inode.extra_size();
    let area = inode.bytes.get(start..).unwrap_or_default();
    if get32(area, 0) == XATTR_MAGIC && inode.extra_size() > 0 {
        let area = area.get(4..).unwrap_or_default();
        parse(area, 0, &mut xattrs).or_else(|what| damaged(format!("inode {}: {what}", inode.number)))?;
    }
    let number = inode.xattr_block();
    if number != 0 {
        let block = image.block(number)?;
        if get32(&block, 0) != XATTR_MAGIC {
            return damaged(format!("inode {}: block {number} has no attributes", inode.number));
        }
        let superblock = &image.superblock;
        if superblock.has_checksums() && !block_checksum_holds(&block, number, superblock.seed) {
            return damaged(format!("the checksum of attribute block {number} is wrong"));
        }
        parse(&block, 32, &mut xattrs).or_else(|what| damaged(format!("inode {}: {what}", inode.number)))?;
    }
    Ok(xattrs)
}

/// Parses entries from `start` on; their values are at offsets into `area`.
fn parse(area: &[u8], start: usize, xattrs: &mut Xattrs) -> Result<(), &'static str> {
    let mut rest = area.get(start..).unwrap_or_default();
    // The list ends with four zero bytes or at the end of the area.
    while get32(rest, 0) != 0 {
        let (length, index) = (usize::from(get8(rest, 0)), get8(rest, 1));
        let name = rest.get(16..16 + length).ok_or("an attribute's name is cut short")?;
        let prefix = NAME_SPACES.iter().find(|(number, _)| *number == index).ok_or("an unknown kind of attribute")?.1;
        if get32(rest, 4) != 0 {
            return Err("an attribute's value is in another inode");
        }
        let (at, size) = (usize::from(get16(rest, 2)), get32(rest, 8) as usize);
        let value = at.checked_add(size).and_then(|end| area.get(at..end));
        let value = if size == 0 { &[] } else { value.ok_or("an attribute's value is cut short")? };
        let value = if index == 2 || index == 3 { acl::from_disk(value)? } else { value.to_vec() };
        if xattrs.insert([prefix, name].concat(), value).is_some() {
            return Err("an attribute is there twice");
        }
        rest = rest.get((16 + length).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}
