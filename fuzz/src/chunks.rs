//! A root that is read over the network when it is needed.

use std::collections::BTreeSet;
use std::io;

use chunked::{Header, Index, Order};
use rocbed_init::netroot::on_demand::fuse::{self, Content};
use sha256::Digest;
use verity::{Protection, Superblock, table};

/// An index of chunks, and the bytes of a frame after it. An index that is taken is written the same, and a frame that is
/// not the named one is refused.
pub fn root_index(data: &[u8]) {
    let _ = Header::parse(data);
    let Ok(index) = Index::parse(data) else { return };
    assert_eq!(index.to_bytes(), data);
    let last = index.chunks().len().saturating_sub(1);
    assert!(index.verify(last, data).is_err());
    if let Ok(bytes) = index.decompress(last, data) {
        assert_eq!(bytes.len(), index.length_of(last));
    }
}

/// The order in which earlier starts read a root, of 1000 chunks, whose index has the digest that the bytes name. An order
/// that is taken is written the same; it names chunks of this root only, each once.
pub fn root_order(data: &[u8]) {
    const CHUNKS: usize = 1000;
    let Some(index) = named_index(data) else { return };
    let Ok(order) = Order::parse(data, index, CHUNKS) else { return };
    assert_eq!(order.to_bytes(), data);
    let numbers: BTreeSet<usize> = order.numbers().collect();
    assert_eq!(numbers.len(), order.numbers().len());
    assert!(numbers.last().is_none_or(|last| *last < CHUNKS));
}

/// Size and root hash as on the command line, a line of its own, and the superblock of a hash tree. What is taken reads back; the
/// kernel gets a table of ten words, for as many blocks as the command line says.
pub fn root_verity(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(word) = std::str::from_utf8(&data[..end]) else { return };
    let Ok(protection) = word.parse::<Protection>() else { return };
    assert_eq!(protection.to_string().parse(), Ok(protection));
    let Ok(superblock) = Superblock::parse(&data[end + 1..], &protection) else { return };
    let table = table("7:0", &protection, &superblock);
    assert_eq!((table.sectors, superblock.data_blocks), (protection.size / 512, protection.size / 4096));
    assert_eq!(table.parameters.split_ascii_whitespace().count(), 10);
}

/// The digest on the second line, so that mutations are not all of another index.
fn named_index(data: &[u8]) -> Option<Digest> {
    let line = data.split(|byte| *byte == b'\n').nth(1)?;
    std::str::from_utf8(line).ok()?.strip_prefix("index ")?.parse().ok()
}

/// A request of the kernel's FUSE. The answer has the length that it tells, and no more than was asked for.
pub fn fuse_request(data: &[u8]) {
    /// A file of 1 GiB whose second half cannot be read.
    struct Half;

    impl Content for Half {
        fn size(&self) -> u64 {
            1 << 30
        }

        fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
            assert!(offset + length as u64 <= self.size() && length <= fuse::MOST_READ as usize);
            if offset >= 1 << 29 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            into.resize(into.len() + length, 0);
            Ok(())
        }
    }

    let Some(answer) = fuse::answer(data, &Half) else { return };
    let length = answer.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    assert_eq!(length.map(|length| length as usize), Some(answer.len()));
    assert!(answer.len() <= 16 + fuse::MOST_READ as usize);
}
