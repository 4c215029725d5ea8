//! [`Request`]: one `ioctl(2)` of a program.

/// The file that a request is made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Node {
    /// `/dev/kfd`.
    Kfd,
    /// The render node or the card's node of the GPU with this index, counted from 0.
    Dri(usize),
}

/// A request: its number, split as `asm-generic/ioctl.h` does, and the address of its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The file.
    pub node: Node,
    /// The whole number.
    pub number: u32,
    /// Address of the argument in the program's memory.
    pub argument: u64,
}

/// Type of KFD's requests.
pub(crate) const KFD: u8 = b'K';
/// Type of DRM's requests.
pub(crate) const DRM: u8 = b'd';

impl Request {
    /// Number within its type.
    pub fn index(&self) -> u8 {
        self.number.to_le_bytes()[0]
    }

    /// Whose requests it is one of: `K` for KFD's, `d` for DRM's.
    pub fn kind(&self) -> u8 {
        self.number.to_le_bytes()[1]
    }

    /// Bytes of the argument.
    pub fn size(&self) -> usize {
        usize::try_from(self.number >> 16 & 0x3fff).unwrap_or(0)
    }

    /// Whether the argument is read.
    pub fn is_read(&self) -> bool {
        self.number >> 30 & 1 != 0
    }

    /// Whether the argument is written to.
    pub fn is_written(&self) -> bool {
        self.number >> 31 != 0
    }
}
