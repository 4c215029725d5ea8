//! The page of a job: its state, its tests and their cases, its attempts, the end of its log.

use askama::Template;
use axum::extract::{Path, State};
use protocol::api::{Attempt, DebciOrigin, JobState, ResultInfo};
use protocol::{Cases, JobResult, RunAs, TestOutcome, Verdict, part_name};

use crate::cases::{Suite, left_out, suites};
use crate::format::{Time, size, took};
use crate::history;
use crate::http::Reader;
use crate::http::answer::io_problem;
use crate::http::jobs::find;
use crate::http::login::LoggedIn;
use crate::http::results::detail;
use crate::hub::Shared;
use crate::pages::log::{Part, beginning_of, part};
use crate::pages::requirements::{fields, needs, not_counted};
use crate::pages::{Page, PageError, now, render};

/// Bytes of the end of the log shown on the page.
const TAIL: u64 = 16 << 10;

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    here: &'static str,
    id: String,
    source: String,
    needs: String,
    /// The job's other fields, by name.
    fields: Vec<(&'static str, String)>,
    /// Reason why its result does not count in the matrix.
    not_counted: Option<String>,
    state: JobState,
    is_over: bool,
    why: Option<String>,
    phase: Option<String>,
    worker: Option<String>,
    retry_of: Option<String>,
    debci: Option<OriginView>,
    added: Time,
    ended: Option<Time>,
    package: String,
    log_attempt: Option<u32>,
    /// The last run before it that passed, if it has not passed.
    good: Option<String>,
    /// The form key of who is logged in.
    form_key: Option<String>,
    /// Whether its failing tests can be run again.
    can_confirm: bool,
    result: Option<ResultView>,
    suites: Vec<Suite>,
    cases_note: Option<String>,
    attempts: Vec<AttemptView>,
    /// The job that this one is a part of, and which part it is.
    part_of: Option<(String, String)>,
    parts: Vec<PartView>,
    tail: Option<Part>,
}

struct PartView {
    /// Its number, from 1.
    number: u32,
    job: String,
    state: JobState,
    verdict: Option<Verdict>,
    worker: Option<String>,
}

struct ResultView {
    verdict: Verdict,
    simulated: bool,
    version: Option<String>,
    summary: String,
    gpus: String,
    took: String,
    kernel: String,
    image: Option<String>,
    size: String,
    problem: Option<String>,
    warnings: Vec<String>,
    runs: Vec<RunView>,
    /// Number of cases that its tests have reported.
    cases: u64,
    kernel_log: Vec<String>,
    /// The command that reproduces a failure.
    reproduce: Option<String>,
    /// Command line of the kernel.
    command_line: Option<String>,
    /// The archives that apt had.
    archives: Vec<String>,
}

/// The debci server that has asked for the job.
struct OriginView {
    server: String,
    run: u64,
    suite: String,
    trigger: Option<String>,
    apt_sources: Vec<String>,
    answered: Option<Time>,
    answer: Option<String>,
}

struct RunView {
    /// Name of the suite in the report that repeats the table of tests.
    suite: String,
    run_as: RunAs,
    verdict: Verdict,
    took: String,
    tests: Vec<TestView>,
}

struct TestView {
    name: String,
    outcome: TestOutcome,
    reason: String,
    cases: Option<Cases>,
    took: String,
    /// Text that marks the start of the test in the log.
    beginning: String,
}

struct AttemptView {
    number: u32,
    worker: String,
    state: &'static str,
    reason: String,
    given: Time,
    log: String,
    has_log: bool,
}

pub(crate) async fn page(
    State(shared): State<Shared>,
    _: Reader,
    LoggedIn(session): LoggedIn,
    Path(id): Path<String>,
) -> Page {
    let (number, last, mut job) = find(&shared, &id).await?;
    let now = now(&shared);
    let (result, suites, cases_note) = match &job.result {
        Some(info) => {
            let view = result_view(info, detail(&shared, &id).await?);
            let (mut suites, note) = read_cases(&shared, number).await?;
            // The report has a suite for each run that repeats the table of tests.
            suites.retain(|suite| !view.runs.iter().any(|run| run.suite == suite.name));
            let note = note.or_else(|| left_out(view.cases, &suites));
            (Some(view), suites, note)
        }
        None => (None, Vec::new(), None),
    };
    let has_failed = job.result.as_ref().is_some_and(|result| result.verdict != Verdict::Pass);
    let is_neutral = job.result.as_ref().is_some_and(|result| result.verdict == Verdict::Neutral);
    let good = if has_failed {
        let wanted = id.clone();
        shared.readers.run(move |db| history::good_before(db, &wanted)).await?
    } else {
        None
    };
    let mut attempts = Vec::new();
    for attempt in std::mem::take(&mut job.attempts) {
        attempts.push(attempt_view(&shared, number, attempt, now)?);
    }
    let part_of = job.part_of.take().map(|part| (part.job, part_name(part.index, part.of)));
    let parts = job.parts.drain(..).map(|part| PartView {
        number: part.index.saturating_add(1),
        job: part.job,
        state: part.state,
        verdict: part.verdict,
        worker: part.worker,
    });
    let parts: Vec<PartView> = parts.collect();
    let has_log = parts.is_empty();
    let tail = if attempts.last().is_some_and(|attempt| attempt.has_log) || job.state == JobState::Running && has_log {
        Some(part(&shared, (number, last), None, TAIL, None).await?)
    } else {
        None
    };
    render(&JobPage {
        here: "jobs",
        source: job.job.source.to_string(),
        needs: needs(&job.job),
        fields: fields(&job.job),
        // A part's result is in that of its job.
        not_counted: not_counted(&job.job).filter(|_| part_of.is_none()).or_else(|| {
            let has_other = job.debci.as_ref().is_some_and(|origin| !origin.apt_sources.is_empty());
            has_other.then(|| {
                "This run has packages from other apt sources, so its result does not count in the matrix.".to_owned()
            })
        }),
        worker: job.worker_name().map(str::to_owned),
        id: job.id,
        state: job.state,
        is_over: job.state.is_over(),
        why: job.why,
        phase: job.phase,
        retry_of: job.retry_of,
        debci: job.debci.map(|origin| origin_view(origin, now)),
        added: Time::new(job.added, now),
        ended: job.ended.map(|ended| Time::new(ended, now)),
        package: job.job.source.name().to_owned(),
        log_attempt: attempts.iter().rev().find(|attempt| attempt.has_log).map(|attempt| attempt.number),
        good,
        form_key: session.map(|session| session.form_key),
        can_confirm: has_failed && !is_neutral && part_of.is_none(),
        result,
        suites,
        cases_note,
        attempts,
        part_of,
        parts,
        tail,
    })
}

fn origin_view(origin: DebciOrigin, now: jiff::Timestamp) -> OriginView {
    OriginView {
        server: origin.server,
        run: origin.run,
        suite: origin.suite,
        trigger: origin.trigger,
        apt_sources: origin.apt_sources,
        answered: origin.answered.map(|answered| Time::new(answered, now)),
        answer: origin.answer,
    }
}

async fn read_cases(shared: &Shared, number: i64) -> Result<(Vec<Suite>, Option<String>), PageError> {
    let cases = shared.cases.clone();
    let task = tokio::task::spawn_blocking(move || cases.read(number).map(|junit| junit.map(|junit| suites(&junit))));
    Ok(match task.await?.map_err(|error| io_problem(&error))? {
        Some(Ok(suites)) => (suites, None),
        Some(Err(error)) => (Vec::new(), Some(error.to_string())),
        None => (Vec::new(), None),
    })
}

fn attempt_view(
    shared: &Shared,
    number: i64,
    attempt: Attempt,
    now: jiff::Timestamp,
) -> Result<AttemptView, PageError> {
    let length = shared.logs.length(number, attempt.number).map_err(|error| io_problem(&error))?;
    Ok(AttemptView {
        number: attempt.number,
        worker: attempt.worker_name().to_owned(),
        state: attempt.state.name(),
        reason: if attempt.late && attempt.reason.is_empty() {
            "delivered after its lease had run out".to_owned()
        } else {
            attempt.reason
        },
        given: Time::new(attempt.given, now),
        log: size(length),
        has_log: length > 0,
    })
}

fn result_view(info: &ResultInfo, result: JobResult) -> ResultView {
    let gpus: Vec<String> = result.used_gpus().map(|gpu| format!("{} ({})", gpu.name, gpu.target)).collect();
    let took_all = took(result.seconds());
    let cases = result.tests().filter_map(|(_, test)| test.cases).map(|cases| cases.total);
    let cases = cases.fold(0, u64::saturating_add);
    let failed = !matches!(info.verdict, Verdict::Pass | Verdict::Neutral);
    let reproduce = failed.then(|| result.reproduce(&result.job));
    let seen = result.runs.iter().flat_map(|run| &run.archives);
    let mut archives: Vec<String> = seen.map(|archive| format!("{} {}", archive.suite, archive.date)).collect();
    archives.dedup();
    let source = result.job.source;
    let runs = result.runs.into_iter().map(|run| RunView {
        suite: format!(
            "{}.{}",
            run.package.as_ref().map_or_else(|| source.name(), |package| &package.name),
            run.run_as
        ),
        run_as: run.run_as,
        verdict: run.verdict,
        took: took(run.seconds),
        tests: run
            .tests
            .into_iter()
            .map(|test| TestView {
                cases: test.cases,
                took: test.seconds.map_or_else(|| "–".to_owned(), took),
                beginning: beginning_of(&test.name),
                name: test.name,
                outcome: test.outcome,
                reason: test.reason,
            })
            .collect(),
    });
    ResultView {
        verdict: info.verdict,
        simulated: info.simulated,
        version: info.version.clone(),
        summary: info.summary.clone(),
        gpus: if gpus.is_empty() { "no GPU".to_owned() } else { gpus.join(", ") },
        took: took_all,
        kernel: result.machine.kernel,
        command_line: result.machine.command_line,
        archives,
        reproduce,
        image: result.machine.image.map(|image| image.name),
        size: size(info.size),
        problem: result.problem,
        warnings: result.warnings,
        runs: runs.collect(),
        cases,
        kernel_log: result.kernel_log,
    }
}
