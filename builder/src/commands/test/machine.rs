//! Description of this machine, for results.

use std::fs;
use std::thread;

use protocol::Machine;

/// Describes this machine. What cannot be found out is left empty: a result without it is better than none.
pub fn this() -> Machine {
    let name = rustix::system::uname();
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key))?;
        Some(line.1.trim().to_owned())
    };
    let memory = value(&text("/proc/meminfo"), "MemTotal");
    let kibibytes: Option<u64> = memory.and_then(|memory| memory.split_whitespace().next()?.parse().ok());
    Machine {
        name: name.nodename().to_string_lossy().into_owned(),
        kernel: name.release().to_string_lossy().into_owned(),
        processor: value(&text("/proc/cpuinfo"), "model name"),
        processors: thread::available_parallelism().map_or(1, |count| count.get() as u32),
        memory: kibibytes.unwrap_or_default() / 1024,
        rocbed: env!("CARGO_PKG_VERSION").to_owned(),
        image: None,
        command_line: None,
        gpus: gpu::detect(&gpu::Sources::of_this_machine()),
    }
}
