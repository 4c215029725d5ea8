//! [`sync_once`]: asks for the time and sets the clock.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::query::{self, difference};
use super::{Clock, Error, http};

/// The servers to ask, and the limits.
#[derive(Debug, Clone)]
pub struct ClockSettings {
    /// Time servers, as `host`, `host:port` or an address: those of an `ip=` or of DHCP
    /// ([`Status::ntp_servers`](crate::Status::ntp_servers)).
    pub servers: Vec<String>,
    /// Time servers to ask if there are none in `servers` or none of them answers.
    pub fallback_servers: Vec<String>,
    /// Web servers to ask if no time server answers, as `http://host/`.
    pub urls: Vec<String>,
    /// The earliest time that can be right: the date of the image.
    pub floor: SystemTime,
    /// A clock that is off by no more than this is not set.
    pub tolerance: Duration,
    /// Timeout for each group of time servers, and for each web server. Looking up names may take longer.
    pub timeout: Duration,
}

impl Default for ClockSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            fallback_servers: vec!["2.debian.pool.ntp.org".to_owned()],
            urls: vec!["http://deb.debian.org/".to_owned()],
            floor: UNIX_EPOCH,
            tolerance: Duration::from_millis(500),
            timeout: Duration::from_secs(4),
        }
    }
}

/// The source of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A time server.
    Ntp(SocketAddr),
    /// A web server.
    Http(String),
}

/// A source that did not tell the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A server or a URL.
    pub source: String,
    /// The reason.
    pub reason: String,
}

/// The result of [`sync_once`]. Prints as one line.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncReport {
    /// Whether the clock was before the floor, and was set to it.
    pub raised: bool,
    /// The source of the time; `None` if no server answered.
    pub source: Option<Source>,
    /// How many seconds the clock was behind the source's, after it was raised; negative if it was ahead.
    pub offset: f64,
    /// Whether the clock was set to the source's time.
    pub stepped: bool,
    /// The sources that did not answer.
    pub failures: Vec<Failure>,
}

/// Asks for the time, and sets the clock if it is off.
///
/// First a clock that is before the floor is set to the floor. Then up to four time servers are asked at once; of
/// three answers the middle one counts. If no server answers, the fallback servers are asked, and then one web server
/// after the other, whose time is accurate to a second. If no server answers at all, the result is not an error but a
/// [`SyncReport`] without a source. Blocks for a few seconds at worst, plus the time for looking up names.
pub fn sync_once(settings: &ClockSettings, clock: &mut dyn Clock) -> Result<SyncReport, Error> {
    let mut report = SyncReport { raised: false, source: None, offset: 0.0, stepped: false, failures: Vec::new() };
    if clock.now() < settings.floor {
        set(clock, settings.floor)?;
        report.raised = true;
    }
    for servers in [&settings.servers, &settings.fallback_servers] {
        if let Some((server, offset)) = by_ntp(servers, settings, clock, &mut report.failures) {
            report.source = Some(Source::Ntp(server));
            return apply(report, offset, settings.tolerance, clock);
        }
    }
    for url in &settings.urls {
        let reason = match http::ask(url, settings.timeout) {
            Ok(time) if time < settings.floor => query::Failure::BeforeFloor(time).to_string(),
            Ok(time) => {
                let offset = difference(time, clock.now());
                report.source = Some(Source::Http(url.clone()));
                return apply(report, offset, settings.tolerance.max(Duration::from_secs(1)), clock);
            }
            Err(error) => error.to_string(),
        };
        report.failures.push(Failure { source: url.clone(), reason });
    }
    Ok(report)
}

fn by_ntp(
    servers: &[String],
    settings: &ClockSettings,
    clock: &dyn Clock,
    failures: &mut Vec<Failure>,
) -> Option<(SocketAddr, i128)> {
    let mut failed = Vec::new();
    let addresses = query::addresses(servers, &mut failed);
    let samples = query::ask(&addresses, settings.timeout, settings.floor, &|| clock.now(), &mut failed);
    let named = |(source, reason): (String, query::Failure)| Failure { source, reason: reason.to_string() };
    failures.extend(failed.into_iter().map(named));
    query::best(samples).map(|sample| (sample.server, sample.offset))
}

fn apply(
    mut report: SyncReport,
    offset: i128,
    tolerance: Duration,
    clock: &mut dyn Clock,
) -> Result<SyncReport, Error> {
    report.offset = offset as f64 / 1e9;
    let distance = Duration::from_nanos(u64::try_from(offset.unsigned_abs()).unwrap_or(u64::MAX));
    if distance > tolerance {
        let now = clock.now();
        let right = if offset < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
        set(clock, right.unwrap_or(now))?;
        report.stepped = true;
    }
    Ok(report)
}

fn set(clock: &mut dyn Clock, to: SystemTime) -> Result<(), Error> {
    clock.set(to).map_err(|source| Error { to, source })
}

impl fmt::Display for SyncReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.raised {
            f.write_str("clock was before this image was made and was set to its date; ")?;
        }
        match &self.source {
            Some(Source::Ntp(server)) => write!(f, "time from {server}")?,
            Some(Source::Http(url)) => write!(f, "time from {url}")?,
            None => {
                f.write_str("nobody told the time")?;
                for (at, failure) in self.failures.iter().enumerate() {
                    write!(f, "{}{}: {}", if at == 0 { ": " } else { "; " }, failure.source, failure.reason)?;
                }
                return Ok(());
            }
        }
        let way = if self.offset < 0.0 { "ahead" } else { "behind" };
        let done = if self.stepped { "set" } else { "left alone" };
        write!(f, ": the clock was {:.3} s {way} and was {done}", self.offset.abs())
    }
}
