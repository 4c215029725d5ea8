//! The route for the connection to a debci server.

use axum::Json;
use axum::extract::State;
use protocol::api::DebciStatus;

use crate::http::auth::Reader;
use crate::hub::Shared;

pub(crate) async fn status(State(shared): State<Shared>, _: Reader) -> Json<DebciStatus> {
    Json(shared.debci.get().map(|link| link.status()).unwrap_or_default())
}
