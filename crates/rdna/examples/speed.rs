//! Says how many instructions are carried out in a second, and how many launches of a small kernel:
//! `cargo run --release -p rdna --example speed`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;

use support::Argument::{Number, Place};
use support::{Program, objects};

/// Small kernels that are launched; their arguments have room in the program's memory.
const LAUNCHES: u32 = 500;

/// Seconds that this process had a processor, so that other processes don't matter.
fn seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn main() {
    for (architecture, lanes, object) in objects() {
        let mut program = Program::new(architecture, object);
        let data: Vec<u32> = (1..=65_536).collect();
        let (from, out) = (program.put(&data), program.allocate(4 * data.len()));
        for (name, items, arguments) in [
            ("collatz", 512, vec![Place(from), Place(out)]),
            ("add", 65_536, vec![Place(from), Place(from), Place(out), Number(65_536)]),
        ] {
            let began = seconds();
            let mut executed = 0;
            for _ in 0..20 {
                program.launch(name, items, &arguments);
                executed += program.executed;
            }
            let speed = executed as f64 / (seconds() - began) / 1e6;
            println!("{architecture:?}, waves of {lanes}, {name}: {speed:.1} million instructions in a second");
        }
        let began = seconds();
        for _ in 0..LAUNCHES {
            program.launch("add", 128, &[Place(from), Place(from), Place(out), Number(128)]);
        }
        let speed = f64::from(LAUNCHES) / (seconds() - began);
        println!("{architecture:?}, waves of {lanes}: {speed:.0} launches of one workgroup in a second");
    }
}
