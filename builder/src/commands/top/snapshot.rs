//! [`Snapshot`]: what a hub says at one moment.

use std::collections::BTreeMap;

use client::{Client, ClientError, JobQuery, ResultQuery};
use jiff::Timestamp;
use protocol::api::{JobInfo, JobState, ResultInfo, WorkerInfo};
use serde::Serialize;

use crate::hubs::PAGE;

/// Most pages of a list that are read.
const PAGES: usize = 10;
/// Results that are shown.
const RESULTS: usize = 20;

/// A hub at one moment.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Snapshot {
    pub(super) workers: Vec<WorkerInfo>,
    pub(super) running: Vec<Running>,
    /// Queued jobs, the next one first; at most 10,000.
    pub(super) queued: Vec<JobInfo>,
    /// The latest results.
    pub(super) results: Vec<ResultInfo>,
}

/// A running job.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Running {
    pub(super) job: JobInfo,
    /// When its worker got it.
    pub(super) since: Option<Timestamp>,
    /// How many seconds the latest result of this package took.
    pub(super) usual_seconds: Option<u64>,
}

/// Reads snapshots, and remembers what does not change between them.
pub(super) struct Reader {
    client: Client,
    /// How long packages took, by job.
    usual: BTreeMap<String, Option<u64>>,
}

impl Reader {
    pub(super) fn new(client: Client) -> Self {
        Self { client, usual: BTreeMap::new() }
    }

    /// Asks the hub.
    pub(super) fn read(&mut self) -> Result<Snapshot, ClientError> {
        let results = self.client.results(&ResultQuery { limit: Some(RESULTS), ..ResultQuery::default() })?.results;
        let mut queued = self.jobs(JobState::Queued)?;
        // The hub lists the newest first, and hands out the one with the highest priority, then the oldest.
        queued.reverse();
        queued.sort_by_key(|job| std::cmp::Reverse(job.job.priority));
        let mut running = Vec::new();
        for job in self.jobs(JobState::Running)? {
            running.push(self.running(job)?);
        }
        let known: Vec<&String> = running.iter().map(|running| &running.job.id).collect();
        self.usual.retain(|id, _| known.contains(&id));
        Ok(Snapshot { workers: self.workers()?, running, queued, results })
    }

    fn workers(&self) -> Result<Vec<WorkerInfo>, ClientError> {
        let (mut workers, mut after) = (Vec::new(), None);
        for _ in 0..PAGES {
            let page = self.client.workers(after.as_deref())?;
            workers.extend(page.workers);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(workers)
    }

    fn jobs(&self, state: JobState) -> Result<Vec<JobInfo>, ClientError> {
        let mut query = JobQuery { state: Some(state), limit: Some(PAGE), ..JobQuery::default() };
        let mut jobs = Vec::new();
        for _ in 0..PAGES {
            let page = self.client.jobs(&query)?;
            jobs.extend(page.jobs);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        Ok(jobs)
    }

    /// A running job with its start, which only the job itself says. It may be over by now.
    fn running(&mut self, job: JobInfo) -> Result<Running, ClientError> {
        let since = match self.client.job(&job.id) {
            Ok(whole) => whole.attempts.last().map(|attempt| attempt.given),
            Err(ClientError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        let usual_seconds = if let Some(known) = self.usual.get(&job.id) {
            *known
        } else {
            let package = Some(job.job.source.name().to_owned());
            let page = self.client.results(&ResultQuery { package, limit: Some(1), ..ResultQuery::default() })?;
            let took = page.results.first().map(|result| result.finished.duration_since(result.started).as_secs());
            let took = took.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
            self.usual.insert(job.id.clone(), took);
            took
        };
        Ok(Running { job, since, usual_seconds })
    }
}
