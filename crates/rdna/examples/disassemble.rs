//! Prints address and name of each instruction of the words that standard input has in hexadecimal digits, one in a line,
//! so that they can be compared with what another disassembler says: `disassemble gfx10 < words`.

use std::io::{self, Read};

use rdna::{Architecture, name};

fn main() -> io::Result<()> {
    let major = std::env::args().nth(1).and_then(|word| word.strip_prefix("gfx")?.parse().ok()).unwrap_or(10);
    let Some(architecture) = Architecture::of_major(major) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let words: Vec<u32> = text.split_whitespace().filter_map(|word| u32::from_str_radix(word, 16).ok()).collect();
    let mut at = 0;
    while let Some(rest) = words.get(at..).filter(|rest| !rest.is_empty()) {
        let (name, size) = name(architecture, rest).unwrap_or_else(|unknown| (unknown.name.leak(), 4));
        println!("{:x} {name}", at * 4);
        at += usize::try_from(size / 4).unwrap_or(1);
    }
    Ok(())
}
