//! [`ConcurrencyLimit`]: a limit on simultaneous uses, for each party and for all anonymous parties together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::party::Party;

/// A limit on simultaneous uses of one kind.
#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyLimit {
    each: usize,
    all: usize,
    in_use: Arc<Mutex<InUse>>,
}

#[derive(Debug, Default)]
struct InUse {
    count: usize,
    parties: HashMap<Party, usize>,
}

/// One use; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    party: Party,
    in_use: Arc<Mutex<InUse>>,
}

impl ConcurrencyLimit {
    /// Limits for each party, and for all anonymous parties together. Parties with a token have
    /// only their own limit.
    pub(crate) fn new(each: usize, all: usize) -> Self {
        Self { each: each.max(1), all: all.max(1), in_use: Arc::default() }
    }

    /// Starts a use, unless a limit is reached.
    pub(crate) fn acquire(&self, party: &Party) -> Option<Permit> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = party.is_anybody();
        if counted && in_use.count >= self.all || in_use.parties.get(party).is_some_and(|count| *count >= self.each) {
            return None;
        }
        in_use.count = in_use.count.saturating_add(usize::from(counted));
        let count = in_use.parties.entry(party.clone()).or_default();
        *count = count.saturating_add(1);
        Some(Permit { party: party.clone(), in_use: self.in_use.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.count = in_use.count.saturating_sub(usize::from(self.party.is_anybody()));
        if let Some(count) = in_use.parties.get_mut(&self.party) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                in_use.parties.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::party::Origin;

    #[test]
    fn nobody_takes_the_places_of_others() {
        let limit = ConcurrencyLimit::new(2, 3);
        let [one, two, three] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|text| Party::Anybody(Origin::of(text.parse().expect("an address"))));
        let first = [limit.acquire(&one), limit.acquire(&one)];
        assert!(first.iter().all(Option::is_some) && limit.acquire(&one).is_none());
        let second = limit.acquire(&two);
        assert!(second.is_some() && limit.acquire(&three).is_none(), "all together");
        let worker = Party::Worker("w".into());
        assert!(limit.acquire(&worker).is_some(), "who is known does not count with them");
        drop(first);
        assert!(limit.acquire(&three).is_some() && limit.acquire(&one).is_some());
        drop(second);
        assert!(limit.in_use.lock().expect("a lock").parties.is_empty());
    }
}
