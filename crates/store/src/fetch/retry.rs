//! The delay that a server asks for before the next attempt (`Retry-After`).

use std::time::Duration;

use jiff::Timestamp;

/// The delay that a `Retry-After` header asks for (RFC 9110, section 10.2.3: seconds or a date), relative to `now`.
pub(crate) fn retry_after(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = date.as_second().checked_sub(now.as_second())?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_takes_seconds_and_dates() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(retry_after(b"120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(b"Mon, 23 Nov 2026 10:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(b"Mon, 23 Nov 2026 09:00:30 GMT", now), Some(Duration::ZERO));
        for nonsense in [&b"soon"[..], b"", b"-1", b"\xff", b"99999999999999999999999"] {
            assert_eq!(retry_after(nonsense, now), None);
        }
    }
}
