//! [`ReadOrder`]: notes the order in which machines read the root's chunks, for those that start later.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chunked::{Index, Order};
use durable::Readers;
use sha256::Digest;

/// The order's name, beside the compressed root and on the server.
pub const ORDER: &str = "root.order";

/// Chunks that were read after which the file is written anew.
const SAVE: usize = 64;

/// The order of all chunks that any machine has read because it needed them. Only the first read of a chunk counts: what
/// the first start read comes first, and what later ones read besides follows.
#[derive(Debug)]
pub(crate) struct ReadOrder {
    index: Index,
    path: PathBuf,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    order: Order,
    /// Chunks that the file does not have.
    unsaved: usize,
}

impl ReadOrder {
    /// Goes on with the order beside the compressed root, if that is of the same index.
    pub(crate) fn open(index: &[u8], root: &Path) -> Option<Self> {
        let digest = Digest::of(index);
        let index = Index::parse(index).ok()?;
        let path = root.with_file_name(ORDER);
        let kept = std::fs::read(&path).ok().and_then(|bytes| Order::parse(&bytes, digest, index.chunks().len()).ok());
        let order = kept.unwrap_or_else(|| Order::new(digest, index.chunks().len()));
        Some(Self { index, path, noted: Mutex::new(Noted { order, unsaved: 0 }) })
    }

    /// Notes a part of the compressed root that a machine reads because it needs it now: one chunk.
    pub(crate) fn read(&self, offset: u64, length: u64) {
        let chunks = self.index.chunks();
        let Ok(number) = chunks.binary_search_by_key(&offset, |chunk| chunk.offset) else { return };
        if chunks.get(number).is_none_or(|chunk| u64::from(chunk.length) != length) {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        // More than half of the root is not what a start reads, but a machine that has read all files.
        if noted.order.numbers().len() >= chunks.len().div_ceil(2) {
            return;
        }
        noted.unsaved += usize::from(noted.order.add(number));
        if noted.unsaved >= SAVE {
            self.write(&mut noted);
        }
    }

    /// Writes what is not in the file yet.
    pub(crate) fn save(&self) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.unsaved > 0 {
            self.write(&mut noted);
        }
    }

    fn write(&self, noted: &mut Noted) {
        noted.unsaved = 0;
        // It only makes later starts faster. Where the directory cannot be written to, it is known as long as this server runs.
        let _ = durable::replace_unsynced(&self.path, &noted.order.to_bytes(), Readers::Everyone);
    }

    /// The order as a file; `None` as long as no machine has read anything.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        (noted.order.numbers().len() > 0).then(|| noted.order.to_bytes())
    }
}

impl Drop for ReadOrder {
    fn drop(&mut self) {
        self.save();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_machines_read_is_kept_for_the_next_server() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let root = directory.path().join("root.img.zst");
        let whole: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let mut file = std::fs::File::create(&root)?;
        let index = chunked::write(&mut whole.as_slice(), &mut file, 4096, &mut |_| {})?;
        let bytes = index.to_bytes();
        let part = |number: usize| (index.chunks()[number].offset, u64::from(index.chunks()[number].length));
        {
            let order = ReadOrder::open(&bytes, &root).ok_or("an index")?;
            assert_eq!(order.to_bytes(), None);
            for number in [7, 3, 7, 40] {
                let (offset, length) = part(number);
                order.read(offset, length);
            }
            // No chunk: the start of the file, a part of one, several.
            order.read(0, 48);
            order.read(part(5).0, part(5).1 - 1);
            order.read(part(5).0, part(5).1 + part(6).1);
        }
        let again = ReadOrder::open(&bytes, &root).ok_or("an index")?;
        let found = Order::parse(&again.to_bytes().ok_or("an order")?, Digest::of(&bytes), index.chunks().len())?;
        assert_eq!(found.numbers().collect::<Vec<_>>(), [7, 3, 40]);
        // After a new build it begins anew.
        let other = chunked::write(&mut &whole[1..], &mut std::fs::File::create(&root)?, 4096, &mut |_| {})?;
        assert_eq!(ReadOrder::open(&other.to_bytes(), &root).ok_or("an index")?.to_bytes(), None);
        Ok(())
    }
}
