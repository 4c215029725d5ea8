//! Routes for uploads of bundles.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::api::{
    AskParts, COMPLETE_HEADER, CreateUpload, LENGTH_HEADER, OFFSET_HEADER, Parts, Problem, ProblemCode, Upload,
};

use crate::background::run_in_background;
use crate::core::UploadRow;
use crate::http::answer::{Answer, Refused, io_problem, refuse};
use crate::http::auth::WorkerId;
use crate::http::body::next;
use crate::hub::Shared;
use crate::store::{UploadError, UploadFile};

/// Bytes collected before each write.
const BUFFER: usize = 1 << 20;

pub(crate) async fn create(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    crate::http::body::Document(request): crate::http::body::Document<CreateUpload>,
) -> Answer<(StatusCode, Json<Upload>)> {
    if request.size > shared.config.max_upload {
        let detail = format!("{} bytes, and {} are the most", request.size, shared.config.max_upload);
        return refuse(ProblemCode::TooLarge, detail);
    }
    if request.size == 0 {
        return refuse(ProblemCode::Invalid, "size: an upload of nothing");
    }
    let (name, sha256) = (worker.clone(), request.sha256);
    let direct = request.direct;
    let row = shared.core.write(move |tx| tx.create_upload(&name, &request)).await?;
    let mut upload = status(&shared, row).await?;
    // A complete upload needs no room, and a worker whose last answer was lost must be able to finish.
    if !upload.complete {
        let missing = upload.size.saturating_sub(upload.offset);
        shared.check_room_for(missing)?;
        check_day(&shared, &worker, missing)?;
        // An upload that has begun here goes on here.
        if direct && upload.offset == 0 {
            upload.direct = shared.bundles.offer(&sha256, upload.size);
            upload.part_size = shared.bundles.offer_parts(upload.size);
        }
    }
    Ok((StatusCode::CREATED, Json(upload)))
}

/// Signs addresses for the parts of a bundle that the bucket has not, and completes the upload when it has all.
pub(crate) async fn parts(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(id): Path<String>,
    crate::http::body::Document(request): crate::http::body::Document<AskParts>,
) -> Answer<Json<Parts>> {
    let name = worker.clone();
    let row = shared.core.write(move |tx| tx.upload(&id, &name)).await?;
    check_day(&shared, &worker, row.size)?;
    let bundles = shared.bundles.clone();
    let asked = run_in_background("storage", move || {
        let Some(bucket) = bundles.bucket() else { return Ok(None) };
        bucket.parts(&row.sha256, row.size, &request.parts)
    });
    match asked.await? {
        Ok(Some(parts)) => Ok(Json(parts)),
        Ok(None) => refuse(ProblemCode::Invalid, "parts: they are not those that were offered for this upload"),
        Err(error) => {
            tracing::warn!(%error, "a worker's upload to the bucket cannot go on");
            Err(Problem::new(ProblemCode::Unavailable, "the hub's storage cannot be used now").after(15).into())
        }
    }
}

/// Refuses an upload that would exceed the worker's daily limit.
fn check_day(shared: &Shared, worker: &str, bytes: u64) -> Result<(), Problem> {
    let most = shared.config.max_daily_upload;
    shared.received.check(worker, bytes, most, shared.config.clock.monotonic()).map_err(|seconds| {
        let detail = format!("{bytes} bytes more, and a worker may send {most} bytes in 24 hours");
        Problem::new(ProblemCode::QuotaExceeded, detail).after(seconds)
    })
}

async fn status(shared: &Shared, row: UploadRow) -> Answer<Upload> {
    let (bundles, uploads) = (shared.bundles.clone(), shared.uploads.clone());
    let task = tokio::task::spawn_blocking(move || {
        let complete = bundles.size(&row.sha256)? == Some(row.size);
        if complete {
            bundles.renew(&row.sha256)?;
        }
        let offset = if complete { row.size } else { uploads.offset(&row.id)? };
        Ok(Upload { id: row.id, offset, size: row.size, complete, direct: None, part_size: None })
    });
    task.await?.map_err(|error: std::io::Error| io_problem(&error).into())
}

fn headers(upload: &Upload) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OFFSET_HEADER, HeaderValue::from(upload.offset));
    headers.insert(LENGTH_HEADER, HeaderValue::from(upload.size));
    let complete = if upload.complete { "true" } else { "false" };
    headers.insert(COMPLETE_HEADER, HeaderValue::from_static(complete));
    headers
}

pub(crate) async fn ask(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(id): Path<String>,
) -> Answer<Response> {
    let row = shared.core.write(move |tx| tx.upload(&id, &worker)).await?;
    let upload = status(&shared, row).await?;
    Ok((StatusCode::OK, headers(&upload)).into_response())
}

pub(crate) async fn append(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(id): Path<String>,
    request: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let offset = request.get(OFFSET_HEADER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let Some(offset) = offset else {
        return refuse(ProblemCode::BadRequest, format!("header {OFFSET_HEADER}: a number of bytes is needed"));
    };
    let name = worker.clone();
    let row = shared.core.write(move |tx| tx.upload(&id, &name)).await?;
    let row = Arc::new(row);
    let upload = status(&shared, (*row).clone()).await?;
    if !upload.complete {
        let uploads = shared.uploads.clone();
        let opening = row.clone();
        let open = tokio::task::spawn_blocking(move || uploads.open(&opening.id, offset, opening.size));
        let file = open.await?.map_err(problem)?;
        let file = receive(&shared, &worker, file, body).await?;
        if file.is_full() {
            adopt(&shared, file, row.clone()).await?;
        }
    }
    let upload = status(&shared, (*row).clone()).await?;
    Ok((StatusCode::NO_CONTENT, headers(&upload)).into_response())
}

/// Writes the body. After an error the bytes received so far are kept, and the upload continues from there.
async fn receive(shared: &Shared, worker: &str, mut file: UploadFile, mut body: Body) -> Answer<UploadFile> {
    loop {
        let (mut buffer, mut ended) = (Vec::new(), Ok(false));
        while buffer.len() < BUFFER {
            match next(&mut body, shared).await {
                Ok(Some(data)) => buffer.extend_from_slice(&data),
                Ok(None) => ended = Ok(true),
                Err(error) => ended = Err(error),
            }
            if !matches!(ended, Ok(false)) {
                break;
            }
        }
        shared.check_room()?;
        let length = buffer.len() as u64;
        check_day(shared, worker, length)?;
        let write = tokio::task::spawn_blocking(move || file.write(&buffer).map(|()| file));
        file = write.await?.map_err(problem)?;
        shared.counters.received(length);
        shared.received.add(worker, length, shared.config.clock.monotonic());
        match ended {
            Ok(true) => return Ok(file),
            Ok(false) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Checks the digest of a complete upload, and stores it as a bundle.
async fn adopt(shared: &Shared, mut file: UploadFile, row: Arc<UploadRow>) -> Answer<()> {
    let (bundles, uploads) = (shared.bundles.clone(), shared.uploads.clone());
    let task = tokio::task::spawn_blocking(move || {
        if bundles.adopt(&uploads.path(&row.id), &row.sha256).map_err(|error| io_problem(&error))? {
            return Ok(());
        }
        file.discard().map_err(|error| io_problem(&error))?;
        let detail = format!("its SHA-256 is not {}; what was there is thrown away", row.sha256);
        Err(Problem::new(ProblemCode::DigestMismatch, detail).at(0))
    });
    task.await?.map_err(Refused)
}

fn problem(error: UploadError) -> Problem {
    let text = error.to_string();
    match error {
        UploadError::Busy => Problem::new(ProblemCode::Busy, text),
        UploadError::Offset(there) => Problem::new(ProblemCode::WrongOffset, text).at(there),
        UploadError::TooMany(_) => Problem::new(ProblemCode::TooLarge, text),
        UploadError::Io(error) => io_problem(&error),
    }
}
