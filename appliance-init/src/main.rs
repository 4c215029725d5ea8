//! PID 1 of the rocbed appliance.
fn main() {}
