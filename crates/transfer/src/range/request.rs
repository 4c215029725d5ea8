//! The `Range` of a request (RFC 9110, sections 14.1.1 to 14.2): one range of bytes, which is enough for resuming a
//! download.

use std::ops::Range;

/// The part of a file that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedRange {
    /// The whole file; also if the range is not valid, or in another unit (section 14.2).
    All,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Only bytes beyond the file's end: the answer is 416.
    Nothing,
}

impl RequestedRange {
    /// Parses the value of a `Range` header for a file of `length` bytes. Several ranges are answered with the whole file. The
    /// header counts in GET requests only (section 14.2).
    pub fn parse(value: &str, length: u64) -> Self {
        let Some((unit, ranges)) = value.split_once('=') else { return Self::All };
        // Elements of a list may be empty, and have blanks around them (section 5.6.1).
        let mut ranges =
            ranges.split(',').map(|range| range.trim_matches([' ', '\t'])).filter(|range| !range.is_empty());
        let (Some(range), None) = (ranges.next(), ranges.next()) else { return Self::All };
        let Some((first, last)) = range.split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes")) else {
            return Self::All;
        };
        match (position(first), position(last)) {
            (Some(_), Some(_)) if exceeds(first, last) => Self::All,
            (Some(start), end) if end.is_some() || last.is_empty() => match end {
                _ if start >= length => Self::Nothing,
                Some(end) => Self::Part(start..end.saturating_add(1).min(length)),
                None => Self::Part(start..length),
            },
            (None, Some(0)) if first.is_empty() => Self::Nothing,
            // The end of an empty file is all of it; it could not be expressed as a part (section 14.4).
            (None, Some(_)) if first.is_empty() && length == 0 => Self::All,
            (None, Some(count)) if first.is_empty() => Self::Part(length.saturating_sub(count)..length),
            _ => Self::All,
        }
    }
}

/// A position: digits only. One that is too large for the type is beyond the end of any file.
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Whether a number of any length is larger than another.
fn exceeds(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    (one.len(), one) > (other.len(), other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_range_of_bytes() {
        for (value, expected) in [
            ("bytes=0-", RequestedRange::Part(0..10)),
            ("bytes=0-4", RequestedRange::Part(0..5)),
            ("bytes=9-9", RequestedRange::Part(9..10)),
            ("bytes=8-30", RequestedRange::Part(8..10)),
            ("bytes=-3", RequestedRange::Part(7..10)),
            ("bytes=-30", RequestedRange::Part(0..10)),
            ("Bytes=5-", RequestedRange::Part(5..10)),
            ("bytes= 5-6, ,", RequestedRange::Part(5..7)),
            // Numbers that fit no type are beyond the end, and no reason to send everything again.
            ("bytes=5-99999999999999999999", RequestedRange::Part(5..10)),
            ("bytes=-99999999999999999999", RequestedRange::Part(0..10)),
            ("bytes=99999999999999999998-99999999999999999999", RequestedRange::Nothing),
            ("bytes=10-", RequestedRange::Nothing),
            ("bytes=10-11", RequestedRange::Nothing),
            ("bytes=-0", RequestedRange::Nothing),
        ] {
            assert_eq!(RequestedRange::parse(value, 10), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_valid_range_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=--1",
            "bytes=1 - 2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "bytes=4-2",
            "bytes=99999999999999999999-99999999999999999998",
            "bytes=0-1,3-4",
            "items=0-1",
        ] {
            assert_eq!(RequestedRange::parse(value, 10), RequestedRange::All, "{value}");
        }
    }

    #[test]
    fn an_empty_file_has_no_parts() {
        assert_eq!(RequestedRange::parse("bytes=-10", 0), RequestedRange::All);
        assert_eq!(RequestedRange::parse("bytes=0-", 0), RequestedRange::Nothing);
    }

    proptest! {
        #[test]
        fn a_part_is_in_the_file(value in "(bytes=)?[0-9]{0,22}-?[0-9]{0,22}[ ,a]?", length: u64) {
            if let RequestedRange::Part(range) = RequestedRange::parse(&value, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }

        #[test]
        fn a_client_gets_what_it_names(length in 1_u64..1000, a in 0_u64..1000, b in 0_u64..1000) {
            let (first, last) = (a.min(b).min(length - 1), a.max(b).min(length - 1));
            prop_assert_eq!(RequestedRange::parse(&format!("bytes={first}-{last}"), length), RequestedRange::Part(first..last + 1));
            prop_assert_eq!(RequestedRange::parse(&format!("bytes={first}-"), length), RequestedRange::Part(first..length));
        }
    }
}
