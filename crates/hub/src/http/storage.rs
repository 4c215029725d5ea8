//! The route that tells where bundles are kept.

use axum::Json;
use axum::extract::State;
use protocol::api::BundleStorage;

use crate::http::auth::Reader;
use crate::hub::Shared;
use crate::storage::status;

pub(crate) async fn show(State(shared): State<Shared>, _: Reader) -> Json<BundleStorage> {
    Json(status(&shared))
}
