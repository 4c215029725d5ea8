//! Version numbers and their ordering: deb-version(7).

use std::{cmp::Ordering, fmt};

/// A version number that follows deb-version(7). Compares as dpkg does, so `1.0` and `1.0-0` are equal.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    text: &'a str,
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

/// Error for text that is not a version number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Debian version: {why}")]
pub struct VersionError {
    /// The invalid text.
    pub text: String,
    /// Description of the problem.
    pub why: &'static str,
}

impl<'a> Version<'a> {
    /// Parses `[epoch:]upstream[-revision]`. Like dpkg, it does not require a digit at the start of the upstream
    /// version.
    pub fn parse(text: &'a str) -> Result<Self, VersionError> {
        let error = |why| VersionError { text: text.chars().take(100).collect(), why };
        let (epoch, rest) = match text.split_once(':') {
            None => (0, text),
            Some((epoch, rest)) => {
                if epoch.is_empty() || !epoch.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(error("the epoch is not a number"));
                }
                let epoch = epoch.parse::<i32>().map_err(|_| error("the epoch is too big"))?;
                (epoch.unsigned_abs(), rest)
            }
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            None => (rest, ""),
            Some((_, "")) => return Err(error("the revision is empty")),
            Some(parts) => parts,
        };
        if upstream.is_empty() {
            return Err(error("the upstream version is empty"));
        }
        if !upstream.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+~:".contains(&byte)) {
            return Err(error("a character is not allowed in the upstream version"));
        }
        if !revision.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~".contains(&byte)) {
            return Err(error("a character is not allowed in the revision"));
        }
        Ok(Self { text, epoch, upstream, revision })
    }

    /// The original text.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The epoch; 0 if none is written.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The part between epoch and revision.
    pub fn upstream(&self) -> &'a str {
        self.upstream
    }

    /// The part after the last hyphen; empty for native packages.
    pub fn revision(&self) -> &'a str {
        self.revision
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream, other.upstream))
            .then_with(|| compare_part(self.revision, other.revision))
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version<'_> {}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Compares two version texts. Invalid texts sort before valid ones, and among themselves by bytes.
pub fn compare(a: &str, b: &str) -> Ordering {
    match (Version::parse(a), Version::parse(b)) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Greater,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

/// Compares upstream versions or revisions by deb-version(7): alternating stretches of non-digits and digits.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (a_text, a_rest) = split_while(a, |byte| !byte.is_ascii_digit());
        let (b_text, b_rest) = split_while(b, |byte| !byte.is_ascii_digit());
        for index in 0..a_text.len().max(b_text.len()) {
            let order = weight(a_text.get(index)).cmp(&weight(b_text.get(index)));
            if order.is_ne() {
                return order;
            }
        }
        let (a_digits, a_next) = split_while(a_rest, u8::is_ascii_digit);
        let (b_digits, b_next) = split_while(b_rest, u8::is_ascii_digit);
        let (_, a_number) = split_while(a_digits, |byte| *byte == b'0');
        let (_, b_number) = split_while(b_digits, |byte| *byte == b'0');
        // Without leading zeros the longer number is the larger one.
        let order = a_number.len().cmp(&b_number.len()).then_with(|| a_number.cmp(b_number));
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_next, b_next);
    }
    Ordering::Equal
}

/// Sort weight: tilde before the end of the text, letters before everything else.
fn weight(byte: Option<&u8>) -> i16 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i16::from(*byte),
        Some(byte) => i16::from(*byte) + 256,
    }
}

fn split_while(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| !belongs(byte)).unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let version = Version::parse("2:1.0-rc1-3+b1").unwrap();
        assert_eq!((version.epoch(), version.upstream(), version.revision()), (2, "1.0-rc1", "3+b1"));
        assert_eq!(version.to_string(), "2:1.0-rc1-3+b1");
    }

    #[test]
    fn order() {
        for (lower, higher) in [
            ("1.0~rc1", "1.0"),
            ("1.0~~", "1.0~"),
            ("1.9", "1.10"),
            ("1.0a", "1.0+"),
            ("9", "1:0"),
            ("1.0-1", "1.0-1+b1"),
            ("1.0-1~exp1", "1.0-1"),
            ("99999999999999999999998", "99999999999999999999999"),
        ] {
            assert_eq!(compare(lower, higher), Ordering::Less, "{lower} {higher}");
            assert_eq!(compare(higher, lower), Ordering::Greater, "{higher} {lower}");
        }
        assert_eq!(compare("1.0", "0:1.0-0"), Ordering::Equal);
        assert_eq!(compare("1.00", "1.0"), Ordering::Equal);
    }

    #[test]
    fn not_versions() {
        for text in ["", ":1", "a:1", "1:", "1-", "1 2", "1_2", "1-2:3", "99999999999:1", "-1"] {
            assert!(Version::parse(text).is_err(), "{text:?}");
        }
    }
}
