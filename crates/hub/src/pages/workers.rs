//! The pages of workers.

use askama::Template;
use axum::extract::{Path, Query, State};
use protocol::Machine;
use protocol::api::{Problem, ProblemCode, WorkerInfo};
use serde::Deserialize;

use crate::http::Reader;
use crate::http::workers::infos;
use crate::hub::Shared;
use crate::pages::words::Time;
use crate::pages::{Page, now, render};

/// How many workers are on one page.
const PAGE: usize = 200;

#[derive(Template)]
#[template(path = "workers.html")]
struct ListPage {
    here: &'static str,
    workers: Vec<Line>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "worker.html")]
struct OnePage {
    here: &'static str,
    worker: Line,
    registered: Time,
    machine: Machine,
}

struct Line {
    id: String,
    health: &'static str,
    message: String,
    gpus: String,
    jobs: Vec<String>,
    seen: Time,
}

/// After which worker a page begins.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct After {
    after: Option<String>,
}

fn line(info: &WorkerInfo, now: jiff::Timestamp) -> Line {
    let mut targets: Vec<String> = info.machine.gpus.gpus.iter().map(|gpu| gpu.target.to_string()).collect();
    targets.extend(info.machine.gpus.unusable.iter().map(|gpu| format!("{} (not usable)", gpu.name)));
    let mut gpus = if targets.is_empty() { "none".to_owned() } else { targets.join(", ") };
    if info.machine.gpus.simulated {
        gpus.push_str(" (simulated)");
    }
    Line {
        id: info.id.clone(),
        health: if info.online { info.health.name() } else { "offline" },
        message: info.message.clone(),
        gpus,
        jobs: info.jobs.clone(),
        seen: Time::new(info.seen, now),
    }
}

pub(crate) async fn list(State(shared): State<Shared>, _: Reader, Query(after): Query<After>) -> Page {
    let mut found = infos(&shared, |id| after.after.as_deref().is_none_or(|after| id > after), PAGE + 1);
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = if more { found.last().map(|worker| worker.id.clone()) } else { None };
    let now = now(&shared);
    render(&ListPage { here: "workers", workers: found.iter().map(|info| line(info, now)).collect(), next })
}

pub(crate) async fn one(State(shared): State<Shared>, _: Reader, Path(id): Path<String>) -> Page {
    let Some(info) = infos(&shared, |other| other == id, 1).pop() else {
        return Err(Problem::new(ProblemCode::NotFound, format!("no worker `{id}` has registered")).into());
    };
    let now = now(&shared);
    let worker = line(&info, now);
    render(&OnePage { here: "workers", worker, registered: Time::new(info.registered, now), machine: info.machine })
}
