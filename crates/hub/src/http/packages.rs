//! Routes for the package files of jobs: people upload them, and a worker fetches those of the job that it has.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use protocol::api::{CreateUpload, Problem, ProblemCode, Upload};
use sha256::Digest;

use crate::concurrency::Permit;
use crate::http::answer::{Answer, refuse};
use crate::http::auth::{Admin, WorkerId};
use crate::http::body::Document;
use crate::http::file::{self, Disposition};
use crate::http::uploads::{self, Sender};
use crate::hub::Shared;
use crate::limits::Stream;
use crate::party::Party;
use crate::store::bundles::BundleStore as _;
use crate::store::{OpenError, package_files};

pub(crate) async fn create(
    State(shared): State<Shared>,
    _: Admin,
    Document(request): Document<CreateUpload>,
) -> Answer<(StatusCode, Json<Upload>)> {
    uploads::announce(&shared, &Sender::People, request).await
}

pub(crate) async fn ask(State(shared): State<Shared>, _: Admin, Path(id): Path<String>) -> Answer<Response> {
    uploads::state_of(&shared, &Sender::People, id).await
}

pub(crate) async fn append(
    State(shared): State<Shared>,
    _: Admin,
    Path(id): Path<String>,
    request: HeaderMap,
    body: Body,
) -> Answer<Response> {
    uploads::add_to(&shared, &Sender::People, id, &request, body).await
}

pub(crate) async fn fetch(
    State(shared): State<Shared>,
    WorkerId(worker): WorkerId,
    party: Party,
    Path((lease, sha256)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let permit = shared.limits.stream(Stream::Download, &party)?;
    let sha256 = digest(&sha256)?;
    let Some(job) = shared.core.state().lease_of(&lease, &worker).map(|live| live.job) else {
        return refuse(ProblemCode::NotFound, format!("the worker does not have the lease `{lease}`"));
    };
    let missing = Problem::new(ProblemCode::NotFound, format!("the job has no file with SHA-256 {sha256}"));
    if !shared.readers.run(move |db| package_files::belongs_to(db, job, &sha256)).await? {
        return Err(missing.into());
    }
    send(&shared, sha256, missing, file::range(&method, &headers), permit).await
}

/// The digest in an address.
pub(super) fn digest(text: &str) -> Answer<Digest> {
    match text.parse() {
        Ok(sha256) => Ok(sha256),
        Err(_) => refuse(ProblemCode::Invalid, "sha256: 64 hexadecimal digits are needed"),
    }
}

/// Sends a package file; `missing` is the answer if it is not there.
pub(super) async fn send(
    shared: &Shared,
    sha256: Digest,
    missing: Problem,
    range: Option<&str>,
    permit: Permit,
) -> Answer<Response> {
    let store = shared.package_files.clone();
    let opened = tokio::task::spawn_blocking(move || store.open(&sha256)).await?;
    let opened = opened.map_err(|error| match error {
        OpenError::Io(error) => crate::problem::io_problem(&error),
        _ => missing,
    })?;
    let opened = tokio::fs::File::from_std(opened);
    file::send(opened, "application/octet-stream", Disposition::Show, range, permit).await
}
