//! The page about the archive that is watched.

use askama::Template;
use axum::extract::State;
use protocol::api::JobState;

use crate::format::Time;
use crate::http::Reader;
use crate::hub::Shared;
use crate::pages::{Page, now, render};
use crate::watch::{self, Overview};

#[derive(Template)]
#[template(path = "archive.html")]
struct ArchivePage {
    here: &'static str,
    is_watched: bool,
    suite: String,
    date: Option<Time>,
    read: Option<Time>,
    problem: Option<(String, Time)>,
    packages: u64,
    budget: u32,
    waits: u64,
    waiting: Vec<WaitingLine>,
    jobs: Vec<JobLine>,
}

struct WaitingLine {
    package: String,
    target: String,
    why: String,
    since: Time,
}

struct JobLine {
    id: String,
    state: JobState,
    why: String,
    made: Time,
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader) -> Page {
    let Overview { archive, packages, waits, waiting, jobs, made: _ } = shared.readers.run(watch::overview).await?;
    let now = now(&shared);
    let watch = shared.watch.get();
    let status = watch.map(|watch| watch.status()).unwrap_or_default();
    let read = status.read.or_else(|| archive.as_ref().map(|archive| archive.read));
    render(&ArchivePage {
        here: "archive",
        is_watched: watch.is_some(),
        suite: archive.as_ref().map(|archive| archive.suite.clone()).unwrap_or_default(),
        date: archive.as_ref().map(|archive| Time::new(archive.date, now)),
        read: read.map(|read| Time::new(read, now)),
        problem: status.problem.map(|problem| (problem.what, Time::new(problem.since, now))),
        packages,
        budget: watch.map_or(0, |watch| watch.options.budget),
        waits,
        waiting: waiting
            .into_iter()
            .map(|one| WaitingLine {
                package: one.package,
                target: one.target,
                why: one.why,
                since: Time::new(one.since, now),
            })
            .collect(),
        jobs: jobs
            .into_iter()
            .map(|job| JobLine { id: job.id, state: job.state, why: job.why, made: Time::new(job.made, now) })
            .collect(),
    })
}
