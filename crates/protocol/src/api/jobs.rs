//! Jobs of a hub: adding them, their states, and their attempts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DebciOrigin, ResultInfo};
use crate::job_id::job_id;
use crate::{GpuNeed, Job, JobList, PartOf, UnknownWord, Verdict};

/// `POST /jobs`: adds jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AddJobs {
    /// Identifies this request. A list that is sent again because the answer was lost has the same value.
    pub request: String,
    /// The jobs to add.
    pub list: JobList,
    /// Whether a job that names several targets becomes one job for each of them.
    #[serde(default)]
    pub fan_out: bool,
}

/// The answer to [`AddJobs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddedJobs {
    /// Ids of the jobs, in the list's order. They differ from the list's where the hub has had a job of that id.
    pub jobs: Vec<String>,
}

impl AddJobs {
    /// The jobs that the hub adds, one for each target if `fan_out` is set. Their ids may still be changed by the hub.
    pub fn jobs(self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for job in self.list.job {
            match &job.gpu {
                GpuNeed::Targets(targets) if self.fan_out && targets.len() > 1 => {
                    for target in targets {
                        let mut one = job.clone();
                        one.gpu = GpuNeed::Targets(vec![*target]);
                        one.id = job_id(&format!("{}@{target}", job.id), 1);
                        jobs.push(one);
                    }
                }
                _ => jobs.push(job),
            }
        }
        jobs
    }
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It is waiting for a worker.
    Queued,
    /// A worker is running it.
    Running,
    /// It has a result.
    Finished,
    /// A user cancelled it.
    Cancelled,
    /// It was lost too often.
    GivenUp,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Finished, Self::Cancelled, Self::GivenUp];

    /// The name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::GivenUp => "given-up",
        }
    }

    /// Whether the state is final.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for JobState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        UnknownWord::find(text, "the state of a job", Self::ALL, Self::name)
    }
}

/// A job on the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobInfo {
    /// The job's id.
    pub id: String,
    /// The job as it was added.
    pub job: Job,
    /// The job's state.
    pub state: JobState,
    /// The reason why it is still queued, was given up or was cancelled; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Id of the worker that has or last had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Short name of that worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// What the worker is doing now, as it reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// When it was added.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub added: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended: Option<Timestamp>,
    /// The job that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// The debci server that has asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debci: Option<DebciOrigin>,
    /// All attempts; only in the answer about a single job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultInfo>,
    /// The job that this one is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// The parts of a job with `shards`, by index. Each is a job of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartInfo>,
}

/// A part of a job on the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PartInfo {
    /// Id of the part's job.
    pub job: String,
    /// Index of the part, from 0.
    pub index: u32,
    /// State of the part's job.
    pub state: JobState,
    /// Short name of the worker that has or last had it, or else its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The part's verdict, once it has a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

impl JobInfo {
    /// How far the parts are, in words: `1 of 3 parts has ended, 1 runs`. Empty for a job without parts.
    pub fn parts_in_words(&self) -> String {
        let count = |is: &dyn Fn(JobState) -> bool| self.parts.iter().filter(|part| is(part.state)).count();
        let (ended, running) = (count(&JobState::is_over), count(&|state| state == JobState::Running));
        let has = if ended == 1 { "has" } else { "have" };
        let runs = match running {
            0 => String::new(),
            1 => ", 1 runs".to_owned(),
            several => format!(", {several} run"),
        };
        match self.parts.len() {
            0 => String::new(),
            all => format!("{ended} of {all} parts {has} ended{runs}"),
        }
    }

    /// Short name of the worker that has or last had it, or else its id.
    pub fn worker_name(&self) -> Option<&str> {
        self.worker_name.as_deref().or(self.worker.as_deref())
    }
}

/// An attempt: one time that a job was given to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// The attempt's number, from 1.
    pub number: u32,
    /// Id of the worker.
    pub worker: String,
    /// Short name of that worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// The attempt's state.
    pub state: AttemptState,
    /// The reason for the state, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When the worker got the job.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub given: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended: Option<Timestamp>,
    /// Whether the result came after the lease had run out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

impl Attempt {
    /// Short name of the worker, or else its id.
    pub fn worker_name(&self) -> &str {
        self.worker_name.as_deref().unwrap_or(&self.worker)
    }
}

/// The state of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// The worker has the job.
    Active,
    /// The worker delivered the result.
    Completed,
    /// The worker sent nothing for too long, or was restarted.
    Lost,
    /// The worker gave the job back.
    GivenBack,
    /// The job was cancelled, or another attempt delivered.
    Cancelled,
}

impl AttemptState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Active, Self::Completed, Self::Lost, Self::GivenBack, Self::Cancelled];

    /// The name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Lost => "lost",
            Self::GivenBack => "given-back",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for AttemptState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        UnknownWord::find(text, "the state of an attempt", Self::ALL, Self::name)
    }
}

/// `GET /jobs`: a page of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobPage {
    /// Jobs, the newest first.
    pub jobs: Vec<JobInfo>,
    /// Value of `after` for the next page; missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(fan_out: bool) -> Vec<String> {
        let toml =
            b"[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx1030\", \"gfx11-generic\"]\n[[job]]\npackage = \"gzip\"\n";
        let list = JobList::parse(toml).expect("a list");
        AddJobs { request: "r".into(), list, fan_out }.jobs().into_iter().map(|job| job.id).collect()
    }

    #[test]
    fn a_job_for_several_targets_fans_out_if_wanted() {
        assert_eq!(ids(false), ["rocrand", "gzip"]);
        assert_eq!(ids(true), ["rocrand@gfx1030", "rocrand@gfx11-generic", "gzip"]);
    }
}
