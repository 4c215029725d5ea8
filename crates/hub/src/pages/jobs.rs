//! The list of jobs.

use askama::Template;
use axum::extract::{Query, State};
use protocol::api::{JobInfo, JobState};
use protocol::{GpuNeed, Job, Verdict};

use crate::http::Reader;
use crate::http::jobs::{Filter, page as load};
use crate::hub::Shared;
use crate::pages::words::Time;
use crate::pages::{Page, now, render};

#[derive(Template)]
#[template(path = "jobs.html")]
struct ListPage {
    here: &'static str,
    states: Vec<(&'static str, bool)>,
    state: &'static str,
    package: String,
    jobs: Vec<Line>,
    next: Option<String>,
}

struct Line {
    id: String,
    needs: String,
    state: JobState,
    verdict: Option<Verdict>,
    simulated: bool,
    note: String,
    worker: Option<String>,
    added: Time,
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader, Query(filter): Query<Filter>) -> Page {
    let filter = filter.read()?;
    let (state, package) = (filter.state, filter.package.clone().unwrap_or_default());
    let found = load(&shared, filter).await?;
    let now = now(&shared);
    let line = |job: JobInfo| Line {
        needs: needs(&job.job),
        verdict: job.result.as_ref().map(|result| result.verdict),
        simulated: job.result.as_ref().is_some_and(|result| result.simulated),
        note: job.phase.or(job.why).unwrap_or_default(),
        id: job.id,
        state: job.state,
        worker: job.worker,
        added: Time::new(job.added, now),
    };
    render(&ListPage {
        here: "jobs",
        states: JobState::ALL.map(|known| (known.name(), Some(known) == state)).to_vec(),
        state: state.map(JobState::name).unwrap_or_default(),
        package,
        jobs: found.jobs.into_iter().map(line).collect(),
        next: found.next,
    })
}

/// What a job needs, in words.
pub(crate) fn needs(job: &Job) -> String {
    let mut words = match (&job.gpu, job.gpus) {
        (GpuNeed::None | GpuNeed::IfThere, _) | (_, 1) => job.gpu.to_string(),
        (need, count) => format!("{count} GPUs: {need}"),
    };
    if let Some(memory) = job.memory {
        words.push_str(&format!(", {memory} MiB of memory"));
    }
    words
}
