//! Pages about histories: a package, and a package on a target.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use jiff::Timestamp;
use protocol::api::{Difference, Explanation, Problem, ProblemCode, TestHistory, TestRun, TestState};

use crate::format::Time;
use crate::history::{self, HistoryFilter};
use crate::http::Reader;
use crate::hub::Shared;
use crate::pages::change::Change;
use crate::pages::{Page, now, render};
use crate::store::NameFilter;

/// Runs in a strip.
const STRIP: usize = 60;
/// Time between two runs from which on the strip has a gap, in seconds: three days.
const GAP: i64 = 3 * 24 * 3600;
/// Changed packages that are listed.
const PACKAGES: usize = 40;

/// A test with its state, for tables.
pub(super) struct Line {
    pub(super) package: String,
    pub(super) test: String,
    pub(super) target: String,
    pub(super) simulated: bool,
    /// Who ran it, unless it was the user.
    pub(super) root: bool,
    pub(super) variant: String,
    pub(super) state: TestState,
    pub(super) words: String,
    pub(super) since: Option<Time>,
    pub(super) good: Option<RunLink>,
    pub(super) bad: Option<RunLink>,
    pub(super) last: Option<RunLink>,
    pub(super) known: Option<Bug>,
    pub(super) infrastructure: u32,
}

/// A run with a link to its job.
pub(super) struct RunLink {
    pub(super) job: String,
    pub(super) version: String,
    pub(super) at: Time,
}

/// A bug with its address, if it has one.
pub(super) struct Bug {
    pub(super) text: String,
    pub(super) address: Option<String>,
}

impl RunLink {
    fn new(run: &TestRun, now: Timestamp) -> Self {
        Self { job: run.job.clone(), version: run.version.clone().unwrap_or_default(), at: Time::new(run.at, now) }
    }
}

impl Bug {
    fn new(known: &protocol::api::AddKnown) -> Self {
        match &known.bug {
            Some(bug) if bug.chars().all(|char| char.is_ascii_digit()) => {
                Self { text: format!("#{bug}"), address: Some(format!("https://bugs.debian.org/{bug}")) }
            }
            Some(bug) => Self { text: bug.clone(), address: Some(bug.clone()) },
            None => Self { text: known.text.clone(), address: None },
        }
    }
}

impl Line {
    pub(super) fn new(test: &TestHistory, now: Timestamp) -> Self {
        let run = |run: &Option<TestRun>| run.as_ref().map(|run| RunLink::new(run, now));
        Self {
            package: test.package.clone(),
            test: test.test.clone(),
            target: test.target.clone(),
            simulated: test.simulated,
            root: test.run_as == protocol::RunAs::Root,
            variant: test.variant.clone(),
            state: test.state,
            words: words(test),
            since: test.since.as_ref().map(|run| Time::new(run.at, now)),
            good: run(&test.last_good),
            bad: run(&test.first_bad),
            last: run(&test.last),
            known: test.known.as_ref().map(|known| Bug::new(&known.failure)),
            infrastructure: test.infrastructure,
        }
    }
}

impl Line {
    /// The jobs of the last good and the first bad run, if both are known.
    pub(super) fn pair(&self) -> Option<(&str, &str)> {
        Some((self.good.as_ref()?.job.as_str(), self.bad.as_ref()?.job.as_str()))
    }
}

/// The state in words: `flaky 3/30`.
fn words(test: &TestHistory) -> String {
    match test.state {
        TestState::Flaky => format!("flaky {}/{}", test.failed, test.ran),
        state => state.words(),
    }
}

/// The last runs of a test.
struct Strip {
    line: Line,
    streak: u32,
    flips: u32,
    failed: u32,
    ran: u32,
    runs: Vec<Mark>,
    why: Option<Why>,
}

/// A run in a strip.
struct Mark {
    outcome: String,
    job: String,
    title: String,
    /// Nothing was run for some days before it.
    gap: bool,
    /// The kernel is another one than before.
    kernel: bool,
    /// It confirms the run before it.
    confirms: bool,
}

/// What changed.
struct Why {
    changed: Vec<Change>,
    more: usize,
    cleared: Vec<Change>,
    packages_known: bool,
    also: String,
    passes: String,
    with_it: String,
    next: String,
}

impl Strip {
    fn new(test: &TestHistory, why: Option<&Explanation>, now: Timestamp) -> Self {
        let mut runs = Vec::new();
        let mut before: Option<&TestRun> = None;
        // The oldest first.
        for run in test.runs.iter().rev() {
            let seconds = before.map_or(0, |before| run.at.as_second().saturating_sub(before.at.as_second()));
            let version = run.version.as_deref().unwrap_or("no version");
            let day = run.at.strftime("%Y-%m-%d");
            runs.push(Mark {
                outcome: run.outcome.clone(),
                job: run.job.clone(),
                title: format!("{day} {}: {version}, kernel {}, {}", run.outcome, run.kernel, run.worker),
                gap: seconds > GAP,
                kernel: before.is_some_and(|before| before.kernel != run.kernel),
                confirms: run.confirms.is_some(),
            });
            before = Some(run);
        }
        Self {
            line: Line::new(test, now),
            streak: test.streak,
            flips: test.flips,
            failed: test.failed,
            ran: test.ran,
            runs,
            why: why.map(Why::new),
        }
    }
}

impl Why {
    fn new(why: &Explanation) -> Self {
        let (cleared, open): (Vec<&Difference>, Vec<_>) =
            why.changed.iter().partition(|change| change.cleared_by.is_some());
        Self {
            more: open.len().saturating_sub(PACKAGES),
            changed: open.into_iter().take(PACKAGES).map(Change::new).collect(),
            cleared: cleared.into_iter().take(PACKAGES).map(Change::new).collect(),
            packages_known: why.packages_known,
            also: why.also_failing.join(", "),
            passes: why.passes_on.join(", "),
            with_it: why.broke_with_it.join(", "),
            next: why.next.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "package.html")]
struct PackagePage {
    here: &'static str,
    package: String,
    lines: Vec<Line>,
}

/// The page of a package: each test on each target.
pub(crate) async fn package(State(shared): State<Shared>, _: Reader, Path(package): Path<String>) -> Page {
    let filter =
        HistoryFilter { package: Some(NameFilter::Exact(package.clone())), variants: true, ..HistoryFilter::default() };
    let tests = read(&shared, filter).await?;
    let now = now(&shared);
    let lines = tests.iter().map(|test| Line::new(test, now)).collect();
    render(&PackagePage { here: "matrix", package, lines })
}

async fn read(shared: &Shared, filter: HistoryFilter) -> Result<Vec<TestHistory>, crate::store::ReadError> {
    let now = shared.config.clock.millis();
    shared.readers.run(move |db| history::tests(db, &filter, now)).await
}

#[derive(Template)]
#[template(path = "package-target.html")]
struct TargetPage {
    here: &'static str,
    package: String,
    target: String,
    strips: Vec<Strip>,
}

/// The page of a package on a target.
pub(crate) async fn target(
    State(shared): State<Shared>,
    _: Reader,
    Path((package, target)): Path<(String, String)>,
) -> Page {
    let base = HistoryFilter {
        package: Some(NameFilter::Exact(package.clone())),
        target: Some(target.clone()),
        ..HistoryFilter::default()
    };
    let tests = read(&shared, HistoryFilter { runs: STRIP, ..base.clone() }).await?;
    if tests.is_empty() {
        let detail = format!("no result of {package} on {target} counts");
        return Err(Problem::new(ProblemCode::NotFound, detail).into());
    }
    let millis = shared.config.clock.millis();
    let why = shared.readers.run(move |db| history::explain(db, &base, millis)).await?;
    let key = |test: &TestHistory| (test.test.clone(), test.run_as.to_string(), test.simulated);
    let why: BTreeMap<_, _> = why.iter().map(|why| (key(&why.test), why)).collect();
    let now = now(&shared);
    let has_tests = why.keys().any(|(test, ..)| !test.is_empty());
    let strips = tests.iter().map(|test| {
        // The whole run fails because of its tests.
        let why = why.get(&key(test)).copied().filter(|_| !test.test.is_empty() || !has_tests);
        Strip::new(test, why, now)
    });
    let strips = strips.collect();
    render(&TargetPage { here: "matrix", package, target, strips })
}
