//! A content-addressed store and verified, parallel, resumable downloads into it.
//!
//! [`Store`] is a directory that several processes share. It holds files under the SHA-256 of their content, root
//! directories ("trees") under a digest of their inputs, and small named values under their key. Nothing is visible
//! under its final name before it is complete and, for files, before its digest was checked.
//!
//! [`Fetcher`] downloads into a store. [`Lock`] keeps two builds from writing to the same directory at once.
//!
//! ```text
//! <root>/CACHEDIR.TAG           keeps backup programs away
//! <root>/lock                   shared by every user of the store, exclusive while pruning
//! <root>/sha256/ab/abcd...      content; its modification time is its last use
//! <root>/sha256/ab/abcd....json its size and label
//! <root>/trees/abcd.../tree     a cached root directory; entry.json beside it has its size, label, digest and last use
//! <root>/meta/<key>             small named values, each behind its digest
//! <root>/partial/abcd...        interrupted downloads
//! <root>/tmp/                   what is being written now
//! ```

mod blob;
mod content;
mod description;
mod entry;
mod error;
pub mod fetch;
mod lock;
mod meta;
mod prune;
mod root;
mod temp;
mod tree;
mod verify;

pub use entry::{StoreEntry, StoreEntryKind};
pub use error::StoreError;
pub use fetch::{Download, FetchError, FetchOptions, Fetcher};
pub use lock::{Holder, Lock, LockError, Wait};
pub use prune::{PrunePolicy, PruneReport};
pub use root::{Store, default_root};
pub use tree::{PendingRemoval, Removal, Tree, TreeBuilder};
pub use verify::{Broken, Condition, VerifyReport};
