//! [`Waiters`]: claims that wait for a job, one queue for each [`OfferKey`].

use std::collections::{BTreeMap, HashMap};

use protocol::api::{Claimed, Problem};
use tokio::sync::oneshot;

use crate::core::need::{Need, Offer, OfferKey};

/// A waiting claim.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) worker: String,
    pub(crate) request: String,
    pub(crate) answer: oneshot::Sender<Result<Claimed, Problem>>,
}

#[derive(Debug)]
struct Line {
    offer: Offer,
    waiting: BTreeMap<u64, Waiter>,
}

/// The waiting claims.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    lines: HashMap<OfferKey, Line>,
    places: HashMap<u64, OfferKey>,
    /// Claim numbers by worker and request id.
    requests: HashMap<(String, String), u64>,
    last: u64,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Appends a claim to its queue and returns its number. It replaces an earlier copy of the same claim.
    pub(crate) fn insert(&mut self, offer: Offer, waiter: Waiter) -> u64 {
        self.last = self.last.wrapping_add(1);
        let request = (waiter.worker.clone(), waiter.request.clone());
        if let Some(earlier) = self.requests.get(&request).copied() {
            self.remove(earlier);
        }
        self.requests.insert(request, self.last);
        let key = offer.key();
        let line = self.lines.entry(key.clone()).or_insert_with(|| Line { offer, waiting: BTreeMap::new() });
        line.waiting.insert(self.last, waiter);
        self.places.insert(self.last, key);
        self.last
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Waiter> {
        let key = self.places.remove(&number)?;
        let line = self.lines.get_mut(&key)?;
        let waiter = line.waiting.remove(&number);
        if line.waiting.is_empty() {
            self.lines.remove(&key);
        }
        if let Some(waiter) = &waiter {
            self.requests.remove(&(waiter.worker.clone(), waiter.request.clone()));
        }
        waiter
    }

    /// Ends all claims of one worker.
    pub(crate) fn remove_all_of(&mut self, worker: &str) {
        let of_worker = self.requests.iter().filter(|((name, _), _)| name == worker);
        let numbers: Vec<u64> = of_worker.map(|(_, number)| *number).collect();
        for number in numbers {
            self.remove(number);
        }
    }

    /// Removes and returns the claim that gets a job with this need: the oldest one that still waits, of a worker that
    /// `may` have it.
    pub(crate) fn take(&mut self, need: &Need, may: impl Fn(&str) -> bool) -> Option<Waiter> {
        let first = |line: &Line| {
            let able = |waiter: &Waiter| !waiter.answer.is_closed() && may(&waiter.worker);
            line.waiting.iter().find(|(_, waiter)| able(waiter)).map(|(number, _)| *number)
        };
        let number = self.lines.values().filter(|line| need.fits(&line.offer)).filter_map(first).min()?;
        self.remove(number)
    }

    /// How many claims wait that would get a job with this need.
    pub(crate) fn count(&self, need: &Need) -> usize {
        let of_line = |line: &Line| line.waiting.values().filter(|waiter| !waiter.answer.is_closed()).count();
        self.lines.values().filter(|line| need.fits(&line.offer)).map(of_line).sum()
    }

    /// Removes claims whose clients have disconnected.
    pub(crate) fn forget_closed(&mut self) {
        let closed: Vec<u64> = self
            .lines
            .values()
            .flat_map(|line| line.waiting.iter())
            .filter(|(_, waiter)| waiter.answer.is_closed())
            .map(|(number, _)| *number)
            .collect();
        for number in closed {
            self.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Job, Machine};

    #[test]
    fn who_waited_longest_and_is_still_there_gets_it() {
        let mut waiters = Waiters::default();
        let mut receivers = Vec::new();
        for (worker, gpus) in [("gone", "gfx1030"), ("killed", "gfx1031"), ("other", "gfx906"), ("good", "gfx1030")] {
            let (answer, receiver) = oneshot::channel();
            receivers.push(receiver);
            let machine = Machine { gpus: gpu::simulate(gpus).expect("targets"), ..Machine::default() };
            let waiter = Waiter { worker: worker.into(), request: "r".into(), answer };
            waiters.insert(Offer::all(&machine), waiter);
        }
        waiters.remove_all_of("somebody else");
        drop(receivers.remove(0));
        let job: Job = serde_json::from_str(r#"{"package": "rocrand", "gpu": ["gfx10-3-generic"]}"#).expect("a job");
        let mut take = || waiters.take(&Need::of(&job), |worker| worker != "killed").map(|waiter| waiter.worker);
        assert_eq!(take().as_deref(), Some("good"));
        assert_eq!(take(), None);
        waiters.forget_closed();
        assert_eq!(waiters.len(), 2);
        waiters.remove_all_of("killed");
        assert_eq!(waiters.len(), 1);
    }
}
