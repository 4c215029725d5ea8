//! Routes for packages that the hub keeps: readers may ask which ones, and people with the admin token download them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use protocol::api::{AskKept, KeptPackages, Problem, ProblemCode};

use crate::http::answer::{Answer, Refused, refuse};
use crate::http::auth::{Admin, Reader};
use crate::http::body::Document;
use crate::http::{file, packages};
use crate::hub::Shared;
use crate::kept;
use crate::limits::Stream;
use crate::party::Party;

pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Reader,
    admin: Result<Admin, Refused>,
    Document(question): Document<AskKept>,
) -> Answer<Json<KeptPackages>> {
    let count = question.packages.len();
    if count > AskKept::MOST {
        return refuse(
            ProblemCode::Invalid,
            format!("packages: {count} versions; at most {} are possible", AskKept::MOST),
        );
    }
    let keeps = shared.keep.get().is_some();
    let packages = shared
        .readers
        .run(move |db| {
            let mut found = Vec::new();
            for package in question.packages {
                found.extend(kept::find(db, package, &question.tested)?);
            }
            Ok(found)
        })
        .await?;
    Ok(Json(KeptPackages { keeps, may_fetch: admin.is_ok(), packages }))
}

pub(crate) async fn fetch(
    State(shared): State<Shared>,
    _: Admin,
    party: Party,
    Path(sha256): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let permit = shared.limits.stream(Stream::Download, &party)?;
    let sha256 = packages::digest(&sha256)?;
    let missing = Problem::new(ProblemCode::NotFound, format!("the hub keeps no package with SHA-256 {sha256}"));
    // Package files of jobs are in the same directory.
    if !shared.readers.run(move |db| kept::is_kept(db, &sha256)).await? {
        return Err(missing.into());
    }
    packages::send(&shared, sha256, missing, file::range(&method, &headers), permit).await
}
