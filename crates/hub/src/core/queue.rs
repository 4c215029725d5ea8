//! [`Queue`]: jobs that wait for workers, one queue for each [`Need`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::core::need::{Need, Offer};

/// Position of a job: higher priorities first, then older jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: Reverse<i32>,
    number: i64,
}

/// A queued job.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    /// Number of the job.
    pub(crate) number: i64,
    /// Requirements of the job.
    pub(crate) need: Need,
    /// Priority of the job.
    pub(crate) priority: i32,
    /// Workers that do not get the job, because they lost it or cannot run it.
    pub(crate) excluded: Vec<String>,
    /// When it was added, in milliseconds since 1970.
    pub(crate) added: i64,
}

impl Queued {
    /// Its position.
    pub(crate) fn rank(&self) -> Rank {
        Rank { priority: Reverse(self.priority), number: self.number }
    }
}

/// The queued jobs.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: HashMap<Need, BTreeMap<Rank, Queued>>,
    places: HashMap<i64, (Need, Rank)>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many jobs with this need wait.
    pub(crate) fn len_of(&self, need: &Need) -> usize {
        self.lines.get(need).map_or(0, BTreeMap::len)
    }

    pub(crate) fn insert(&mut self, job: Queued) {
        self.remove(job.number);
        let rank = job.rank();
        self.places.insert(job.number, (job.need.clone(), rank));
        self.lines.entry(job.need.clone()).or_default().insert(rank, job);
    }

    pub(crate) fn remove(&mut self, number: i64) -> Option<Queued> {
        let (need, rank) = self.places.remove(&number)?;
        let line = self.lines.get_mut(&need)?;
        let job = line.remove(&rank);
        if line.is_empty() {
            self.lines.remove(&need);
        }
        job
    }

    pub(crate) fn get(&self, number: i64) -> Option<&Queued> {
        let (need, rank) = self.places.get(&number)?;
        self.lines.get(need)?.get(rank)
    }

    /// The first jobs of each need, at most so many, with their need.
    pub(crate) fn firsts(&self, most: usize) -> impl Iterator<Item = (&Need, impl Iterator<Item = &Queued>)> {
        self.lines.iter().map(move |(need, line)| (need, line.values().take(most)))
    }

    /// The first job of each need.
    pub(crate) fn first_of_each_line(&self) -> Vec<i64> {
        self.lines.values().filter_map(|line| line.keys().next()).map(|rank| rank.number).collect()
    }

    /// The first job of each need that this worker may have.
    pub(crate) fn firsts_for(&self, worker: &str) -> impl Iterator<Item = &Queued> {
        self.lines.values().filter_map(move |line| first_for(line, worker))
    }

    /// The next job for a worker, of those that `may` begin. The cost grows with the number of different needs, not of
    /// jobs.
    pub(crate) fn best(&self, offer: &Offer, worker: &str, may: impl Fn(&Queued) -> bool) -> Option<i64> {
        let fitting = self.lines.iter().filter(|(need, _)| need.fits(offer));
        let firsts = fitting.filter_map(|(_, line)| first_for(line, worker)).filter(|job| may(job));
        firsts.map(Queued::rank).min().map(|rank| rank.number)
    }
}

/// The first job that is not excluded from this worker.
fn first_for<'a>(line: &'a BTreeMap<Rank, Queued>, worker: &str) -> Option<&'a Queued> {
    line.values().find(|job| !job.excluded.iter().any(|name| name == worker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::{Job, Machine};

    fn queued(number: i64, gpu: &str, priority: i32, excluded: &[&str]) -> Queued {
        let job: Job = serde_json::from_str(&format!(r#"{{"package": "gzip", "gpu": "{gpu}"}}"#)).expect("a job");
        let excluded = excluded.iter().map(|&name| name.to_owned()).collect();
        Queued { number, need: Need::of(&job), priority, excluded, added: 0 }
    }

    fn offer(targets: &str) -> Offer {
        Offer::all(&Machine { gpus: gpu::simulate(targets).expect("targets"), ..Machine::default() })
    }

    #[test]
    fn priority_comes_before_age() {
        let mut queue = Queue::default();
        for job in [
            queued(1, "any", 0, &[]),
            queued(2, "gfx906", 5, &[]),
            queued(3, "gfx1030", 5, &["w"]),
            queued(4, "none", 5, &[]),
        ] {
            queue.insert(job);
        }
        assert_eq!(queue.best(&offer("gfx1030"), "w", |_| true), Some(4));
        assert_eq!(queue.best(&offer("gfx1030"), "v", |_| true), Some(3));
        assert_eq!(queue.best(&offer("gfx906"), "w", |_| true), Some(2));
        queue.remove(4);
        assert_eq!(queue.best(&offer("gfx1030"), "w", |_| true), Some(1));
        assert_eq!(queue.len(), 3);
    }

    proptest! {
        /// Emptying the queue gives every job once, by priority and age.
        #[test]
        fn every_job_once_in_order(jobs in proptest::collection::vec((0_usize..3, -2_i32..3), 0..40)) {
            let mut queue = Queue::default();
            for (number, (gpu, priority)) in (0..).zip(&jobs) {
                queue.insert(queued(number, ["any", "none", "gfx1030"][*gpu], *priority, &[]));
            }
            let mut seen = Vec::new();
            while let Some(job) = queue.best(&offer("gfx1030"), "w", |_| true).and_then(|number| queue.remove(number)) {
                seen.push((Reverse(job.priority), job.number));
            }
            prop_assert_eq!(seen.len(), jobs.len());
            prop_assert!(seen.is_sorted());
        }
    }
}
