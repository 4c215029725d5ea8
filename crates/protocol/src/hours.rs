//! [`Hours`]: when a machine may take jobs, as its owner writes it.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, ToSpan as _};

/// Minutes of a day and of a week.
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;

/// Monday is the first day; 1970 began on a Thursday.
const EPOCH: i64 = 3 * DAY as i64;

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Times of the week, in UTC: `22:00-07:00`, `Mon..Fri 20:00-07:00; Sat,Sun`. A range of times that ends before it
/// begins goes on to the next day, and days are those on which it begins. Days are written as in systemd.time(7). An
/// offset at the end is for another time zone, without its summer time: `22:00-07:00 +01:00`. `always` is the whole week.
///
/// ```
/// use protocol::{Hours, Opening};
/// let hours: Hours = "Mon..Fri 22:00-07:00; Sat,Sun".parse()?;
/// // A Saturday.
/// let now = "2026-12-05T12:00:00Z".parse()?;
/// assert_eq!(hours.at(now), Opening::Open { until: Some("2026-12-07T00:00:00Z".parse()?) });
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Minutes of the week in UTC, from the first to before the second: sorted, apart from each other, never empty.
    spans: Vec<(u32, u32)>,
    text: String,
}

/// Whether jobs may be taken at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Yes, until this time; `None` for ever.
    Open {
        /// The end.
        until: Option<Timestamp>,
    },
    /// Not before this time.
    Closed {
        /// The next begin.
        until: Timestamp,
    },
}

/// Text that does not say hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// There is nothing.
    #[error("no time is named")]
    Empty,
    /// Not a day, or several days in a form that is not known.
    #[error("`{0}` is not a day of the week")]
    Day(String),
    /// Not a range of times.
    #[error("`{0}` is not a range of times from 00:00 to 24:00")]
    Time(String),
    /// A range without length.
    #[error("`{0}` has no length")]
    NoLength(String),
    /// More words than days, times and an offset.
    #[error("`{0}` is one word too many")]
    Rest(String),
}

impl Hours {
    /// Whether jobs may be taken at this time, and until when that is so.
    pub fn at(&self, now: Timestamp) -> Opening {
        let minutes = now.as_second().div_euclid(60);
        let minute = u32::try_from((minutes + EPOCH).rem_euclid(i64::from(WEEK))).unwrap_or_default();
        let time = |minute_of_week: u32| {
            let ahead = i64::from(minute_of_week) - i64::from(minute);
            // Times so near the end of a calendar with 9999 years do not come.
            Timestamp::from_second((minutes + ahead) * 60).unwrap_or(Timestamp::MAX)
        };
        // The first of the next week comes after the last.
        let next_week = self.spans.first().map(|(begin, end)| (begin + WEEK, end + WEEK));
        let mut rest = self.spans.iter().copied().chain(next_week).skip_while(|(_, end)| *end <= minute);
        match rest.next() {
            _ if self.spans == [(0, WEEK)] => Opening::Open { until: None },
            Some((begin, end)) if begin <= minute => {
                let end = rest.next().filter(|(next, _)| *next == end).map_or(end, |(_, after)| after);
                Opening::Open { until: Some(time(end)) }
            }
            Some((begin, _)) => Opening::Closed { until: time(begin) },
            // There is always a span of the next week.
            None => Opening::Closed { until: now.saturating_add(1.hour()).unwrap_or(now) },
        }
    }

    /// The longest time without an interruption, in seconds.
    pub fn longest(&self) -> u64 {
        let around = match (self.spans.first(), self.spans.last()) {
            (Some((0, end)), Some((begin, WEEK))) if *begin > 0 => end + WEEK - begin,
            _ => 0,
        };
        let longest = self.spans.iter().map(|(begin, end)| end - begin).max().unwrap_or_default();
        u64::from(longest.max(around)) * 60
    }
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let text = text.trim();
        let mut spans = Vec::new();
        if text.eq_ignore_ascii_case("always") {
            spans.push((0, WEEK));
            return Ok(Self { spans, text: text.to_owned() });
        }
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            add(part, &mut spans)?;
        }
        spans.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (begin, end) in spans {
            match merged.last_mut() {
                Some((_, last)) if begin <= *last => *last = end.max(*last),
                _ => merged.push((begin, end)),
            }
        }
        if merged.is_empty() { Err(HoursError::Empty) } else { Ok(Self { spans: merged, text: text.to_owned() }) }
    }
}

/// The text that it was read from.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Adds the times of one part: days, a range of times, and an offset, of which each but one may be left out.
fn add(part: &str, spans: &mut Vec<(u32, u32)>) -> Result<(), HoursError> {
    let mut words = part.split_whitespace().peekable();
    let is_day = |word: &&str| word.starts_with(|char: char| char.is_ascii_alphabetic()) && !is_utc(word);
    let is_time = |word: &&str| word.contains(':') && !word.starts_with(['+', '-']);
    let days = words.next_if(is_day).map(days).transpose()?;
    let (begin, end) = words.next_if(is_time).map_or(Ok((0, DAY)), times)?;
    let offset = match words.next() {
        None => 0,
        Some(word) if is_utc(word) => 0,
        Some(word) => offset(word)?,
    };
    if let Some(rest) = words.next() {
        return Err(HoursError::Rest(rest.to_owned()));
    }
    let length = if end > begin { end - begin } else { end + DAY - begin };
    for day in days.unwrap_or_else(|| (0..7).collect()) {
        // Never below zero: an offset is less than a day.
        let begin = (WEEK + day * DAY + begin).saturating_add_signed(-offset) % WEEK;
        spans.push((begin, (begin + length).min(WEEK)));
        if begin + length > WEEK {
            spans.push((0, begin + length - WEEK));
        }
    }
    Ok(())
}

fn is_utc(word: &str) -> bool {
    word == "UTC" || word == "Z"
}

/// Numbers of days: `Mon`, `Sat,Sun`, `Mon..Fri`, with names of three letters or in full.
fn days(text: &str) -> Result<Vec<u32>, HoursError> {
    let number = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let found = (0..).zip(DAYS).find(|(_, day)| lower == *day || day.get(..3) == Some(lower.as_str()));
        found.map(|(number, _)| number).ok_or_else(|| HoursError::Day(name.to_owned()))
    };
    let mut all = Vec::new();
    for word in text.split(',') {
        let (first, last) = word.split_once("..").unwrap_or((word, word));
        let (first, last): (u32, u32) = (number(first)?, number(last)?);
        // `Sat..Mon` goes over the end of the week.
        let count = (last + 7 - first) % 7 + 1;
        all.extend((first..first + count).map(|day| day % 7));
    }
    Ok(all)
}

/// Minutes of the day at which a range begins and ends.
fn times(text: &str) -> Result<(u32, u32), HoursError> {
    let wrong = || HoursError::Time(text.to_owned());
    let (begin, end) = text.split_once('-').ok_or_else(wrong)?;
    let (begin, end) = (minutes(begin).ok_or_else(wrong)?, minutes(end).ok_or_else(wrong)?);
    match (begin, end) {
        (DAY, _) => Err(wrong()),
        (begin, end) if begin == end => Err(HoursError::NoLength(text.to_owned())),
        range => Ok(range),
    }
}

/// An hour and a minute.
fn minutes(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_plain { text.parse::<u32>().ok() } else { None }
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY).then_some(all)
}

/// How many minutes a time zone is ahead of UTC: `+01:00`.
fn offset(text: &str) -> Result<i32, HoursError> {
    let wrong = || HoursError::Rest(text.to_owned());
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let ahead = minutes(rest).filter(|ahead| *ahead < DAY).and_then(|ahead| i32::try_from(ahead).ok());
    ahead.map(|ahead| sign * ahead).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    /// What hours say of a time of the first week of December 2026, which begins on a Tuesday.
    fn at(hours: &str, time: &str) -> Result<String, Box<dyn std::error::Error>> {
        let hours: Hours = hours.parse()?;
        Ok(match hours.at(format!("2026-12-{time}:00Z").parse()?) {
            Opening::Open { until: Some(until) } => format!("open until {until}"),
            Opening::Open { until: None } => "open".into(),
            Opening::Closed { until } => format!("closed until {until}"),
        })
    }

    #[test]
    fn always_is_the_whole_week() -> Outcome {
        assert_eq!((at("always", "01T21:59")?, at("Mon..Sun", "01T21:59")?), ("open".into(), "open".into()));
        Ok(())
    }

    #[test]
    fn a_night_goes_over_midnight() -> Outcome {
        let night = "22:00-07:00";
        assert_eq!(at(night, "01T21:59")?, "closed until 2026-12-01T22:00:00Z");
        assert_eq!(at(night, "01T22:00")?, "open until 2026-12-02T07:00:00Z");
        assert_eq!(at(night, "02T06:59")?, "open until 2026-12-02T07:00:00Z");
        assert_eq!(at(night, "02T07:00")?, "closed until 2026-12-02T22:00:00Z");
        Ok(())
    }

    #[test]
    fn a_night_goes_over_the_end_of_the_week() -> Outcome {
        // 2026-12-06 is a Sunday.
        assert_eq!(at("Sun 22:00-07:00", "06T23:00")?, "open until 2026-12-07T07:00:00Z");
        assert_eq!(at("Sun 22:00-07:00", "07T06:00")?, "open until 2026-12-07T07:00:00Z");
        assert_eq!(at("Sun 22:00-07:00", "07T07:00")?, "closed until 2026-12-13T22:00:00Z");
        assert_eq!("Sun 22:00-07:00".parse::<Hours>()?.longest(), 9 * 3600);
        Ok(())
    }

    #[test]
    fn nights_and_the_weekend() -> Outcome {
        let hours = "Mon..Fri 20:00-07:00; Sat,Sun";
        assert_eq!(at(hours, "04T19:00")?, "closed until 2026-12-04T20:00:00Z");
        // Friday's night, the weekend: all one.
        assert_eq!(at(hours, "04T21:00")?, "open until 2026-12-07T00:00:00Z");
        assert_eq!(at(hours, "07T00:00")?, "closed until 2026-12-07T20:00:00Z");
        assert_eq!(hours.parse::<Hours>()?.to_string(), hours);
        assert_eq!(at("Sat..Mon", "05T00:00")?, "open until 2026-12-08T00:00:00Z");
        assert_eq!(at("saturday,SUN 12:00-24:00", "05T12:00")?, "open until 2026-12-06T00:00:00Z");
        assert_eq!(at("Mon..Sun", "05T12:00")?, "open");
        assert_eq!(at("00:00-12:00; 12:00-24:00", "05T12:00")?, "open");
        Ok(())
    }

    #[test]
    fn an_offset_is_for_another_time_zone() -> Outcome {
        assert_eq!(at("22:00-07:00 +01:00", "01T21:00")?, "open until 2026-12-02T06:00:00Z");
        assert_eq!(at("Mon 00:30-02:00 +05:30", "06T19:00")?, "open until 2026-12-06T20:30:00Z");
        assert_eq!(at("Sun 22:00-23:00 -08:00", "07T06:30")?, "open until 2026-12-07T07:00:00Z");
        assert_eq!(at("22:00-07:00 UTC", "01T22:00")?, "open until 2026-12-02T07:00:00Z");
        Ok(())
    }

    #[test]
    fn mistakes_are_told() {
        for (text, error) in [
            ("", "no time is named"),
            (" ; ", "no time is named"),
            ("Mo 20:00-21:00", "`Mo` is not a day of the week"),
            ("Mon,, 20:00-21:00", "`` is not a day of the week"),
            ("20:00", "`20:00` is not a range of times from 00:00 to 24:00"),
            ("20:60-21:00", "`20:60-21:00` is not a range of times from 00:00 to 24:00"),
            ("24:00-02:00", "`24:00-02:00` is not a range of times from 00:00 to 24:00"),
            ("20:00-24:01", "`20:00-24:01` is not a range of times from 00:00 to 24:00"),
            ("20:00-20:00", "`20:00-20:00` has no length"),
            ("20:00-21:00 Sat", "`Sat` is one word too many"),
            ("20:00-21:00 Europe/Berlin", "`Europe/Berlin` is one word too many"),
            ("20:00-21:00 +01:00 x", "`x` is one word too many"),
        ] {
            assert_eq!(text.parse::<Hours>().map_err(|error| error.to_string()), Err(error.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_hours_or_not(text in "((Mon|Sat|Sun)(,|\\.\\.)?(Fri)? ?)?([0-9]{1,2}:[0-9]{2}-?){0,2}( [+-]0[0-9]:[0-9]{2})?.{0,2}") {
            let _ = text.parse::<Hours>();
        }

        #[test]
        fn what_is_told_of_a_time_is_true_until_then(
            begin in 0..1440_u32, length in 1..1440_u32, day in 0..7_usize, second in 0..2_000_000_000_i64,
        ) {
            let clock = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
            let hours: Hours = format!("{} {}-{}", DAYS[day], clock(begin), clock((begin + length) % 1440)).parse().unwrap();
            let now = Timestamp::from_second(second).unwrap();
            let (is_open, until) = match hours.at(now) {
                Opening::Open { until } => (true, until.unwrap()),
                Opening::Closed { until } => (false, until),
            };
            prop_assert!(until > now && until.as_second() - second <= 7 * 86_400);
            let before = Timestamp::from_second(until.as_second() - 1).unwrap();
            let is_open_at = |time| matches!(hours.at(time), Opening::Open { .. });
            prop_assert_eq!((is_open_at(before), is_open_at(until)), (is_open, !is_open));
        }
    }
}
