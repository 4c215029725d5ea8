//! Formats of Debian packages: deb822 paragraphs, package relations, version numbers, `.deb`, `.dsc` and `.changes` files, and
//! the words of autopkgtest's control file.
//!
//! Everything here is a pure function of what it reads, without access to network, clock or file system. It is used by the
//! `archive` crate (Release files, indexes, dependency solving), by `rootfs`, which unpacks packages, and by `runner`, which
//! prepares source packages.
//!
//! Reading `.deb` files needs decompressors: both are behind the feature `deb`.

pub mod autopkgtest;
pub mod changes;
#[cfg(feature = "deb")]
pub mod compression;
#[cfg(feature = "deb")]
pub mod deb;
pub mod deb822;
pub mod dsc;
pub mod relation;
pub mod size;
pub mod version;
