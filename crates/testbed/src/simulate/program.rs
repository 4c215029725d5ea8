//! A program that uses the simulated GPUs, seen from outside by way of `/proc`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use gpusim::{Fault, Memory};

/// The memory of a program. It stays that of the same run of the same program: when that has ended or has executed another
/// one, nothing can be read any more, whoever has its number then. Clones share a descriptor.
#[derive(Debug, Clone)]
pub(super) struct ProgramMemory(Rc<File>);

impl ProgramMemory {
    /// That of a thread, which it shares with all of its process.
    pub(super) fn open(thread: u32) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(format!("/proc/{thread}/mem"))?;
        Ok(Self(Rc::new(file)))
    }

    /// Whether the memory is still there.
    pub(super) fn has_stack(&self, run: Run) -> bool {
        self.read(run.stack, &mut [0]).is_ok()
    }
}

impl Memory for ProgramMemory {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        self.0.read_exact_at(bytes, address).map_err(|_| Fault)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.0.write_all_at(bytes, address).map_err(|_| Fault)
    }
}

/// The process that a thread belongs to.
pub(super) fn process_of(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// One run of a program, to tell it from another one in the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// When the process started.
    start: u64,
    /// Where the program's code is.
    code: u64,
    /// Where its stack began.
    stack: u64,
}

impl Run {
    /// What runs in a process that this thread belongs to.
    pub(super) fn of(process: u32, thread: u32) -> Option<Self> {
        let run = Self::read(process)?;
        // When the first thread has ended, a process goes on with the others, and only these still have its memory.
        if run.stack != 0 { Some(run) } else { Some(Self { start: run.start, ..Self::read(thread)? }) }
    }

    fn read(task: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{task}/stat")).ok()?;
        // After the name, which may have anything in it, the third field follows (`proc_pid_stat(5)`).
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Self { start: number(22)?, code: number(26)?, stack: number(28)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself() {
        let process = std::process::id();
        assert_eq!(process_of(process), Some(process));
        let run = Run::of(process, process).unwrap();
        let memory = ProgramMemory::open(process).unwrap();
        assert!(memory.has_stack(run));
        let text = b"simulated".to_vec();
        let mut found = [0; 9];
        memory.read(text.as_ptr() as u64, &mut found).unwrap();
        assert_eq!(found, *text);
        assert_eq!(memory.read(0, &mut found), Err(Fault));
    }
}
