//! The `Content-Range` header (RFC 9110, section 14.4).

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

/// Parses the value of a `Content-Range` header.
///
/// # Errors
/// If it does not follow the grammar, has another unit than bytes, or its numbers contradict each other.
pub fn parse(value: &[u8]) -> Result<ContentRange, ContentRangeError> {
    let text = std::str::from_utf8(value).map_err(|_| ContentRangeError)?;
    let (unit, rest) = text.trim_matches([' ', '\t']).split_once(' ').ok_or(ContentRangeError)?;
    let (range, total) = rest.trim_start_matches(' ').split_once('/').ok_or(ContentRangeError)?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return Err(ContentRangeError);
    }
    let total = if total == "*" { None } else { Some(number(total)?) };
    if range == "*" {
        // RFC 9110: an unsatisfied range always has a length.
        return total.map(|total| ContentRange { bytes: None, total: Some(total) }).ok_or(ContentRangeError);
    }
    let (first, last) = range.split_once('-').ok_or(ContentRangeError)?;
    let (first, last) = (number(first)?, number(last)?);
    if last < first || total.is_some_and(|total| last >= total) {
        return Err(ContentRangeError);
    }
    Ok(ContentRange { bytes: Some((first, last)), total })
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
        let parsed = |text: &str| parse(text.as_bytes());
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
            assert_eq!(parse(text.as_bytes()), Err(ContentRangeError), "{text:?}");
        }
        assert!(parse(b"bytes \xff-1/2").is_err());
    }

    proptest! {
        #[test]
        fn what_a_server_would_write_is_read(first: u32, length in 1_u64..1 << 40, beyond: u32) {
            let (first, last) = (u64::from(first), u64::from(first) + length - 1);
            let total = last + 1 + u64::from(beyond);
            let range = parse(format!("bytes {first}-{last}/{total}").as_bytes()).unwrap();
            prop_assert_eq!(range, ContentRange { bytes: Some((first, last)), total: Some(total) });
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, tail in "[0-9*/ -]{0,40}") {
            let _ = parse(&bytes);
            let _ = parse(format!("bytes {tail}").as_bytes());
        }
    }
}
