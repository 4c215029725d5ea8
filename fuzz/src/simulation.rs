//! What programs ask of a simulated GPU, and put into its queues.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use gpusim::{Answer, Fault, Kernels, Machine, Memory, Node, Request, Simulator};

/// Where the program's memory begins.
const BASE: u64 = 0x10_0000;
/// Longest input that fits in it.
const MOST: usize = 1 << 16;

#[derive(Clone)]
struct Piece(Rc<RefCell<Vec<u8>>>);

impl Piece {
    fn range(&self, address: u64, length: usize) -> Result<std::ops::Range<usize>, Fault> {
        let start = address.checked_sub(BASE).and_then(|at| usize::try_from(at).ok()).ok_or(Fault)?;
        let end = start.checked_add(length).filter(|end| *end <= self.0.borrow().len()).ok_or(Fault)?;
        Ok(start..end)
    }
}

impl Memory for Piece {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let range = self.range(address, bytes.len())?;
        bytes.copy_from_slice(&self.0.borrow()[range]);
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let range = self.range(address, bytes.len())?;
        self.0.borrow_mut()[range].copy_from_slice(bytes);
        Ok(())
    }
}

/// A program that has its memory and a queue on the GPU from the start, and makes requests: each is a number, a flag and an
/// argument in place. All are answered, none more than once, and a process that left has none that waits.
pub fn gpu_requests(data: &[u8]) {
    let Some(data) = data.get(..data.len().min(MOST)) else { return };
    let Ok(machine) = gpu::simulate("gfx1030,gfx942").map(|inventory| Machine::new(&inventory, 1 << 30, 2)) else {
        return;
    };
    let Ok(machine) = machine else { return };
    let gpu_id = machine.devices()[0].gpu_id;
    let mut simulator = Simulator::new(machine, Kernels::default());
    let memory = Piece(Rc::new(RefCell::new(vec![0; MOST * 2])));
    simulator.enter(1, Box::new(memory.clone()));
    let mut token = 0;
    let mut waiting = Vec::new();
    let mut ask = |simulator: &mut Simulator, node, kind: u8, index: u8, argument: &[u8]| {
        token += 1;
        memory.write(BASE, argument).expect("room for an argument");
        let number = 3 << 30 | (argument.len() as u32) << 16 | u32::from(kind) << 8 | u32::from(index);
        let now = Duration::from_millis(token);
        if simulator.ioctl(1, &Request { node, number, argument: BASE }, token, now) == Answer::Later {
            waiting.push(token);
        }
        for ended in simulator.step(now).0 {
            let place = waiting.iter().position(|token| *token == ended.token).expect("an answer to what was asked");
            waiting.remove(place);
        }
    };
    let words = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let gpu = u64::from(gpu_id);
    ask(&mut simulator, Node::Kfd, b'K', 0x15, &words(&[gpu << 32]));
    ask(&mut simulator, Node::Kfd, b'K', 0x16, &words(&[BASE, MOST as u64 * 2, 0, 0, gpu | 1 << 32]));
    let handle = 1 << 32 | 1;
    memory.write(BASE + 0x800, &gpu_id.to_le_bytes()).expect("room for a list");
    ask(&mut simulator, Node::Kfd, b'K', 0x18, &words(&[handle, BASE + 0x800, 1]));
    let (queue, ring) = (u64::from(data.first().copied().unwrap_or(1) % 5), BASE + 0x2000);
    let pointers = [ring, BASE + 0x1000, BASE + 0x1040, 0];
    let queue = [&pointers[..], &[0x1000 | gpu << 32, queue | 100 << 32, 0, 0, 0, BASE + 0x1800, 0, 0]].concat();
    ask(&mut simulator, Node::Kfd, b'K', 0x02, &words(&queue));
    memory.write(ring, data.get(..data.len().min(0x1000)).unwrap_or_default()).expect("room for a ring");
    memory.write(BASE + 0x1000, &(data.len() as u64 & 0xfff).to_le_bytes()).expect("room for a pointer");
    let mut rest = data;
    while let [index, flag, length, after @ ..] = rest {
        let (argument, next) = after.split_at(after.len().min(usize::from(*length)));
        let (node, kind) = if flag & 1 == 0 { (Node::Kfd, b'K') } else { (Node::Dri(usize::from(flag & 2)), b'd') };
        ask(&mut simulator, node, kind, *index, argument);
        rest = next;
    }
    simulator.leave(1);
    assert!(simulator.next_end().is_none() && !simulator.has_queues());
}
