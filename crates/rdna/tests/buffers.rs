//! Instructions on buffers whose descriptor names a format, and atomic ones.

mod support;

use rdna::{Architecture, Problem, name};
use support::{Program, bytes};

const ITEMS: usize = 4;

/// Numbers of instructions, which are the same in both generations.
const LOAD: u32 = 0;
const STORE: u32 = 4;

/// Numbers of formats: in gfx10, in gfx11.
type Number = (u32, u32);
const ONE_8_UNORM: Number = (1, 1);
const ONE_16_FLOAT: Number = (13, 13);
const TWO_8_SNORM: Number = (15, 15);
const ONE_32_UINT: Number = (20, 20);
const ONE_32_FLOAT: Number = (22, 22);
const TWO_16_UINT: Number = (27, 27);
const PACKED: Number = (50, 36);
const FOUR_8_SINT: Number = (61, 47);
const FOUR_32_FLOAT: Number = (77, 63);

/// Components: 0, 1, red, green, blue, alpha.
const AS_IS: [u32; 4] = [4, 5, 6, 7];
const RED: [u32; 4] = [4, 0, 0, 1];

/// A kernel that loads four registers of each work-item from its input, carries out an instruction on them and the item of the
/// buffer with the work-item's number, and stores them to its output.
#[rustfmt::skip]
fn kernel(architecture: Architecture, instruction: u32) -> Vec<u32> {
    let number = instruction << 18;
    match architecture {
        Architecture::Gfx10 => vec![
            0xf408_0100, 0xfa00_0000, // s_load_dwordx4 s[4:7], s[0:1], 0x0
            0xf408_0200, 0xfa00_0010, // s_load_dwordx4 s[8:11], s[0:1], 0x10
            0x3402_0084, // v_lshlrev_b32 v1, 4, v0
            0xdc38_8000, 0x0408_0001, // global_load_dwordx4 v[4:7], v1, s[8:9]
            0xe000_6000 | number, 0x8001_0400, // the instruction v[4:7], v0, s[4:7], 0 idxen glc
            0xdc78_8000, 0x000a_0401, // global_store_dwordx4 v1, v[4:7], s[10:11]
            0xbf81_0000, // s_endpgm
        ],
        Architecture::Gfx11 => vec![
            0xf408_0100, 0xf800_0000, // s_load_b128 s[4:7], s[0:1], 0x0
            0xf408_0200, 0xf800_0010, // s_load_b128 s[8:11], s[0:1], 0x10
            0x3002_0084, // v_lshlrev_b32 v1, 4, v0
            0xdc5e_0000, 0x0408_0001, // global_load_b128 v[4:7], v1, s[8:9]
            0xe000_4000 | number, 0x8081_0400, // the instruction v[4:7], v0, s[4:7], 0 idxen glc
            0xdc76_0000, 0x000a_0401, // global_store_b128 v1, v[4:7], s[10:11]
            0xbfb0_0000, // s_endpgm
        ],
    }
}

/// A buffer's items, the format of them, and which components registers get.
struct Buffer<'a> {
    stride: u32,
    bytes: &'a [u8],
    format: Number,
    select: [u32; 4],
    /// Further bits of the descriptor's second and fourth word.
    more: [u32; 2],
}

/// What is in the buffer and in the work-items' four registers after an instruction.
fn run(
    architecture: Architecture,
    instruction: u32,
    buffer: &Buffer,
    registers: [[u32; 4]; ITEMS],
) -> Result<(Vec<u8>, Vec<[u32; 4]>), Problem> {
    let mut program = Program::of_words(architecture, &kernel(architecture, instruction));
    let place = program.put(buffer.bytes);
    let (input, output) = (program.put(registers.as_flattened()), program.allocate(16 * ITEMS));
    let format = if architecture == Architecture::Gfx10 { buffer.format.0 } else { buffer.format.1 };
    let select = buffer.select.iter().enumerate().fold(0, |bits, (index, select)| bits | select << (3 * index));
    let records = buffer.bytes.len() as u64 / u64::from(buffer.stride);
    let more = u64::from(buffer.more[0]) << 32;
    let flags = u64::from(select | format << 12 | buffer.more[1]) << 32;
    let descriptor = [place | u64::from(buffer.stride) << 48 | more, records | flags];
    let arguments: Vec<u8> =
        descriptor.into_iter().chain([input, output]).flat_map(u64::to_le_bytes).chain(bytes(&[])).collect();
    program.try_launch("words", [ITEMS as u32, 1, 1], [ITEMS as u32, 1, 1], &arguments)?;
    let after = program.get::<u32>(output, 4 * ITEMS);
    Ok((program.get(place, buffer.bytes.len()), after.as_chunks().0.to_vec()))
}

fn each(test: impl Fn(Architecture)) {
    for architecture in [Architecture::Gfx10, Architecture::Gfx11] {
        println!("{architecture:?}");
        test(architecture);
    }
}

#[test]
fn the_words_are_the_instructions_that_they_are_said_to_be() {
    let names = |architecture, instruction| {
        let words = kernel(architecture, instruction);
        let mut at = 0;
        let mut names = Vec::new();
        while at < words.len() {
            let (name, size) = name(architecture, &words[at..]).expect("an instruction");
            names.push(name);
            at += size as usize / 4;
        }
        names.join(" ")
    };
    assert_eq!(
        names(Architecture::Gfx10, LOAD + 3),
        "s_load_dwordx4 s_load_dwordx4 v_lshlrev_b32 global_load_dwordx4 buffer_load_format_xyzw global_store_dwordx4 \
         s_endpgm"
    );
    assert_eq!(
        names(Architecture::Gfx11, STORE),
        "s_load_b128 s_load_b128 v_lshlrev_b32 global_load_b128 buffer_store_format_x global_store_b128 s_endpgm"
    );
    // Numbers from 128 on have their highest bit beside the others.
    let unknown = name(Architecture::Gfx10, &[0xe200_2000, 0x8001_0100]).unwrap_err();
    assert_eq!(unknown.name, "MUBUF instruction 128");
}

#[test]
fn loads_convert_items_and_are_zero_beyond_the_last_one() {
    let before = [[7; 4]; ITEMS];
    let one = 1.0_f32.to_bits();
    let half = |value: f32| value.to_bits();
    each(|architecture| {
        let load = |count: u32, stride, bytes: &[u8], format, select| {
            let buffer = Buffer { stride, bytes, format, select, more: [0; 2] };
            let (buffer, registers) = run(architecture, LOAD + count - 1, &buffer, before).expect("a launch");
            assert_eq!(buffer, bytes);
            assert_eq!(registers[2], registers[3], "beyond the last item");
            registers
        };
        // As textures of whole numbers and of others are read.
        let words: Vec<u8> = [3_u32, u32::MAX].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(
            load(1, 4, &words, ONE_32_UINT, RED),
            [[3, 7, 7, 7], [u32::MAX, 7, 7, 7], [0, 7, 7, 7], [0, 7, 7, 7]]
        );
        assert_eq!(load(4, 4, &words, ONE_32_UINT, RED)[1..3], [[u32::MAX, 0, 0, 1], [0, 0, 0, 1]]);
        assert_eq!(load(4, 4, &words, ONE_32_FLOAT, RED)[0], [3, 0, 0, one]);
        assert_eq!(load(4, 1, &[255, 0], ONE_8_UNORM, RED)[..3], [[one, 0, 0, one], [0, 0, 0, one], [0, 0, 0, one]]);
        assert_eq!(load(1, 2, &[0, 0x3c, 0, 0xc1], ONE_16_FLOAT, RED)[1][0], half(-2.5));
        // Components in another order.
        let swapped = [5, 4, 0, 1];
        let expected = [[half(-1.0), one, 7, 7], [half(1.0 / 127.0), 0, 7, 7]];
        assert_eq!(load(2, 2, &[127, 0x81, 0, 1], TWO_8_SNORM, swapped)[..2], expected);
        let expected = [[1, u32::MAX, 127, 7], [0, 2, 3, 7]];
        assert_eq!(load(3, 4, &[1, 255, 127, 128, 0, 2, 3, 4], FOUR_8_SINT, AS_IS)[..2], expected);
        let floats: Vec<u8> = (1..=8).flat_map(|number| (number as f32).to_le_bytes()).collect();
        let expected = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [0.0; 4]].map(|item| item.map(f32::to_bits));
        assert_eq!(load(4, 16, &floats, FOUR_32_FLOAT, AS_IS)[..3], expected);
    });
}

#[test]
fn stores_that_need_no_conversion_are_carried_out() {
    let registers = [[1, 2, 3, 4], [0xffff, 0x8000, 9, 9], [5; 4], [6; 4]];
    each(|architecture| {
        // Two items of three: the space between items stays.
        let buffer = Buffer { stride: 6, bytes: &[9; 18], format: TWO_16_UINT, select: AS_IS, more: [0; 2] };
        let (after, found) = run(architecture, STORE + 1, &buffer, registers).expect("a launch");
        assert_eq!(after, [1, 0, 2, 0, 9, 9, 0xff, 0xff, 0, 0x80, 9, 9, 5, 0, 5, 0, 9, 9]);
        assert_eq!(found, registers);
        let buffer = Buffer { stride: 16, bytes: &[0; 32], format: FOUR_32_FLOAT, select: AS_IS, more: [0; 2] };
        let (after, _) = run(architecture, STORE + 3, &buffer, registers).expect("a launch");
        let expected: Vec<u8> = registers.as_flattened()[..8].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(after, expected);
    });
}

#[test]
fn what_is_not_known_of_formats_ends_the_kernel() {
    let registers = [[0x10000, 0, 0, 0]; ITEMS];
    each(|architecture| {
        let launch = |instruction, format, select, more| {
            let buffer = Buffer { stride: 4, bytes: &[0; 16], format, select, more };
            run(architecture, instruction, &buffer, registers)
        };
        let problem = |instruction, format, select| {
            launch(instruction, format, select, [0; 2]).expect_err("a problem").to_string()
        };
        for (instruction, format, select, says) in [
            (LOAD, PACKED, AS_IS, "a buffer of this format"),
            (LOAD, ONE_32_UINT, [2, 0, 0, 0], "this choice of components"),
            (LOAD + 1, ONE_32_UINT, AS_IS, "a component that the buffer's format does not have"),
            (STORE, TWO_16_UINT, AS_IS, "a store of other components"),
            (STORE, ONE_32_UINT, [5, 4, 6, 7], "a store of other components"),
            (STORE + 1, TWO_16_UINT, AS_IS, "a store that converts numbers"),
            (STORE, ONE_16_FLOAT, AS_IS, "a store that converts numbers"),
        ] {
            let text = problem(instruction, format, select);
            assert!(text.contains(says) && text.contains("buffer_"), "{text}");
        }
        // Items that are interleaved; bit 30 is about caches in gfx10.
        let interleaved = |high: u32| {
            let launched = launch(LOAD, ONE_32_UINT, AS_IS, [high, 0]);
            launched.is_err_and(|problem| problem.to_string().contains("an interleaved buffer"))
        };
        assert_eq!([1 << 30, 1 << 31].map(interleaved), [architecture == Architecture::Gfx11, true]);
        // Bytes are checked, but items are named.
        let text = launch(LOAD, ONE_32_UINT, AS_IS, [0, 3 << 28]).expect_err("a problem").to_string();
        assert!(text.contains("an index of a buffer whose bytes are checked"), "{text}");
    });
}

#[test]
fn bounds_are_checked_as_the_descriptor_says() {
    let words: Vec<u8> = [1_u32, 2, 3, 4].iter().flat_map(|word| word.to_le_bytes()).collect();
    each(|architecture| {
        let load = |bytes: &[u8], select: u32| {
            // Items that are longer than what is between their starts.
            let buffer = Buffer { stride: 2, bytes, format: ONE_32_UINT, select: RED, more: [0, select << 28] };
            run(architecture, LOAD, &buffer, [[7; 4]; ITEMS])
        };
        let text = load(&words, 0).expect_err("a problem").to_string();
        assert!(text.contains("an access across a bound of a buffer"), "{text}");
        let firsts = |bytes: &[u8], select: u32| -> Vec<u32> {
            let (_, registers) = load(bytes, select).expect("a launch");
            registers.iter().map(|registers| registers[0]).collect()
        };
        assert_eq!(firsts(&words, 1), [1, 2 << 16, 2, 3 << 16]);
        // Of two items; without a check there is memory behind them.
        assert_eq!(firsts(&words[..4], 1), [1, 0, 0, 0]);
        assert_eq!(firsts(&words, 2), [1, 2 << 16, 2, 3 << 16]);
        assert_eq!(firsts(&[], 2), [0; 4]);
    });
}

#[test]
fn atomic_operations_return_what_was_there() {
    let registers = [[1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0], [4, 0, 0, 0]];
    each(|architecture| {
        // Three items for four work-items.
        let words: Vec<u8> = [10_u32, 20, 30].iter().flat_map(|word| word.to_le_bytes()).collect();
        let buffer = Buffer { stride: 4, bytes: &words, format: ONE_32_UINT, select: RED, more: [0; 2] };
        let number = if architecture == Architecture::Gfx10 { 50 } else { 53 };
        let (after, found) = run(architecture, number, &buffer, registers).expect("a launch");
        let after: Vec<u32> = after.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        assert_eq!(after, [11, 22, 33]);
        assert_eq!(found.iter().map(|registers| registers[0]).collect::<Vec<_>>(), [10, 20, 30, 0]);
    });
}
