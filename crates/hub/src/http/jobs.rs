//! Routes for jobs: adding, listing, cancelling, retrying.

use axum::Json;
use axum::extract::{Path, Query, State};
use protocol::api::{AddJobs, AddedJobs, JobInfo, JobPage, JobState, Problem, ProblemCode, check_id};
use protocol::{ListError, VERSION};
use serde::Deserialize;

use crate::core::Reasons;
use crate::http::answer::{Answer, Refused, io_problem, refuse};
use crate::http::auth::{Admin, Reader};
use crate::http::body::Document;
use crate::http::file::{self, Disposition};
use crate::http::workers::meant;
use crate::hub::Shared;
use crate::limits::Stream;
use crate::party::Party;
use crate::store::names::Among;
use crate::store::{self, JobFilter, NameFilter};

pub(crate) async fn add(
    State(shared): State<Shared>,
    _: Admin,
    Document(request): Document<AddJobs>,
) -> Answer<Json<AddedJobs>> {
    check_id("request", &request.request)?;
    if request.list.version > VERSION {
        let detail = ListError::TooNew(request.list.version).to_string();
        return refuse(ProblemCode::TooNew, detail);
    }
    Ok(Json(shared.core.write(move |tx| tx.add(request)).await?))
}

/// Query for the list of jobs.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    state: Option<String>,
    pub(crate) package: Option<String>,
    worker: Option<String>,
    target: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

impl Filter {
    pub(crate) async fn read(self, shared: &Shared) -> Result<JobFilter, Refused> {
        let invalid = |detail: String| Refused(Problem::new(ProblemCode::Invalid, detail));
        let empty = |text: &String| !text.is_empty();
        let state = self.state.filter(empty).map(|state| state.parse::<JobState>()).transpose();
        let worker = match self.worker.filter(empty) {
            Some(worker) => Some(meant(shared, &worker, Among::All).await?),
            None => None,
        };
        Ok(JobFilter {
            worker,
            target: self.target.map(|target| target.trim().to_owned()).filter(empty),
            state: state.map_err(|error| invalid(format!("state: {error}")))?,
            package: self.package.as_deref().and_then(NameFilter::of_program),
            before: number(self.after.as_deref())?,
            limit: self.limit.unwrap_or(100).clamp(1, 1000),
        })
    }
}

/// Parses `after`, which is the end of the previous page.
pub(crate) fn number(after: Option<&str>) -> Result<Option<i64>, Refused> {
    let wrong =
        |text: &str| Problem::new(ProblemCode::Invalid, format!("after: `{text}` is not what a page ended with"));
    after.map(|text| text.parse().map_err(|_| Refused(wrong(text)))).transpose()
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Reader,
    Query(filter): Query<Filter>,
) -> Answer<Json<JobPage>> {
    Ok(Json(page(&shared, filter.read(&shared).await?).await?))
}

/// A page of jobs, completed with the in-memory state.
pub(crate) async fn page(shared: &Shared, mut filter: JobFilter) -> Result<JobPage, Problem> {
    let limit = filter.limit;
    filter.limit = limit.saturating_add(1);
    let mut rows = shared.readers.run(move |db| store::jobs(db, &filter)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|(number, _)| number.to_string()) } else { None };
    complement(shared, &mut rows);
    Ok(JobPage { jobs: rows.into_iter().map(|(_, job)| job).collect(), next })
}

/// Adds why jobs wait and what workers are doing.
pub(crate) fn complement(shared: &Shared, jobs: &mut [(i64, JobInfo)]) {
    let state = shared.core.state();
    let mut reasons = Reasons::new(&state, shared.online_since());
    for (number, job) in &mut *jobs {
        if job.job.shards > 1 {
            match job.state {
                JobState::Queued => job.why = Some(job.parts_in_words()),
                JobState::Running => job.phase = Some(job.parts_in_words()),
                JobState::Finished | JobState::Cancelled | JobState::GivenUp => {}
            }
        } else if job.state == JobState::Queued {
            job.why = reasons.why(*number).or_else(|| job.why.take());
        }
    }
    for live in state.leases.values().filter(|live| !live.phase.is_empty()) {
        if let Some((_, job)) = jobs.iter_mut().find(|(number, _)| *number == live.job) {
            job.phase = Some(live.phase.clone());
        }
    }
}

pub(crate) async fn one(State(shared): State<Shared>, _: Reader, Path(id): Path<String>) -> Answer<Json<JobInfo>> {
    Ok(Json(find(&shared, &id).await?.2))
}

/// A job with its number, its count of attempts, and all attempts.
pub(crate) async fn find(shared: &Shared, id: &str) -> Answer<(i64, u32, JobInfo)> {
    let wanted = id.to_owned();
    let found = shared.readers.run(move |db| {
        let Some((number, attempts, mut job)) = store::job(db, &wanted)? else { return Ok(None) };
        job.attempts = store::attempts(db, number)?;
        Ok(Some((number, attempts, job)))
    });
    let Some((number, attempts, job)) = found.await? else {
        return refuse(ProblemCode::NotFound, format!("there is no job `{id}`"));
    };
    let mut jobs = [(number, job)];
    complement(shared, &mut jobs);
    let [(number, job)] = jobs;
    Ok((number, attempts, job))
}

pub(crate) async fn cancel(State(shared): State<Shared>, _: Admin, Path(id): Path<String>) -> Answer<Json<JobInfo>> {
    let job = id.clone();
    shared.core.write(move |tx| tx.cancel(&job)).await?;
    Ok(Json(find(&shared, &id).await?.2))
}

pub(crate) async fn retry(State(shared): State<Shared>, _: Admin, Path(id): Path<String>) -> Answer<Json<JobInfo>> {
    let new = shared.core.write(move |tx| tx.retry(&id)).await?;
    Ok(Json(find(&shared, &new).await?.2))
}

/// Query for the attempt whose log is wanted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Which {
    pub(crate) attempt: Option<u32>,
}

pub(crate) async fn log(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Path(id): Path<String>,
    Query(which): Query<Which>,
    method: axum::http::Method,
    headers: axum::http::HeaderMap,
) -> Answer<axum::response::Response> {
    let permit = shared.limits.stream(Stream::Download, &party)?;
    let (number, attempts, job) = find(&shared, &id).await?;
    let attempt = which.attempt.unwrap_or(attempts);
    let path = shared.logs.path(number, attempt);
    if !path.exists() {
        if let Some(part) = job.parts.first() {
            let first = &part.job;
            let text = format!("job `{id}` runs in parts, and each has a log of its own, such as `{first}`");
            return refuse(ProblemCode::NotFound, text);
        }
        return refuse(ProblemCode::NotFound, format!("job `{id}` has no log of attempt {attempt}"));
    }
    let file = tokio::fs::File::open(&path).await.map_err(|error| io_problem(&error))?;
    file::send(file, "text/plain; charset=utf-8", Disposition::Show, file::range(&method, &headers), permit).await
}
