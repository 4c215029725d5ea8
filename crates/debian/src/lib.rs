//! Formats of Debian packages: deb822 paragraphs, package relations and version numbers.
//!
//! Everything here is a pure function of text: no network, no clock, no file system. Archives (Release files, indexes,
//! dependency solving) stand on it, and so does what reads packages, source packages and tests' control files.

pub mod deb822;
pub mod relation;
pub mod version;
