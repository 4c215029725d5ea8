//! `rocbed jobs`: the jobs of a hub.

mod add;
mod list;
mod make;
mod watch;

use advice::Advice;
use anyhow::{Result, anyhow, ensure};
use client::{Client, request_id};
use protocol::api::{AddJobs, AddedJobs, JobInfo};
use protocol::{Job, JobList};

pub(super) use list::gpu;

use super::{own_error, print, print_json};
use crate::cmdline::{JobsCommand, JobsConfirm, JobsNamed};
use crate::context::Context;
use crate::hubs::{HubAccess, connect};

/// Runs the command; returns the exit code.
pub fn run(context: &Context, command: &JobsCommand) -> Result<u8> {
    match command {
        JobsCommand::Add(options) if options.watch => or_own_error(context, || add::packages(context, options)),
        JobsCommand::Watch(options) => or_own_error(context, || watch::run(context, options)),
        JobsCommand::Add(options) => add::packages(context, options),
        JobsCommand::Import(options) => add::import(context, options),
        JobsCommand::Make(options) => make::run(context, options).map(|()| 0),
        JobsCommand::List(options) => list::list(context, options).map(|()| 0),
        JobsCommand::Show(options) => list::show(options).map(|()| 0),
        JobsCommand::Cancel(options) => each(context, options, "cancelled", Client::cancel),
        JobsCommand::Retry(options) => each(context, options, "added", Client::retry),
        JobsCommand::Confirm(options) => confirm(context, options).map(|()| 0),
    }
}

/// Adds jobs that run the failing tests of some jobs again.
fn confirm(context: &Context, options: &JobsConfirm) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let mut added = Vec::new();
    for id in &options.jobs {
        let confirmed = client.confirm(id, options.elsewhere).map_err(|error| place.explain(error))?;
        let what = match &confirmed.tests[..] {
            [] => "all tests".to_owned(),
            tests => tests.join(", "),
        };
        for job in &confirmed.jobs {
            if !options.json {
                print(&format!("{job}\n"))?;
            }
            context.reporter.say(&format!("{job} runs again what failed in {id}: {what}"));
        }
        added.push(confirmed);
    }
    if options.json { print_json(&added) } else { Ok(()) }
}

/// For commands that run tests: errors exit with autopkgtest's code for them.
fn or_own_error(context: &Context, command: impl FnOnce() -> Result<u8>) -> Result<u8> {
    command().or_else(|error| Ok(own_error(context, &error)))
}

/// Adds a job list; the result has the ids that the hub gave.
fn add_list(place: &HubAccess, client: &Client, list: JobList, fan_out: bool) -> Result<AddedJobs> {
    let request = request_id().map_err(|error| place.explain(error))?;
    let request = AddJobs { request, list, fan_out };
    let added = client.add_jobs(&request).map_err(|error| place.explain(error))?;
    check_shards(place, client, &request.jobs(), &added)?;
    Ok(added)
}

/// Checks that the hub knows of `shards`: an older one passes the key over, and runs the whole job once.
fn check_shards(place: &HubAccess, client: &Client, wanted: &[Job], added: &AddedJobs) -> Result<()> {
    let Some((job, id)) = wanted.iter().zip(&added.jobs).find(|(job, _)| job.shards > 1) else { return Ok(()) };
    // The jobs are there, whatever becomes of this request.
    let Ok(there) = client.job(id) else { return Ok(()) };
    let ids: Vec<_> = wanted.iter().zip(&added.jobs).filter(|(job, _)| job.shards > 1).map(|(_, id)| &**id).collect();
    let ids = ids.join(" ");
    ensure!(
        there.job.shards == job.shards,
        Advice::new(
            format!("{ids}: added, but not in parts: the hub at {} does not know of shards", place.address),
            format!("`rocbed jobs cancel {ids}` takes back what was added; a later version of the hub splits jobs")
        )
    );
    Ok(())
}

/// Applies an action to several jobs. One that is refused does not stop the others.
fn each(
    context: &Context,
    options: &JobsNamed,
    verb: &str,
    action: fn(&Client, &str) -> Result<JobInfo, client::ClientError>,
) -> Result<u8> {
    let (place, client) = connect(&options.at)?;
    let (mut done, mut failed) = (Vec::new(), 0);
    for id in &options.jobs {
        match action(&client, id) {
            Ok(job) => {
                if !options.json {
                    print(&format!("{}\n", job.id))?;
                }
                let state = job.state.name();
                let what = if state == verb { String::new() } else { format!(": {state}") };
                context.reporter.say(&format!("{verb} {}{what}", job.id));
                done.push(job);
            }
            // All others would fail too.
            Err(error) if error.is_passing() => return Err(place.explain(error)),
            Err(error) => {
                failed += 1;
                let error = place.explain(error).context(format!("job {id}"));
                context.reporter.warn_of(&crate::error::report(&error));
            }
        }
    }
    if options.json {
        print_json(&done)?;
    }
    match failed {
        0 => Ok(0),
        failed => Err(anyhow!("{failed} of {} jobs were refused", options.jobs.len())),
    }
}
