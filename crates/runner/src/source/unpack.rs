//! Unpacks the tar file of a source tree.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;
use std::process::Command;

use bundle::{ReadError, Rules, regular, source_rules};

use crate::Error;
use crate::bounds::Bounds;

/// Limits for a source tree, larger than the largest one in Debian.
const RULES: Rules = source_rules(16 << 30, 1_000_000, 256 << 20);

/// Magic bytes of compressed files, and the program that decompresses them. zstd is decompressed here, as its program
/// is often not installed.
const FILTERS: [(&[u8], &[&str]); 4] = [
    (&[0x1f, 0x8b], &["gzip", "-dc"]),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], &["xz", "-dc", "--memlimit-decompress=1GiB"]),
    (b"BZh", &["bzip2", "-dc"]),
    (b"LZIP", &["lzip", "-dc"]),
];
/// Magic bytes of zstd frames (RFC 8878, section 3.1.1).
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];

/// Unpacks a tar file, with any of these compressions, into an empty directory.
pub(super) fn unpack(file: &Path, directory: &Path, bounds: &Bounds<'_>) -> Result<(), Error> {
    let what = format!("unpacking {}", file.display());
    let reader = open(file, bounds).map_err(Error::step(what.as_str()))?;
    bundle::unpack_source(reader, &RULES, directory).map_err(|error| match error {
        ReadError::Io(error) => Error::source(what, error.to_string()),
        other => Error::source(what, other.to_string()),
    })
}

fn open<'a>(file: &Path, bounds: &'a Bounds<'a>) -> io::Result<Box<dyn Read + 'a>> {
    let mut opened = regular::open(file)?;
    let mut start = Vec::new();
    (&mut opened).take(8).read_to_end(&mut start)?;
    opened.rewind()?;
    if start.starts_with(ZSTD) {
        let mut decoder = zstd::Decoder::new(opened)?;
        decoder.window_log_max(bundle::WINDOW_LOG)?;
        return Ok(Box::new(bounds.read(decoder)));
    }
    match FILTERS.into_iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, words)) => filtered(words, opened, bounds),
        None => Ok(Box::new(bounds.read(BufReader::new(opened)))),
    }
}

fn filtered<'a>(words: &[&str], opened: File, bounds: &'a Bounds<'a>) -> io::Result<Box<dyn Read + 'a>> {
    let Some((program, arguments)) = words.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let filter = bounds.filter(Command::new(program).args(arguments), opened)?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, filter)))
}
