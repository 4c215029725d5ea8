//! `rocbed jobs list` and `rocbed jobs show`: lists jobs, and shows one.

use std::fmt::Write as _;

use anyhow::Result;
use client::{Client, JobQuery};
use jiff::Timestamp;
use protocol::GpuNeed;
use protocol::api::{JobInfo, JobState};
use safetext::printable;

use crate::cmdline::{JobsList, JobsShow};
use crate::commands::{more, print, print_json, print_list};
use crate::context::Context;
use crate::hubs::{HubAccess, Rest, connect, pages};
use crate::table::{Cell, Screen, Table, of_state, of_verdict};
use crate::times::{ago, time};

pub(super) fn list(context: &Context, options: &JobsList) -> Result<()> {
    let (place, client) = connect(&options.list.at)?;
    let query = JobQuery {
        state: options.state,
        package: options.package.clone(),
        target: options.target.clone(),
        worker: options.worker.clone(),
        ..JobQuery::default()
    };
    let (jobs, rest) = fetch(&place, &client, query, options.list.limit)?;
    if options.list.json {
        print_json(&jobs)?;
    } else {
        let JobsList { state, package, target, worker, .. } = options;
        let chosen = state.is_some() || package.is_some() || target.is_some() || worker.is_some();
        let none = if chosen { "there is no such job" } else { "there are no jobs yet: `rocbed jobs add` adds some" };
        print_list(context, &table(&jobs, Timestamp::now()), none)?;
    }
    if rest == Rest::More {
        context.reporter.say(&more(jobs.len(), "jobs"));
    }
    Ok(())
}

/// Fetches jobs up to a limit; 0 means no limit.
pub(super) fn fetch(
    place: &HubAccess,
    client: &Client,
    mut query: JobQuery,
    limit: usize,
) -> Result<(Vec<JobInfo>, Rest)> {
    pages(limit, |most, after| {
        (query.limit, query.after) = (Some(most), after);
        let page = client.jobs(&query).map_err(|error| place.explain(error))?;
        Ok((page.jobs, page.next))
    })
}

fn table(jobs: &[JobInfo], now: Timestamp) -> Table {
    let mut table = Table::new(&["JOB", "STATE", "GPU", "WORKER", "AGE", "WHAT"]).expendable(&["AGE", "GPU", "WORKER"]);
    for job in jobs {
        table.row([
            job.id.clone().into(),
            state(job),
            gpu(&job.job.gpu).into(),
            job.worker_name().unwrap_or_default().into(),
            ago(job.added, now).into(),
            what(job).into(),
        ]);
    }
    table
}

/// The GPU that a job needs, in a few words.
pub(in crate::commands) fn gpu(need: &GpuNeed) -> String {
    match need {
        GpuNeed::IfThere => String::new(),
        GpuNeed::Targets(targets) => match targets.as_slice() {
            [first, _, rest @ ..] if !rest.is_empty() => format!("{first} or {} others", rest.len() + 1),
            _ => need.to_string(),
        },
        GpuNeed::Any | GpuNeed::None => need.to_string(),
    }
}

/// The state of a job that is not over, else its verdict.
pub(super) fn state(job: &JobInfo) -> Cell {
    match &job.result {
        Some(result) => Cell::coloured(result.verdict.name(), of_verdict(result.verdict)),
        None => Cell::coloured(job.state.name(), of_state(job.state)),
    }
}

/// One-line summary of a job.
pub(super) fn what(job: &JobInfo) -> String {
    let said = match (&job.result, job.state) {
        (Some(result), _) => Some(result.summary.clone()),
        (None, JobState::Running) => job.phase.clone(),
        _ => job.why.clone(),
    };
    said.unwrap_or_default()
}

pub(super) fn show(options: &JobsShow) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let job = client.job(&options.job).map_err(|error| place.explain(error))?;
    if options.json {
        return print_json(&job);
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = describe(&mut text, &job, &place, Screen::of_stdout());
    print(&text)
}

fn describe(text: &mut String, info: &JobInfo, place: &HubAccess, screen: Screen) -> std::fmt::Result {
    let job = &info.job;
    let mut line = |name: &str, value: String| writeln!(text, "{name:<10}  {}", value.trim_end());
    line("job", printable(&info.id))?;
    line("page", printable(&place.job_page(&info.id)))?;
    line("state", screen.paint(of_state(info.state), info.state.name()))?;
    if let Some(why) = &info.why {
        line("why", printable(why))?;
    }
    line("tests", printable(&job.source.to_string()))?;
    line("gpu", job.gpu.to_string())?;
    if job.gpus != 1 {
        line("gpus", job.gpus.to_string())?;
    }
    if let Some(memory) = job.gpu_memory {
        line("gpu-memory", format!("{memory} MiB"))?;
    }
    line("as", job.run_as.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))?;
    line("timeout", job.timeout.to_string())?;
    for (name, list) in [("pin", &job.pin), ("only", &job.tests)] {
        if !list.is_empty() {
            line(name, printable(&list.join(", ")))?;
        }
    }
    for (name, version) in &job.versions {
        line("version", printable(&format!("{name} {version}")))?;
    }
    for file in &job.packages {
        line("package", printable(&file.to_string()))?;
    }
    for source in &job.apt_sources {
        line("source", printable(&source.to_string()))?;
    }
    if let Some(archive) = &job.archive {
        line("archive", archive.to_string())?;
    }
    for (name, value) in &job.env {
        line("env", printable(&format!("{name}={value}")))?;
    }
    if let Some(memory) = job.memory {
        line("memory", format!("{memory} MiB"))?;
    }
    if job.priority != 0 {
        line("priority", job.priority.to_string())?;
    }
    if job.shards > 1 {
        line("shards", job.shards.to_string())?;
    }
    if let Some(part) = &info.part_of {
        line("is", printable(&part.to_string()))?;
    }
    let departures = job.departures();
    if !departures.is_empty() && info.part_of.is_none() {
        line("matrix", format!("does not count: not the plain run ({})", departures.join(", ")))?;
    }
    line("added", time(info.added))?;
    if let Some(of) = &info.retry_of {
        line("repeats", printable(of))?;
    }
    if let Some(debci) = &info.debci {
        let trigger = debci.trigger.as_ref().map(|trigger| format!(", triggered by {trigger}")).unwrap_or_default();
        line("from", printable(&format!("debci at {}, run {}{trigger}", debci.server, debci.run)))?;
        if let (Some(answered), Some(answer)) = (debci.answered, &debci.answer) {
            line("answered", printable(&format!("{}: {answer}", time(answered))))?;
        }
    }
    for attempt in &info.attempts {
        let until = attempt.ended.map(|ended| format!(" until {}", time(ended))).unwrap_or_default();
        let late = if attempt.late { " after its lease had run out" } else { "" };
        let reason =
            if attempt.reason.is_empty() { late.to_owned() } else { format!("{late}: {}", printable(&attempt.reason)) };
        let (number, state, worker) = (attempt.number, attempt.state.name(), printable(attempt.worker_name()));
        line("attempt", format!("{number} on {worker}, {}{until}: {state}{reason}", time(attempt.given)))?;
    }
    for part in &info.parts {
        let number = part.index.saturating_add(1);
        let state = part.verdict.map_or_else(
            || screen.paint(of_state(part.state), part.state.name()),
            |verdict| screen.paint(of_verdict(verdict), verdict.name()),
        );
        let worker = part.worker.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
        line("part", format!("{number} of {}, {}{}: {state}", job.shards, printable(&part.job), printable(&worker)))?;
    }
    if let Some(phase) = &info.phase {
        line("doing", printable(phase))?;
    }
    if let Some(ended) = info.ended {
        line("ended", time(ended))?;
    }
    if let Some(result) = &info.result {
        let verdict = screen.paint(of_verdict(result.verdict), result.verdict.name());
        line("result", format!("{verdict}  {}", printable(&result.summary)))?;
    }
    Ok(())
}
