//! Long names and their 8.3 short names.

use std::collections::{HashMap, HashSet};

/// 8 characters and 3 of the extension, padded with spaces, as stored in a directory.
pub(super) type ShortName = [u8; 11];

/// Reason why a name is not valid in FAT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFlaw {
    /// The name is not UTF-8.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// The name has more than 255 UTF-16 code units.
    #[error("its name is longer than 255 characters")]
    TooLong,
    /// A control character, or one with a special meaning in DOS.
    #[error("its name has the character {0:?}")]
    Character(char),
    /// A character outside of UCS-2, which UEFI uses for names.
    #[error(
        "its name has the character {0:?}, which firmware cannot read (it is outside of the basic multilingual plane)"
    )]
    NotUcs2(char),
    /// A trailing dot or space, which other systems would strip.
    #[error("its name ends with a dot or a space")]
    TrailingDotOrSpace,
}

/// Checks a name and returns it as text.
pub(super) fn check(name: &[u8]) -> Result<&str, NameFlaw> {
    let name = std::str::from_utf8(name).map_err(|_| NameFlaw::NotUtf8)?;
    for character in name.chars() {
        if character < ' ' || character == '\u{7f}' || "\"*/:<>?\\|".contains(character) {
            return Err(NameFlaw::Character(character));
        }
        if u32::from(character) > 0xffff {
            return Err(NameFlaw::NotUcs2(character));
        }
    }
    if name.ends_with(['.', ' ']) {
        return Err(NameFlaw::TrailingDotOrSpace);
    }
    if name.chars().count() > 255 {
        return Err(NameFlaw::TooLong);
    }
    Ok(name)
}

/// Case-folded name: equal for names that FAT treats as the same.
pub(super) fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

/// Whether a byte may be in a short name unchanged.
pub(super) fn is_short_character(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

/// Assigns unique short names in one directory.
#[derive(Default)]
pub(super) struct ShortNames {
    used: HashSet<ShortName>,
    next_number: HashMap<ShortName, u32>,
}

impl ShortNames {
    /// For a directory with all of these names. Names that are valid short names, except for case, keep theirs.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self { used: names.filter_map(exact).collect(), ..Self::default() }
    }

    /// The short name for one of the names; to be called once for each.
    pub(super) fn take(&mut self, name: &str) -> ShortName {
        exact(name).unwrap_or_else(|| self.numbered(name))
    }

    /// `LONGNA~1.TXT` (specification, "The Basis-Name Generation Algorithm" and "The Numeric-Tail").
    fn numbered(&mut self, name: &str) -> ShortName {
        let (stem, extension) = name.trim_start_matches('.').rsplit_once('.').unwrap_or((name, ""));
        let (stem, extension) = (basis(stem, 8), basis(extension, 3));
        let key = join(&stem, &extension);
        let number = self.next_number.entry(key).or_insert(1);
        loop {
            let tail = format!("~{number}");
            *number += 1;
            let kept = stem.len().min(8 - tail.len());
            let short = join(&[&stem[..kept], tail.as_bytes()].concat(), &extension);
            if self.used.insert(short) {
                return short;
            }
        }
    }
}

/// The short name that differs from the name at most in case, if there is one.
fn exact(name: &str) -> Option<ShortName> {
    let upper = name.to_ascii_uppercase();
    let (stem, extension) = upper.split_once('.').unwrap_or((&upper, ""));
    let fits = |part: &str, most| part.len() <= most && part.bytes().all(is_short_character);
    let dangling = extension.is_empty() && upper.contains('.');
    (!stem.is_empty() && !dangling && fits(stem, 8) && fits(extension, 3))
        .then(|| join(stem.as_bytes(), extension.as_bytes()))
}

fn basis(part: &str, most: usize) -> Vec<u8> {
    let characters = part.chars().filter(|character| !matches!(character, ' ' | '.'));
    let bytes = characters.map(|character| match u8::try_from(character.to_ascii_uppercase()) {
        Ok(byte) if is_short_character(byte) => byte,
        _ => b'_',
    });
    bytes.take(most).collect()
}

fn join(stem: &[u8], extension: &[u8]) -> ShortName {
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

/// The name as text, `BOOTX64.EFI`; non-ASCII characters are shown as `_`.
pub(super) fn display(short: &ShortName) -> String {
    let text = |part: &[u8]| {
        let part: String = part
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '_' })
            .collect();
        part.trim_end().to_owned()
    };
    let (stem, extension) = (text(&short[..8]), text(&short[8..]));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shorten(names: &[&str]) -> Vec<String> {
        let mut short = ShortNames::new(names.iter().copied());
        names.iter().map(|name| display(&short.take(name))).collect()
    }

    #[test]
    fn short_names_are_as_windows_makes_them() {
        assert_eq!(
            shorten(&["BOOTX64.EFI", "bootx64.csv", "The quick brown.fox", "The quick red.fox", "no extension here"]),
            ["BOOTX64.EFI", "BOOTX64.CSV", "THEQUI~1.FOX", "THEQUI~2.FOX", "NOEXTE~1"]
        );
        assert_eq!(
            shorten(&[".config", "a.b.c", "Größe.txt", "x.jpeg"]),
            ["CONFIG~1", "AB~1.C", "GR__E~1.TXT", "X~1.JPE"]
        );
    }

    #[test]
    fn generated_names_avoid_real_ones() {
        assert_eq!(shorten(&["LONGNA~1.TXT", "longname one.txt"]), ["LONGNA~1.TXT", "LONGNA~2.TXT"]);
        let many: Vec<_> = (0..120).map(|number| format!("longname {number}.txt")).collect();
        let short = shorten(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((&*short[8], &*short[9], &*short[99]), ("LONGNA~9.TXT", "LONGN~10.TXT", "LONG~100.TXT"));
    }

    #[test]
    fn refuses_names_that_others_would_change() {
        for name in ["a:b", "tab\t", "what?", "dot.", "space ", "🦀", &"x".repeat(256)] {
            assert!(check(name.as_bytes()).is_err(), "{name}");
        }
        assert_eq!(check(b"\xff"), Err(NameFlaw::NotUtf8));
        assert_eq!(check("日本語 + [x];=,.conf".as_bytes()), Ok("日本語 + [x];=,.conf"));
    }

    proptest! {
        #[test]
        fn short_names_are_valid_and_unique(names in prop::collection::hash_set("[a-c .+é]{0,12}[a-c]", 1..40)) {
            let mut short = ShortNames::new(names.iter().map(String::as_str));
            let mut seen = HashSet::new();
            let mut folded = HashSet::new();
            for name in names.iter().filter(|name| folded.insert(fold(name))) {
                let short = short.take(name);
                prop_assert!(short[0] != b' ', "{:?} {:?}", name, short);
                prop_assert!(short.iter().all(|byte| *byte == b' ' || is_short_character(*byte)));
                prop_assert!(seen.insert(short), "{:?} twice", name);
            }
        }
    }
}
