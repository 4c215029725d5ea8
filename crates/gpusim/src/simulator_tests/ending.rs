//! Programs that end while the simulator reads or writes their memory.

use std::cell::Cell;

use super::*;
use crate::memory::Fault;

/// Memory of a program that ends after so many accesses.
struct Ending(Piece, Cell<u32>);

impl Ending {
    fn access(&self) -> Result<(), Fault> {
        self.1.set(self.1.get().checked_sub(1).ok_or(Fault)?);
        Ok(())
    }
}

impl Memory for Ending {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        self.access().and_then(|()| self.0.read(address, bytes))
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.access().and_then(|()| self.0.write(address, bytes))
    }
}

#[test]
fn a_program_that_ends_in_the_middle_of_a_copy_has_no_fault() {
    let (mut copies, mut cut) = (0, 0);
    for accesses in 0..20 {
        let mut program = Program::with_memory("gfx1030");
        program.queue(queue_type::SDMA);
        program.memory.write(RING, copy(DATA, DATA + 0x1000, 16).as_bytes()).unwrap();
        program.put(WRITE_POINTER, &28_u64);
        let process = program.simulator.processes.get_mut(&PROGRAM).unwrap();
        process.memory = Box::new(Ending(program.memory.clone(), Cell::new(accesses)));
        program.simulator.step(Duration::ZERO);
        let report = program.simulator.report();
        assert_eq!((report.faults, report.refused()), (0, false), "after {accesses} accesses");
        (copies, cut) = (copies + report.copies, cut + u64::from(report.copies == 0));
    }
    assert!(copies > 0 && cut > 2, "{copies} and {cut}");
}

#[test]
fn a_program_that_ends_before_its_kernel_or_in_the_middle_has_no_refused_one() {
    let (mut run, mut cut) = (0, 0);
    for accesses in 0..300 {
        let mut program = Program::with_memory("gfx1030");
        program.simulator.kernels = Kernels::Run;
        program.signal();
        program.queue(queue_type::COMPUTE_AQL);
        program.put_launch(kernel(&program, DATA + 0x1000, &STORES));
        let process = program.simulator.processes.get_mut(&PROGRAM).unwrap();
        process.memory = Box::new(Ending(program.memory.clone(), Cell::new(accesses)));
        program.simulator.step(Duration::ZERO);
        let report = program.simulator.report();
        assert_eq!((report.refused_kernels, report.faults, report.problem), (0, 0, None), "after {accesses} accesses");
        (run, cut) = (run + report.run_kernels, cut + u64::from(report.run_kernels == 0));
    }
    assert!(run > 0 && cut > 3, "{run} and {cut}");
}
