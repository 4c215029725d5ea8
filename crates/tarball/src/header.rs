//! One 512-byte tar header block (POSIX.1-1988 ustar, with GNU's base-256 numbers).

use crate::Error;

pub(crate) const BLOCK: usize = 512;

/// The decoded fields of a header that are used.
pub(crate) struct Header {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) mode: u64,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) major: u64,
    pub(crate) minor: u64,
}

impl Header {
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Result<Self, Error> {
        // Old writers summed signed bytes: both sums are accepted, as by every tar.
        let blanked = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
        let unsigned: u64 = block.iter().enumerate().map(|(at, byte)| u64::from(blanked(at, *byte))).sum();
        let signed: i64 = block.iter().enumerate().map(|(at, byte)| i64::from(blanked(at, *byte).cast_signed())).sum();
        let stored = number(&block[148..156], "checksum")?;
        if stored != i128::from(unsigned) && stored != i128::from(signed) {
            return Err(Error::refused("a header has a wrong checksum"));
        }
        let mut path = text(&block[0..100]);
        // In GNU's older format the prefix field has another meaning.
        let prefix = text(&block[345..500]);
        if block[257..263] == *b"ustar\0" && !prefix.is_empty() {
            path = [prefix.as_slice(), b"/", &path].concat();
        }
        let kind = block[156];
        let device = matches!(kind, b'3' | b'4');
        Ok(Self {
            path,
            link: text(&block[157..257]),
            kind,
            mode: positive(&block[100..108], "mode")?,
            uid: positive(&block[108..116], "uid")?,
            gid: positive(&block[116..124], "gid")?,
            size: positive(&block[124..136], "size")?,
            mtime: i64::try_from(number(&block[136..148], "mtime")?)
                .map_err(|_| Error::refused("an mtime is out of range"))?,
            major: if device { positive(&block[329..337], "device number")? } else { 0 },
            minor: if device { positive(&block[337..345], "device number")? } else { 0 },
        })
    }
}

fn text(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field[..end].to_vec()
}

fn positive(field: &[u8], name: &str) -> Result<u64, Error> {
    u64::try_from(number(field, name)?).map_err(|_| Error::refused(format!("the {name} in a header is out of range")))
}

/// Parses octal digits between optional blanks, or GNU's base-256 with the first bit set; at most 12 bytes, so that an
/// i128 always holds the value.
fn number(field: &[u8], name: &str) -> Result<i128, Error> {
    if let Some(first) = field.first().filter(|byte| **byte & 0x80 != 0) {
        let start = if first & 0x40 == 0 { i128::from(first & 0x3f) } else { i128::from(first.cast_signed()) };
        return Ok(field[1..].iter().fold(start, |value, byte| (value << 8) | i128::from(*byte)));
    }
    let digits: Vec<u8> =
        field.iter().copied().skip_while(|byte| *byte == b' ').take_while(|byte| !matches!(byte, b' ' | 0)).collect();
    digits.iter().try_fold(0, |value: i128, digit| match digit {
        b'0'..=b'7' => Ok(value * 8 + i128::from(digit - b'0')),
        _ => Err(Error::refused(format!("the {name} in a header is not a number"))),
    })
}
