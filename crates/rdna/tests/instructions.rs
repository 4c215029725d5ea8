//! What is known, and that nothing makes the decoder or a kernel panic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;
use rdna::{Architecture, Dispatch, Fault, Memory, Packet, Progress, instructions, name};

/// The table of the guide: for each encoding how many instructions are known, of how many.
fn table() -> String {
    let mut counts: BTreeMap<&str, [[usize; 2]; 2]> = BTreeMap::new();
    for (column, architecture) in [Architecture::Gfx10, Architecture::Gfx11].into_iter().enumerate() {
        for listed in instructions(architecture) {
            let count = &mut counts.entry(listed.encoding).or_default()[column];
            count[0] += usize::from(listed.is_known);
            count[1] += 1;
        }
    }
    let mut text = String::from("| encoding | known of gfx1030 | known of gfx1100 |\n|---|---|---|\n");
    let mut sums = [[0; 2]; 2];
    for (encoding, columns) in &counts {
        let [[a, b], [c, d]] = columns;
        writeln!(text, "| {encoding} | {a} of {b} | {c} of {d} |").unwrap();
        for (sum, column) in sums.iter_mut().zip(columns) {
            *sum = [sum[0] + column[0], sum[1] + column[1]];
        }
    }
    let [[a, b], [c, d]] = sums;
    writeln!(text, "| all | {a} of {b} | {c} of {d} |").unwrap();
    text
}

#[test]
fn the_guide_says_how_many_are_known() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulated-gpu.md")).unwrap();
    let table = table();
    assert!(guide.contains(&table), "docs/simulated-gpu.md should have this table:\n{table}");
}

#[test]
fn what_is_not_known_is_named() {
    for (architecture, words, expected) in [
        (Architecture::Gfx10, [0xd544_0000, 0x040e_0501], "v_cubeid_f32"),
        (Architecture::Gfx10, [0xf000_0f08, 0], "MIMG instructions"),
        (Architecture::Gfx11, [0xbf9f_0000, 0], "s_code_end"),
        (Architecture::Gfx10, [0xbfff_0000, 0], "SOPP instruction 127"),
    ] {
        assert_eq!(name(architecture, &words).unwrap_err().name, expected);
    }
}

const BASE: u64 = 0x1000;

/// Memory with a packet, a descriptor and code.
struct Bytes(RefCell<Vec<u8>>);

impl Bytes {
    fn range(&self, address: u64, length: usize) -> Result<std::ops::Range<usize>, Fault> {
        let fault = Fault { address };
        let start = usize::try_from(address.checked_sub(BASE).ok_or(fault)?).map_err(|_| fault)?;
        let end = start.checked_add(length).filter(|end| *end <= self.0.borrow().len()).ok_or(fault)?;
        Ok(start..end)
    }
}

impl Memory for Bytes {
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

/// Runs words as a kernel, which may end in any way.
fn run(architecture: Architecture, words: &[u32], lanes_32: bool, registers: u8) {
    let mut bytes = vec![0; 64];
    bytes[16] = 64;
    bytes[48] = registers & 0x3f;
    bytes[50] = 0xf;
    bytes[52] = 8 << 1 | 1;
    bytes[53] = 0x13;
    bytes[56] = 0x0f;
    bytes[57] = u8::from(lanes_32) << 2;
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes.resize(4096, 0);
    let memory = Bytes(RefCell::new(bytes));
    let packet = Packet {
        workgroup: [70, 1, 1],
        grid: [70, 1, 1],
        private_size: 64,
        group_size: 256,
        kernel: BASE,
        arguments: BASE + 256,
    };
    let Ok(mut dispatch) = Dispatch::new(architecture, packet, BASE, BASE, 2000, &memory) else { return };
    while let Ok(Progress::Runs) = dispatch.run(&memory, 100) {}
}

/// Words that look like instructions more often than not: the highest bits of one of the encodings.
fn word() -> impl Strategy<Value = u32> {
    let encodings = prop::sample::select(vec![
        (0, 0x7fff_ffff),
        (0x7e00_0000, 0x1ff_ffff),
        (0x7c00_0000, 0x1ff_ffff),
        (0x8000_0000, 0x3fff_ffff),
        (0xbe80_0000, 0x7f_ffff),
        (0xbf00_0000, 0x7f_ffff),
        (0xb000_0000, 0xfff_ffff),
        (0xcc00_0000, 0xff_ffff),
        (0xd400_0000, 0x3ff_ffff),
        (0xd800_0000, 0x3ff_ffff),
        (0xdc00_0000, 0x3ff_ffff),
        (0xe000_0000, 0x3ff_ffff),
        (0xf400_0000, 0x3ff_ffff),
        (0xc800_0000, 0x3ff_ffff),
        (0, u32::MAX),
    ]);
    (any::<u32>(), encodings).prop_map(|(word, (high, low))| high | word & low)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_words_are_an_instruction_or_not(words in prop::collection::vec(word(), 0..4), is_gfx11: bool) {
        let architecture = if is_gfx11 { Architecture::Gfx11 } else { Architecture::Gfx10 };
        if let Ok((_, size)) = name(architecture, &words) {
            prop_assert!(size % 4 == 0 && (4..=12).contains(&size));
        }
    }

    #[test]
    fn any_kernel_ends(words in prop::collection::vec(word(), 1..24), is_gfx11: bool, lanes_32: bool, registers: u8) {
        let architecture = if is_gfx11 { Architecture::Gfx11 } else { Architecture::Gfx10 };
        // Only what is known, so that more of it is reached.
        let mut known: Vec<u32> = Vec::new();
        let mut at = 0;
        while at < words.len() {
            match name(architecture, &words[at..]) {
                Ok((_, size)) => {
                    let end = (at + size as usize / 4).min(words.len());
                    known.extend(&words[at..end]);
                    at = end;
                }
                Err(_) => at += 1,
            }
        }
        run(architecture, &known, lanes_32, registers);
    }
}
