//! Points in time as people read them.

use jiff::Timestamp;

/// Age of a timestamp: `45s`, `12m`, `3h`, `2d`.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A timestamp to the second, in UTC.
pub fn time(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A number of seconds since 1970 as a time in UTC.
pub fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_told_in_one_unit() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let told = |seconds: i64| ago(Timestamp::from_second(now.as_second() - seconds).unwrap(), now);
        assert_eq!(["-5", "0", "59"].map(|text| told(text.parse().unwrap())), ["0s", "0s", "59s"]);
        assert_eq!([60, 3_599, 3_600, 172_799, 172_800].map(told), ["1m", "59m", "1h", "47h", "2d"]);
    }
}
