//! Debian archives: signed Release files, package indexes, dependency solving. The formats of packages are in `debian`.
//!
//! Everything here is a pure function of bytes: no network, no clock, no file system. The one way through is
//!
//! 1. [`release::verify_inrelease`] checks the signature on an `InRelease` file against a [`release::Keyring`] and
//!    returns the signed text; [`release::Release::parse`] reads it and gives the digest of every index;
//! 2. [`index::Universe`] takes the text of the indexes and finds packages in them;
//! 3. [`solve::solve`] chooses a consistent set of packages and says why each is in and in which order to configure.

pub mod index;
pub mod release;
pub mod solve;
