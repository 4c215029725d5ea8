//! The hub killed at any moment.
