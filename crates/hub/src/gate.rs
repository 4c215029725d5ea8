//! [`Gate`]: a limit on simultaneous uses, for each party and for all anonymous parties together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::party::Party;

/// A limit on simultaneous uses of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    each: usize,
    all: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    parties: HashMap<Party, usize>,
}

/// One use; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    party: Party,
    inside: Arc<Mutex<Inside>>,
}

impl Gate {
    /// Creates a gate with limits for each party, and for all anonymous parties together. Parties with a token have
    /// only their own limit.
    pub(crate) fn new(each: usize, all: usize) -> Self {
        Self { each: each.max(1), all: all.max(1), inside: Arc::default() }
    }

    /// Starts a use, unless a limit is reached.
    pub(crate) fn enter(&self, party: &Party) -> Option<Pass> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = party.is_anybody();
        if counted && inside.count >= self.all || inside.parties.get(party).is_some_and(|count| *count >= self.each) {
            return None;
        }
        inside.count = inside.count.saturating_add(usize::from(counted));
        let count = inside.parties.entry(party.clone()).or_default();
        *count = count.saturating_add(1);
        Some(Pass { party: party.clone(), inside: self.inside.clone() })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.count = inside.count.saturating_sub(usize::from(self.party.is_anybody()));
        if let Some(count) = inside.parties.get_mut(&self.party) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inside.parties.remove(&self.party);
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
        let gate = Gate::new(2, 3);
        let [one, two, three] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|text| Party::Anybody(Origin::of(text.parse().expect("an address"))));
        let first = [gate.enter(&one), gate.enter(&one)];
        assert!(first.iter().all(Option::is_some) && gate.enter(&one).is_none());
        let second = gate.enter(&two);
        assert!(second.is_some() && gate.enter(&three).is_none(), "all together");
        let worker = Party::Worker("w".into());
        assert!(gate.enter(&worker).is_some(), "who is known does not count with them");
        drop(first);
        assert!(gate.enter(&three).is_some() && gate.enter(&one).is_some());
        drop(second);
        assert!(gate.inside.lock().expect("a lock").parties.is_empty());
    }
}
