//! The `Content-Range` header (RFC 9110, section 14.4).

use std::fmt;
use std::ops::Range;

/// Content of a `Content-Range` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// First and last byte of the range, counted from 0; `None` in a 416 answer (`bytes */1234`).
    pub bytes: Option<(u64, u64)>,
    /// Length of the whole file, if the server knows it.
    pub total: Option<u64>,
}

/// A `Content-Range` header with another unit than bytes, or with inconsistent numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a byte range")]
pub struct ContentRangeError;

impl ContentRange {
    /// The header of an answer with a part of a file, which must not be empty.
    pub fn part(range: &Range<u64>, length: u64) -> Self {
        Self { bytes: Some((range.start, range.end.saturating_sub(1))), total: Some(length) }
    }

    /// The header of an answer to a request for bytes beyond a file's end (416).
    pub fn unsatisfied(length: u64) -> Self {
        Self { bytes: None, total: Some(length) }
    }

    /// Parses the value of a `Content-Range` header.
    ///
    /// # Errors
    /// If it does not follow the grammar, has another unit than bytes, or its numbers contradict each other.
    pub fn parse(value: &[u8]) -> Result<Self, ContentRangeError> {
        let text = std::str::from_utf8(value).map_err(|_| ContentRangeError)?;
        let (unit, rest) = text.trim_matches([' ', '\t']).split_once(' ').ok_or(ContentRangeError)?;
        let (range, total) = rest.trim_start_matches(' ').split_once('/').ok_or(ContentRangeError)?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return Err(ContentRangeError);
        }
        let total = if total == "*" { None } else { Some(number(total)?) };
        if range == "*" {
            // RFC 9110: an unsatisfied range always has a length.
            return total.map(Self::unsatisfied).ok_or(ContentRangeError);
        }
        let (first, last) = range.split_once('-').ok_or(ContentRangeError)?;
        let (first, last) = (number(first)?, number(last)?);
        if last < first || total.is_some_and(|total| last >= total) {
            return Err(ContentRangeError);
        }
        Ok(Self { bytes: Some((first, last)), total })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some((first, last)) => write!(f, "bytes {first}-{last}/")?,
            None => f.write_str("bytes */")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

/// Parses a number of digits only: no sign, no space.
fn number(text: &str) -> Result<u64, ContentRangeError> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_err(|_| ContentRangeError)
    } else {
        Err(ContentRangeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_forms_are_read() {
        let parsed = |text: &str| ContentRange::parse(text.as_bytes());
        assert_eq!(parsed("bytes 42-1233/1234"), Ok(ContentRange { bytes: Some((42, 1233)), total: Some(1234) }));
        assert_eq!(parsed("bytes 42-1233/*"), Ok(ContentRange { bytes: Some((42, 1233)), total: None }));
        assert_eq!(parsed("Bytes */1234"), Ok(ContentRange { bytes: None, total: Some(1234) }));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "bytes",
            "bytes ",
            "bytes 1-2",
            "bytes */*",
            "lines 1-2/3",
            "bytes 2-1/3",
            "bytes 1-3/3",
            "bytes +1-2/3",
            "bytes 1-2/-3",
            "bytes 1 - 2/3",
            "bytes -2/3",
            "bytes 1-/3",
            "bytes 0-18446744073709551616/*",
        ] {
            assert_eq!(ContentRange::parse(text.as_bytes()), Err(ContentRangeError), "{text:?}");
        }
        assert!(ContentRange::parse(b"bytes \xff-1/2").is_err());
    }

    proptest! {
        #[test]
        fn what_a_server_would_write_is_read(first: u32, length in 1_u64..1 << 40, beyond: u32) {
            let (first, last) = (u64::from(first), u64::from(first) + length - 1);
            let total = last + 1 + u64::from(beyond);
            let range = ContentRange::part(&(first..last + 1), total);
            prop_assert_eq!(range.to_string(), format!("bytes {first}-{last}/{total}"));
            for range in [range, ContentRange::unsatisfied(total), ContentRange { total: None, ..range }] {
                prop_assert_eq!(ContentRange::parse(range.to_string().as_bytes()), Ok(range));
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, tail in "[0-9*/ -]{0,40}") {
            let _ = ContentRange::parse(&bytes);
            let _ = ContentRange::parse(format!("bytes {tail}").as_bytes());
        }
    }
}
