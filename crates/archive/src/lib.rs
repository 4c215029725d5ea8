//! Debian archives: signed Release files, package indexes, dependency solving. The formats of packages are in the
//! crate `debian`.
//!
//! Everything here is a pure function of bytes, without access to network, clock or file system. The steps are:
//!
//! 1. [`release::verify_inrelease`] checks the signature on an `InRelease` file against a [`release::Keyring`] and
//!    returns the signed text; [`release::Release::parse`] reads it and gives the digest of every index;
//! 2. [`index::Universe`] takes the text of the indexes and finds packages in them;
//! 3. [`policy::Policy`] says what may come from which of several archives;
//! 4. [`solve::solve`] chooses a consistent set of packages, with the reason for each.

pub mod index;
pub mod policy;
pub mod release;
pub mod solve;
