//! The rocbed command line.
fn main() {}
