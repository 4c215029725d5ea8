//! Choosing a consistent set of packages.
