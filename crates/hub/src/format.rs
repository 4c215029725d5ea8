//! Times, durations, sizes and texts, formatted for users.

use jiff::Timestamp;

/// A time on a page.
#[derive(Debug, Clone)]
pub(crate) struct Time {
    /// RFC 3339, for programs.
    pub(crate) stamp: String,
    /// `2026-11-24 01:50`
    pub(crate) text: String,
    /// `3 h ago`
    pub(crate) age: String,
    /// `3 h`
    pub(crate) short: String,
}

impl Time {
    pub(crate) fn new(time: Timestamp, now: Timestamp) -> Self {
        let stamp = time.to_string();
        let text = stamp.get(..16).unwrap_or(&stamp).replacen('T', " ", 1);
        let seconds = now.as_second().saturating_sub(time.as_second());
        Self { text, age: age(seconds), short: short(seconds), stamp }
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        ..10 => "just now".into(),
        10..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "yesterday".into(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn short(seconds: i64) -> String {
    match seconds {
        ..60 => "now".into(),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Formats a duration in seconds.
pub(crate) fn took(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
    }
}

/// Formats a number of bytes.
pub(crate) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" || value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// The first `most` characters of a text from a request.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_it() {
        assert_eq!([size(0), size(1023), size(1536), size(50 << 20)], ["0 B", "1023 B", "1.5 KiB", "50.0 MiB"]);
        assert_eq!([took(0.25), took(59.0), took(61.5), took(7_300.0)], ["0.2 s", "59 s", "1 min 1 s", "2 h 1 min"]);
        assert_eq!([age(-5), age(90), age(7_300), age(90_000)], ["just now", "1 min ago", "2 h ago", "yesterday"]);
        assert_eq!([short(-5), short(90), short(7_300), short(90_000)], ["now", "1 min", "2 h", "1 d"]);
        let time = Timestamp::from_second(1_790_000_000).expect("a time");
        assert_eq!(Time::new(time, time).text, "2026-09-21 14:13");
    }
}
