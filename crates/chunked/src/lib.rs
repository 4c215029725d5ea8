//! A file that is read in verified parts over a network: the file in chunks, each compressed on its own, and an index
//! with the SHA-256 of each.
//!
//! The **chunk file** (`root.img.zst`) is an ordinary Zstandard file (RFC 8878) that `zstd -d` turns into the whole: first
//! a skippable frame ([`Header`]) with the size and the SHA-256 of the whole, then a frame for each chunk, in order. Each
//! chunk has [`Index::chunk_size`] bytes, but for the last one.
//!
//! The **index** (`root.index`) says where each frame is and what its SHA-256 is; numbers are little-endian:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 16 | `rocbed index`, then 0, 0, 0, 1 (the version) |
//! | 16 | 8 | size of the whole, in bytes |
//! | 24 | 32 | SHA-256 of the whole |
//! | 56 | 4 | bytes of a chunk, a power of two from 4 KiB to 4 MiB |
//! | 60 | 4 | number of chunks |
//! | 64 | 36 each | for each chunk: length of its frame (4 bytes) and SHA-256 of its frame |
//!
//! The **order** (`root.order`) is advice: the numbers of the chunks that starts read first, in lines of text after two with
//! its version and the index that it belongs to.
//!
//! Who knows the SHA-256 of the index can check each frame before it is given to a decoder, whatever server it came from.

mod header;
mod index;
mod order;
#[cfg(feature = "write")]
mod write;

pub use header::Header;
pub use index::{Chunk, ChunkError, Index, IndexError};
pub use order::{Order, OrderError};
#[cfg(feature = "write")]
pub use write::{WriteError, verify, write};
