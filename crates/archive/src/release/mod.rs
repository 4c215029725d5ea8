//! Signed Release files: verification of their signatures, and the digests of a suite's indexes.
//!
//! The format is that of the Debian repository (`InRelease`, or `Release` with `Release.gpg`). Trust flows one way:
//! [`verify_inrelease`] returns text that a key of the [`Keyring`] has signed, [`Release::parse`] reads the digests of
//! the indexes from it, and the indexes hold the digests of the packages.

mod keyring;
mod parse;
mod verify;

pub use keyring::{Keyring, KeyringError};
pub use parse::{IndexEntry, Release, ReleaseError, ValidUntil};
pub use verify::{Problem, Rejected, Signer, Verified, VerifyError, verify_detached, verify_inrelease};
