//! The time from a web server: the `Date` of its answer (RFC 9110 section 6.6.1), accurate to a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use ureq::Agent;
use ureq::http::{HeaderMap, header};

/// The longest header section that is read, in bytes.
const LONGEST: usize = 16 * 1024;

/// The reason why a web server's time is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL that can be used without TLS, which would need the time.
    #[error("not of the form http://host[:port][/path]; with TLS the time is needed before")]
    Url,
    /// The server can't be reached, its name is not known, or its answer is not HTTP.
    #[error("asking: {0}")]
    Ask(#[from] Box<ureq::Error>),
    /// The answer has no date.
    #[error("the answer has no Date")]
    NoDate,
}

/// Sends a HEAD request, and returns the server's time when the answer came. Any status will do, and redirections are
/// not followed: the first server has a clock too.
pub fn ask(url: &str, timeout: Duration) -> Result<SystemTime, Error> {
    if !url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        return Err(Error::Url);
    }
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_response_header_size(LONGEST)
        // A proxy's answer may come from its cache.
        .proxy(None)
        .user_agent("rocbed");
    let agent = Agent::new_with_config(config.build());
    let answer = agent.head(url).header(header::CACHE_CONTROL, "no-cache").call().map_err(Box::new)?;
    let field = |name| text(answer.headers(), &name);
    field(header::DATE).and_then(|date| time(date, field(header::AGE))).ok_or(Error::NoDate)
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The time that an answer's fields tell: its `Date`, plus the seconds that a cache has kept it (`Age`, RFC 9111
/// section 5.1).
///
/// A date may mean the beginning of a second or its end: the middle is the best guess.
pub fn time(date: &str, age: Option<&str>) -> Option<SystemTime> {
    let age = age.and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or(0);
    parse(date.trim())?.checked_add(Duration::from_secs(age.into()) + Duration::from_millis(500))
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate, RFC 9110 section 5.6.7, which servers have to send). The two
/// obsolete forms are not supported.
pub fn parse(text: &str) -> Option<SystemTime> {
    // The format is that of mail (RFC 5322), which has other zones too.
    let time = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    (text.ends_with(" GMT") && time >= Timestamp::UNIX_EPOCH).then(|| time.into())
}

/// Formats a time as a web server would. Times before 1970 and after 9999 are clamped.
pub fn format(time: SystemTime) -> String {
    let largest = if time < UNIX_EPOCH { Timestamp::UNIX_EPOCH } else { Timestamp::MAX };
    let time = Timestamp::try_from(time).unwrap_or(largest).max(Timestamp::UNIX_EPOCH);
    // No year from 1970 to 9999 is refused.
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_else(|_| time.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unix(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn dates() {
        // By date(1): date -ud @784111777.
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        ] {
            assert_eq!(parse(text), Some(unix(seconds)), "{text}");
            assert_eq!(format(unix(seconds)), text);
        }
    }

    #[test]
    fn a_time_without_a_date_is_written_as_the_nearest_that_has_one() {
        assert_eq!(format(unix(i64::MAX as u64)), "Thu, 30 Dec 9999 22:00:00 GMT");
        assert_eq!(format(UNIX_EPOCH - Duration::from_secs(1)), format(UNIX_EPOCH));
    }

    #[test]
    fn no_dates() {
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 08:49:37 GMT",
            "Sun, 06 Nov 1894 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_time_in_a_cache_counts() {
        let half = Duration::from_millis(500);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(time(date, Some("60")), Some(unix(784_111_837) + half));
        assert_eq!(time(date, Some("soon")), Some(unix(784_111_777) + half));
        assert_eq!(time("now", None), None);
    }

    #[test]
    fn only_addresses_without_tls_are_asked() {
        for bad in ["https://deb.debian.org/", "deb.debian.org", "ä"] {
            assert!(matches!(ask(bad, Duration::from_secs(1)), Err(Error::Url)), "{bad}");
        }
        for bad in ["http://", "http:///x", "http://a:b/", "http://a b/"] {
            assert!(ask(bad, Duration::from_secs(1)).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0_u64..250_000_000_000) {
            prop_assert_eq!(parse(&format(unix(seconds))), Some(unix(seconds)));
        }
    }
}
