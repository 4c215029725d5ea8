//! SHA-256 digests (FIPS 180-4): [`Digest`], the one type for them, its text form, and hashing of bytes, streams and
//! what passes through a reader or writer. [`sums`] reads `SHA256SUMS` files.

mod digest;
mod hash;
pub mod sums;

pub use digest::{Digest, DigestError};
pub use hash::{DigestReader, Hasher};
