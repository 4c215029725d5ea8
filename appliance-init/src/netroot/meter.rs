//! Shows the progress of a download in lines for a serial console, and not too many of them.

use std::time::{Duration, Instant};

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest time between two lines, if any bytes came.
const LONGEST: Duration = Duration::from_secs(10);

/// Counts bytes and says when a line is due.
#[derive(Debug)]
pub struct Meter {
    total: Option<u64>,
    done: u64,
    began: Instant,
    last: Instant,
    /// The last reported tenth of the whole.
    tenth: u64,
}

impl Meter {
    /// A meter for this many bytes, if the number is known.
    pub fn new(total: Option<u64>) -> Self {
        let now = Instant::now();
        Self { total, done: 0, began: now, last: now, tenth: 0 }
    }

    /// Adds bytes; returns a line, if one is due.
    pub fn add(&mut self, count: usize) -> Option<String> {
        self.done = self.done.saturating_add(count as u64);
        let now = Instant::now();
        let since = now.saturating_duration_since(self.last);
        let tenth = self.total.map_or(0, |total| self.done.saturating_mul(10) / total.max(1));
        if since < PAUSE || (tenth == self.tenth && since < LONGEST) {
            return None;
        }
        (self.last, self.tenth) = (now, tenth);
        Some(line(self.done, self.total, now.saturating_duration_since(self.began)))
    }

    /// The last line.
    pub fn end(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        format!("{} in {seconds:.1} s, {}", mebibytes(self.done), rate(self.done, seconds))
    }
}

fn line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = rate(done, seconds);
    let Some(total) = total else { return format!("{}, {rate}", mebibytes(done)) };
    let percent = done.saturating_mul(100) / total.max(1);
    let left = total.saturating_sub(done) as f64 * seconds / (done.max(1) as f64);
    format!("{percent} % of {}, {rate}, {left:.0} s left", mebibytes(total))
}

fn rate(bytes: u64, seconds: f64) -> String {
    format!("{:.1} MiB/s", bytes as f64 / f64::from(1 << 20) / seconds.max(0.001))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_long_it_will_take() {
        let text = line(45 << 20, Some(100 << 20), Duration::from_secs(9));
        assert_eq!(text, "45 % of 100 MiB, 5.0 MiB/s, 11 s left");
        assert_eq!(line(45 << 20, None, Duration::from_secs(9)), "45 MiB, 5.0 MiB/s");
        assert_eq!(line(0, Some(0), Duration::ZERO), "0 % of 0 MiB, 0.0 MiB/s, 0 s left");
    }

    #[test]
    fn lines_are_rare() {
        let mut meter = Meter::new(Some(1000));
        assert!((0..100).all(|_| meter.add(10).is_none()), "a second has not passed");
        meter.last -= PAUSE;
        assert!(meter.add(0).is_some_and(|line| line.starts_with("100 %")));
        meter.last -= PAUSE;
        assert_eq!(meter.add(0), None, "nothing new");
    }
}
