//! The page about where bundles are kept.

use askama::Template;
use axum::extract::State;

use crate::format::{Time, size};
use crate::http::Reader;
use crate::hub::Shared;
use crate::pages::{Page, now, render};
use crate::storage::status;

#[derive(Template)]
#[template(path = "storage.html")]
struct StoragePage {
    here: &'static str,
    location: Option<String>,
    waiting: u64,
    waiting_size: String,
    uploaded: u64,
    cached: String,
    problem: Option<String>,
    since: Option<Time>,
    free: String,
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader) -> Page {
    let status = status(&shared);
    let now = now(&shared);
    render(&StoragePage {
        here: "storage",
        location: status.location,
        waiting: status.waiting,
        waiting_size: size(status.waiting_bytes),
        uploaded: status.uploaded,
        cached: size(status.cached_bytes),
        problem: status.problem,
        since: status.since.map(|since| Time::new(since, now)),
        free: size(shared.free()),
    })
}
