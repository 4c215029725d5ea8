//! How much memory may be used for chunks of the root: they can be fetched again when programs need it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use machineinfo::Memory;

/// What is left for everything else before all chunks are kept, in bytes.
const RESERVE: u64 = crate::netroot::memory::RESERVE;

/// Below this much available memory, chunks are given up, in bytes.
const SCARCE: u64 = 96 << 20;

/// `/proc/meminfo`, kept open: the process that reads it sees no `/proc` later.
#[derive(Debug)]
pub(super) struct Meminfo(File);

impl Meminfo {
    /// Opens it.
    pub(super) fn open() -> io::Result<Self> {
        File::open(Memory::PATH).map(Self)
    }

    /// A file that stands for it.
    #[cfg(test)]
    pub(super) fn of(file: File) -> Self {
        Self(file)
    }

    /// Bytes that programs can still use; `None` if the kernel does not tell.
    fn available(&self) -> Option<u64> {
        let mut text = [0; 1024];
        let length = self.0.read_at(&mut text, 0).ok()?;
        Some(Memory::parse(&String::from_utf8_lossy(text.get(..length)?))?.available)
    }

    /// Whether memory is so short that chunks must go.
    pub(super) fn is_scarce(&self) -> bool {
        self.available().is_some_and(|available| available < SCARCE)
    }

    /// The bytes that compressed chunks may take, of `all` that there are.
    pub(super) fn budget(&self, all: u64) -> Budget {
        budget(all, self.available().unwrap_or_default())
    }
}

/// How many chunks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Budget {
    /// All of them: the rest is fetched in the background.
    All,
    /// Those used last, up to so many bytes.
    Bytes(u64),
}

fn budget(all: u64, available: u64) -> Budget {
    let spare = available.saturating_sub(RESERVE);
    if all <= spare / 2 { Budget::All } else { Budget::Bytes(spare / 4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_kept_where_it_takes_less_than_half() {
        assert_eq!(budget(100 << 20, 400 << 20), Budget::All);
        assert_eq!(budget(3 << 30, 4 << 30), Budget::Bytes(((4 << 30) - RESERVE) / 4));
        assert_eq!(budget(1, 0), Budget::Bytes(0));
    }
}
