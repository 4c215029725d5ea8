//! Formats of Debian packages: deb822 paragraphs, package relations, version numbers, and the words of autopkgtest's
//! control file.
//!
//! Everything here is a pure function of text, without access to network, clock or file system. It is used by the
//! `archive` crate (Release files, indexes, dependency solving) and by the readers of packages, source packages and
//! tests' control files.

pub mod autopkgtest;
pub mod deb822;
pub mod relation;
pub mod version;
