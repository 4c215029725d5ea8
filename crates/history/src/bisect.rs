//! Finds the changes that a failure needs, by prefix halving.
//!
//! The changes are groups of packages that have to be upgraded together, in an order in which the users of a package
//! come after it. Both ends are tested first. Then the shortest prefix of the changes that fails is found by halving:
//! its last group is needed for the failure. It is kept, and the search goes on in front of it until the kept groups
//! fail by themselves. So a set of groups that fail only together is found completely.
//!
//! [`Bisect`] has no state but the answers: [`Bisect::next`] derives the next run from them. Answers can be stored, come
//! from elsewhere, and arrive in any order, and a search that was stopped goes on where it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Numbers of the upgraded groups; all others have their old versions.
pub type Upgraded = BTreeSet<usize>;

/// Result of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The test passed.
    Good,
    /// The test failed.
    Bad,
    /// The set cannot be installed, or the test cannot run with it.
    Skip,
}

/// A search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bisect {
    /// How many groups there are.
    pub groups: usize,
    /// Whether only the first groups, up to some number, can be upgraded, as the groups are steps of time.
    #[serde(default)]
    pub steps: bool,
    /// How often a set has to pass before it counts as good; at least 1. A set that failed once is bad.
    pub repeat: u32,
    /// The answers, by upgraded groups.
    #[serde(with = "as_list")]
    pub answers: BTreeMap<Upgraded, Vec<Answer>>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Run the test with these groups upgraded.
    Run(Upgraded),
    /// The end of the search.
    Done(Verdict),
}

/// The end of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These groups together make the test fail, and none of them can be left out.
    Found(Upgraded),
    /// One of the first groups, and all of the second, make the test fail; sets that tell the first apart cannot be
    /// tested.
    Among(Upgraded, Upgraded),
    /// The test fails without any change: something else than the packages has changed.
    FailsWithoutChanges,
    /// The test passes with all changes: something else than the packages has changed, or it fails rarely.
    PassesWithAllChanges,
    /// One of the ends cannot be tested.
    EndSkipped,
}

/// What is known of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Good,
    Bad,
    Skip,
    Unknown,
}

/// How many passes of a set show that it is good, for a test that fails with the given probability where it is bad;
/// `None` if it fails too rarely to be searched for. The chance of a wrong decision is 1 % at most.
pub fn repeats(failure_rate: f64) -> Option<u32> {
    const RAREST: f64 = 0.1;
    const WRONG: f64 = 0.01;
    if failure_rate >= 1.0 - WRONG {
        return Some(1);
    }
    if failure_rate.is_nan() || failure_rate < RAREST {
        return None;
    }
    Some((WRONG.ln() / (1.0 - failure_rate).ln()).ceil() as u32)
}

impl Bisect {
    /// A search without any answer.
    pub fn new(groups: usize, repeat: u32) -> Self {
        Self { groups, steps: false, repeat: repeat.max(1), answers: BTreeMap::new() }
    }

    /// A search for the step of time with which something changed: the groups cannot be upgraded apart from those before.
    pub fn of_steps(steps: usize, repeat: u32) -> Self {
        Self { steps: true, ..Self::new(steps, repeat) }
    }

    /// Most runs that a search for this many members of a set takes.
    pub fn most_runs(&self, members: u32) -> u32 {
        let halvings = usize::BITS - self.groups.saturating_sub(1).leading_zeros();
        let each = halvings.saturating_add(1).saturating_mul(members);
        each.saturating_add(2).saturating_mul(self.repeat)
    }

    /// Adds the result of a run.
    pub fn answer(&mut self, upgraded: Upgraded, answer: Answer) {
        self.answers.entry(upgraded).or_default().push(answer);
    }

    /// Forgets that sets could not be tested, so that they are run again; returns how many these are.
    pub fn retry_skipped(&mut self, is_retried: impl Fn(&Upgraded) -> bool) -> usize {
        let mut retried = 0;
        self.answers.retain(|set, answers| {
            if answers.contains(&Answer::Skip) && is_retried(set) {
                retried += 1;
                answers.retain(|answer| *answer != Answer::Skip);
            }
            !answers.is_empty()
        });
        retried
    }

    /// How many runs there were.
    pub fn runs(&self) -> usize {
        self.answers.values().map(Vec::len).sum()
    }

    /// Whether a set cannot be tested.
    pub fn is_skipped(&self, upgraded: &Upgraded) -> bool {
        matches!(self.known(upgraded), Known::Skip)
    }

    fn known(&self, upgraded: &Upgraded) -> Known {
        let Some(answers) = self.answers.get(upgraded) else { return Known::Unknown };
        if answers.contains(&Answer::Bad) {
            return Known::Bad;
        }
        if answers.contains(&Answer::Skip) {
            return Known::Skip;
        }
        let passed = answers.iter().filter(|answer| **answer == Answer::Good).count();
        if passed >= self.repeat as usize { Known::Good } else { Known::Unknown }
    }

    /// The next step, which depends on the answers only.
    pub fn next(&self) -> Step {
        let (none, all) = (Upgraded::new(), (0..self.groups).collect::<Upgraded>());
        // The bad end first: it is the one that the user saw.
        for (end, wrong, verdict) in
            [(&all, Known::Good, Verdict::PassesWithAllChanges), (&none, Known::Bad, Verdict::FailsWithoutChanges)]
        {
            match self.known(end) {
                Known::Unknown => return Step::Run(end.clone()),
                Known::Skip => return Step::Done(Verdict::EndSkipped),
                known if known == wrong => return Step::Done(verdict),
                _ => {}
            }
        }
        let mut kept = Upgraded::new();
        let mut length = self.groups;
        loop {
            match self.shortest(&kept, length) {
                Ok((good, bad)) if good + 1 == bad => {
                    kept.insert(good);
                    if self.steps {
                        return Step::Done(Verdict::Found(kept));
                    }
                    length = good;
                }
                Ok((good, bad)) => return Step::Done(Verdict::Among((good..bad).collect(), kept)),
                Err(run) => return Step::Run(run),
            }
            match self.known(&kept) {
                Known::Unknown => return Step::Run(kept),
                Known::Bad => return Step::Done(Verdict::Found(kept)),
                // It needs more than what is kept. If that cannot be tested, the search goes on in front of it.
                Known::Good | Known::Skip => {}
            }
            if length == 0 {
                // The kept groups are all that failed: only an answer that changes from run to run leads here.
                return Step::Done(Verdict::Found(kept));
            }
        }
    }

    /// Halves the first `length` groups on top of the kept ones: the longest prefix that passes and the shortest that
    /// fails, or the set that has to be run. They differ by more than one if what is between cannot be tested.
    fn shortest(&self, kept: &Upgraded, length: usize) -> Result<(usize, usize), Upgraded> {
        let set = |prefix: usize| (0..prefix).chain(kept.iter().copied()).collect::<Upgraded>();
        let (mut good, mut bad) = (0, length);
        loop {
            let middle = good + (bad - good) / 2;
            // Neighbours of the middle, the nearest first, as far as they can be tested.
            let mut between: Vec<usize> = (good + 1..bad).collect();
            between.sort_by_key(|at| (at.abs_diff(middle), *at));
            let Some((at, known)) =
                between.into_iter().map(|at| (at, self.known(&set(at)))).find(|(_, known)| *known != Known::Skip)
            else {
                return Ok((good, bad));
            };
            match known {
                Known::Good => good = at,
                Known::Bad => bad = at,
                Known::Unknown | Known::Skip => return Err(set(at)),
            }
        }
    }
}

/// JSON has no maps with lists as keys.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Answer, Upgraded};

    pub(super) fn serialize<S: Serializer>(
        answers: &BTreeMap<Upgraded, Vec<Answer>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        answers.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Upgraded, Vec<Answer>>, D::Error> {
        Ok(Vec::<(Upgraded, Vec<Answer>)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
#[path = "bisect/tests.rs"]
mod tests;
