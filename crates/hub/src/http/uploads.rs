//! Routes for uploads of bundles, and what uploads of package files share with them.

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
use crate::core::{PEOPLE, UploadRow};
use crate::http::answer::{Answer, Refused, io_problem, refuse};
use crate::http::auth::WorkerId;
use crate::http::body::next;
use crate::hub::Shared;
use crate::store::{Bundles, UploadError, UploadFile};

/// Bytes collected before each write.
const BUFFER: usize = 1 << 20;

/// Who uploads, which says what the uploads become.
#[derive(Debug, Clone)]
pub(crate) enum Sender {
    /// A worker, by its id: bundles.
    Worker(String),
    /// People: package files of jobs.
    People,
}

impl Sender {
    /// The owner in the table of uploads, and for daily limits.
    fn owner(&self) -> &str {
        match self {
            Self::Worker(id) => id,
            Self::People => PEOPLE,
        }
    }

    /// Where complete uploads are kept.
    fn store(&self, shared: &Shared) -> Bundles {
        match self {
            Self::Worker(_) => shared.bundles.clone(),
            Self::People => Arc::new(shared.package_files.clone()),
        }
    }
}

pub(crate) async fn create(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    crate::http::body::Document(request): crate::http::body::Document<CreateUpload>,
) -> Answer<(StatusCode, Json<Upload>)> {
    announce(&shared, &Sender::Worker(worker), request).await
}

/// Announces an upload, or finds it again.
pub(crate) async fn announce(
    shared: &Shared,
    sender: &Sender,
    request: CreateUpload,
) -> Answer<(StatusCode, Json<Upload>)> {
    if request.size > shared.config.max_upload {
        let detail = format!("{} bytes, and {} are the most", request.size, shared.config.max_upload);
        return refuse(ProblemCode::TooLarge, detail);
    }
    if request.size == 0 {
        return refuse(ProblemCode::Invalid, "size: an upload of nothing");
    }
    let (owner, sha256, direct) = (sender.clone(), request.sha256, request.direct);
    let row = shared.core.write(move |tx| match &owner {
        Sender::Worker(worker) => tx.create_upload(worker, &request),
        Sender::People => tx.create_package_upload(&request),
    });
    let mut upload = status(shared, sender, row.await?).await?;
    // A complete upload needs no room, and a worker whose last answer was lost must be able to finish.
    if !upload.complete {
        let missing = upload.size.saturating_sub(upload.offset);
        shared.check_room_for(missing)?;
        check_day(shared, sender, missing)?;
        // An upload that has begun here goes on here.
        if direct && upload.offset == 0 {
            let store = sender.store(shared);
            upload.direct = store.offer(&sha256, upload.size);
            upload.part_size = store.offer_parts(upload.size);
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
    check_day(&shared, &Sender::Worker(worker), row.size)?;
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

/// Refuses an upload that would exceed the sender's daily limit.
fn check_day(shared: &Shared, sender: &Sender, bytes: u64) -> Result<(), Problem> {
    let most = shared.config.max_daily_upload;
    shared.received.check(sender.owner(), bytes, most, shared.config.clock.monotonic()).map_err(|seconds| {
        let who = match sender {
            Sender::Worker(_) => "a worker",
            Sender::People => "people",
        };
        let detail = format!("{bytes} bytes more, and {who} may send {most} bytes in 24 hours");
        Problem::new(ProblemCode::QuotaExceeded, detail).after(seconds)
    })
}

async fn status(shared: &Shared, sender: &Sender, row: UploadRow) -> Answer<Upload> {
    let (store, uploads) = (sender.store(shared), shared.uploads.clone());
    let task = tokio::task::spawn_blocking(move || {
        let complete = store.size(&row.sha256)? == Some(row.size);
        if complete {
            store.renew(&row.sha256)?;
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
    state_of(&shared, &Sender::Worker(worker), id).await
}

/// Says how much of an upload is there.
pub(crate) async fn state_of(shared: &Shared, sender: &Sender, id: String) -> Answer<Response> {
    let row = find(shared, sender, id).await?;
    let upload = status(shared, sender, row).await?;
    Ok((StatusCode::OK, headers(&upload)).into_response())
}

async fn find(shared: &Shared, sender: &Sender, id: String) -> Answer<UploadRow> {
    let owner = sender.owner().to_owned();
    Ok(shared.core.write(move |tx| tx.upload(&id, &owner)).await?)
}

pub(crate) async fn append(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    Path(id): Path<String>,
    request: HeaderMap,
    body: Body,
) -> Answer<Response> {
    add_to(&shared, &Sender::Worker(worker), id, &request, body).await
}

/// Appends to an upload.
pub(crate) async fn add_to(
    shared: &Shared,
    sender: &Sender,
    id: String,
    request: &HeaderMap,
    body: Body,
) -> Answer<Response> {
    let offset = request.get(OFFSET_HEADER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let Some(offset) = offset else {
        return refuse(ProblemCode::BadRequest, format!("header {OFFSET_HEADER}: a number of bytes is needed"));
    };
    let row = Arc::new(find(shared, sender, id).await?);
    let upload = status(shared, sender, (*row).clone()).await?;
    if !upload.complete {
        let uploads = shared.uploads.clone();
        let opening = row.clone();
        let open = tokio::task::spawn_blocking(move || uploads.open(&opening.id, offset, opening.size));
        let file = open.await?.map_err(problem)?;
        let file = receive(shared, sender, file, body).await?;
        if file.is_full() {
            adopt(shared, sender, file, row.clone()).await?;
        }
    }
    let upload = status(shared, sender, (*row).clone()).await?;
    Ok((StatusCode::NO_CONTENT, headers(&upload)).into_response())
}

/// Writes the body. After an error the bytes received so far are kept, and the upload continues from there.
async fn receive(shared: &Shared, sender: &Sender, mut file: UploadFile, mut body: Body) -> Answer<UploadFile> {
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
        check_day(shared, sender, length)?;
        let write = tokio::task::spawn_blocking(move || file.write(&buffer).map(|()| file));
        file = write.await?.map_err(problem)?;
        shared.counters.received(length);
        shared.received.add(sender.owner(), length, shared.config.clock.monotonic());
        match ended {
            Ok(true) => return Ok(file),
            Ok(false) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Checks the digest of a complete upload, and stores it.
async fn adopt(shared: &Shared, sender: &Sender, mut file: UploadFile, row: Arc<UploadRow>) -> Answer<()> {
    let (store, uploads) = (sender.store(shared), shared.uploads.clone());
    let task = tokio::task::spawn_blocking(move || {
        if store.adopt(&uploads.path(&row.id), &row.sha256).map_err(|error| io_problem(&error))? {
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
