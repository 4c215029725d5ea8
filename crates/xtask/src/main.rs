//! The project's own chores: demo, test, bench.
fn main() {}
