//! Processor time of a test program and all that it started: what a test costs the others, unlike its duration.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::Duration;

/// `USER_HZ`, the unit of times in `/proc/PID/stat`, which is the same on all kernels for amd64.
const TICKS_PER_SECOND: u64 = 100;

/// How often to look whether the program has ended.
const EVERY: Duration = Duration::from_millis(20);

/// Waits until the program has ended, and returns the seconds of processor time that it and the processes it has waited
/// for have used. The program is still to be waited for, as its entry in `/proc` exists until then. `None` if there is no
/// such entry.
pub(super) fn at_its_end(child: &Child) -> Option<u64> {
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
        let (state, seconds) = parse(&stat)?;
        if matches!(state, 'Z' | 'X') {
            return Some(seconds);
        }
        thread::sleep(EVERY);
    }
}

/// State and seconds in the text of `/proc/PID/stat` (`proc_pid_stat(5)`): fields 3, and 14 to 17.
fn parse(stat: &str) -> Option<(char, u64)> {
    // The name of the program, field 2, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().map(|field| field.parse().unwrap_or(0_u64)).sum();
    Some((fields.first()?.chars().next()?, ticks / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn adds_own_and_childrens_times() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 100 50 700 250 20 0 1 0 4 5 6";
        assert_eq!(parse(stat), Some(('S', 11)));
        assert_eq!(parse("7 (a) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_program_that_has_ended_can_still_be_waited_for() {
        let mut child = Command::new("true").spawn().unwrap();
        assert_eq!(at_its_end(&child), Some(0));
        assert!(child.wait().unwrap().success());
    }
}
