//! [`Protection`]: what has to be trusted to trust a disk.

use std::fmt;
use std::str::FromStr;

use sha256::Digest;

use crate::BLOCK;

/// Largest size of data, in bytes: a larger one is a mistake.
const MOST: u64 = 1 << 40;

/// Root hash and size of data. As text it is `SIZE:ROOT-HASH`, as on the kernel command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// Size of the data in bytes; the superblock is behind it.
    pub size: u64,
    /// The hash that all others can be checked with.
    pub root_hash: Digest,
}

/// The text is not a size and a root hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a size in bytes, a multiple of 4096, and a root hash of 64 hexadecimal digits, with a colon between them"
)]
pub struct ProtectionError;

impl Protection {
    /// Number of blocks of data.
    pub fn blocks(&self) -> u64 {
        self.size / BLOCK as u64
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.size, self.root_hash)
    }
}

impl FromStr for Protection {
    type Err = ProtectionError;

    fn from_str(text: &str) -> Result<Self, ProtectionError> {
        let (size, root_hash) = text.split_once(':').ok_or(ProtectionError)?;
        let digits = size.bytes().all(|byte| byte.is_ascii_digit());
        let size: u64 = size.parse().map_err(|_| ProtectionError)?;
        if !digits || !(1..=MOST).contains(&size) || !size.is_multiple_of(BLOCK as u64) {
            return Err(ProtectionError);
        }
        Ok(Self { size, root_hash: root_hash.parse().map_err(|_| ProtectionError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let protection = Protection { size: 8192, root_hash: [0xab; 32].into() };
        let text = protection.to_string();
        assert_eq!(text, format!("8192:{}", "ab".repeat(32)));
        assert_eq!((text.parse(), protection.blocks()), (Ok(protection), 2));
    }

    #[test]
    fn nothing_else_is_read() {
        let hash = "ab".repeat(32);
        for text in [
            String::new(),
            hash.clone(),
            format!(":{hash}"),
            format!("0:{hash}"),
            format!("+4096:{hash}"),
            format!("4097:{hash}"),
            format!("{}:{hash}", 1_u64 << 41),
            format!("99999999999999999999:{hash}"),
            "4096:".into(),
            "4096:abc".into(),
            format!("4096:{hash}:"),
        ] {
            assert_eq!(text.parse::<Protection>(), Err(ProtectionError), "{text}");
        }
    }
}
