//! The time from a web server: the `Date` of its answer (RFC 9110 section 6.6.1), accurate to a second.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest header section that is read, in bytes.
const LONGEST: usize = 16 * 1024;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The reason why a web server's time is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL that can be used without TLS, which would need the time.
    #[error("not of the form http://host[:port][/path]; with TLS the time is needed before")]
    Url,
    /// The server can't be reached, or its name is not known.
    #[error("{step}: {source}")]
    Io {
        /// What was tried, as a gerund.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The answer is not HTTP, or has no date.
    #[error("the answer has no Date")]
    NoDate,
}

/// Sends a HEAD request, and returns the server's time when the answer came.
pub fn ask(url: &str, timeout: Duration) -> Result<SystemTime, Error> {
    let Url { authority, host, port, path } = Url::parse(url).ok_or(Error::Url)?;
    let failed = |step| move |source| Error::Io { step, source };
    let addresses = (host, port).to_socket_addrs().map_err(failed("looking up the name"))?;
    let deadline = Instant::now() + timeout;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let connected = left().and_then(|left| TcpStream::connect_timeout(&address, left));
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let request = format!(
            "HEAD {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: rocbed\r\nCache-Control: no-cache\r\nConnection: \
             close\r\n\r\n"
        );
        stream.set_write_timeout(Some(timeout)).map_err(failed("sending the question"))?;
        stream.write_all(request.as_bytes()).map_err(failed("sending the question"))?;
        let mut head = Vec::new();
        let mut part = [0; 2048];
        while head.len() < LONGEST && !ends(&head) {
            let step = failed("waiting for the answer");
            match left().and_then(|left| stream.set_read_timeout(Some(left))).and_then(|()| stream.read(&mut part)) {
                Ok(0) => break,
                Ok(length) => head.extend(part.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(step(error)),
            }
        }
        return date(&head).ok_or(Error::NoDate);
    }
    Err(Error::Io { step: "connecting", source: last })
}

fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|four| four == b"\r\n\r\n")
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    /// Host and port as written.
    authority: &'a str,
    host: &'a str,
    port: u16,
    path: &'a str,
}

impl<'a> Url<'a> {
    /// Reads `http://host[:port][/path]`; an IPv6 address is in brackets.
    fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case("http://") || rest.bytes().any(|byte| byte <= b' ' || byte == 127) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let path = if path.is_empty() { "/" } else { path };
        (!host.is_empty() && !host.contains('@')).then_some(Self { authority, host, port, path })
    }
}

/// The time in an answer's header section: its `Date`, plus the time that a cache has kept it (`Age`, RFC 9111
/// section 5.1). A pure function of any bytes.
///
/// A date may mean the beginning of a second or its end: the middle is the best guess.
pub fn date(head: &[u8]) -> Option<SystemTime> {
    let head = String::from_utf8_lossy(head);
    let (status, fields) = head.split_once("\r\n")?;
    if !status.starts_with("HTTP/1.") {
        return None;
    }
    let (mut date, mut age) = (None, 0);
    for line in fields.split("\r\n").take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("date") {
            date = parse(value.trim());
        } else if name.eq_ignore_ascii_case("age") {
            age = value.trim().parse::<u32>().unwrap_or(0);
        }
    }
    date?.checked_add(Duration::from_secs(age.into()) + Duration::from_millis(500))
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate, RFC 9110 section 5.6.7, which servers have to send). The two
/// obsolete forms are not supported.
pub fn parse(text: &str) -> Option<SystemTime> {
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (clock, zone) = (words.next()?, words.next()?);
    if zone != "GMT" || words.next().is_some() {
        return None;
    }
    let number = |text: &str, length: usize, most: u32| {
        let digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number <= most)
    };
    let mut clock = clock.split(':');
    let (hour, minute, second) =
        (number(clock.next()?, 2, 23)?, number(clock.next()?, 2, 59)?, number(clock.next()?, 2, 60)?);
    let month = MONTHS.iter().position(|name| *name == month)? as u32;
    let (year, day) = (number(year, 4, 9999)?, number(day, 2, 31)?);
    if year < 1970 || clock.next().is_some() {
        return None;
    }
    let next_month = if month == 11 { days_before(year + 1, 0) } else { days_before(year, month + 1) };
    if day == 0 || day > next_month - days_before(year, month) {
        return None;
    }
    let days = u64::from(days_before(year, month) + day - 1);
    UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + u64::from(hour * 3600 + minute * 60 + second)))
}

/// The last second of the year 9999, the last that has a date.
const LAST: u64 = 253_402_300_799;

/// Formats a time as a web server would. Times before 1970 and after 9999 have no date and are clamped.
pub fn format(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST);
    let days = (seconds / 86_400) as u32;
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 0) <= days {
        year += 1;
    }
    let month = (0..12).rev().find(|month| days_before(year, *month) <= days).unwrap_or(0);
    let day = days - days_before(year, month) + 1;
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days as usize % 7];
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT", MONTHS[month as usize % 12])
}

/// Days from 1970-01-01 to the first of a month (0 to 11) of a year from 1970 on.
fn days_before(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    // Leap years before this one, from year 1 on; 477 of them were before 1970.
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400 - 477;
    let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    (year - 1970) * 365 + leaps + months[month as usize % 12] + u32::from(leap && month > 1)
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
        assert_eq!(format(unix(LAST)), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(format(unix(LAST + 1)), format(unix(LAST)));
        assert_eq!(format(unix(i64::MAX as u64)), format(unix(LAST)));
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
    fn heads() {
        let head = b"HTTP/1.1 301 Moved\r\nAGE: 60\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nDate: other";
        assert_eq!(date(head), Some(unix(784_111_837) + Duration::from_millis(500)));
        assert_eq!(date(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"), None);
        assert_eq!(date(b"220 smtp\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"), None);
    }

    #[test]
    fn urls() {
        let read = |url| Url::parse(url).map(|url| (url.authority, url.host, url.port, url.path));
        assert_eq!(read("http://deb.debian.org/debian/"), Some(("deb.debian.org", "deb.debian.org", 80, "/debian/")));
        assert_eq!(read("http://[::1]:8080"), Some(("[::1]:8080", "::1", 8080, "/")));
        assert_eq!(read("http://[::1]/x"), Some(("[::1]", "::1", 80, "/x")));
        for bad in ["https://deb.debian.org/", "http://", "http:///x", "http://a:b/", "http://a b/", "http://u@h/", "ä"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>, line in "\\PC*") {
            let _ = date(&bytes);
            let _ = date(format!("HTTP/1.1 200 OK\r\nDate: {line}\r\n\r\n").as_bytes());
            let _ = Url::parse(&line);
            let _ = parse(&line);
        }

        #[test]
        fn what_is_written_is_read(seconds in 0_u64..250_000_000_000) {
            prop_assert_eq!(parse(&format(unix(seconds))), Some(unix(seconds)));
        }
    }
}
