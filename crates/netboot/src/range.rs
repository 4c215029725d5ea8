//! Parses the `Range` of a request (RFC 9110, section 14.1.2): one range of bytes, which is enough for resuming a
//! download.

use std::ops::Range;

/// The part of a file that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedRange {
    /// The whole file; also if the range is not understood (section 14.2).
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes beyond the file's end.
    Nothing,
}

/// Parses the header's value for a file of `length` bytes. Several ranges are answered with the whole file.
pub fn parse(value: &str, length: u64) -> RequestedRange {
    let Some((first, last)) = value.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return RequestedRange::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => RequestedRange::All,
        (Some(first), _) if (last.is_empty() || number(last).is_some()) && first >= length => RequestedRange::Nothing,
        (Some(first), None) if last.is_empty() => RequestedRange::Part(first..length),
        (Some(first), Some(last)) => RequestedRange::Part(first..last.saturating_add(1).min(length)),
        (None, Some(0)) if first.is_empty() => RequestedRange::Nothing,
        // The end of an empty file is all of it; it could not be expressed as a part (section 14.4).
        (None, Some(_)) if first.is_empty() && length == 0 => RequestedRange::All,
        (None, Some(count)) if first.is_empty() => RequestedRange::Part(length.saturating_sub(count)..length),
        _ => RequestedRange::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_range_of_bytes() {
        for (value, expected) in [
            ("bytes=0-", RequestedRange::Part(0..100)),
            ("bytes=40-", RequestedRange::Part(40..100)),
            ("bytes=40-49", RequestedRange::Part(40..50)),
            ("bytes=40-9999", RequestedRange::Part(40..100)),
            ("bytes=-10", RequestedRange::Part(90..100)),
            ("bytes=-1000", RequestedRange::Part(0..100)),
            ("bytes=100-", RequestedRange::Nothing),
            ("bytes=-0", RequestedRange::Nothing),
            ("bytes=50-40", RequestedRange::All),
            ("bytes=0-1,5-6", RequestedRange::All),
            ("items=0-1", RequestedRange::All),
            ("bytes=-", RequestedRange::All),
            ("bytes=+1-2", RequestedRange::All),
            ("", RequestedRange::All),
        ] {
            assert_eq!(parse(value, 100), expected, "{value}");
        }
    }

    #[test]
    fn an_empty_file_has_no_parts() {
        assert_eq!(parse("bytes=-10", 0), RequestedRange::All);
        assert_eq!(parse("bytes=0-", 0), RequestedRange::Nothing);
    }

    proptest! {
        #[test]
        fn a_part_is_in_the_file(value in "(bytes=)?[0-9]{0,22}-?[0-9]{0,22}[ ,a]?", length: u64) {
            if let RequestedRange::Part(range) = parse(&value, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
