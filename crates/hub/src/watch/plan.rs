//! Which of the waiting packages become jobs now: pure rules.
//!
//! What waited longest goes first, where a change of what a package depends on counts as some hours younger than a new
//! version of the package itself. So what is more urgent goes first, and nothing waits for ever: whatever comes later has
//! a later turn. A worker gets no more than its budget in a day, and few jobs in advance: what becomes urgent later goes
//! before what waits here, but not before what is a job already.

use std::fmt;
use std::str::FromStr;

use protocol::{NO_GPU, UnknownWord};

/// Jobs that may be queued for each GPU of a worker, so that it does not wait for the next one.
const AHEAD: u32 = 2;

const HOUR: i64 = 3_600_000;

/// Why a package is to be tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It has a new version.
    Own,
    /// Something that its tests run with has changed.
    Dependency,
    /// This version was never tested on the target.
    Untested,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Own, Self::Dependency, Self::Untested];

    /// As it is written in the database.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Dependency => "dependency",
            Self::Untested => "untested",
        }
    }

    /// By how many milliseconds it counts as younger.
    fn delay(self) -> i64 {
        match self {
            Self::Own => 0,
            Self::Dependency => 6 * HOUR,
            Self::Untested => 12 * HOUR,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Reason {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|reason| reason.name() == text);
        let unknown = || UnknownWord {
            text: text.to_owned(),
            what: "the reason of a job",
            known: Self::ALL.map(Self::name).to_vec(),
        };
        found.ok_or_else(unknown)
    }
}

/// A package that is to be tested on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(super) package: String,
    /// `none` for any machine.
    pub(super) target: String,
    pub(super) reason: Reason,
    /// Since when, in milliseconds since 1970.
    pub(super) since: i64,
}

impl Waiting {
    /// Its place among the others: the lowest is first.
    pub(super) fn turn(&self) -> (i64, String, String) {
        (self.since.saturating_add(self.reason.delay()), self.package.clone(), self.target.clone())
    }
}

/// A worker that takes jobs, and what it has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capacity {
    /// The targets of its GPUs, each as often as it has it.
    pub(super) targets: Vec<String>,
    /// Jobs for changes that it got in the last 24 hours.
    pub(super) had: u32,
    /// Queued jobs that are reckoned to be for it.
    pub(super) queued: u32,
}

impl Capacity {
    fn gpus(&self) -> u32 {
        u32::try_from(self.targets.len()).unwrap_or(u32::MAX).max(1)
    }

    fn takes(&self, target: &str) -> bool {
        target == NO_GPU || self.targets.iter().any(|own| own == target)
    }

    fn has_room(&self, budget: u32) -> bool {
        let gpus = self.gpus();
        self.had.saturating_add(self.queued) < budget.saturating_mul(gpus) && self.queued < AHEAD.saturating_mul(gpus)
    }
}

/// Reckons a job for a target to the worker that has had the least; false if there is none with room. Without a budget,
/// room does not matter.
pub(super) fn assign(workers: &mut [Capacity], target: &str, budget: Option<u32>) -> bool {
    let fits = |worker: &&mut Capacity| worker.takes(target) && budget.is_none_or(|budget| worker.has_room(budget));
    let share =
        |worker: &Capacity| u64::from(worker.had.saturating_add(worker.queued)) * 1000 / u64::from(worker.gpus());
    match workers.iter_mut().filter(fits).min_by_key(|worker| share(worker)) {
        Some(worker) => {
            worker.queued = worker.queued.saturating_add(1);
            true
        }
        None => false,
    }
}

/// What becomes a job now, in this order.
pub(super) fn choose(mut waiting: Vec<Waiting>, workers: &mut [Capacity], budget: u32) -> Vec<Waiting> {
    waiting.sort_by_key(Waiting::turn);
    waiting.retain(|one| assign(workers, &one.target, Some(budget)));
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(package: &str, target: &str, reason: Reason, hour: i64) -> Waiting {
        Waiting { package: package.into(), target: target.into(), reason, since: hour * HOUR }
    }

    fn worker(targets: &[&str], had: u32) -> Capacity {
        Capacity { targets: targets.iter().map(|&target| target.to_owned()).collect(), had, queued: 0 }
    }

    fn names(chosen: &[Waiting]) -> Vec<&str> {
        chosen.iter().map(|one| one.package.as_str()).collect()
    }

    #[test]
    fn a_new_version_goes_first_unless_something_else_has_waited_for_long() {
        let list = vec![
            waiting("below", "gfx1030", Reason::Dependency, 10),
            waiting("own", "gfx1030", Reason::Own, 12),
            waiting("old", "gfx1030", Reason::Untested, -1),
        ];
        let chosen = choose(list, &mut [worker(&["gfx1030", "gfx1030"], 0)], 100);
        assert_eq!(names(&chosen), ["old", "own", "below"]);
    }

    #[test]
    fn a_worker_gets_its_budget_and_little_in_advance() {
        let list = || (0..9).map(|hour| waiting("a", "gfx1030", Reason::Own, hour)).collect::<Vec<_>>();
        assert_eq!(choose(list(), &mut [worker(&["gfx1030"], 0)], 100).len(), 2, "in advance");
        assert_eq!(choose(list(), &mut [worker(&["gfx1030"; 3], 0)], 100).len(), 6, "for each GPU");
        assert_eq!(choose(list(), &mut [worker(&["gfx1030"], 9)], 10).len(), 1, "the budget");
        assert_eq!(choose(list(), &mut [worker(&["gfx1030"], 10)], 10).len(), 0);
        assert_eq!(choose(list(), &mut [worker(&["gfx906"], 0)], 10).len(), 0, "another target");
        let without_gpu = vec![waiting("a", "none", Reason::Own, 0)];
        assert_eq!(choose(without_gpu, &mut [worker(&[], 0)], 10).len(), 1, "any machine");
    }

    #[test]
    fn the_worker_that_had_least_gets_the_next() {
        let mut workers = [worker(&["gfx1030"], 5), worker(&["gfx1030"], 2)];
        assert!(assign(&mut workers, "gfx1030", Some(100)) && assign(&mut workers, "gfx1030", Some(100)));
        assert_eq!((workers[0].queued, workers[1].queued), (0, 2));
    }

    proptest! {
        /// With one job an hour for more than one new change an hour, each one still gets its turn.
        #[test]
        fn nothing_starves(reasons in proptest::collection::vec(0_usize..3, 1..200)) {
            let mut list: Vec<Waiting> = Vec::new();
            let mut longest = 0;
            for (hour, reason) in (0..).zip(&reasons) {
                // Each package changes once; the urgent ones never stop coming.
                list.push(waiting(&format!("p{hour}"), "gfx1030", Reason::ALL[*reason], hour));
                list.push(waiting(&format!("q{hour}"), "gfx1030", Reason::Own, hour));
                list.sort_by_key(Waiting::turn);
                let next = list.remove(0);
                // No one that came more than its delay later goes before it.
                let overtaken = list.iter().map(|other| next.since - other.since).max().unwrap_or(0);
                longest = longest.max(overtaken);
            }
            prop_assert!(longest <= 12 * HOUR, "{longest}");
        }

        /// No worker gets more than its budget.
        #[test]
        fn budgets_are_kept(targets in proptest::collection::vec(0_usize..3, 0..60), had in 0_u32..6, budget in 0_u32..6) {
            let names = ["gfx1030", "gfx906", "none"];
            let list = (0..).zip(&targets).map(|(hour, at)| waiting("a", names[*at], Reason::Own, hour)).collect();
            let mut workers = [worker(&["gfx1030"], had), worker(&["gfx906", "gfx1030"], 0)];
            let chosen = choose(list, &mut workers, budget);
            prop_assert_eq!(chosen.len(), workers.iter().map(|worker| worker.queued as usize).sum::<usize>());
            for worker in &workers {
                prop_assert!(worker.queued == 0 || worker.had + worker.queued <= budget * worker.gpus());
            }
        }
    }
}
