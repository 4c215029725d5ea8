//! [`AtHub`]: makes the runs of a search as jobs of a hub.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use client::{Client, request_id};
use history::bisect::Upgraded;
use protocol::api::{AddJobs, JobInfo, JobState};
use protocol::{Job, JobList, JobResult, PackageList};
use transfer::Backoff;

use super::command::{reproduce, test_of, user_of};
use super::place::Local;
use super::tester::{Ended, Ran, Stop, Tester, packages};
use crate::context::Context;
use crate::hubs::{HubAccess, Patience};

/// First and longest pause before asking again whether a job is over.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A hub whose workers run the tests.
pub(super) struct AtHub<'a> {
    context: &'a Context,
    place: HubAccess,
    client: Client,
}

impl<'a> AtHub<'a> {
    pub(super) fn new(context: &'a Context, place: HubAccess) -> Result<Self> {
        // Outlasts a restart of the hub.
        let client = place.client(Patience::Long)?;
        Ok(Self { context, place, client })
    }

    fn job(&self, id: &str) -> Result<JobInfo> {
        self.client.job(id).map_err(|error| self.place.explain(error))
    }

    fn ran(&self, info: &JobInfo, job: &Job) -> Result<Ran> {
        let detail = self.client.result(&info.id).map_err(|error| self.place.explain(error))?;
        let listed = self.client.packages(&info.id).map_err(|error| self.place.explain(error))?;
        let mut lists = BTreeMap::new();
        for test in listed.tests.iter().filter(|test| !test.packages.is_empty()) {
            let text: String = test.packages.iter().map(|line| format!("{line}\n")).collect();
            let list = PackageList::parse(&text).with_context(|| format!("reading the packages of {}", info.id))?;
            lists.insert(test.sha256, list);
        }
        let machine = detail.info.worker_name().to_owned();
        let result: JobResult = detail.result;
        let recipe = result.machine.image.as_ref().map_or_else(|| super::RECIPE.to_owned(), |image| image.name.clone());
        let options = if result.gpus.is_empty() { Vec::new() } else { vec!["--gpu".to_owned()] };
        let local = Local { recipe, options, hub: None };
        Ok(Ran {
            job: Some(info.id.clone()),
            machine,
            packages: packages(&result, &test_of(job), user_of(job), &lists),
            reproduce: reproduce(&info.job, &local, &[]),
            result,
        })
    }
}

impl Tester for AtHub<'_> {
    fn begin(&mut self, job: &Job, before: Option<&str>) -> Result<Option<String>> {
        if let Some(before) = before {
            // A confirmation goes to another worker if one could take it.
            match self.client.confirm(before, true) {
                Ok(confirmed) if !confirmed.jobs.is_empty() => return Ok(confirmed.jobs.into_iter().next()),
                Ok(_) => {}
                Err(error) if error.is_passing() => return Err(self.place.explain(error)),
                // Anywhere, then.
                Err(error) => self.context.reporter.detail(&format!("confirming {before}: {error}")),
            }
        }
        let list = JobList { version: protocol::VERSION, job: vec![job.clone()] };
        let request = request_id().map_err(|error| self.place.explain(error))?;
        let added = self.client.add_jobs(&AddJobs { request, list, fan_out: false });
        let added = added.map_err(|error| self.place.explain(error))?;
        added.jobs.into_iter().next().map(Some).context("the hub has added no job")
    }

    fn finish(&mut self, job: &Job, _: &Upgraded, id: Option<&str>, stop: &Stop) -> Result<Ended> {
        let id = id.context("a job without an id")?;
        let (mut told, mut backoff) = (None, Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
        loop {
            let info = self.job(id)?;
            if info.state.is_over() {
                if info.result.is_some() {
                    return Ok(Ended::Ran(Box::new(self.ran(&info, job)?)));
                }
                let why = info.why.map(|why| format!(": {why}")).unwrap_or_default();
                return Ok(Ended::Lost(format!("{id} is {}{why}", info.state)));
            }
            let news = (info.state, info.worker_name().map(str::to_owned));
            if told.as_ref() != Some(&news) {
                let what = match (&news.0, &news.1, &info.why) {
                    (JobState::Running, Some(worker), _) => format!("{id} runs on {worker}"),
                    (JobState::Queued, _, Some(why)) => format!("{id} is queued: {why}"),
                    (state, ..) => format!("{id} is {state}"),
                };
                self.context.reporter.detail(&what);
                told = Some(news);
            }
            if stop.is_asked() {
                return Ok(Ended::Stopped);
            }
            sleep(backoff.next_pause());
        }
    }
}
