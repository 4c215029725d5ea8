//! `rocbed workers`: the machines that run a hub's jobs.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use client::{Client, ClientError};
use jiff::Timestamp;
use protocol::api::{Health, Pause, RetryGpus, WorkerInfo};
use safetext::printable;

use super::{print, print_json, print_list};
use crate::cmdline::{WorkersCommand, WorkersList, WorkersNamed, WorkersRetryGpu, WorkersShow};
use crate::context::Context;
use crate::hubs::{HubAccess, connect};
use crate::table::{Cell, Table, of_health};
use crate::times::{ago, time};

/// Runs the command.
pub fn run(context: &Context, command: &WorkersCommand) -> Result<()> {
    match command {
        WorkersCommand::List(options) => list(context, options),
        WorkersCommand::Show(options) => show(options),
        WorkersCommand::Pause(options) => {
            let pause = Pause { reason: options.reason.clone() };
            each(context, &options.named, "paused", |client, id| client.pause(id, &pause).map(drop))
        }
        WorkersCommand::Resume(options) => each(context, options, "resumed", |client, id| client.resume(id).map(drop)),
        WorkersCommand::RetryGpu(options) => retry_gpus(context, options),
        WorkersCommand::Remove(options) => each(context, options, "removed", Client::remove_worker),
    }
}

fn list(context: &Context, options: &WorkersList) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let workers = all(&place, &client)?;
    if options.json {
        return print_json(&workers);
    }
    print_list(context, &table(&workers, Timestamp::now()), "no worker has registered yet")
}

fn all(place: &HubAccess, client: &Client) -> Result<Vec<WorkerInfo>> {
    let (mut workers, mut after) = (Vec::new(), None);
    loop {
        let page = client.workers(after.as_deref()).map_err(|error| place.explain(error))?;
        workers.extend(page.workers);
        after = page.next;
        if after.is_none() {
            workers.sort_by(|one, other| one.name().cmp(other.name()));
            return Ok(workers);
        }
    }
}

/// The workers, one row for each.
pub(super) fn table(workers: &[WorkerInfo], now: Timestamp) -> Table {
    let mut table =
        Table::new(&["WORKER", "HEALTH", "GPUS", "JOBS", "SEEN", "WHAT"]).expendable(&["SEEN", "JOBS", "GPUS"]);
    for worker in workers {
        table.row([
            worker.name().into(),
            health(worker),
            gpus(worker).into(),
            worker.jobs.join(", ").into(),
            ago(worker.seen, now).into(),
            what(worker).into(),
        ]);
    }
    table
}

/// One-line summary of a worker.
fn what(worker: &WorkerInfo) -> String {
    let said = worker.paused.as_ref().unwrap_or(&worker.message);
    let parts = [Some(said.clone()).filter(|said| !said.is_empty()), worker.clock_fault()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The most important state of a worker: paused, offline, or the health that it reports.
fn health(worker: &WorkerInfo) -> Cell {
    match (&worker.paused, worker.online) {
        (Some(_), _) => Cell::coloured("paused", of_health(Health::Off)),
        (None, false) => Cell::coloured("offline", of_health(Health::Off)),
        (None, true) => Cell::coloured(worker.health.name(), of_health(worker.health)),
    }
}

/// The targets of its GPUs: `gfx1030, 2 gfx942`.
pub(super) fn gpus(worker: &WorkerInfo) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for gpu in &worker.machine.gpus.gpus {
        let target = gpu.target.to_string();
        match counts.iter_mut().find(|(name, _)| *name == target) {
            Some((_, count)) => *count += 1,
            None => counts.push((target, 1)),
        }
    }
    let words: Vec<_> = counts
        .into_iter()
        .map(|(target, count)| if count == 1 { target } else { format!("{count} {target}") })
        .collect();
    words.join(", ")
}

fn show(options: &WorkersShow) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let worker = client.worker(&options.worker).map_err(|error| place.explain(error))?;
    if options.json {
        return print_json(&worker);
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = describe(&mut text, &worker, &place);
    print(&text)
}

fn describe(text: &mut String, worker: &WorkerInfo, place: &HubAccess) -> std::fmt::Result {
    let machine = &worker.machine;
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<10}  {}", printable(value).trim_end());
    line("worker", worker.name())?;
    line("id", &worker.id)?;
    line("page", &place.worker_page(worker.name()))?;
    line("health", if worker.online { worker.health.name() } else { "offline" })?;
    if !worker.message.is_empty() {
        line("it says", &worker.message)?;
    }
    if let Some(reason) = &worker.paused {
        line("paused", if reason.is_empty() { "yes" } else { reason })?;
    }
    if let Some(clock) = worker.clock_fault() {
        line("clock", &clock)?;
    }
    line("seen", &time(worker.seen))?;
    line("registered", &time(worker.registered))?;
    line("host name", &machine.name)?;
    line("kernel", &machine.kernel)?;
    line("memory", &format!("{} MiB", machine.memory))?;
    for gpu in &machine.gpus.gpus {
        let made_up = if gpu.simulated { ", simulated" } else { "" };
        line("gpu", &format!("{} {}, {}{made_up}", gpu.target, gpu.name, gpu.id))?;
    }
    for gpu in &machine.gpus.unusable {
        let why = gpu.reasons.first().map(|reason| format!(": {}", reason.message)).unwrap_or_default();
        line("no use", &format!("{}{why}", gpu.name))?;
    }
    for job in &worker.jobs {
        line("job", job)?;
    }
    Ok(())
}

fn retry_gpus(context: &Context, options: &WorkersRetryGpu) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let retry = RetryGpus { gpus: options.gpus.clone() };
    client.retry_gpus(&options.worker, &retry).map_err(|error| place.explain(error))?;
    context.reporter.say(&format!("{} restarts before its next job, and tries its GPUs again", options.worker));
    Ok(())
}

/// Applies an action to several workers. One that is refused does not stop the others.
fn each(
    context: &Context,
    options: &WorkersNamed,
    verb: &str,
    action: impl Fn(&Client, &str) -> Result<(), ClientError>,
) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let mut failed = 0;
    for id in &options.workers {
        // By its id: the given text may be the beginning of a name, which could match others later.
        let known = client.worker(id);
        match known.and_then(|worker| action(&client, &worker.id).map(|()| worker)) {
            Ok(worker) => context.reporter.say(&format!("{verb} {}", worker.name())),
            // All others would fail too.
            Err(error) if error.is_passing() => return Err(place.explain(error)),
            Err(error) => {
                failed += 1;
                let error = place.explain(error).context(format!("worker {id}"));
                context.reporter.warn_of(&crate::error::report(&error));
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(anyhow!("{failed} of {} workers were refused", options.workers.len())),
    }
}
