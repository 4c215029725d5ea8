//! [`evaluate`]: the state of a test on a target.

use std::collections::BTreeMap;

use protocol::api::TestState;

use crate::question::{Answer, Observation, Question, Seen, questions};

/// Questions that are looked at to see whether a test is flaky.
const WINDOW: usize = 30;
/// Periods of failure within the window from which on a test counts as flaky.
const FLAKY_PERIODS: u32 = 3;
/// Probability below which a series of equal outcomes is no chance of a flaky test.
const CHANCE: f64 = 0.01;
/// Passing questions for which a repaired test is shown as fixed.
const FIXED: u32 = 5;
/// Time for which flips are counted, in milliseconds: 60 days.
const FLIPS: i64 = 60 * 24 * 3600 * 1000;
/// Observations that are looked at for a change of state.
const RECENT: usize = 256;
/// Time after which a result is stale, in milliseconds: 14 days.
pub const STALE: i64 = 14 * 24 * 3600 * 1000;

/// The state of a test on a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// The state.
    pub state: TestState,
    /// First run of the current streak.
    pub since: Option<i64>,
    /// The last run that passed before it failed; the last one that passed if it does not fail.
    pub last_good: Option<i64>,
    /// The first run of the current failure.
    pub first_bad: Option<i64>,
    /// How many times in a row it had its present outcome.
    pub streak: u32,
    /// How many of the last 30 failed at least once.
    pub failed: u32,
    /// How many of the last 30 there are.
    pub ran: u32,
    /// Changes between passing and failing in the 60 days before the last run.
    pub flips: u32,
    /// The last run that says whether it passes.
    pub last: Option<i64>,
    /// When that began, in milliseconds since 1970.
    pub last_at: Option<i64>,
    /// Later runs in which the GPU or the testbed failed.
    pub infrastructure: u32,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The run that changed it.
    pub run: i64,
    /// When that began, in milliseconds since 1970.
    pub at: i64,
    /// The state before.
    pub from: TestState,
    /// The state after.
    pub to: TestState,
}

/// Determines the state from all observations, in any order. `known` says whether the failure is listed as known.
pub fn evaluate(observations: &[Observation], known: bool) -> Cell {
    of_questions(&questions(observations), known)
}

/// The changes of state as the observations came, in the order of their times.
pub fn transitions(observations: &[Observation], known: bool) -> Vec<Transition> {
    let mut sorted = observations.to_vec();
    sorted.sort_by_key(|seen| (seen.at, seen.run));
    let (mut state, mut found) = (TestState::Untested, Vec::new());
    let (mut alike, mut good) = (0, None);
    for (index, last) in sorted.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| sorted.get(index));
        let is_like = before.is_some_and(|before| before.seen == last.seen) && last.of.is_none();
        alike = if is_like { alike + 1 } else { 0 };
        // After so many equal outcomes one more changes nothing.
        let settled = alike > WINDOW && matches!(last.seen, Seen::Pass | Seen::Fail);
        if !settled {
            let from = index.saturating_sub(RECENT);
            // What was earlier matters only in that the test passed once.
            let mut recent: Vec<Observation> =
                good.filter(|(at, _)| *at < from).map(|(_, seen)| seen).into_iter().collect();
            recent.extend(sorted.get(from..=index).unwrap_or_default());
            let to = evaluate(&recent, known).state;
            if to != state {
                found.push(Transition { run: last.run, at: last.at, from: state, to });
                state = to;
            }
        }
        if last.seen == Seen::Pass {
            good = Some((index, *last));
        }
    }
    found
}

fn of_questions(questions: &[Question], known: bool) -> Cell {
    let counted: Vec<&Question> = questions.iter().filter(|question| question.counts()).collect();
    let Some(last) = counted.last() else {
        let nothing = questions.iter().filter(|question| question.answer == Answer::Nothing).count() as u32;
        let state = if nothing > 0 { TestState::Infrastructure } else { TestState::Untested };
        return Cell { state, infrastructure: nothing, ..Cell::default() };
    };
    let after = || questions.iter().rev().take_while(|question| !question.counts());
    let skipped = after().any(|question| question.answer == Answer::Skipped);
    let window: Vec<&Question> = counted.iter().rev().take(WINDOW).rev().copied().collect();
    let failed = window.iter().filter(|question| question.answer != Answer::Good).count() as u32;
    let streak = counted.iter().rev().take_while(|question| question.answer == last.answer).count();
    let first = counted.iter().rev().nth(streak.saturating_sub(1)).copied().unwrap_or(last);
    let before = counted.get(..counted.len() - streak).unwrap_or_default();
    let flaky = is_flaky(&window, streak);
    let last_good = match last.answer {
        Answer::Good => last.good_run,
        _ => before
            .iter()
            .chain(if last.answer == Answer::Mixed { &counted[..] } else { &[] })
            .rev()
            .find_map(|question| question.good_run),
    };
    let state = match last.answer {
        _ if skipped => TestState::Stopped,
        Answer::Good if flaky => {
            if known {
                TestState::Known
            } else {
                TestState::Flaky
            }
        }
        Answer::Good if known => TestState::UnexpectedPass,
        Answer::Good if (streak as u32) <= FIXED && ended_failure(before) => TestState::Fixed,
        Answer::Good => TestState::Ok,
        _ if known => TestState::Known,
        Answer::Mixed => TestState::Flaky,
        _ if flaky => TestState::Flaky,
        _ if last_good.is_none() => TestState::AlwaysFailed,
        _ if streak > 1 || is_confirmed(last) => TestState::Regression,
        _ => TestState::NewFailure,
    };
    Cell {
        state,
        since: Some(first.run),
        last_good,
        first_bad: first.bad_run.filter(|_| last.answer != Answer::Good),
        streak: streak as u32,
        failed,
        ran: window.len() as u32,
        flips: flips(&counted, last.at),
        last: Some(last.run),
        last_at: Some(last.at),
        infrastructure: after().filter(|question| question.answer == Answer::Nothing).count() as u32,
    }
}

/// Whether a failure was seen twice for the same question.
fn is_confirmed(question: &Question) -> bool {
    question.failed + question.timed_out > 1
}

/// Whether these end with a failure that was more than a single run.
fn ended_failure(before: &[&Question]) -> bool {
    let bad = || before.iter().rev().take_while(|question| question.answer == Answer::Bad);
    bad().count() > 1 || bad().any(|question| is_confirmed(question))
}

/// Whether a test passes and fails by chance: the same question, or the same environment, had both outcomes, or it has
/// failed and recovered several times. A series of equal outcomes that is too long for chance ends it.
fn is_flaky(window: &[&Question], streak: usize) -> bool {
    let mut by_environment: BTreeMap<i64, (bool, bool)> = BTreeMap::new();
    for question in window {
        for environment in &question.environments {
            let seen = by_environment.entry(*environment).or_default();
            seen.0 |= question.passed > 0;
            seen.1 |= question.failed > 0;
        }
    }
    let both = by_environment.values().any(|seen| *seen == (true, true));
    let mixed = window.iter().any(|question| question.answer == Answer::Mixed);
    let mut periods = 0;
    let mut before = Answer::Good;
    for question in window {
        periods += u32::from(question.answer == Answer::Bad && before != Answer::Bad);
        before = question.answer;
    }
    if !(both || mixed || periods >= FLAKY_PERIODS) {
        return false;
    }
    let Some(last) = window.last().filter(|last| last.answer != Answer::Mixed) else { return true };
    // What is left of the window before the streak says how often it fails.
    let earlier = window.get(..window.len().saturating_sub(streak)).unwrap_or_default();
    if earlier.is_empty() {
        // Both outcomes in one environment, which cannot be without an earlier outcome, or nothing else is known.
        return false;
    }
    let failed = earlier.iter().filter(|question| question.answer != Answer::Good).count() as f64;
    let rate = (failed + 0.5) / (earlier.len() as f64 + 1.0);
    let same = if last.answer == Answer::Bad { rate } else { 1.0 - rate };
    same.powi(i32::try_from(streak).unwrap_or(i32::MAX)) >= CHANCE
}

/// Where a test began to fail, given whether it failed in each of its runs, the oldest first: the first failure of the
/// time that differs most from the time before it. `None` if it has never failed more often than before.
///
/// For a test that always fails from some run on, that is the run after the last that passed. For one that fails by
/// chance it is a likely run: that with the greatest likelihood of two constant rates of failure, or an earlier one that
/// is nearly as likely, since a later one would take a time of chance for one without failures.
pub fn change_point(failed: &[bool]) -> Option<usize> {
    /// Difference of two logarithms of likelihoods that says little.
    const NEARLY: f64 = 2.0;
    let log_likelihood = |failures: usize, runs: usize| {
        let term = |count: usize| if count == 0 { 0.0 } else { count as f64 * (count as f64 / runs as f64).ln() };
        term(failures) + term(runs - failures)
    };
    let all = failed.iter().filter(|failed| **failed).count();
    let mut before = 0;
    let mut likely: Vec<(usize, f64)> = Vec::new();
    for (at, fails) in failed.iter().enumerate() {
        let after = failed.len() - at;
        if *fails && at > 0 && (all - before) * at > before * after {
            likely.push((at, log_likelihood(before, at) + log_likelihood(all - before, after)));
        }
        before += usize::from(*fails);
    }
    let best = likely.iter().map(|(_, likelihood)| *likelihood).max_by(f64::total_cmp)?;
    likely.into_iter().find(|(_, likelihood)| *likelihood >= best - NEARLY).map(|(at, _)| at)
}

fn flips(counted: &[&Question], until: i64) -> u32 {
    let recent = |question: &Question| question.at > until.saturating_sub(FLIPS);
    let mut flips = 0;
    for pair in counted.windows(2) {
        let [before, after] = pair else { continue };
        if recent(after) {
            flips += u32::from(before.answer != after.answer);
        }
    }
    flips
}

impl Cell {
    /// The state to show at a time (milliseconds since 1970): what has not been tested for long says little. Failures
    /// stay visible.
    pub fn shown(&self, now: i64) -> TestState {
        use TestState::{Fixed, Flaky, Ok, UnexpectedPass};
        let is_old = self.last_at.is_some_and(|at| now.saturating_sub(at) > STALE);
        if is_old && matches!(self.state, Ok | Fixed | Flaky | UnexpectedPass) { TestState::Stale } else { self.state }
    }
}

/// What a run's verdict says about the whole run, whose outcome is kept like that of a test.
impl From<protocol::Verdict> for Seen {
    fn from(verdict: protocol::Verdict) -> Self {
        use protocol::Verdict;
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Neutral => Self::Skip,
            Verdict::Fail => Self::Fail,
            Verdict::Timeout => Self::TimedOut,
            Verdict::GpuFault | Verdict::TestbedFailed => Self::Nothing,
        }
    }
}

#[cfg(test)]
#[path = "evaluate/tests.rs"]
mod tests;
