//! The route for the connections to a debci server, and to workers of debci.

use axum::Json;
use axum::extract::State;
use protocol::api::{DebciStatus, DebciWorkers};

use crate::http::auth::Reader;
use crate::hub::Shared;

pub(crate) async fn status(State(shared): State<Shared>, _: Reader) -> Json<DebciStatus> {
    let status = shared.debci.get().map(|link| link.status()).unwrap_or_default();
    Json(DebciStatus { workers: workers(&shared), ..status })
}

/// How offers to workers of debci stand; `None` if there are none.
pub(crate) fn workers(shared: &Shared) -> Option<DebciWorkers> {
    let status = shared.offers.get()?.status();
    Some(DebciWorkers { offered: shared.core.state().offers() as u64, ..status })
}
