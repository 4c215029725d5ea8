//! POSIX access control lists: conversion between the format of getxattr(2) (version 2) and that of ext4 (version 1).
//!
//! Both consist of a 32-bit version, followed by entries of a tag, a permission and an id. In ext4's format, entries
//! without an id leave it out.

use super::field::{get16, get32};

const GIVEN_VERSION: u32 = 2;
const DISK_VERSION: u32 = 1;
/// Id of entries that have none.
const NO_ID: u32 = u32::MAX;

/// Whether entries with this tag name a user or group; `None` for unknown tags.
fn has_id(tag: u16) -> Option<bool> {
    match tag {
        0x02 | 0x08 => Some(true),                // ACL_USER, ACL_GROUP
        0x01 | 0x04 | 0x10 | 0x20 => Some(false), // ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER
        _ => None,
    }
}

/// Converts the format of getxattr(2) to ext4's.
pub(super) fn to_disk(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.len() < 4 || get32(value, 0) != GIVEN_VERSION {
        return Err("it does not begin with version 2");
    }
    let entries = value[4..].chunks_exact(8);
    if !entries.remainder().is_empty() {
        return Err("its last entry is cut short");
    }
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries {
        let id = has_id(get16(entry, 0)).ok_or("it has an entry of an unknown kind")?;
        disk.extend(&entry[..if id { 8 } else { 4 }]);
    }
    Ok(disk)
}

/// Converts ext4's format to that of getxattr(2).
pub(super) fn from_disk(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.len() < 4 || get32(value, 0) != DISK_VERSION {
        return Err("it does not begin with version 1");
    }
    let mut given = GIVEN_VERSION.to_le_bytes().to_vec();
    let mut rest = &value[4..];
    while !rest.is_empty() {
        let id = has_id(get16(rest, 0)).ok_or("it has an entry of an unknown kind")?;
        let (entry, after) = rest.split_at_checked(if id { 8 } else { 4 }).ok_or("its last entry is cut short")?;
        given.extend(entry);
        if !id {
            given.extend(NO_ID.to_le_bytes());
        }
        rest = after;
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `u::rw- u:1000:r-- g::r-- m::r-- o::---` in the format of getxattr(2).
    fn given() -> Vec<u8> {
        let mut value = vec![2, 0, 0, 0];
        for (tag, permission, id) in
            [(1u16, 6u16, NO_ID), (2, 4, 1000), (4, 4, NO_ID), (0x10, 4, NO_ID), (0x20, 0, NO_ID)]
        {
            value.extend(tag.to_le_bytes());
            value.extend(permission.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    #[test]
    fn there_and_back_again() {
        let disk = to_disk(&given()).unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 8);
        assert_eq!(from_disk(&disk).unwrap(), given());
    }

    #[test]
    fn broken_lists_are_refused() {
        assert!(to_disk(b"").is_err());
        assert!(to_disk(&given()[..9]).is_err());
        assert!(from_disk(&given()).is_err());
        assert!(from_disk(&[1, 0, 0, 0, 2, 0, 4, 0]).is_err());
    }
}
