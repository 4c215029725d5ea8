//! Routes for claims and leases: the requests of a worker around a job.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::api::{
    Claim, Complete, Completed, GiveBack, Given, Heartbeat, HeartbeatAnswer, LogAnswer, Problem, ProblemCode, check_id,
};
use serde::Deserialize;

use crate::clock::millis;
use crate::completion;
use crate::core::{ClaimAnswer, HubEvent, WorkerClock};
use crate::format::shorten;
use crate::http::answer::{Answer, Refused, io_problem};
use crate::http::auth::WorkerId;
use crate::http::body::{Document, whole};
use crate::hub::Shared;
use crate::store::LogError;

/// Longest piece of a log in one request, in bytes.
const LONGEST_PIECE: u64 = 1 << 20;

pub(crate) async fn claim(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Document(claim): Document<Claim>,
) -> Answer<Response> {
    check_id("request", &claim.request)?;
    let wait = Duration::from_secs(claim.wait).min(shared.config.longest_wait);
    let answer = shared.core.write(move |tx| tx.claim(&worker, &claim)).await?;
    let mut waiting = match answer {
        ClaimAnswer::Given(claimed) => return Ok(Json(claimed).into_response()),
        ClaimAnswer::Waiting(waiting) => waiting,
    };
    if let Some(link) = shared.debci.get() {
        link.free.wake();
    }
    let gone = || Problem::new(ProblemCode::Unavailable, "the claim was interrupted");
    let mut stop = shared.stop.clone();
    let answer = tokio::select! {
        answer = &mut waiting.answer => Some(answer),
        () = tokio::time::sleep(wait) => None,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let claimed = if let Some(answer) = answer {
        answer.map_err(|_| gone())??
    } else {
        // A job may have been assigned just now; then the answer is already on its way.
        let number = waiting.number;
        if shared.core.write(move |tx| Ok(tx.stop_waiting(number))).await? {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        waiting.answer.await.map_err(|_| gone())??
    };
    Ok(Json(claimed).into_response())
}

pub(crate) async fn heartbeat(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(lease): Path<String>,
    Document(heartbeat): Document<Heartbeat>,
) -> Answer<Json<HeartbeatAnswer>> {
    let phase = shorten(&heartbeat.phase, 200);
    let deadline = shared.config.clock.monotonic().saturating_add(millis(shared.config.lease));
    if shared.core.state_mut().heartbeat(&lease, &worker, deadline, &phase) {
        return Ok(Json(HeartbeatAnswer { lease_seconds: shared.config.lease.as_secs(), cancel: None }));
    }
    Ok(Json(shared.core.write(move |tx| tx.heartbeat(&lease, &worker, &phase)).await?))
}

/// Query with the offset of a piece of a log.
#[derive(Debug, Deserialize)]
pub(crate) struct Piece {
    offset: u64,
}

pub(crate) async fn log(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(lease): Path<String>,
    Query(piece): Query<Piece>,
    mut body: Body,
) -> Answer<Json<LogAnswer>> {
    let known = shared.core.state().lease_of(&lease, &worker).map(|live| (live.job, live.attempt));
    let (job, attempt) = match known {
        Some(known) => known,
        // The lease may have expired; its log is accepted all the same.
        None => shared.core.write(move |tx| tx.job_of(&lease, &worker)).await?,
    };
    let bytes = whole(&mut body, LONGEST_PIECE, &shared).await?;
    shared.check_room()?;
    let (logs, limit) = (shared.logs.clone(), shared.config.max_log);
    let task = tokio::task::spawn_blocking(move || logs.append(job, attempt, piece.offset, &bytes, limit));
    match task.await? {
        Ok(offset) => {
            shared.core.tell(HubEvent::Log(job));
            Ok(Json(LogAnswer { offset }))
        }
        Err(LogError::Gap(there)) => {
            let detail = format!("the piece begins at {}, and the log has {there} bytes", piece.offset);
            Err(Refused(Problem::new(ProblemCode::WrongOffset, detail).at(there)))
        }
        Err(LogError::Full(there)) => {
            let detail = format!("the log of one attempt ends at {limit} bytes; the bundle may have all of it");
            Err(Refused(Problem::new(ProblemCode::TooLarge, detail).at(there)))
        }
        Err(LogError::Io(error)) => Err(io_problem(&error).into()),
    }
}

pub(crate) async fn complete(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    clock: WorkerClock,
    Path(lease): Path<String>,
    Document(complete): Document<Complete>,
) -> Answer<Json<Completed>> {
    Ok(Json(completion::complete(&shared, worker, lease, complete, clock).await?))
}

pub(crate) async fn give_back(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(lease): Path<String>,
    Document(mut request): Document<GiveBack>,
) -> Answer<Json<Given>> {
    request.message = shorten(&request.message, 2_000);
    Ok(Json(shared.core.write(move |tx| tx.give_back(&lease, &worker, &request)).await?))
}
