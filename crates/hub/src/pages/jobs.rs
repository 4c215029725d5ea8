//! The page with the list of jobs.

use askama::Template;
use axum::extract::{Query, State};
use protocol::Verdict;
use protocol::api::{JobInfo, JobState};

use crate::format::Time;
use crate::http::jobs::{Filter, page as load};
use crate::http::{Reader, debci_workers};
use crate::hub::Shared;
use crate::pages::requirements::{needs, not_counted};
use crate::pages::{Page, PageError, now, render};
use crate::store::{self, NameFilter};

#[derive(Template)]
#[template(path = "jobs.html")]
struct ListPage {
    here: &'static str,
    states: Vec<(&'static str, bool)>,
    state: &'static str,
    package: String,
    /// Name of the worker that the list is filtered by.
    worker: String,
    target: String,
    jobs: Vec<Line>,
    next: Option<String>,
    debci: Option<DebciLine>,
    offers: Option<OffersLine>,
}

/// The connection to a debci server.
struct DebciLine {
    server: String,
    connected: Option<Time>,
    held: u64,
    problem: Option<(Time, String)>,
}

/// The connection to workers of debci.
struct OffersLine {
    server: String,
    connected: Option<Time>,
    offered: u64,
    problem: Option<(Time, String)>,
}

struct Line {
    id: String,
    needs: String,
    state: JobState,
    verdict: Option<Verdict>,
    simulated: bool,
    /// Whether this is not the package's plain run.
    special: bool,
    /// Number of the job at the debci server that has asked for it.
    run: Option<u64>,
    note: String,
    worker: Option<String>,
    added: Time,
}

/// The package that somebody has typed: links have whole names, which are looked up faster than parts of names.
async fn find_package(shared: &Shared, typed: &str) -> Result<Option<NameFilter>, PageError> {
    let exact = typed.to_owned();
    let is_name = !exact.is_empty() && shared.readers.run(move |db| store::has_jobs_of(db, &exact)).await?;
    Ok(if is_name { Some(NameFilter::Exact(typed.to_owned())) } else { NameFilter::typed(typed) })
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader, Query(mut filter): Query<Filter>) -> Page {
    let package = filter.package.take().unwrap_or_default().trim().to_owned();
    let mut filter = filter.read(&shared).await?;
    let state = filter.state;
    filter.package = find_package(&shared, &package).await?;
    let worker = filter.worker.as_ref().map(|id| shared.core.state().name_of(id).to_owned()).unwrap_or_default();
    let target = filter.target.clone().unwrap_or_default();
    let found = load(&shared, filter).await?;
    let now = now(&shared);
    let line = |job: JobInfo| Line {
        needs: needs(&job.job),
        special: not_counted(&job.job).is_some(),
        worker: job.worker_name().map(str::to_owned),
        verdict: job.result.as_ref().map(|result| result.verdict),
        simulated: job.result.as_ref().is_some_and(|result| result.simulated),
        run: job.debci.as_ref().map(|origin| origin.run),
        note: job.phase.or(job.why).unwrap_or_default(),
        id: job.id,
        state: job.state,
        added: Time::new(job.added, now),
    };
    render(&ListPage {
        here: "jobs",
        states: JobState::ALL.map(|known| (known.name(), Some(known) == state)).to_vec(),
        state: state.map(JobState::name).unwrap_or_default(),
        package,
        worker,
        target,
        jobs: found.jobs.into_iter().map(line).collect(),
        next: found.next,
        debci: shared.debci.get().map(|link| {
            let status = link.status();
            DebciLine {
                server: status.server.unwrap_or_default(),
                connected: status.connected.map(|since| Time::new(since, now)),
                held: status.held,
                problem: status.problem.map(|problem| (Time::new(problem.when, now), problem.what)),
            }
        }),
        offers: debci_workers(&shared).map(|status| OffersLine {
            server: status.server,
            connected: status.connected.map(|since| Time::new(since, now)),
            offered: status.offered,
            problem: status.problem.map(|problem| (Time::new(problem.when, now), problem.what)),
        }),
    })
}
