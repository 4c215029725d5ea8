//! Routes for results and their bundles.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use protocol::api::{Problem, ProblemCode, ResultDetail, ResultInfo, ResultPage};
use protocol::{JobResult, Verdict};
use serde::Deserialize;

use crate::http::answer::{Answer, Refused};
use crate::http::auth::Reader;
use crate::http::file::{self, Disposition};
use crate::http::jobs::number;
use crate::http::workers::meant;
use crate::hub::Shared;
use crate::limits::Stream;
use crate::party::Party;
use crate::problem;
use crate::storage::open_bundle;
use crate::store::names::Among;
use crate::store::{self, ResultFilter};

/// Query for the list of results.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    package: Option<String>,
    target: Option<String>,
    verdict: Option<String>,
    worker: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Reader,
    Query(filter): Query<Filter>,
) -> Answer<Json<ResultPage>> {
    let limit = filter.limit.unwrap_or(100).clamp(1, 1000);
    let verdict = filter.verdict.map(|verdict| verdict.parse::<Verdict>()).transpose();
    let invalid = |error| Refused(Problem::new(ProblemCode::Invalid, format!("verdict: {error}")));
    let worker = match &filter.worker {
        Some(worker) => Some(meant(&shared, worker, Among::All).await?),
        None => None,
    };
    let wanted = ResultFilter {
        worker,
        package: filter.package,
        target: filter.target,
        verdict: verdict.map_err(invalid)?,
        before: number(filter.after.as_deref())?,
        limit: limit.saturating_add(1),
    };
    let mut rows = shared.readers.run(move |db| store::results(db, &wanted)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|(number, _)| number.to_string()) } else { None };
    Ok(Json(ResultPage { results: rows.into_iter().map(|(_, result)| result).collect(), next }))
}

pub(crate) async fn one(
    State(shared): State<Shared>,
    _: Reader,
    Path(job): Path<String>,
) -> Answer<Json<ResultDetail>> {
    let info = info(&shared, &job).await?;
    Ok(Json(ResultDetail { info, result: detail(&shared, &job).await? }))
}

async fn info(shared: &Shared, job: &str) -> Answer<ResultInfo> {
    let wanted = job.to_owned();
    match shared.readers.run(move |db| store::result(db, &wanted)).await? {
        Some(info) => Ok(info),
        None => Err(without_result(shared, job).await?),
    }
}

/// The refusal where a job is asked for its result and has none, with the reason.
pub(crate) async fn without_result(shared: &Shared, job: &str) -> Answer<Refused> {
    let wanted = job.to_owned();
    let found = shared.readers.run(move |db| store::job(db, &wanted)).await?;
    Ok(Refused(problem::without_result(job, found.as_ref().map(|(_, _, job)| job))))
}

/// `result.json` of a job's result.
pub(crate) async fn detail(shared: &Shared, job: &str) -> Answer<JobResult> {
    let wanted = job.to_owned();
    let Some(json) = shared.readers.run(move |db| store::result_json(db, &wanted)).await? else {
        return Err(without_result(shared, job).await?);
    };
    JobResult::parse(json.as_bytes())
        .map_err(|error| Problem::new(ProblemCode::Internal, format!("the result that is kept: {error}")).into())
}

pub(crate) async fn bundle(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Path(job): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let permit = shared.limits.stream(Stream::Download, &party)?;
    let info = info(&shared, &job).await?;
    let name = format!("{job}.tar.zst");
    let gone = format!("the bundle of job `{job}` is no longer kept; its result is at /api/v1/results/{job}");
    let file = tokio::fs::File::from_std(open_bundle(&shared, info.bundle, gone).await?);
    file::send(file, "application/zstd", Disposition::Save(&name), file::range(&method, &headers), permit).await
}
