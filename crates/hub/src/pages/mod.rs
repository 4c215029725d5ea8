//! Pages for people.
use axum::Router;
use crate::hub::Shared;
pub(crate) fn router() -> Router<Shared> { Router::new() }
