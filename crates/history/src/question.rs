//! Observations of a test, and questions: an observation with those that repeated it.

use std::collections::{BTreeMap, HashMap};

use protocol::{JobResult, Run, TestOutcome, TestResult, Verdict};

/// What a run says about a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// It was skipped, or no longer exists.
    Skip,
    /// The job's deadline came first. One such run says nothing, as the machine may have been slow.
    TimedOut,
    /// Nothing: the GPU or the testbed failed.
    Nothing,
}

impl Seen {
    const ALL: [Self; 5] = [Self::Pass, Self::Fail, Self::Skip, Self::TimedOut, Self::Nothing];

    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::TimedOut => "timeout",
            Self::Nothing => "nothing",
        }
    }

    /// What a test of a run says; `verdict` is that of the run, or of the whole job where the machine failed.
    pub fn of_test(test: &TestResult, verdict: Verdict) -> Self {
        match (verdict, test.outcome) {
            (Verdict::GpuFault | Verdict::TestbedFailed, _) => Self::Nothing,
            (_, TestOutcome::Pass) => Self::Pass,
            (Verdict::Timeout, TestOutcome::Fail) if test.reason == "timed out" => Self::TimedOut,
            (_, TestOutcome::Fail) => Self::Fail,
            (_, TestOutcome::Skip) => Self::Skip,
            (Verdict::Timeout, TestOutcome::Unfinished) => Self::TimedOut,
            (_, TestOutcome::Unfinished | TestOutcome::Flaky) => Self::Nothing,
        }
    }

    /// Reads a stored name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|seen| seen.name() == name)
    }
}

/// The verdict by which the tests of a user's run are read: that of the run, or of the whole job where the machine failed or
/// the job ended before it.
pub fn verdict_of(result: &JobResult, run: Option<&Run>) -> Verdict {
    match run {
        Some(run) if result.verdict.is_of_package() => run.verdict,
        _ => result.verdict,
    }
}

/// What one run says about a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Number of the run; unique among the observations of a test.
    pub run: i64,
    /// When the run began, in milliseconds since 1970.
    pub at: i64,
    /// The run that this one repeats to confirm it.
    pub of: Option<i64>,
    /// The outcome.
    pub seen: Seen,
    /// Number of the environment: equal for the same packages, kernel, firmware and image.
    pub environment: Option<i64>,
}

/// Answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Good,
    Bad,
    /// Some attempts passed and some failed.
    Mixed,
    Skipped,
    Nothing,
}

/// A run with the runs that repeated it: they ask the same question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The first run.
    pub(crate) run: i64,
    pub(crate) at: i64,
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    skipped: u32,
    pub(crate) timed_out: u32,
    pub(crate) environments: Vec<i64>,
    /// The latest attempt that passed.
    pub(crate) good_run: Option<i64>,
    /// The earliest attempt that failed.
    pub(crate) bad_run: Option<i64>,
    pub(crate) answer: Answer,
}

/// Groups observations by question, in the order of their first runs.
pub(crate) fn questions(observations: &[Observation]) -> Vec<Question> {
    let of: HashMap<i64, Option<i64>> = observations.iter().map(|seen| (seen.run, seen.of)).collect();
    let mut sorted: Vec<&Observation> = observations.iter().collect();
    sorted.sort_by_key(|seen| (seen.at, seen.run));
    let mut groups: BTreeMap<i64, Vec<&Observation>> = BTreeMap::new();
    for seen in sorted {
        groups.entry(first(seen.run, &of)).or_default().push(seen);
    }
    let mut questions: Vec<Question> = groups.into_iter().map(|(run, seen)| Question::new(run, &seen)).collect();
    questions.sort_by_key(|question| (question.at, question.run));
    // A test that times out twice in a row fails: a slow machine is no longer the likely reason.
    let mut before = false;
    for question in &mut questions {
        let only_timed_out = question.timed_out > 0 && question.passed + question.failed == 0;
        if only_timed_out && (before || question.timed_out > 1) {
            question.answer = Answer::Bad;
        }
        if only_timed_out || !matches!(question.answer, Answer::Nothing) {
            before = only_timed_out;
        }
    }
    questions
}

/// The run that was repeated first. A chain that does not end, or leads to an unknown run, ends where it is.
fn first(run: i64, of: &HashMap<i64, Option<i64>>) -> i64 {
    let mut at = run;
    for _ in 0..16 {
        match of.get(&at).copied().flatten().filter(|before| of.contains_key(before) && *before < at) {
            Some(before) => at = before,
            None => break,
        }
    }
    at
}

impl Question {
    fn new(run: i64, attempts: &[&Observation]) -> Self {
        let count = |wanted| attempts.iter().filter(|seen| seen.seen == wanted).count() as u32;
        let (passed, failed, skipped) = (count(Seen::Pass), count(Seen::Fail), count(Seen::Skip));
        let timed_out = count(Seen::TimedOut);
        let answer = match (passed, failed) {
            (0, 0) if skipped > 0 && timed_out == 0 => Answer::Skipped,
            (0, 0) => Answer::Nothing,
            (_, 0) => Answer::Good,
            (0, _) => Answer::Bad,
            _ => Answer::Mixed,
        };
        let counted = || attempts.iter().filter(|seen| matches!(seen.seen, Seen::Pass | Seen::Fail));
        let bad = |seen: &&&Observation| matches!(seen.seen, Seen::Fail | Seen::TimedOut);
        Self {
            run,
            at: attempts.iter().find(|seen| seen.run == run).or(attempts.first()).map_or(0, |seen| seen.at),
            passed,
            failed,
            skipped,
            timed_out,
            environments: counted().filter_map(|seen| seen.environment).collect(),
            good_run: attempts.iter().rev().find(|seen| seen.seen == Seen::Pass).map(|seen| seen.run),
            bad_run: attempts.iter().find(bad).map(|seen| seen.run),
            answer,
        }
    }

    /// Whether it says if the test passes.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.answer, Answer::Good | Answer::Bad | Answer::Mixed)
    }
}
