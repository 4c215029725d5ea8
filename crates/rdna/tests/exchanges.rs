//! Atomic operations that no compiler makes of C, against what the documents say of them, computed here.
#![allow(clippy::float_cmp, reason = "the instructions do so too")]

mod support;

use rdna::Architecture;
use support::Argument::Place;
use support::{Program, Random, bytes};

const ITEMS: usize = 32;
/// Words that each item is given, that it has in memory, and that it writes.
const GIVEN: usize = 12;
const WRITTEN: usize = 14;

/// What an item writes, and what memory has then.
fn expected(given: &[u32], memory: [u32; 2]) -> ([u32; WRITTEN], [u32; 2]) {
    let mut near = [given[0], given[1]];
    let mut far = [given[2], given[3]];
    let mut written = Vec::new();
    let mut exchange = |place: &mut u32, new: u32| written.push(std::mem::replace(place, new));
    exchange(&mut near[0], given[4]);
    exchange(&mut near[1], given[5]);
    exchange(&mut near[0], given[6]);
    exchange(&mut far[0], given[7]);
    let (limit, more) = (given[8], given[9]);
    let wrapped = if near[0] >= limit { near[0] - limit } else { near[0].wrapping_add(more) };
    exchange(&mut near[0], wrapped);
    let is_equal = |a: u32, b: u32| f32::from_bits(a) == f32::from_bits(b);
    let compared = if is_equal(near[1], given[10]) { given[11] } else { near[1] };
    exchange(&mut near[1], compared);
    for (place, marked) in far.iter_mut().zip(&given[4..6]) {
        let new = if marked >> 31 != 0 { marked & 0x7fff_ffff } else { *place };
        exchange(place, new);
    }
    written.extend(near.into_iter().chain(far).chain(memory));
    let swapped = if is_equal(memory[1], given[10]) { given[11] } else { memory[1] };
    (written.try_into().expect("as many"), [memory[0].saturating_sub(given[8]), swapped])
}

#[test]
fn exchanges_return_what_was_there() {
    for (architecture, object) in [
        (Architecture::Gfx10, &include_bytes!("kernels/gfx1030-exchanges.co")[..]),
        (Architecture::Gfx11, &include_bytes!("kernels/gfx1100-exchanges.co")[..]),
    ] {
        let mut program = Program::new(architecture, object);
        let mut random = Random(21);
        let mut given: Vec<u32> = (0..ITEMS * GIVEN).map(|_| random.word()).collect();
        let mut memory: Vec<u32> = (0..ITEMS * 2).map(|_| random.word()).collect();
        for (item, given) in given.chunks_mut(GIVEN).enumerate() {
            // What is compared is equal, of the other sign of zero, not a number, or another number.
            let numbers = [1.5_f32, 0.0, f32::NAN, 7.0];
            given[10] = numbers[item % 4].to_bits();
            let there = [1.5_f32, -0.0, f32::NAN, 8.0][item % 4].to_bits();
            (given[5], memory[2 * item + 1]) = (there, there);
        }
        let places = [program.put(&given), program.put(&memory), program.allocate(ITEMS * 64)];
        let arguments = bytes(&places.map(Place));
        let launched = program.try_launch("exchanges", [ITEMS as u32, 1, 1], [ITEMS as u32, 1, 1], &arguments);
        launched.unwrap_or_else(|problem| panic!("{architecture:?}: {problem}"));
        let written: Vec<u32> = program.get(places[2], ITEMS * 16);
        let after: Vec<u32> = program.get(places[1], ITEMS * 2);
        for item in 0..ITEMS {
            let before = [memory[2 * item], memory[2 * item + 1]];
            let (wanted, left) = expected(&given[GIVEN * item..GIVEN * (item + 1)], before);
            assert_eq!(written[16 * item..16 * item + WRITTEN], wanted, "{architecture:?}, item {item}");
            assert_eq!(after[2 * item..2 * item + 2], left, "{architecture:?}, item {item}");
        }
    }
}
