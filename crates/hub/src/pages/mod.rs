//! Pages for people.
use crate::hub::Shared;
use axum::Router;
pub(crate) fn router() -> Router<Shared> {
    Router::new()
}
