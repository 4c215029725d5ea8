//! Kernels that a compiler made, against the same computed here.
#![allow(clippy::cast_possible_wrap, clippy::float_cmp, reason = "the kernels do so too")]

mod support;

use rdna::Problem;
use support::Argument::{Number, Place};
use support::{Program, Random, bytes, objects};

const ITEMS: usize = 512;

/// Runs a test with each code object.
fn each(test: impl Fn(&mut Program, usize)) {
    for (architecture, lanes, object) in objects() {
        println!("{architecture:?} with waves of {lanes}");
        test(&mut Program::new(architecture, object), lanes);
    }
}

fn words(seed: u64, count: usize) -> Vec<u32> {
    let mut random = Random(seed);
    (0..count).map(|_| random.word()).collect()
}

/// Numbers of all magnitudes, and the special ones.
fn floats(seed: u64, count: usize) -> Vec<f32> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        1e-40,
        -1e-45,
        3.4e38,
        65504.0,
        65520.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-38,
        1.1e-38,
        5.9e-8,
        255.5,
    ];
    let mut random = Random(seed);
    let number = |index: usize| match index % 3 {
        0 => f32::from_bits(random.word()),
        1 => (random.word() as i32 as f32) / 65536.0,
        _ => special[random.next() as usize % special.len()],
    };
    (0..count).map(number).collect()
}

/// The bits, with all that are no number alike.
fn canonical(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

fn canonical64(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

#[test]
fn vectors_are_added() {
    each(|program, _| {
        let (a, b) = (floats(1, ITEMS), floats(2, ITEMS));
        let places = [program.put(&a), program.put(&b), program.put(&[7.0_f32; ITEMS])];
        let [first, second, out] = places.map(Place);
        let count = 300;
        program.launch("add", ITEMS, &[first, second, out, Number(count as u32)]);
        let found: Vec<u32> = program.get(places[2], ITEMS).into_iter().map(canonical).collect();
        let sum = |index: usize| if index < count { a[index] + b[index] } else { 7.0 };
        assert_eq!(found, (0..ITEMS).map(|index| canonical(sum(index))).collect::<Vec<_>>());
    });
}

#[test]
fn memory_is_copied_and_filled() {
    each(|program, _| {
        let data = words(3, 4096);
        let from = program.put(&data);
        let (to, wide, filled) = (program.allocate(16384), program.allocate(16384), program.allocate(4100));
        program.launch("copy_bytes", 256, &[Place(from), Place(to), Number(16_381)]);
        let copied: Vec<u8> = program.get(to, 16_384);
        let expected: Vec<u8> = data.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(copied[..16_381], expected[..16_381]);
        assert_eq!(copied[16_381..], [0; 3]);
        program.launch("copy_wide", 256, &[Place(from), Place(wide), Number(1024)]);
        assert_eq!(program.get::<u32>(wide, 4096), data);
        program.launch("fill", 256, &[Place(filled), Number(0x5a5a_0001), Number(1024)]);
        assert_eq!(program.get::<u32>(filled, 1024), [0x5a5a_0001; 1024]);
        assert_eq!(program.get::<u32>(filled + 4096, 1), [0]);
    });
}

#[test]
fn workgroups_add_up_what_their_items_have() {
    each(|program, _| {
        let data: Vec<i32> = words(4, ITEMS).into_iter().map(|word| word as i32 >> 4).collect();
        let (from, out) = (program.put(&data), program.allocate(16));
        program.launch("reduce", ITEMS, &[Place(from), Place(out)]);
        let sums: Vec<i32> =
            data.chunks(128).map(|chunk| chunk.iter().fold(0, |sum: i32, number| sum.wrapping_add(*number))).collect();
        assert_eq!(program.get::<i32>(out, 4), sums);
    });
}

#[test]
fn numbers_are_converted() {
    each(|program, _| {
        let data = floats(5, ITEMS);
        let (from, out) = (program.put(&data), program.allocate(ITEMS * 64));
        program.launch("convert_float", ITEMS, &[Place(from), Place(out)]);
        let found: Vec<u32> = program.get(out, ITEMS * 16);
        for (number, found) in data.iter().copied().zip(found.chunks(16)) {
            let limited = if number.is_nan() { -1e6 } else { number.clamp(-1e6, 1e6) };
            let wide = f64::from(number);
            let bits = canonical64(wide * 3.0 + 0.1);
            let as_float = |index: usize| canonical(f32::from_bits(found[index]));
            let integers = [limited as i32 as u32, limited.abs() as u32];
            assert_eq!(found[..2], integers, "{number}");
            let floats = [number.floor(), number.ceil(), number.trunc(), number.round_ties_even()];
            assert_eq!([4, 5, 6, 7].map(as_float), floats.map(canonical), "{number}");
            let found_bits = u64::from(found[8]) | u64::from(found[9]) << 32;
            assert_eq!(canonical64(f64::from_bits(found_bits)), bits, "{number}");
            // The compiler divides the shorter numbers, which OpenCL allows to be two and a half units off.
            let (found_quotient, quotient) = (as_float(10), canonical(number / 7.0));
            assert!(found_quotient.abs_diff(quotient) <= 2, "{number}");
            assert_eq!(found[11], u32::from(limited as i32 as u8), "{number}");
            assert_eq!([12, 13].map(as_float), [number.min(2.5), number.max(-2.5)].map(canonical), "{number}");
            assert_eq!(as_float(14), canonical(limited as i32 as f32), "{number}");
            assert_eq!(as_float(15), canonical(limited as i32 as u32 as f32), "{number}");
            // The half is the nearest one: nothing lies between it and the number.
            let half = f32::from_bits(found[3]);
            if number.abs() < 65504.0 {
                let step = (number.abs() / 1024.0).max(6.0e-8);
                assert!((half - number).abs() <= step / 2.0 * 1.001, "{number} became {half}");
            } else if !number.is_nan() {
                assert!(half == number || half.abs() == 65504.0 || half.is_infinite(), "{number} became {half}");
            }
        }
    });
}

#[test]
fn divisions_are_exact() {
    each(|program, _| {
        let (a, b) = (floats(6, 8 * ITEMS), floats(7, 8 * ITEMS));
        let places = [program.put(&a), program.put(&b), program.allocate(32 * ITEMS)];
        program.launch("divide_float", 8 * ITEMS, &places.map(Place));
        for ((a, b), found) in a.iter().zip(&b).zip(program.get::<f32>(places[2], 8 * ITEMS)) {
            // OpenCL allows two and a half units in the last place.
            let expected = a / b;
            let distance = i64::from(found.to_bits() as i32).abs_diff(i64::from(expected.to_bits() as i32));
            let is_near = canonical(found) == canonical(expected)
                || found.is_sign_negative() == expected.is_sign_negative() && distance <= 2;
            assert!(is_near, "{a:e} / {b:e} = {found:e}, not {expected:e}");
        }
        let mut random = Random(8);
        let mut double = |index: usize| match index % 2 {
            0 => f64::from_bits(random.next()),
            _ => (random.next() as i64) as f64 / 1e9,
        };
        let a: Vec<f64> = (0..ITEMS).map(&mut double).collect();
        let b: Vec<f64> = (0..ITEMS).map(&mut double).collect();
        let places = [program.put(&a), program.put(&b), program.allocate(16 * ITEMS)];
        program.launch("divide_double", ITEMS, &places.map(Place));
        for ((a, b), found) in a.iter().zip(&b).zip(program.get::<f64>(places[2], 2 * ITEMS).chunks(2)) {
            assert_eq!(canonical64(found[0]), canonical64(a / b), "{a:e} / {b:e} = {:e}, not {:e}", found[0], a / b);
            assert_eq!(canonical64(found[1]), canonical64(a.mul_add(*b, *a)), "{a:e} * {b:e} + {a:e}");
        }
    });
}

#[test]
fn roots_and_reciprocals_are_near() {
    each(|program, _| {
        let data: Vec<f32> = (1..=ITEMS).map(|index| index as f32 * 1.37).collect();
        let (from, out) = (program.put(&data), program.allocate(16 * ITEMS));
        program.launch("roots", ITEMS, &[Place(from), Place(out)]);
        for (number, found) in data.iter().zip(program.get::<f32>(out, 4 * ITEMS).chunks(4)) {
            let expected = [number.sqrt(), 1.0 / number, 1.0 / number.sqrt(), number.fract()];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= expected.abs() * 3e-7, "{number}: {found} is not {expected}");
            }
        }
    });
}

#[test]
fn halves_are_numbers_too() {
    // Small whole numbers, of which all results but the quotients are exact.
    let half = |number: i32| -> u16 {
        if number == 0 {
            return 0;
        }
        let exponent = number.unsigned_abs().ilog2();
        let fraction = (number.unsigned_abs() << (10 - exponent)) & 0x3ff;
        (if number < 0 { 0x8000 } else { 0 }) | ((exponent + 15) << 10 | fraction) as u16
    };
    each(|program, _| {
        let mut random = Random(9);
        let numbers: Vec<[i32; 4]> =
            (0..ITEMS).map(|_| [0; 4].map(|_: i32| (random.next() % 60) as i32 - 30)).collect();
        let pairs = |first: usize| -> Vec<u16> {
            numbers.iter().flat_map(|four| [half(four[first]), half(four[first + 1])]).collect()
        };
        let places = [program.put(&pairs(0)), program.put(&pairs(2)), program.allocate(16 * ITEMS)];
        program.launch("halves", ITEMS, &places.map(Place));
        for ([a, b, c, d], found) in numbers.iter().copied().zip(program.get::<u16>(places[2], 8 * ITEMS).chunks(8)) {
            let context = format!("{a} {b}, {c} {d}");
            assert_eq!(found[..2], [half(a + c), half(b + d)], "{context}");
            assert_eq!(
                found[2..4].iter().map(|bits| bits & 0x7fff).collect::<Vec<_>>(),
                [half(a * c - c) & 0x7fff, half(b * d - d) & 0x7fff],
                "{context}"
            );
            assert_eq!(found[4], half(if a < c { b } else { d }), "{context}");
            if c != 0 && b % c == 0 && b != 0 {
                assert_eq!(found[5], half(b / c), "{context}");
            }
            assert_eq!(found[6..], [half(a), half(d)], "{context}");
        }
    });
}

#[test]
fn whole_numbers_of_64_bits_are_right() {
    each(|program, _| {
        let mut random = Random(10);
        let mut number = |index: usize| match index % 4 {
            0 => random.next() as i64,
            1 => random.next() as i64 >> 40,
            2 => (random.next() % 5) as i64,
            _ => random.next() as i32 as i64,
        };
        let a: Vec<i64> = (0..ITEMS).map(&mut number).collect();
        let b: Vec<i64> = (1..=ITEMS).map(&mut number).collect();
        let places = [program.put(&a), program.put(&b), program.allocate(80 * ITEMS)];
        program.launch("integers", ITEMS, &places.map(Place));
        for ((x, y), found) in a.into_iter().zip(b).zip(program.get::<i64>(places[2], 10 * ITEMS).chunks(10)) {
            let (ux, uy) = (x as u64, y as u64);
            let expected = [
                x.wrapping_add(y),
                x.wrapping_sub(y),
                x.wrapping_mul(y),
                if y == 0 { -1 } else { x.wrapping_div(y) },
                if y == 0 { 1 } else { (ux % uy) as i64 },
                x >> (y & 63),
                (ux >> (x & 63)) as i64 | x << (y & 31),
                i64::from(x.count_ones()) + i64::from(x.leading_zeros()) * 1000,
                if x < y {
                    3
                } else if ux < uy {
                    5
                } else {
                    7
                },
                (i64::from(x as i32) * i64::from(y as i32)).wrapping_add(x.reverse_bits()),
            ];
            assert_eq!(found, expected, "{x} {y}");
        }
    });
}

#[test]
fn small_whole_numbers_are_right() {
    each(|program, _| {
        let (a, b) = (words(11, ITEMS), words(12, ITEMS));
        let places = [program.put(&a), program.put(&b), program.allocate(48 * ITEMS)];
        program.launch("small_integers", ITEMS, &places.map(Place));
        for ((x, y), found) in a.into_iter().zip(b).zip(program.get::<u32>(places[2], 12 * ITEMS).chunks(12)) {
            let third = if (x as u16) < y as u16 {
                i32::from((x >> 16) as i16) >> (y & 15)
            } else {
                i32::from(x.wrapping_add(y) as u16)
            };
            let expected = [
                (x & 0xff) + (y >> 8 & 0xff),
                (i32::from((x >> 16) as i8) as u32).wrapping_mul(i32::from(y as i16) as u32),
                third as u32,
                x / (y | 1),
                x % (y | 1),
                (x as i32).wrapping_div((y | 1) as i32) as u32,
                x.rotate_left(y & 31),
                x.abs_diff(y),
                x & y | !x & 0x1234_5678,
                ((u64::from(x) * u64::from(y)) >> 32) as u32,
                (x as i32).min(y as i32) as u32,
                x.swap_bytes() ^ (y << 3 | 5),
            ];
            assert_eq!(found, expected, "{x:#x} {y:#x}");
        }
    });
}

#[test]
fn atomic_operations_lose_nothing() {
    each(|program, _| {
        let data = words(13, ITEMS);
        let mut start = [0_u32; 8];
        start[2] = i32::MAX as u32;
        let places = [program.put(&data), program.put(&start), program.allocate((16 + ITEMS) * 4)];
        program.launch("atomics", ITEMS, &places.map(Place));
        let found: Vec<u32> = program.get(places[1], 8);
        let sum: u64 = data.iter().map(|word| u64::from(*word) << 20).sum();
        let expected = [
            data.iter().fold(0, |sum: u32, word| sum.wrapping_add(*word)),
            *data.iter().max().unwrap(),
            data.iter().map(|word| *word as i32).min().unwrap() as u32,
            data.iter().fold(0, |all, word| all ^ word),
            sum as u32,
            (sum >> 32) as u32,
            3 * ITEMS as u32,
            ITEMS as u32,
        ];
        assert_eq!(found, expected);
        let bins: Vec<u32> = program.get(places[2], 16 + ITEMS);
        let count = |bin: u32| data.iter().filter(|word| *word % 16 == bin).count() as u32;
        assert_eq!(bins[..16], (0..16).map(count).collect::<Vec<_>>());
        let (mut listed, mut sorted) = (bins[16..].to_vec(), data.clone());
        listed.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(listed, sorted);
    });
}

#[test]
fn items_have_memory_of_their_own() {
    each(|program, _| {
        let data = words(14, ITEMS);
        let (from, out) = (program.put(&data), program.allocate(4 * ITEMS));
        program.launch("own_memory", ITEMS, &[Place(from), Place(out)]);
        for (seed, found) in data.iter().copied().zip(program.get::<u32>(out, ITEMS)) {
            let mut numbers = [0; 32];
            for i in 0..32_u32 {
                numbers[(i * 7).wrapping_add(seed) as usize % 32] = seed.wrapping_mul(i).wrapping_add(i);
            }
            let sum = (0..32_u32).fold(0_u32, |sum, i| {
                sum.wrapping_mul(31).wrapping_add(numbers[seed.wrapping_add(i * i) as usize % 32])
            });
            assert_eq!(found, sum, "{seed}");
        }
        program.launch("recursion", ITEMS, &[Place(from), Place(out)]);
        let expected = data.iter().map(|word| [0, 1, 1, 2, 3, 5, 8, 13][*word as usize % 8]);
        assert_eq!(program.get::<u32>(out, ITEMS), expected.collect::<Vec<u32>>());
    });
}

#[test]
fn lanes_leave_loops_when_they_are_done() {
    each(|program, _| {
        let data: Vec<u32> = (1..=ITEMS as u32).collect();
        let (from, out) = (program.put(&data), program.allocate(4 * ITEMS));
        program.launch("collatz", ITEMS, &[Place(from), Place(out)]);
        let steps = |mut x: u32| {
            let mut steps = 0;
            while x != 1 {
                x = if x.is_multiple_of(2) { x / 2 } else { 3 * x + 1 };
                steps += 1;
            }
            steps
        };
        assert_eq!(program.get::<u32>(out, ITEMS), data.into_iter().map(steps).collect::<Vec<u32>>());
    });
}

#[test]
fn lanes_see_each_other() {
    each(|program, size| {
        let data = words(15, ITEMS);
        let (from, out) = (program.put(&data), program.allocate(32 * ITEMS));
        program.launch("lanes", ITEMS, &[Place(from), Place(out)]);
        for (item, found) in program.get::<u32>(out, 8 * ITEMS).chunks(8).enumerate() {
            let (first, lane) = (item / size * size, item % size);
            let expected = [
                lane as u32,
                data[first + (lane ^ 5)],
                if lane % 16 == 0 { 7 } else { data[item - 1] },
                data[first],
                data[item ^ 3],
                data[item / 4 * 4 + (3 - item % 4)],
                data[first + 9],
                data[item / 8 * 8 + (0x68_8fac >> (3 * (item % 8)) & 7)],
            ];
            assert_eq!(found, expected, "item {item}");
        }
    });
}

#[test]
fn pointers_go_to_any_memory() {
    each(|program, _| {
        let data = words(16, ITEMS);
        let (from, out) = (program.put(&data), program.allocate(4 * ITEMS));
        program.launch("any_memory", ITEMS, &[Place(from), Place(out)]);
        let found: Vec<u32> = program.get(out, ITEMS);
        let mut after = data.clone();
        for item in 0..ITEMS {
            let (group, local) = (item / 128 * 128, item % 128);
            let mut shared = data[group + (local + 1) % 128].wrapping_mul(3);
            let mut own = data[item].wrapping_add(local as u32 % 4);
            let mut sum = 0_u32;
            for i in 0..3_u32 {
                let place = match i.wrapping_add(after[item]) % 3 {
                    0 => &mut after[item],
                    1 => &mut shared,
                    _ => &mut own,
                };
                sum = sum.wrapping_mul(5).wrapping_add(*place);
                *place = sum;
            }
            assert_eq!(found[item], sum.wrapping_add(shared).wrapping_add(own), "item {item}");
        }
    });
}

#[test]
fn grids_have_three_dimensions_and_workgroups_may_be_cut() {
    each(|program, _| {
        let (width, height, depth) = (21, 10, 5);
        let out = program.put(&vec![u32::MAX; 21 * 10 * 5 + 8]);
        let arguments = bytes(&[Place(out), Number(width), Number(height)]);
        program.try_launch("places", [width, height, depth], [8, 4, 2], &arguments).unwrap();
        let found: Vec<u32> = program.get(out, 21 * 10 * 5 + 8);
        for (index, found) in found[..21 * 10 * 5].iter().enumerate() {
            let index = index as u32;
            let (x, y, z) = (index % width, index / width % height, index / width / height);
            assert_eq!(*found, x | y << 8 | z << 16);
        }
        assert_eq!(found[21 * 10 * 5..], [u32::MAX; 8]);
    });
}

#[test]
fn a_workgroup_may_wait_for_an_earlier_one() {
    each(|program, _| {
        let (flag, out) = (program.put(&[0_u32]), program.allocate(1024));
        program.launch("wait_for_first", 256, &[Place(flag), Place(out)]);
        let expected = (0..128).chain(1000..1128);
        assert_eq!(program.get::<u32>(out, 256), expected.collect::<Vec<u32>>());
    });
}

#[test]
fn kernels_that_can_not_go_on_say_why() {
    each(|program, _| {
        let (out, zeros) = (program.put(&[0_u32; 128]), program.put(&[0_u32; 128]));
        let mut try_with = |name: &str, place: u64| {
            program
                .try_launch(name, [128, 1, 1], [128, 1, 1], &bytes(&[Place(place), Number(0), Number(0)]))
                .unwrap_err()
        };
        assert!(matches!(try_with("trap", out), Problem::Trap { number: 2, .. }));
        assert!(matches!(try_with("forever", zeros), Problem::TooLong { .. }));
        let fault = try_with("trap", 0x1000);
        assert!(fault.to_string().contains("there is no memory at 0x1000 that the kernel may access"), "{fault}");
    });
}
