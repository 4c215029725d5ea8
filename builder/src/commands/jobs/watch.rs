//! `rocbed jobs watch`: follows jobs until they are over.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use client::{Client, JobQuery};
use protocol::Verdict;
use protocol::api::{JobInfo, JobState};
use serde::Serialize;

use super::list::{fetch, state, what};
use crate::cmdline::JobsWatch;
use crate::commands::{print, print_json};
use crate::context::Context;
use crate::hubs::{self, HubAccess, Patience};
use crate::table::{Cell, Screen, Table, of_state, of_verdict};

/// Polling interval.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(context: &Context, options: &JobsWatch) -> Result<u8> {
    let place = hubs::find(&options.at)?;
    let ids = if options.all {
        let client = place.client(Patience::Short)?;
        let mut ids = Vec::new();
        for state in [JobState::Running, JobState::Queued] {
            let query = JobQuery { state: Some(state), ..JobQuery::default() };
            // The newest come first in the list, and are watched last.
            ids.extend(fetch(&place, &client, query, 0)?.0.into_iter().rev().map(|job| job.id));
        }
        // A job may be in both answers if it began between the two requests.
        ids.dedup();
        if ids.is_empty() {
            context.reporter.say("no job is queued or running");
        }
        ids
    } else {
        options.jobs.clone()
    };
    follow(context, &place, &ids, options.json)
}

/// Follows jobs to their end, prints their results, and returns autopkgtest's exit code for them.
pub(super) fn follow(context: &Context, place: &HubAccess, ids: &[String], json: bool) -> Result<u8> {
    // The first answer comes soon or not at all: a wrong address should not take minutes to be noticed.
    let quick = place.client(Patience::Short)?;
    let client = place.client(Patience::Long)?;
    let mut watched: Vec<Watched> = Vec::new();
    for id in ids {
        if watched.iter().all(|watched| watched.job.id != *id) {
            let job = quick.job(id).map_err(|error| place.explain(error))?;
            watched.push(Watched::new(job));
        }
    }
    let alone = watched.len() == 1;
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        for watched in &mut watched {
            if alone {
                watched.pass_log_on(context, place, &client)?;
            }
            tell(context, &watched.job, &mut told);
        }
        if watched.iter().all(|watched| watched.job.state.is_over()) {
            break;
        }
        sleep(EVERY);
        refresh(place, &client, &mut watched)?;
    }
    let jobs: Vec<&JobInfo> = watched.iter().map(|watched| &watched.job).collect();
    if json {
        print_json(&jobs.iter().map(|job| Outcome::of(job)).collect::<Vec<_>>())?;
    } else {
        print(&table(&jobs).text(Screen::of_stdout()))?;
        tell_how_to_reproduce(context, &client, &jobs);
    }
    Ok(Verdict::exit_code_of_all(jobs.iter().map(|job| verdict(job))))
}

/// Reports the commands that reproduce the first failures.
fn tell_how_to_reproduce(context: &Context, client: &Client, jobs: &[&JobInfo]) {
    const FEW: usize = 5;
    let failed = jobs.iter().filter(|job| matches!(verdict(job), Verdict::Fail | Verdict::Timeout));
    for job in failed.filter(|job| job.result.is_some()).take(FEW) {
        // The outcome was told; without its details it can still be looked up.
        let Ok(detail) = client.result(&job.id) else { continue };
        context.reporter.say(&format!("reproduce {}: {}", job.id, detail.result.reproduce(&job.job)));
    }
}

/// Verdict of a job; a job without a result says nothing about its package, and counts as a testbed failure.
fn verdict(job: &JobInfo) -> Verdict {
    job.result.as_ref().map_or(Verdict::TestbedFailed, |result| result.verdict)
}

/// JSON form of a job's outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outcome<'a> {
    job: &'a str,
    state: JobState,
    verdict: Option<Verdict>,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_name: Option<&'a str>,
}

impl<'a> Outcome<'a> {
    fn of(job: &'a JobInfo) -> Self {
        Self {
            job: &job.id,
            state: job.state,
            verdict: job.result.as_ref().map(|result| result.verdict),
            what: what(job),
            worker: job.worker.as_deref(),
            worker_name: job.worker_name.as_deref(),
        }
    }
}

fn table(jobs: &[&JobInfo]) -> Table {
    let mut table = Table::new(&["JOB", "VERDICT", "WORKER", "WHAT"]).expendable(&["WORKER"]);
    for job in jobs {
        table.row([job.id.clone().into(), state(job), job.worker_name().unwrap_or_default().into(), what(job).into()]);
    }
    table
}

/// Reports a job's state if it has changed.
fn tell(context: &Context, job: &JobInfo, told: &mut BTreeMap<String, String>) {
    let what = what(job);
    let (state, style) = match &job.result {
        Some(result) => (result.verdict.name(), of_verdict(result.verdict)),
        None => (job.state.name(), of_state(job.state)),
    };
    let at = job.worker_name().filter(|_| job.state == JobState::Running);
    let at = at.map(|worker| format!(" on {worker}")).unwrap_or_default();
    let colon = if what.is_empty() { "" } else { ": " };
    let rest = format!("{at}{colon}{what}");
    let news = format!("{state}{rest}");
    if told.get(&job.id) != Some(&news) {
        let pieces = [Cell::from(format!("{}: ", job.id)), Cell::coloured(state, style), Cell::from(rest)];
        context.reporter.say_pieces(&pieces);
        told.insert(job.id.clone(), news);
    }
}

/// Asks again for the jobs that are not over: one by one if they are few, else in pages.
fn refresh(place: &HubAccess, client: &Client, watched: &mut [Watched]) -> Result<()> {
    const FEW: usize = 5;
    let open: Vec<&mut Watched> = watched.iter_mut().filter(|watched| !watched.job.state.is_over()).collect();
    let mut now: BTreeMap<String, JobInfo> = BTreeMap::new();
    if open.len() > FEW {
        for state in [JobState::Queued, JobState::Running] {
            let query = JobQuery { state: Some(state), ..JobQuery::default() };
            now.extend(fetch(place, client, query, 0)?.0.into_iter().map(|job| (job.id.clone(), job)));
        }
    }
    for watched in open {
        watched.job = match now.remove(&watched.job.id) {
            Some(job) => job,
            None => client.job(&watched.job.id).map_err(|error| place.explain(error))?,
        };
    }
    Ok(())
}

/// A job, and how much of its log was shown.
#[derive(Debug)]
struct Watched {
    job: JobInfo,
    attempt: u32,
    offset: u64,
}

impl Watched {
    fn new(job: JobInfo) -> Self {
        // For a job that was already over, the log is not repeated here: it has a page on the hub.
        let offset = if job.state.is_over() { u64::MAX } else { 0 };
        Self { job, attempt: 0, offset }
    }

    /// Prints what was added to the log. Each attempt has its own log.
    fn pass_log_on(&mut self, context: &Context, place: &HubAccess, client: &Client) -> Result<()> {
        let Some(last) = self.job.attempts.last().map(|attempt| attempt.number) else { return Ok(()) };
        if self.offset == u64::MAX {
            return Ok(());
        }
        if last != self.attempt {
            (self.attempt, self.offset) = (last, 0);
        }
        let mut more = Vec::new();
        let count = client
            .log_from(&self.job.id, self.attempt, self.offset, &mut more)
            .map_err(|error| place.explain(error))?;
        self.offset = self.offset.saturating_add(count);
        context.reporter.pass_on(&more);
        Ok(())
    }
}
