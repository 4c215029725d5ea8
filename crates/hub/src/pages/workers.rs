//! The pages of workers.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use protocol::Machine;
use protocol::api::WorkerInfo;
use serde::Deserialize;

use crate::core::worker::Worker;
use crate::format::{Time, size};
use crate::http::Reader;
use crate::http::workers::{info, infos, meant};
use crate::hub::Shared;
use crate::pages::{Page, now, render};
use crate::store::names::Among;

/// Workers on one page.
const PAGE: usize = 200;

#[derive(Template)]
#[template(path = "workers.html")]
struct ListPage {
    here: &'static str,
    name: String,
    target: String,
    workers: Vec<Line>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "worker.html")]
struct OnePage {
    here: &'static str,
    worker: Line,
    registered: Time,
    memory: String,
    machine: Machine,
}

struct Line {
    id: String,
    /// The worker's name.
    name: String,
    /// Warning about the worker's clock, if it is wrong.
    clock: Option<String>,
    health: &'static str,
    message: String,
    gpus: Vec<Kind>,
    unusable: usize,
    simulated: bool,
    jobs: Vec<String>,
    seen: Time,
}

/// GPUs of one kind.
struct Kind {
    target: String,
    name: String,
    count: usize,
}

/// What rocbed has in the name of a simulated GPU.
const SIMULATED: &str = "simulated";

/// Query for some of the workers.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    /// Text that names contain.
    name: Option<String>,
    target: Option<String>,
    /// The last worker of the previous page.
    after: Option<String>,
}

fn line(info: &WorkerInfo, now: jiff::Timestamp) -> Line {
    let mut kinds: BTreeMap<(_, &str), usize> = BTreeMap::new();
    for gpu in &info.machine.gpus.gpus {
        let count = kinds.entry((gpu.target, gpu.name.as_str())).or_default();
        *count = count.saturating_add(1);
    }
    let gpus = kinds.into_iter().map(|((target, name), count)| Kind {
        target: target.to_string(),
        name: name.to_owned(),
        count,
    });
    let gpus: Vec<Kind> = gpus.collect();
    Line {
        id: info.id.clone(),
        name: info.name().to_owned(),
        clock: info.clock_fault(),
        health: match &info.paused {
            Some(_) => "paused",
            None if info.online => info.health.name(),
            None => "offline",
        },
        message: info.paused.clone().unwrap_or_else(|| info.message.clone()),
        unusable: info.machine.gpus.unusable.len(),
        // The name of such a GPU usually says so.
        simulated: info.machine.gpus.simulated && !gpus.iter().all(|kind| kind.name.contains(SIMULATED)),
        gpus,
        jobs: info.jobs.clone(),
        seen: Time::new(info.seen, now),
    }
}

pub(crate) async fn list(State(shared): State<Shared>, _: Reader, Query(asked): Query<Asked>) -> Page {
    let given = |text: Option<String>| text.unwrap_or_default().trim().to_lowercase();
    let (name, target, after) = (given(asked.name), given(asked.target), asked.after.unwrap_or_default());
    let has_target = |worker: &Worker| {
        let gpus = &worker.machine.gpus.gpus;
        target.is_empty() || gpus.iter().any(|gpu| gpu.target.without_features().to_string() == target)
    };
    let wanted = |id: &str, worker: &Worker| {
        id > after.as_str() && worker.name.to_lowercase().contains(&name) && has_target(worker)
    };
    let mut found = infos(&shared, wanted, PAGE + 1);
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = if more { found.last().map(|worker| worker.id.clone()) } else { None };
    found.sort_by(|one, other| one.name().cmp(other.name()));
    let now = now(&shared);
    let workers = found.iter().map(|info| line(info, now)).collect();
    render(&ListPage { here: "workers", name, target, workers, next })
}

pub(crate) async fn one(State(shared): State<Shared>, _: Reader, Path(id): Path<String>) -> Page {
    let info = info(&shared, &meant(&shared, &id, Among::Registered).await?)?;
    let now = now(&shared);
    let worker = line(&info, now);
    let memory = size(info.machine.memory.saturating_mul(1 << 20));
    render(&OnePage {
        here: "workers",
        worker,
        registered: Time::new(info.registered, now),
        memory,
        machine: info.machine,
    })
}
