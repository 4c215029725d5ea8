//! Routes for histories of tests, comparisons, known failures and confirmations.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use protocol::RunAs;
use protocol::api::{
    AddKnown, Comparison, Confirmed, ExplanationList, HistoryList, JobPackages, KnownFailure, KnownList, Problem,
    ProblemCode, TestState,
};
use serde::Deserialize;

use crate::cases;
use crate::history::{self, Elsewhere, HistoryFilter, JobComparison};
use crate::http::answer::{Answer, Refused, io_problem, refuse};
use crate::http::auth::{Admin, Reader};
use crate::http::body::Document;
use crate::http::jobs::find;
use crate::http::results::{detail, without_result};
use crate::hub::Shared;
use crate::party::Party;
use crate::store::NameFilter;

/// Query for histories.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    package: Option<String>,
    target: Option<String>,
    test: Option<String>,
    #[serde(rename = "as")]
    run_as: Option<String>,
    state: Option<String>,
    variants: Option<bool>,
    changes: Option<usize>,
    runs: Option<usize>,
}

/// A user of tests by its name.
pub(crate) fn user(text: &str) -> Option<RunAs> {
    [RunAs::User, RunAs::Root].into_iter().find(|user| user.to_string() == text)
}

/// What is wrong with text that [`user`] does not know.
pub(crate) fn not_a_user(text: &str) -> String {
    format!("as: `{text}` is not user or root")
}

impl Filter {
    fn read(self) -> Result<HistoryFilter, Problem> {
        let given = |text: &String| !text.is_empty();
        let words = self.state.unwrap_or_default();
        let states = words.split(',').filter(|word| !word.is_empty()).map(str::parse::<TestState>);
        let states = states.collect::<Result<_, _>>();
        let run_as = self.run_as.filter(given).map(|text| user(&text).ok_or_else(|| not_a_user(&text)));
        let run_as = run_as.transpose();
        Ok(HistoryFilter {
            package: self.package.as_deref().and_then(NameFilter::of_program),
            run_as: run_as.map_err(|text| Problem::new(ProblemCode::Invalid, text))?,
            target: self.target.filter(given),
            // An empty name is that of the whole run.
            test: self.test,
            states: states.map_err(|error| Problem::new(ProblemCode::Invalid, format!("state: {error}")))?,
            variants: self.variants.unwrap_or(false),
            changes: self.changes.unwrap_or(0).min(1000),
            runs: self.runs.unwrap_or(0).min(1000),
        })
    }
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Reader,
    Query(filter): Query<Filter>,
) -> Answer<Json<HistoryList>> {
    let (filter, now) = (filter.read()?, shared.config.clock.millis());
    if !filter.is_for_one_package() && filter.changes.max(filter.runs) > 0 {
        let detail = "package: to list changes or runs, give the whole name of one, without * and ?";
        return refuse(ProblemCode::Invalid, detail);
    }
    let tests = shared.readers.run(move |db| history::tests(db, &filter, now)).await?;
    Ok(Json(HistoryList { tests }))
}

pub(crate) async fn why(
    State(shared): State<Shared>,
    _: Reader,
    Query(filter): Query<Filter>,
) -> Answer<Json<ExplanationList>> {
    let (filter, now) = (filter.read()?, shared.config.clock.millis());
    // What is explained is compared with all that broke at the same time.
    if !filter.is_for_one_package() {
        return refuse(ProblemCode::Invalid, "package: give the whole name of one, without * and ?");
    }
    let tests = shared.readers.run(move |db| history::explain(db, &filter, now)).await?;
    Ok(Json(ExplanationList { tests }))
}

/// Query for a comparison: two jobs, or two days.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Pair {
    before: String,
    after: String,
    package: Option<String>,
}

pub(crate) async fn compare(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Query(pair): Query<Pair>,
) -> Answer<Json<Comparison>> {
    if let (Some(before), Some(after)) = (end_of_day(&pair.before), end_of_day(&pair.after)) {
        let package = pair.package;
        let days = shared.readers.run(move |db| history::compare_days(db, before, after, package.as_deref()));
        return Ok(Json(days.await?));
    }
    Ok(Json(compare_results(&shared, &party, pair.before, pair.after).await?))
}

/// Compares the results of two jobs: their tests, what differs in their environments, and their cases.
pub(crate) async fn compare_results(
    shared: &Shared,
    party: &Party,
    before: String,
    after: String,
) -> Answer<Comparison> {
    let (mut comparison, numbers) =
        match shared.readers.run(move |db| history::compare_jobs(db, &before, &after)).await? {
            JobComparison::Compared(comparison, numbers) => (comparison, numbers),
            JobComparison::NoResult(job) => {
                let detail = format!("there is no result of job `{job}`, and it is not a day");
                return refuse(ProblemCode::NotFound, detail);
            }
        };
    let files = shared.cases.clone();
    let compare = move || -> std::io::Result<Comparison> {
        if let (Some(before), Some(after)) = (files.read(numbers[0])?, files.read(numbers[1])?) {
            cases::add_cases(&mut comparison, &before, &after);
        }
        Ok(comparison)
    };
    // It reads up to two files of 64 MiB.
    let compared = shared.limits.search(party, compare);
    Ok(compared.await?.map_err(|error| io_problem(&error))?)
}

/// The last millisecond of a day in UTC: `2026-10-01`.
fn end_of_day(text: &str) -> Option<i64> {
    let next = text.parse::<Date>().ok()?.tomorrow().ok()?;
    let midnight = next.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_millisecond().saturating_sub(1))
}

pub(crate) async fn packages(
    State(shared): State<Shared>,
    _: Reader,
    Path(job): Path<String>,
) -> Answer<Json<JobPackages>> {
    let wanted = job.clone();
    match shared.readers.run(move |db| history::packages_of_job(db, &wanted)).await? {
        Some(packages) => Ok(Json(packages)),
        None => Err(without_result(&shared, &job).await?),
    }
}

pub(crate) async fn bug(State(shared): State<Shared>, _: Reader, Path(job): Path<String>) -> Answer<Response> {
    let result = detail(&shared, &job).await?;
    let (_, _, info) = find(&shared, &job).await?;
    let targets = info.result.map(|result| result.targets).unwrap_or_default();
    let now = shared.config.clock.millis();
    let filter = HistoryFilter {
        package: Some(NameFilter::Exact(info.job.source.name().to_owned())),
        target: targets.first().cloned(),
        ..HistoryFilter::default()
    };
    let mut why = shared.readers.run(move |db| history::explain(db, &filter, now)).await?;
    // The whole run fails because of its tests.
    if why.iter().any(|why| !why.test.test.is_empty()) {
        why.retain(|why| !why.test.test.is_empty());
    }
    let text = history::bug_report(&info.job, &result, &why, &format!("job {job}"));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

pub(crate) async fn confirm(
    State(shared): State<Shared>,
    _: Admin,
    Path(job): Path<String>,
    Query(how): Query<How>,
) -> Answer<Json<Confirmed>> {
    let elsewhere = if how.elsewhere.unwrap_or(false) { Elsewhere::IfPossible } else { Elsewhere::Anywhere };
    Ok(Json(shared.core.write(move |tx| tx.confirm(&job, elsewhere)).await?))
}

/// Query for a confirmation.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct How {
    elsewhere: Option<bool>,
}

pub(crate) async fn known(State(shared): State<Shared>, _: Reader) -> Answer<Json<KnownList>> {
    let known = shared.readers.run(|db| history::all_known(db, None)).await?;
    Ok(Json(KnownList { known }))
}

pub(crate) async fn add_known(
    State(shared): State<Shared>,
    _: Admin,
    Document(request): Document<AddKnown>,
) -> Answer<Json<KnownFailure>> {
    request.check()?;
    Ok(Json(shared.core.write(move |tx| tx.add_known(&request)).await?))
}

pub(crate) async fn remove_known(State(shared): State<Shared>, _: Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let wrong = || Refused(Problem::new(ProblemCode::NotFound, format!("there is no known failure `{id}`")));
    let number: i64 = id.parse().map_err(|_| wrong())?;
    shared.core.write(move |tx| tx.remove_known(number)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_before_the_next() {
        assert_eq!(end_of_day("1970-01-01"), Some(86_400_000 - 1));
        assert_eq!((end_of_day("rocfft-12"), end_of_day("")), (None, None));
    }
}
