//! Kernels with gfx11's products of matrices, against the same computed here. All numbers are small, so that every sum is
//! exact in whatever order it is made; what is rounded is the result alone.

mod support;

use rdna::Architecture;
use support::Argument::Place;
use support::{Program, Random, bytes};

const SIZE: usize = 16;

/// A program with the kernels, for waves of 32 and of 64.
struct Machine {
    lanes: u32,
    program: Program,
}

impl Machine {
    fn launch(&mut self, name: &str, places: &[u64]) {
        let arguments: Vec<_> = places.iter().copied().map(Place).collect();
        let launched = self.program.try_launch(name, [self.lanes, 1, 1], [self.lanes, 1, 1], &bytes(&arguments));
        launched.unwrap_or_else(|problem| panic!("{name} with waves of {}: {problem}", self.lanes));
    }
}

/// Runs a test with each code object.
fn each(test: impl Fn(&mut Machine)) {
    for (lanes, object) in [
        (32, &include_bytes!("kernels/gfx1100-matrices.co")[..]),
        (64, &include_bytes!("kernels/gfx1100-matrices-wave64.co")[..]),
    ] {
        test(&mut Machine { lanes, program: Program::new(Architecture::Gfx11, object) });
    }
}

/// Quarters from -4 to 4, which every kind of number has.
fn quarters(seed: u64, count: usize) -> Vec<f32> {
    let mut random = Random(seed);
    (0..count).map(|_| (random.word() % 33) as f32 / 4.0 - 4.0).collect()
}

/// A number whose bits after the tenth are 0, as a half.
fn half(value: f32) -> u16 {
    if value == 0.0 {
        return 0;
    }
    let bits = value.to_bits();
    assert_eq!(bits & 0x1fff, 0, "{value} is not a half");
    ((bits >> 16 & 0x8000) | ((bits >> 23 & 0xff) - 112) << 10 | bits >> 13 & 0x3ff) as u16
}

fn bfloat(value: f32) -> u16 {
    assert_eq!(value.to_bits() & 0xffff, 0, "{value} is not a bfloat");
    (value.to_bits() >> 16) as u16
}

/// A sum of products of two matrices, and a third.
fn product(a: &[f32], b: &[f32], c: &[f32]) -> Vec<f32> {
    let sum = |place: usize| {
        let (row, column) = (place / SIZE, place % SIZE);
        (0..SIZE).map(|index| a[row * SIZE + index] * b[index * SIZE + column]).sum::<f32>() + c[place]
    };
    (0..SIZE * SIZE).map(sum).collect()
}

fn transposed(matrix: &[f32]) -> Vec<f32> {
    (0..SIZE * SIZE).map(|place| matrix[place % SIZE * SIZE + place / SIZE]).collect()
}

#[test]
fn matrices_of_short_numbers_give_long_ones() {
    each(|machine| {
        let [a, b, c] = [1, 2, 3].map(|seed| quarters(seed, 256));
        let out = machine.program.allocate(1024);
        let third = machine.program.put(&c);
        for (name, short) in [("floats_of_halves", half as fn(f32) -> u16), ("floats_of_bfloats", bfloat)] {
            let [first, second] =
                [&a, &b].map(|m| machine.program.put(&m.iter().map(|n| short(*n)).collect::<Vec<_>>()));
            machine.launch(name, &[first, second, third, out]);
            assert_eq!(machine.program.get::<f32>(out, 256), product(&a, &b, &c), "{name}");
            if name == "floats_of_halves" {
                machine.launch("constant_addend", &[first, second, out]);
                assert_eq!(machine.program.get::<f32>(out, 256), product(&a, &b, &[1.0; 256]));
            }
        }
    });
}

#[test]
fn matrices_of_halves_are_in_one_half_of_the_registers() {
    each(|machine| {
        // Whole numbers, so that results are halves too.
        let [a, b] = [4, 5].map(|seed| quarters(seed, 256).iter().map(|n| n.trunc()).collect::<Vec<f32>>());
        let c = quarters(6, 512).iter().map(|n| n.trunc()).collect::<Vec<f32>>();
        let [first, second, third] =
            [&a, &b, &c].map(|m| machine.program.put(&m.iter().map(|n| half(*n)).collect::<Vec<_>>()));
        let out = machine.program.allocate(1024);
        machine.launch("halves_of_halves", &[first, second, third, out]);
        let products = [product(&a, &b, &c[..256]), product(&transposed(&b), &transposed(&a), &c[256..])].concat();
        let expected: Vec<u16> = products.iter().map(|n| half(*n)).collect();
        assert_eq!(machine.program.get::<u16>(out, 512), expected);
    });
}

#[test]
fn results_are_rounded_to_bfloats_and_the_other_half_stays() {
    each(|machine| {
        let [a, b] = [7, 8].map(|seed| quarters(seed, 256));
        let c = quarters(9, 512);
        let [first, second, third] =
            [&a, &b, &c].map(|m| machine.program.put(&m.iter().map(|n| bfloat(*n)).collect::<Vec<_>>()));
        let out = machine.program.allocate(1024);
        machine.launch("bfloats_of_bfloats", &[first, second, third, out]);
        let found: Vec<u16> = machine.program.get(out, 512);
        assert_eq!(found[..256], c[..256].iter().map(|n| bfloat(*n)).collect::<Vec<_>>());
        for (found, exact) in found[256..].iter().zip(product(&a, &b, &c[256..])) {
            let near = |bits: u16| (f64::from(f32::from_bits(u32::from(bits) << 16)) - f64::from(exact)).abs();
            // Its neighbours are no nearer.
            assert!(near(*found) <= near(found - 1) && near(*found) <= near(found + 1), "{exact}");
        }
    });
}

#[test]
fn matrices_of_whole_numbers_have_signs_or_not_and_limits() {
    each(|machine| {
        let mut random = Random(10);
        let [a, b] = [0, 1].map(|_| (0..256).map(|_| random.word() as u8).collect::<Vec<u8>>());
        // Some sums are beyond what 32 bits hold.
        let c: Vec<i32> =
            (0..256).map(|at| if at % 3 == 0 { i32::MAX - 5 } else { random.word().cast_signed() }).collect();
        let (first, second, third) = (machine.program.put(&a), machine.program.put(&b), machine.program.put(&c));
        let out = machine.program.allocate(2048);
        for (name, bits) in [("integers_of_bytes", 8), ("integers_of_nibbles", 4)] {
            let value = |byte: u8, is_signed: bool| {
                let low = i64::from(byte) & ((1 << bits) - 1);
                if is_signed && low >> (bits - 1) != 0 { low - (1 << bits) } else { low }
            };
            let sum = |place: usize, signs: [bool; 2]| {
                let (row, column) = (place / SIZE, place % SIZE);
                let products = (0..SIZE)
                    .map(|index| value(a[row * SIZE + index], signs[0]) * value(b[index * SIZE + column], signs[1]));
                products.sum::<i64>() + i64::from(c[place])
            };
            machine.launch(name, &[first, second, third, out]);
            let wrapped: Vec<i32> = (0..256).map(|place| sum(place, [false, true]) as i32).collect();
            let limit = |sum: i64| sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            let limited: Vec<i32> = (0..256).map(|place| limit(sum(place, [true, false]))).collect();
            let found: Vec<i32> = machine.program.get(out, 512);
            assert_eq!((&found[..256], &found[256..]), (&wrapped[..], &limited[..]), "{name}");
        }
    });
}

#[test]
fn sums_of_products_have_signs_or_not_and_limits() {
    each(|machine| {
        let mut random = Random(11);
        let [a, b, c] = [0, 1, 2].map(|_| (0..64).map(|_| random.word()).collect::<Vec<u32>>());
        let places = [&a, &b, &c].map(|words| machine.program.put(words));
        let out = machine.program.allocate(1024);
        machine.launch("dots", &[places[0], places[1], places[2], out]);
        let part = |word: u32, index: u32, width: u32, is_signed: bool| {
            let left = word << (32 - width * (index + 1));
            if is_signed { i64::from(left.cast_signed() >> (32 - width)) } else { i64::from(left >> (32 - width)) }
        };
        let found: Vec<i32> = machine.program.get(out, 128);
        for (lane, found) in found.chunks(4).enumerate() {
            let sum = |width: u32, signs: [bool; 2]| {
                let parts = (0..32 / width)
                    .map(|index| part(a[lane], index, width, signs[0]) * part(b[lane], index, width, signs[1]));
                parts.sum::<i64>() + i64::from(c[lane].cast_signed())
            };
            let limit = |sum: i64| sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            let expected = [
                sum(8, [true, false]) as i32,
                limit(sum(8, [false, true])),
                sum(4, [true, true]) as i32,
                limit(sum(4, [false, true])),
            ];
            assert_eq!(found, expected, "lane {lane}");
        }
    });
}
