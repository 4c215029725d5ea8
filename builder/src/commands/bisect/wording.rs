//! Numbers, times and names in what a search tells people.

use safetext::printable;

/// A number with its noun: `1 run`, `7 runs`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A length of time for people: `45 s`, `12 min`, `1 h 24 min`.
pub(super) fn time(seconds: f64) -> String {
    let seconds = seconds.max(0.0).ceil() as u64;
    match (seconds, seconds.div_ceil(60)) {
        (0..90, _) => format!("{seconds} s"),
        (_, minutes @ 0..90) => format!("{minutes} min"),
        (_, minutes) => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// A text of several lines that is safe to print: names and versions come from results.
pub(super) fn printable_lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", printable(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        for (seconds, told) in [(0.0, "0 s"), (12.1, "13 s"), (90.0, "2 min"), (5400.0, "1 h 30 min"), (-1.0, "0 s")] {
            assert_eq!(time(seconds), told);
        }
    }
}
