//! Extended attributes: some in the inode behind its fields, the rest in one separate block ("ext4 Data Structures:
//! Extended Attributes").

use std::collections::BTreeMap;

use super::acl;
use super::checksum::crc;
use super::error::{WriteError, shown};
use super::field::{get32, put16, put32};
use super::format::{BLOCK, EXTRA_ISIZE, INODE_SIZE, XATTR_MAGIC};

/// Bytes of an inode available for attributes, behind the magic number.
pub(super) const IN_INODE: usize = INODE_SIZE - 128 - EXTRA_ISIZE - 4;
/// Size of `struct ext4_xattr_header`.
const BLOCK_HEADER: usize = 32;

/// Prefixes of names that are replaced by a number on disk. Whole names come first.
pub(super) const NAME_SPACES: [(u8, &[u8]); 6] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
    (7, b"system."),
];

/// A file's attributes in their on-disk format.
#[derive(Debug, Default)]
pub(super) struct Xattrs {
    /// Bytes after the inode's fields, with the magic number; empty if there are none.
    pub(super) in_inode: Vec<u8>,
    /// The attribute block, without its checksum.
    pub(super) block: Option<Vec<u8>>,
}

struct Attribute<'a> {
    index: u8,
    name: &'a [u8],
    value: Vec<u8>,
}

impl Attribute<'_> {
    /// Size of the entry in bytes: 16, and the name.
    fn entry_size(&self) -> usize {
        16 + self.name.len().next_multiple_of(4)
    }

    fn size(&self) -> usize {
        self.entry_size() + self.value.len().next_multiple_of(4)
    }

    /// `e_hash`, over the name and the value.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(name, |hash, word| {
            let mut bytes = [0; 4];
            bytes[..word.len()].copy_from_slice(word);
            hash.rotate_left(16) ^ u32::from_le_bytes(bytes)
        })
    }
}

/// Distributes a file's attributes to inode and block; an error if they do not fit.
pub(super) fn encode(path: &[u8], xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Xattrs, WriteError> {
    if xattrs.is_empty() {
        return Ok(Xattrs::default());
    }
    let mut attributes =
        xattrs.iter().map(|(name, value)| attribute(path, name, value)).collect::<Result<Vec<_>, _>>()?;
    // The order in which the kernel searches a block.
    attributes.sort_by_key(|attribute| (attribute.index, attribute.name.len(), attribute.name));

    // Four zero bytes end each list.
    let (mut inode_room, mut block_room) = (IN_INODE - 4, BLOCK - BLOCK_HEADER - 4);
    let (mut in_inode, mut in_block) = (Vec::new(), Vec::new());
    for attribute in attributes {
        let size = attribute.size();
        if size <= inode_room {
            inode_room -= size;
            in_inode.push(attribute);
        } else if size <= block_room {
            block_room -= size;
            in_block.push(attribute);
        } else {
            let name = String::from_utf8_lossy(attribute.name).into_owned();
            return Err(WriteError::XattrsTooLarge { path: shown(path), name, length: attribute.value.len() });
        }
    }
    let mut result = Xattrs::default();
    if !in_inode.is_empty() {
        let mut area = vec![0; IN_INODE];
        fill(&mut area, 0, &in_inode);
        result.in_inode = XATTR_MAGIC.to_le_bytes().into_iter().chain(area).collect();
    }
    if !in_block.is_empty() {
        let mut block = vec![0; BLOCK];
        put32(&mut block, 0, XATTR_MAGIC);
        put32(&mut block, 4, 1); // one inode refers to it
        put32(&mut block, 8, 1); // one block
        let hash = in_block.iter().fold(0u32, |hash, attribute| hash.rotate_left(16) ^ attribute.hash());
        put32(&mut block, 12, hash);
        fill(&mut block, BLOCK_HEADER, &in_block);
        result.block = Some(block);
    }
    Ok(result)
}

/// Sets the checksum of an attribute block, which includes its position.
pub(super) fn seal_block(block: &mut [u8], number: u64, file_system_seed: u32) {
    put32(block, 16, 0);
    let checksum = crc(crc(file_system_seed, &number.to_le_bytes()), block);
    put32(block, 16, checksum);
}

/// Whether the checksum of an attribute block is right.
pub(super) fn block_checksum_holds(block: &[u8], number: u64, file_system_seed: u32) -> bool {
    let mut copy = block.to_vec();
    if copy.len() < BLOCK_HEADER {
        return false;
    }
    seal_block(&mut copy, number, file_system_seed);
    get32(&copy, 16) == get32(block, 16)
}

fn attribute<'a>(path: &[u8], name: &'a [u8], value: &[u8]) -> Result<Attribute<'a>, WriteError> {
    let bad_name = || WriteError::BadXattrName { path: shown(path), name: String::from_utf8_lossy(name).into_owned() };
    let (index, rest) = NAME_SPACES
        .iter()
        .find_map(|(index, prefix)| name.strip_prefix(*prefix).map(|rest| (*index, rest)))
        .ok_or_else(bad_name)?;
    let is_acl = index == 2 || index == 3;
    if rest.len() > 255 || rest.is_empty() != is_acl {
        return Err(bad_name());
    }
    let value = if is_acl {
        acl::to_disk(value).map_err(|reason| WriteError::BadAcl {
            path: shown(path),
            name: String::from_utf8_lossy(name).into_owned(),
            reason,
        })?
    } else {
        value.to_vec()
    };
    Ok(Attribute { index, name: rest, value })
}

/// Entries grow from `start`, values from the end; offsets of values count from the beginning of `area`.
fn fill(area: &mut [u8], start: usize, attributes: &[Attribute<'_>]) {
    let (mut entry, mut values) = (start, area.len());
    for attribute in attributes {
        values -= attribute.value.len().next_multiple_of(4);
        area[values..values + attribute.value.len()].copy_from_slice(&attribute.value);
        area[entry] = attribute.name.len() as u8;
        area[entry + 1] = attribute.index;
        put16(area, entry + 2, if attribute.value.is_empty() { 0 } else { values as u16 });
        put32(area, entry + 8, attribute.value.len() as u32);
        put32(area, entry + 12, attribute.hash());
        area[entry + 16..entry + 16 + attribute.name.len()].copy_from_slice(attribute.name);
        entry += attribute.entry_size();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(name: &str, length: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        BTreeMap::from([(name.into(), vec![7; length])])
    }

    #[test]
    fn small_ones_are_in_the_inode_and_large_ones_in_a_block() {
        let small = encode(b"f", &xattrs("security.capability", 20)).unwrap();
        assert_eq!((small.in_inode.len(), small.block.is_none()), (IN_INODE + 4, true));
        let large = encode(b"f", &xattrs("user.note", 2000)).unwrap();
        assert_eq!((large.in_inode.len(), large.block.is_some()), (0, true));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_path() {
        let error = encode(b"etc/x", &xattrs("user.note", 4100)).unwrap_err().to_string();
        assert!(error.contains("/etc/x") && error.contains("note"), "{error}");
        assert!(matches!(encode(b"f", &xattrs("btrfs.x", 1)), Err(WriteError::BadXattrName { .. })));
        assert!(matches!(encode(b"f", &xattrs("user.", 1)), Err(WriteError::BadXattrName { .. })));
        assert!(matches!(encode(b"f", &xattrs("system.posix_acl_access", 9)), Err(WriteError::BadAcl { .. })));
    }
}
