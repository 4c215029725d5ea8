//! The first page: packages and kinds of GPUs.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::State;
use protocol::Verdict;

use crate::clock::timestamp;
use crate::http::Reader;
use crate::hub::Shared;
use crate::pages::words::Time;
use crate::pages::{Page, now, render};
use crate::store::{self, MatrixCell};

#[derive(Template)]
#[template(path = "matrix.html")]
struct Matrix {
    here: &'static str,
    targets: Vec<String>,
    rows: Vec<Row>,
    covered: usize,
    possible: usize,
    any_simulated: bool,
    queued: usize,
    running: usize,
    online: usize,
    known: usize,
}

struct Row {
    package: String,
    cells: Vec<Option<Cell>>,
}

struct Cell {
    verdict: Verdict,
    simulated: bool,
    job: String,
    finished: Time,
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader) -> Page {
    let cells = shared.readers.run(store::matrix).await?;
    let now = now(&shared);
    let any_simulated = cells.iter().any(|cell| cell.simulated);
    let covered = cells.iter().filter(|cell| !cell.simulated && cell.target != "none").count();
    let targets: Vec<String> =
        cells.iter().map(|cell| cell.target.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut packages: BTreeMap<String, BTreeMap<String, MatrixCell>> = BTreeMap::new();
    for cell in cells {
        let row = packages.entry(cell.package.clone()).or_default();
        // What a real GPU says counts more than anything newer that a simulated one does.
        if !cell.simulated || !row.contains_key(&cell.target) {
            row.insert(cell.target.clone(), cell);
        }
    }
    let kinds = targets.iter().filter(|target| *target != "none").count();
    let possible = packages.len().saturating_mul(kinds);
    let rows = packages
        .into_iter()
        .map(|(package, mut row)| {
            let cells = targets.iter().map(|target| {
                row.remove(target).map(|cell| Cell {
                    verdict: cell.verdict,
                    simulated: cell.simulated,
                    job: cell.job,
                    finished: Time::new(timestamp(cell.finished), now),
                })
            });
            Row { package, cells: cells.collect() }
        })
        .collect();
    let page = {
        let state = shared.core.state();
        let since = shared.online_since();
        Matrix {
            here: "matrix",
            targets,
            rows,
            covered,
            possible,
            any_simulated,
            queued: state.queue.len(),
            running: state.leases.len(),
            online: state.workers.values().filter(|worker| worker.seen_since(since)).count(),
            known: state.workers.len(),
        }
    };
    render(&page)
}
