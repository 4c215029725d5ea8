//! Routes for workers: registration, status reports, lists.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use protocol::VERSION;
use protocol::api::{
    Pause, Problem, ProblemCode, Register, Registered, RetryGpus, WorkerInfo, WorkerPage, WorkerReport, check_id,
};
use serde::Deserialize;

use crate::core::worker::Worker;
use crate::format::shorten;
use crate::http::answer::{Answer, refuse};
use crate::http::auth::{Admin, Joining, Reader, WorkerId, note_clock};
use crate::http::body::Document;
use crate::hub::Shared;
use crate::store::names::{self, Among, Meant};

/// Most GPUs in a registration.
const MOST_GPUS: usize = 256;

pub(crate) async fn register(
    State(shared): State<Shared>,
    joining: Joining,
    headers: HeaderMap,
    Document(request): Document<Register>,
) -> Answer<Json<Registered>> {
    check_id("id", &request.id)?;
    check_id("boot", &request.boot)?;
    if request.version > VERSION {
        return refuse(
            ProblemCode::TooNew,
            format!("the worker speaks version {}, the hub {VERSION}", request.version),
        );
    }
    if let Joining(Some(id)) = joining
        && id != request.id
    {
        return refuse(ProblemCode::Forbidden, format!("the token is that of worker `{id}`"));
    }
    let registered = shared.core.write(move |tx| tx.register(request)).await?;
    note_clock(&headers, &registered.worker, &shared);
    Ok(Json(registered))
}

/// The id of the worker that matches a text: an id, a name, or the beginning of either.
pub(crate) async fn meant(shared: &Shared, text: &str, among: Among) -> Result<String, Problem> {
    let wanted = text.to_owned();
    match shared.readers.run(move |db| names::find(db, &wanted, among)).await? {
        Meant::One(id) => Ok(id),
        Meant::Nobody => Err(Problem::new(ProblemCode::NotFound, format!("no worker `{text}` has registered"))),
        Meant::Several(names) => {
            let names = names.join(", ");
            let detail = format!("worker: `{text}` may be any of {names}: write more of its name");
            Err(Problem::new(ProblemCode::Invalid, detail))
        }
    }
}

pub(crate) async fn report(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(id): Path<String>,
    Document(mut report): Document<WorkerReport>,
) -> Answer<StatusCode> {
    if id != worker {
        return refuse(ProblemCode::Forbidden, format!("the token is that of worker `{worker}`"));
    }
    report.message = shorten(&report.message, 2_000);
    shared.core.write(move |tx| tx.report(&worker, &report)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Query for the list of workers.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    limit: Option<usize>,
    after: Option<String>,
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Reader,
    Query(filter): Query<Filter>,
) -> Answer<Json<WorkerPage>> {
    let limit = filter.limit.unwrap_or(100).clamp(1, 1000);
    let mut workers = infos(&shared, |id, _| filter.after.as_deref().is_none_or(|after| id > after), limit + 1);
    let more = workers.len() > limit;
    workers.truncate(limit);
    let next = if more { workers.last().map(|worker| worker.id.clone()) } else { None };
    Ok(Json(WorkerPage { workers, next }))
}

pub(crate) async fn one(State(shared): State<Shared>, _: Reader, Path(id): Path<String>) -> Answer<Json<WorkerInfo>> {
    let id = meant(&shared, &id, Among::Registered).await?;
    Ok(Json(info(&shared, &id)?))
}

/// Description of the worker with this id.
pub(crate) fn info(shared: &Shared, id: &str) -> Result<WorkerInfo, Problem> {
    let gone = || Problem::new(ProblemCode::NotFound, format!("no worker `{id}` has registered"));
    infos(shared, |other, _| other == id, 1).pop().ok_or_else(gone)
}

pub(crate) async fn pause(
    State(shared): State<Shared>,
    _: Admin,
    Path(id): Path<String>,
    Document(pause): Document<Pause>,
) -> Answer<Json<WorkerInfo>> {
    let id = meant(&shared, &id, Among::Registered).await?;
    let (reason, worker) = (shorten(pause.reason.trim(), 500), id.clone());
    shared.core.write(move |tx| tx.pause(&worker, Some(reason))).await?;
    Ok(Json(info(&shared, &id)?))
}

pub(crate) async fn resume(State(shared): State<Shared>, _: Admin, Path(id): Path<String>) -> Answer<Json<WorkerInfo>> {
    let id = meant(&shared, &id, Among::Registered).await?;
    let worker = id.clone();
    shared.core.write(move |tx| tx.pause(&worker, None)).await?;
    Ok(Json(info(&shared, &id)?))
}

pub(crate) async fn retry_gpus(
    State(shared): State<Shared>,
    _: Admin,
    Path(id): Path<String>,
    Document(retry): Document<RetryGpus>,
) -> Answer<Json<WorkerInfo>> {
    if retry.gpus.len() > MOST_GPUS || retry.gpus.iter().any(|gpu| gpu.is_empty() || gpu.len() > 100) {
        return refuse(ProblemCode::Invalid, "gpus: these are not ids of GPUs".to_owned());
    }
    let id = meant(&shared, &id, Among::Registered).await?;
    let worker = id.clone();
    shared.core.write(move |tx| tx.retry_gpus(&worker, retry.gpus)).await?;
    Ok(Json(info(&shared, &id)?))
}

pub(crate) async fn remove(State(shared): State<Shared>, _: Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let id = meant(&shared, &id, Among::Registered).await?;
    shared.core.write(move |tx| tx.remove_worker(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Descriptions of the matching workers, by id.
pub(crate) fn infos(shared: &Shared, wanted: impl Fn(&str, &Worker) -> bool, limit: usize) -> Vec<WorkerInfo> {
    let state = shared.core.state();
    let mut found: Vec<_> = state.workers.iter().filter(|(id, worker)| wanted(id, worker)).collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    found.truncate(limit);
    let online_since = shared.online_since();
    let mut infos: Vec<WorkerInfo> = found
        .into_iter()
        .map(|(id, worker)| WorkerInfo {
            id: id.clone(),
            name: worker.name.clone(),
            machine: (*worker.machine).clone(),
            health: worker.health,
            message: worker.message.clone(),
            online: worker.seen_since(online_since),
            seen: crate::clock::timestamp(worker.seen.load(std::sync::atomic::Ordering::Relaxed)),
            registered: crate::clock::timestamp(worker.registered),
            jobs: Vec::new(),
            paused: worker.paused.clone(),
            clock_ahead: worker.clock.seconds(),
        })
        .collect();
    for live in state.leases.values() {
        let place = infos.binary_search_by(|info| info.id.as_str().cmp(&live.worker));
        if let Some(info) = place.ok().and_then(|place| infos.get_mut(place)) {
            info.jobs.push(live.job_id.clone());
        }
    }
    infos
}
