//! The architecture of the images.

/// Debian's name for the architecture of the images.
pub const ARCHITECTURE: &str = "amd64";
