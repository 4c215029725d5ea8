//! Jobs as a hub has them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResultInfo;
use crate::{GpuNeed, Job, JobList, UnknownWord};

/// `POST /jobs`: more to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AddJobs {
    /// Chosen by the sender, new for each list. A list that is sent again because its answer was lost has the same one.
    pub request: String,
    /// The jobs.
    pub list: JobList,
    /// Makes of a job that names several targets one job for each of them.
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
    /// The jobs one by one, as a hub takes them: fanned out if that is wanted. The ids are not yet the hub's.
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

/// The id of the `number`th job with this id: the id itself for the first, `rocrand-2` for the second. Never longer
/// than an id may be.
pub fn job_id(id: &str, number: u64) -> String {
    const LONGEST: usize = 100;
    let suffix = if number < 2 { String::new() } else { format!("-{number}") };
    let room = LONGEST.saturating_sub(suffix.len());
    id.chars().take(room).chain(suffix.chars()).collect()
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// There is a result.
    Finished,
    /// Somebody did not want it any more.
    Cancelled,
    /// It was lost too often.
    GivenUp,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Finished, Self::Cancelled, Self::GivenUp];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::GivenUp => "given-up",
        }
    }

    /// Whether nothing more will happen to it by itself.
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

/// A job as the hub has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobInfo {
    /// Its id.
    pub id: String,
    /// What to run.
    pub job: Job,
    /// How far it is.
    pub state: JobState,
    /// Why it is still queued, or was given up or cancelled; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The worker that has it or had it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What people call that worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// What the worker says that it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// When it was added.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub added: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended: Option<Timestamp>,
    /// The job that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// Each time it was given out; only where one job is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultInfo>,
}

impl JobInfo {
    /// What people call the worker that has it or had it last.
    pub fn worker_name(&self) -> Option<&str> {
        self.worker_name.as_deref().or(self.worker.as_deref())
    }
}

/// One time that a job was given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// Who got it.
    pub worker: String,
    /// What people call that worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// How it stands.
    pub state: AttemptState,
    /// In words, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it was given out.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub given: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended: Option<Timestamp>,
    /// Whether the result came after the lease had run out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

impl Attempt {
    /// What people call the worker that got it.
    pub fn worker_name(&self) -> &str {
        self.worker_name.as_deref().unwrap_or(&self.worker)
    }
}

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// The worker has the job.
    Active,
    /// It delivered the result.
    Completed,
    /// It was not heard of for too long, or was restarted.
    Lost,
    /// It gave the job back.
    GivenBack,
    /// The job was cancelled, or another attempt delivered.
    Cancelled,
}

impl AttemptState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Active, Self::Completed, Self::Lost, Self::GivenBack, Self::Cancelled];

    /// As it is written.
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

/// `GET /jobs`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobPage {
    /// Jobs, the newest first.
    pub jobs: Vec<JobInfo>,
    /// What to give as `after` for the next ones; missing if these were the last.
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

    #[test]
    fn an_id_with_a_number_is_still_an_id() {
        assert_eq!((job_id("a", 1), job_id("a", 2)), ("a".into(), "a-2".into()));
        let long = job_id(&"x".repeat(120), 12);
        assert!(long.len() == 100 && long.ends_with("x-12"), "{long}");
    }
}
