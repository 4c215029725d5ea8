//! The search itself: runs one set of packages after the other until the answers decide.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use history::bisect::{Answer, Step, Upgraded, Verdict};
use history::groups::{deviations, upgraded_in, versions};
use history::{Environment, Judged, judge};
use progress::Progress as _;
use protocol::{Job, JobArchive, TestOutcome};

use super::command::test_of;
use super::state::{Done, State, Waiting};
use super::tester::{Ended, Ran, Stop, Tester};
use super::wording::time;
use crate::context::Context;

/// Most attempts at a run in which the GPU or the testbed fails, or the time is over.
pub(super) const ATTEMPTS: u32 = 3;

/// How a search ended.
pub(super) enum Finish {
    /// The answers decide.
    Decided(Verdict),
    /// It was told to stop.
    Stopped,
    /// A run said nothing so often that it is not tried again; the reason of the last time.
    NoAnswer(String),
}

/// Searches until the answers decide. After each run the search is kept in the file.
pub(super) fn search(
    context: &Context,
    state: &mut State,
    path: &Path,
    tester: &mut dyn Tester,
    stop: &Stop,
) -> Result<Finish> {
    // Attempts of this process: who takes up a search wants it to be tried again.
    let mut attempts: BTreeMap<Upgraded, u32> = BTreeMap::new();
    let mut timeouts: BTreeMap<Upgraded, u32> = BTreeMap::new();
    loop {
        let set = match state.search.next() {
            Step::Done(verdict) => return Ok(Finish::Decided(verdict)),
            Step::Run(set) => set,
        };
        if stop.is_asked() {
            return Ok(Finish::Stopped);
        }
        let attempt = attempts.entry(set.clone()).or_default();
        *attempt += 1;
        let job = job(state, &set);
        let number = state.runs.len() + 1;
        let most = state.search.most_runs(1);
        let one = if state.is_of_steps() { "" } else { " for one group" };
        context.reporter.say(&format!("run {number} (at most {most}{one}): {}", about(state, &set)));
        let id = if let Some(waiting) = state.waiting.take().filter(|waiting| waiting.upgraded == set) {
            Some(waiting.job)
        } else {
            let before = state.runs.last().filter(|run| run.upgraded == set && run.answer.is_none());
            tester.begin(&job, before.and_then(|run| run.job.as_deref()))?
        };
        state.waiting = id.clone().map(|job| Waiting { upgraded: set.clone(), job });
        state.write(path)?;
        let reason = match tester.finish(&job, &set, id.as_deref(), stop)? {
            Ended::Stopped => return Ok(Finish::Stopped),
            Ended::Lost(reason) => Some(reason),
            Ended::Impossible(reason) => {
                context.reporter.say(&format!("  cannot be tested: {reason}"));
                state.search.answer(set.clone(), Answer::Skip);
                None
            }
            Ended::Ran(ran) => {
                let done = take(context, state, &set, &ran, timeouts.entry(set.clone()).or_default());
                tell(context, &done, &ran.machine);
                let reason = done.answer.is_none().then(|| done.problem.clone().unwrap_or_default());
                state.runs.push(done);
                reason
            }
        };
        state.waiting = None;
        state.write(path)?;
        match reason {
            Some(reason) if *attempt >= ATTEMPTS => return Ok(Finish::NoAnswer(reason)),
            Some(reason) => context.reporter.say(&format!("  it says nothing and is run again: {reason}")),
            // The next run of the same set, which has to pass several times, has all attempts again.
            None => *attempt = 0,
        }
    }
}

/// The job of a run with these groups upgraded.
fn job(state: &State, upgraded: &Upgraded) -> Job {
    let mut job = state.job.clone();
    if let Some(date) = state.date(upgraded) {
        job.archive = Some(JobArchive::Snapshot(date.to_owned()));
        return job;
    }
    if !state.is_of_images() {
        job.versions.extend(versions(&state.groups, upgraded));
    }
    job
}

/// Takes the answer of a run.
fn take(context: &Context, state: &mut State, set: &Upgraded, ran: &Ran, timeouts: &mut u32) -> Done {
    let judged = judge(&ran.result, &test_of(&state.job));
    let mut done = Done {
        upgraded: set.clone(),
        job: ran.job.clone(),
        verdict: ran.result.verdict,
        answer: None,
        seconds: ran.result.seconds(),
        environment: Environment::of(&ran.result, &ran.machine),
        packages: Vec::new(),
        deviations: Vec::new(),
        problem: None,
        reproduce: ran.reproduce.clone(),
    };
    if !state.is_of_images() {
        warn_of_another_machine(context, state, &done);
    }
    let answer = match judged {
        Judged::Nothing(reason) => {
            let why = ran.result.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
            done.problem = Some(format!("{reason}{why}"));
            return done;
        }
        Judged::TimedOut => {
            *timeouts += 1;
            if *timeouts < 2 {
                done.problem = Some("the time was over, which may be because of a slow machine".to_owned());
                return done;
            }
            Answer::Bad
        }
        Judged::Answer(answer) => answer,
    };
    if answer == Answer::Skip {
        done.problem = Some(why_skipped(ran, &state.test));
    } else if !state.is_of_images() {
        let Some(installed) = &ran.packages else {
            done.problem = Some("it is not known which packages were installed".to_owned());
            return done;
        };
        if !state.dates.is_empty() {
            done.packages = installed.packages().map(ToString::to_string).collect();
        }
        done.deviations = deviations(&state.groups, set, installed);
        if !done.deviations.is_empty() {
            // It is an answer about the packages that were there.
            if let Some(actual) = upgraded_in(&state.groups, installed).filter(|actual| actual != set) {
                state.search.answer(actual, answer);
            }
            done.answer = Some(Answer::Skip);
            state.search.answer(set.clone(), Answer::Skip);
            return done;
        }
    }
    done.answer = Some(answer);
    state.search.answer(set.clone(), answer);
    done
}

/// Why a test could not run with a set of packages.
fn why_skipped(ran: &Ran, test: &str) -> String {
    let found = ran.result.tests().map(|(_, found)| found).find(|found| found.name == test || found.name == "*");
    let of_test = match found {
        Some(found) if found.outcome == TestOutcome::Skip => format!("{test} was skipped: {}", found.reason),
        Some(found) => format!("{test}: {}", found.reason),
        None => format!("{test} did not run"),
    };
    let problem = ran.result.problem.clone();
    [Some(of_test), problem].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Warns of a run with another kernel, firmware or image than the runs before: its answer is about that too.
fn warn_of_another_machine(context: &Context, state: &State, done: &Done) {
    use protocol::api::ChangeKind::{Firmware, Image, Kernel};
    let Some(before) = state.runs.last() else { return };
    let mut changed = history::differences(&before.environment, &done.environment);
    changed.retain(|change| matches!(change.kind, Kernel | Firmware | Image));
    if !changed.is_empty() {
        let list: Vec<String> = changed.iter().map(ToString::to_string).collect();
        context.reporter.warn(&format!("not only packages differ from the run before: {}", list.join(", ")));
    }
}

/// Reports a run.
fn tell(context: &Context, done: &Done, machine: &str) {
    let what = match done.answer {
        Some(Answer::Good) => "passes",
        Some(Answer::Bad) => "fails",
        Some(Answer::Skip) => "cannot be tested",
        None => done.verdict.name(),
    };
    let job = done.job.as_ref().map(|job| format!("{job} on ")).unwrap_or_default();
    let mut line = format!("  {what}: {job}{machine}, {}", time(done.seconds));
    if let Some(problem) = done.problem.as_ref().filter(|_| done.answer.is_some()) {
        line.push_str(&format!(": {problem}"));
    }
    for deviation in done.deviations.iter().take(3) {
        line.push_str(&format!(": {deviation}"));
    }
    context.reporter.say(&line);
}

/// What a run is made with, for people.
pub(super) fn about(state: &State, upgraded: &Upgraded) -> String {
    match (state.date(upgraded), state.image(upgraded)) {
        (Some(date), _) => format!("the archive of {date}"),
        (_, Some(image)) => format!("the image {image}"),
        _ => words(upgraded, state.groups.len()),
    }
}

/// A set of groups for people, by the numbers of the plan: `groups 1-7 and 9 of 14 are upgraded`.
fn words(upgraded: &Upgraded, groups: usize) -> String {
    match (upgraded.len(), groups) {
        (0, 1) => return "the group is not upgraded".to_owned(),
        (0, _) => return format!("none of {groups} groups is upgraded"),
        (1, 1) => return "the group is upgraded".to_owned(),
        (all, _) if all == groups => return format!("all of {groups} groups are upgraded"),
        _ => {}
    }
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for group in upgraded {
        match ranges.last_mut().filter(|(_, last)| last + 1 == *group) {
            Some((_, last)) => *last = *group,
            None => ranges.push((*group, *group)),
        }
    }
    let range = |(first, last): &(usize, usize)| {
        if first == last { format!("{}", first + 1) } else { format!("{}-{}", first + 1, last + 1) }
    };
    let list = ranges.iter().map(range).collect::<Vec<_>>().join(", ");
    let (noun, verb) = if upgraded.len() == 1 { ("group", "is") } else { ("groups", "are") };
    format!("{noun} {list} of {groups} {verb} upgraded")
}

#[cfg(test)]
#[path = "search/tests.rs"]
mod tests;
