//! Description of this machine, for results.

use std::thread;

use machineinfo::{Memory, Processors};
use protocol::Machine;

/// Describes this machine. What cannot be found out is left empty: a result without it is better than none.
pub fn this() -> Machine {
    let name = rustix::system::uname();
    Machine {
        name: name.nodename().to_string_lossy().into_owned(),
        kernel: name.release().to_string_lossy().into_owned(),
        processor: Processors::read().name,
        processors: thread::available_parallelism().map_or(1, |count| count.get() as u32),
        memory: Memory::read().map_or(0, |memory| memory.total >> 20),
        rocbed: env!("CARGO_PKG_VERSION").to_owned(),
        image: None,
        command_line: None,
        gpus: gpu::detect(&gpu::Sources::of_this_machine()),
    }
}
