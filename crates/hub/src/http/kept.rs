//! The route for packages that the hub keeps.

use axum::Json;
use axum::extract::State;
use protocol::api::{AskKept, KeptPackage, KeptPackages, ProblemCode};

use crate::http::answer::{Answer, refuse};
use crate::http::auth::Reader;
use crate::http::body::Document;
use crate::hub::Shared;
use crate::kept;

pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Reader,
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
                if let Some(given) = kept::use_of(db, &package, &question.tested)? {
                    found.push(KeptPackage { package, given });
                }
            }
            Ok(found)
        })
        .await?;
    Ok(Json(KeptPackages { keeps, packages }))
}
