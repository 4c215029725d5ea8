//! Package lists that are looked at again later, as something in them could not be read or fetched.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use transfer::Backoff;

/// Pauses before a list is looked at again.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// The lists, by number. Which ones they are is in the database too; only the pauses begin anew with the hub.
#[derive(Debug, Default)]
pub(super) struct LaterLists(HashMap<i64, Later>);

#[derive(Debug)]
struct Later {
    backoff: Backoff,
    due: Instant,
}

impl LaterLists {
    /// Whether a list is to be looked at now.
    pub(super) fn is_due(&self, list: i64, now: Instant) -> bool {
        self.0.get(&list).is_none_or(|later| later.due <= now)
    }

    /// Puts a list off. Returns for how long.
    pub(super) fn put_off(&mut self, list: i64, now: Instant) -> Duration {
        let new = || Later { backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), due: now };
        let later = self.0.entry(list).or_insert_with(new);
        let pause = later.backoff.next_pause();
        later.due = now + pause;
        pause
    }

    /// Forgets a list with which all is well now.
    pub(super) fn done(&mut self, list: i64) {
        self.0.remove(&list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_waits_longer_each_time() {
        let (mut lists, start) = (LaterLists::default(), Instant::now());
        assert!(lists.is_due(1, start));
        let (mut now, mut longest) = (start, Duration::ZERO);
        for _ in 0..20 {
            let pause = lists.put_off(1, now);
            assert!(!lists.is_due(1, now) && lists.is_due(1, now + pause) && lists.is_due(2, now));
            (now, longest) = (now + pause, longest.max(pause));
        }
        assert!(longest > LONGEST_PAUSE / 2 && longest <= LONGEST_PAUSE, "{longest:?}");
        lists.done(1);
        assert!(lists.is_due(1, start));
    }
}
