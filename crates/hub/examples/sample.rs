//! A hub with sample jobs, results and workers, for viewing its pages: prints its address and serves until it is ended.
//! Its clock stands still.
//!
//! ```text
//! cargo run -p hub --example sample
//! ```

#![allow(dead_code)]

#[path = "../tests/browser/sample.rs"]
mod sample;
#[path = "../tests/hub/support.rs"]
mod support;

fn main() {
    let (hub, _workers) = sample::lab();
    println!("{}", hub.address);
    loop {
        std::thread::park();
    }
}
