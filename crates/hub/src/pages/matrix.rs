//! The start page: results by package and GPU target.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::{Query, State};
use gpu::Target;
use jiff::Timestamp;
use protocol::api::{Problem, ProblemCode, TestState};
use protocol::{NO_GPU, Verdict};
use serde::Deserialize;

use crate::clock::timestamp;
use crate::format::Time;
use crate::history::{self, WholeRun};
use crate::http::Reader;
use crate::hub::Shared;
use crate::pages::{Page, now, render};
use crate::store::{self, CellResult, MatrixCell, NameFilter};

#[derive(Template)]
#[template(path = "matrix.html")]
struct Matrix {
    here: &'static str,
    /// What somebody has typed to choose packages.
    package: String,
    /// Targets to choose from, and whether each is chosen.
    targets: Vec<(String, bool)>,
    /// States to choose from, and whether each is chosen.
    states: Vec<(&'static str, String, bool)>,
    is_filtered: bool,
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// Number of cells by verdict, without verdicts that do not occur.
    counts: Vec<(Verdict, usize)>,
    covered: usize,
    possible: usize,
    any_simulated: bool,
    queued: usize,
    running: usize,
    online: usize,
    known: usize,
}

/// Query for some of the packages and targets.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    package: Option<String>,
    target: Option<String>,
    state: Option<String>,
}

struct Column {
    target: String,
    passed: usize,
    total: usize,
}

struct Row {
    package: String,
    cells: Vec<Option<Cell>>,
}

struct Cell {
    simulated: bool,
    /// The last verdict on the package, or else a failed testbed.
    shown: Shown,
    /// A later result that says nothing about the package.
    mark: Option<Shown>,
    /// Target of the column.
    target: String,
    /// State of the package's run, if the verdict does not say it: new failure, flaky, stale.
    tag: Option<(TestState, String)>,
}

/// A result in a cell.
struct Shown {
    verdict: Verdict,
    job: String,
    received: Time,
}

impl Shown {
    fn new(result: CellResult, now: Timestamp) -> Self {
        Self { verdict: result.verdict, job: result.job, received: Time::new(timestamp(result.received), now) }
    }
}

impl Cell {
    fn new(cell: MatrixCell, now: Timestamp) -> Option<Self> {
        let (shown, mark) = match (cell.result, cell.mark) {
            (Some(result), mark) => (result, mark),
            (None, mark) => (mark?, None),
        };
        let mark = mark.map(|mark| Shown::new(mark, now));
        Some(Self { simulated: cell.simulated, shown: Shown::new(shown, now), mark, target: cell.target, tag: None })
    }
}

/// The verdict that a cell counts as.
fn verdict_of(cell: &MatrixCell) -> Option<Verdict> {
    cell.result.as_ref().or(cell.mark.as_ref()).map(|result| result.verdict)
}

/// The cells by package and by target, in the order of columns.
#[derive(Default)]
struct Table {
    packages: BTreeMap<String, BTreeMap<Key, MatrixCell>>,
    targets: BTreeSet<Key>,
}

/// Key of a column, in the order of columns: targets by generation instead of alphabetically, runs without a GPU last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A GPU's target, by its name; `None` if this program does not know how to read the name.
    Gpu(Option<Target>, String),
    NoGpu,
}

impl Key {
    fn new(target: &str) -> Self {
        if target == NO_GPU { Self::NoGpu } else { Self::Gpu(target.parse().ok(), target.to_owned()) }
    }

    fn name(&self) -> &str {
        match self {
            Self::Gpu(_, name) => name,
            Self::NoGpu => NO_GPU,
        }
    }
}

impl Table {
    fn new(cells: Vec<MatrixCell>) -> Self {
        let mut table = Self::default();
        for cell in cells {
            let key = Key::new(&cell.target);
            table.targets.insert(key.clone());
            let row = table.packages.entry(cell.package.clone()).or_default();
            // A result of a real GPU takes precedence over any newer one of a simulated GPU.
            if !cell.simulated || !row.contains_key(&key) {
                row.insert(key, cell);
            }
        }
        table
    }

    /// Leaves out other targets, and packages that have no cell with this state.
    fn filter(&mut self, target: Option<&str>, state: Option<TestState>, states: &States) {
        let is_wanted = |key: &Key| target.is_none_or(|target| key.name() == target);
        self.targets.retain(&is_wanted);
        let has_state = |cell: &MatrixCell| {
            let known = states.get(&(cell.package.clone(), cell.target.clone(), cell.simulated));
            state.is_none_or(|state| known.map_or(TestState::Untested, |run| run.state) == state)
        };
        self.packages.retain(|_, row| {
            row.retain(|key, _| is_wanted(key));
            row.values().any(has_state)
        });
    }

    fn cells(&self) -> impl Iterator<Item = &MatrixCell> {
        self.packages.values().flat_map(BTreeMap::values)
    }

    fn columns(&self) -> Vec<Column> {
        let column = |key: &Key| {
            let cells = || self.packages.values().filter_map(|row| row.get(key));
            let passed = cells().filter(|cell| verdict_of(cell) == Some(Verdict::Pass)).count();
            Column { target: key.name().to_owned(), passed, total: cells().count() }
        };
        self.targets.iter().map(column).collect()
    }
}

/// The states by package, target and whether the GPU is simulated.
type States = BTreeMap<(String, String, bool), WholeRun>;

/// The tag of a cell. Nothing is said of runs that simply pass, fail as ever, or have no state.
fn tag(states: &States, package: &str, cell: &Cell) -> Option<(TestState, String)> {
    let run = states.get(&(package.to_owned(), cell.target.clone(), cell.simulated))?;
    let words = match run.state {
        TestState::Ok | TestState::Untested | TestState::Infrastructure => return None,
        TestState::Flaky => format!("flaky {}/{}", run.failed, run.ran),
        TestState::NewFailure => "new".to_owned(),
        other => other.words(),
    };
    Some((run.state, words))
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader, Query(asked): Query<Asked>) -> Page {
    let millis = shared.config.clock.millis();
    let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let (package, target, state) = (given(asked.package).unwrap_or_default(), given(asked.target), given(asked.state));
    let chosen = state.as_ref().map(|text| text.parse::<TestState>()).transpose();
    let chosen = chosen.map_err(|error| Problem::new(ProblemCode::Invalid, format!("state: {error}")))?;
    let filter = NameFilter::typed(&package);
    let found = shared.readers.run(move |db| {
        Ok((store::matrix(db, filter.as_ref())?, history::states(db, millis)?, history::known_targets(db)?))
    });
    let (cells, states, known_targets) = found.await?;
    let key = |run: &WholeRun| (run.package.clone(), run.target.clone(), run.simulated);
    let states: States = states.into_iter().map(|run| (key(&run), run)).collect();
    let mut table = Table::new(cells);
    table.filter(target.as_deref(), chosen, &states);
    // The form shows what was asked for, also if no result has it.
    let all_targets: BTreeSet<Key> = known_targets.iter().chain(&target).map(|known| Key::new(known)).collect();
    let now = now(&shared);
    let count = |verdict| (verdict, table.cells().filter(|cell| verdict_of(cell) == Some(verdict)).count());
    let counts: Vec<_> = Verdict::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect();
    let is_covered = |cell: &&MatrixCell| !cell.simulated && cell.target != NO_GPU && cell.result.is_some();
    let covered = table.cells().filter(is_covered).count();
    let kinds = table.targets.iter().filter(|key| **key != Key::NoGpu).count();
    let possible = table.packages.len().saturating_mul(kinds);
    let any_simulated = table.cells().any(|cell| cell.simulated);
    let columns = table.columns();
    let targets = table.targets;
    let rows = table.packages.into_iter().map(|(package, mut row)| {
        let cells = targets.iter().map(|key| {
            let mut cell = row.remove(key).and_then(|cell| Cell::new(cell, now))?;
            cell.tag = tag(&states, &package, &cell);
            Some(cell)
        });
        let cells = cells.collect();
        Row { package, cells }
    });
    let rows = rows.collect();
    let page = {
        let state = shared.core.state();
        let since = shared.online_since();
        Matrix {
            here: "matrix",
            is_filtered: !package.is_empty() || target.is_some() || chosen.is_some(),
            package,
            targets: all_targets
                .iter()
                .map(|key| (key.name().to_owned(), target.as_deref() == Some(key.name())))
                .collect(),
            states: TestState::ALL.map(|known| (known.name(), known.words(), chosen == Some(known))).to_vec(),
            columns,
            rows,
            counts,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_the_order_of_targets() {
        let mut keys = ["none", "gfx1100", "gfx90a", "gfx1030", "odd", "gfx942"].map(Key::new);
        keys.sort();
        assert_eq!(keys.each_ref().map(Key::name), ["odd", "gfx90a", "gfx942", "gfx1030", "gfx1100", "none"]);
    }
}
