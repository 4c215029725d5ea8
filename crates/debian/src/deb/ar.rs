//! The outer container of a .deb: an `ar` archive in the common format (deb(5), "Format").

use std::io::{Read, Seek, SeekFrom};

use super::DebError;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_LENGTH: usize = 60;
/// Maximum number of members. A .deb has three, and a few more whose names begin with `_` may follow.
const MEMBERS_AT_MOST: usize = 64;

/// A member of the archive, with the position of its bytes in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Member name without padding and the trailing slash that some writers add.
    pub name: String,
    /// Offset of its first byte.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

/// Lists all members, in their order. Fails if a header is damaged or a member exceeds the file.
pub fn members(file: &mut (impl Read + Seek)) -> Result<Vec<Member>, DebError> {
    let length = file.seek(SeekFrom::End(0)).map_err(DebError::read("the archive's length"))?;
    file.seek(SeekFrom::Start(0)).map_err(DebError::read("the archive's start"))?;
    let mut magic = [0; MAGIC.len()];
    if length < MAGIC.len() as u64 {
        return Err(DebError::Container("it is too short".into()));
    }
    file.read_exact(&mut magic).map_err(DebError::read("the archive's magic number"))?;
    if magic != *MAGIC {
        return Err(DebError::Container("it does not begin with the magic number of an ar archive".into()));
    }

    let mut members = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < length {
        if length - at < HEADER_LENGTH as u64 {
            return Err(DebError::Container("a member header is cut off".into()));
        }
        if members.len() == MEMBERS_AT_MOST {
            return Err(DebError::Container(format!("it has more than {MEMBERS_AT_MOST} members")));
        }
        let mut header = [0; HEADER_LENGTH];
        file.seek(SeekFrom::Start(at)).map_err(DebError::read("a member header"))?;
        file.read_exact(&mut header).map_err(DebError::read("a member header"))?;
        let (name, size) = parse_header(&header)?;
        let offset = at + HEADER_LENGTH as u64;
        // Sizes have ten decimal digits at most, so these sums cannot overflow.
        let end = offset + size;
        if end > length {
            return Err(DebError::Container(format!("member {name:?} is cut off")));
        }
        members.push(Member { name, offset, size });
        at = end + end % 2;
    }
    Ok(members)
}

fn parse_header(header: &[u8; HEADER_LENGTH]) -> Result<(String, u64), DebError> {
    if header[58..] != *b"`\n" {
        return Err(DebError::Container("a member header has no end mark".into()));
    }
    let text = |range: std::ops::Range<usize>| {
        std::str::from_utf8(&header[range])
            .map(|text| text.trim_end_matches(' '))
            .map_err(|_| DebError::Container("a member header is not text".into()))
    };
    let name = text(0..16)?.trim_end_matches('/').to_owned();
    let size = text(48..58)?;
    match size.bytes().all(|byte| byte.is_ascii_digit()).then(|| size.parse()) {
        Some(Ok(size)) => Ok((name, size)),
        _ => Err(DebError::Container(format!("member {name:?} has the malformed size {size:?}"))),
    }
}
