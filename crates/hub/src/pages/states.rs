//! The pages with tests that regressed, and with those that are flaky.

use ::history::Seen;
use askama::Template;
use axum::extract::{Query, State};
use protocol::api::{Problem, ProblemCode, TestState};
use serde::Deserialize;

use crate::clock::timestamp;
use crate::format::Time;
use crate::history::{self, StateLine, StateQuery};
use crate::http::Reader;
use crate::http::history::{not_a_user, user};
use crate::hub::Shared;
use crate::pages::change::Change;
use crate::pages::history::Line;
use crate::pages::{Page, now, render};
use crate::store::{NameFilter, for_program};

/// Tests on a page.
const PAGE: usize = 50;
/// Changes that are named beside a test.
const CHANGES: usize = 4;
/// Outcomes that are shown beside a test.
const OUTCOMES: usize = 20;
/// Longest text of a filter, in characters.
const LONGEST: usize = 200;

/// States of tests that need somebody: those that passed before first.
const BROKEN: [TestState; 6] = [
    TestState::Regression,
    TestState::NewFailure,
    TestState::UnexpectedPass,
    TestState::Stopped,
    TestState::AlwaysFailed,
    TestState::Known,
];

/// Query for a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    package: Option<String>,
    target: Option<String>,
    #[serde(rename = "as")]
    run_as: Option<String>,
    state: Option<String>,
    from: Option<usize>,
}

/// A filter as a form shows it. Empty fields do not matter.
struct Filter {
    package: String,
    target: String,
    run_as: String,
    state: String,
    /// Targets to choose from, and whether each is chosen.
    targets: Vec<(String, bool)>,
    /// States to choose from; none if there is only one.
    states: Vec<(&'static str, String, bool)>,
    /// The package for a link to the API's list, which takes it in another form.
    program: String,
    /// The states for that link.
    all_states: String,
}

#[derive(Template)]
#[template(path = "regressions.html")]
struct RegressionsPage {
    here: &'static str,
    filter: Filter,
    lines: Vec<Broken>,
    total: usize,
    first: usize,
    next: Option<usize>,
}

#[derive(Template)]
#[template(path = "flaky.html")]
struct FlakyPage {
    here: &'static str,
    filter: Filter,
    lines: Vec<Flaky>,
    total: usize,
    first: usize,
    next: Option<usize>,
}

/// A test that needs somebody.
struct Broken {
    line: Line,
    streak: u32,
    changed: Vec<Change>,
    more: usize,
}

/// A test that passes and fails by chance.
struct Flaky {
    line: Line,
    failed: u32,
    ran: u32,
    percent: u32,
    flips: u32,
    /// When the outcome was last another one than before.
    flipped: Option<Time>,
    /// The last outcomes, the oldest first: outcome, job, title.
    outcomes: Vec<(&'static str, String, String)>,
}

impl Broken {
    fn new(found: StateLine, now: jiff::Timestamp) -> Self {
        let changed = found.changed.unwrap_or_default();
        let line = Line::new(&found.row.history, now);
        Self {
            streak: found.row.history.streak,
            more: changed.len().saturating_sub(CHANGES),
            changed: changed.iter().take(CHANGES).map(Change::new).collect(),
            line,
        }
    }
}

impl Flaky {
    fn new(found: &StateLine, now: jiff::Timestamp) -> Self {
        let test = &found.row.history;
        let counted: Vec<_> = found
            .outcomes
            .iter()
            .filter(|past| matches!(past.seen, Seen::Pass | Seen::Fail | Seen::TimedOut))
            .collect();
        let is_bad = |seen| seen != Seen::Pass;
        let flip = counted.windows(2).find(|pair| is_bad(pair[0].seen) != is_bad(pair[1].seen)).map(|pair| pair[0].at);
        let outcomes = found.outcomes.iter().rev().map(|past| {
            let day = timestamp(past.at).strftime("%Y-%m-%d");
            (past.seen.name(), past.job.clone(), format!("{day} {}", past.seen.name()))
        });
        Self {
            failed: test.failed,
            ran: test.ran,
            percent: test.failed.saturating_mul(100).checked_div(test.ran).unwrap_or_default(),
            flips: test.flips,
            flipped: flip.map(|at| Time::new(timestamp(at), now)),
            outcomes: outcomes.collect(),
            line: Line::new(test, now),
        }
    }
}

fn not_a_state(text: &str, all: &[TestState]) -> String {
    let names: Vec<_> = all.iter().map(|state| state.name()).collect();
    format!("state: `{text}` is none of {}", names.join(", "))
}

/// The query, and the form that shows it.
async fn read(
    shared: &Shared,
    asked: Asked,
    all: &[TestState],
) -> Result<(StateQuery, Filter), crate::pages::PageError> {
    let text = |text: Option<String>| text.unwrap_or_default().trim().chars().take(LONGEST).collect::<String>();
    let (package, target, run_as, state) =
        (text(asked.package), text(asked.target), text(asked.run_as), text(asked.state));
    let invalid = |detail: String| Problem::new(ProblemCode::Invalid, detail);
    let chosen = |text: &String| all.iter().copied().find(|known| known.name() == text.as_str());
    let wanted = Some(&state).filter(|text| !text.is_empty());
    let wanted = wanted.map(|text| chosen(text).ok_or_else(|| invalid(not_a_state(text, all)))).transpose()?;
    let as_user = Some(&run_as).filter(|text| !text.is_empty());
    let as_user = as_user.map(|text| user(text).ok_or_else(|| invalid(not_a_user(text)))).transpose()?;
    let states = wanted.map_or_else(|| all.to_vec(), |state| vec![state]);
    let mut targets = shared.readers.run(history::known_targets).await?;
    // The form shows what was asked for, also if no result has it.
    if !target.is_empty()
        && let Err(place) = targets.binary_search(&target)
    {
        targets.insert(place, target.clone());
    }
    let listed = if all.len() > 1 { all } else { &[] };
    let filter = Filter {
        targets: targets.into_iter().map(|known| (known.clone(), known == target)).collect(),
        states: listed.iter().map(|known| (known.name(), known.words(), Some(*known) == wanted)).collect(),
        program: for_program(&package),
        all_states: states.iter().map(|state| state.name()).collect::<Vec<_>>().join(","),
        package,
        target,
        run_as,
        state,
    };
    let query = StateQuery {
        states,
        package: NameFilter::typed(&filter.package),
        target: Some(filter.target.clone()).filter(|target| !target.is_empty()),
        run_as: as_user,
        from: asked.from.unwrap_or(0),
        limit: PAGE,
        ..StateQuery::default()
    };
    Ok((query, filter))
}

/// The place of the next page's first test.
fn next(from: usize, lines: usize, total: usize) -> Option<usize> {
    Some(from.saturating_add(lines)).filter(|next| lines > 0 && *next < total)
}

/// Tests that fail, or have stopped.
pub(crate) async fn regressions(State(shared): State<Shared>, _: Reader, Query(asked): Query<Asked>) -> Page {
    let (query, filter) = read(&shared, asked, &BROKEN).await?;
    let (query, from) = (StateQuery { changes: true, ..query.clone() }, query.from);
    let millis = shared.config.clock.millis();
    let found = shared.readers.run(move |db| history::in_states(db, &query, millis)).await?;
    let now = now(&shared);
    let lines: Vec<Broken> = found.lines.into_iter().map(|line| Broken::new(line, now)).collect();
    let next = next(from, lines.len(), found.total);
    render(&RegressionsPage {
        here: "regressions",
        filter,
        lines,
        total: found.total,
        first: from.saturating_add(1),
        next,
    })
}

/// Tests that pass and fail by chance.
pub(crate) async fn flaky(State(shared): State<Shared>, _: Reader, Query(asked): Query<Asked>) -> Page {
    let (query, filter) = read(&shared, asked, &[TestState::Flaky]).await?;
    let (query, from) = (StateQuery { outcomes: OUTCOMES, ..query.clone() }, query.from);
    let millis = shared.config.clock.millis();
    let found = shared.readers.run(move |db| history::in_states(db, &query, millis)).await?;
    let now = now(&shared);
    let lines: Vec<Flaky> = found.lines.iter().map(|line| Flaky::new(line, now)).collect();
    let next = next(from, lines.len(), found.total);
    render(&FlakyPage { here: "flaky", filter, lines, total: found.total, first: from.saturating_add(1), next })
}
