//! HTML pages for users, rendered on the server. They work without JavaScript and on phones.

mod ansi;
mod change;
mod compare;
mod feed;
mod files;
mod history;
mod job;
mod jobs;
mod live;
mod log;
mod login;
mod matrix;
mod requirements;
mod states;
mod storage;
mod watch;
mod webhooks;
mod workers;

use askama::Template;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use protocol::api::{Problem, ProblemCode};

use crate::clock::timestamp;
use crate::http::answer::Refused;
use crate::hub::Shared;
use crate::problem::internal;
use crate::store::ReadError;

pub(crate) use ansi::Converter;

/// Result type of page handlers.
type Page = Result<Html<String>, PageError>;

/// A problem, rendered as a page.
#[derive(Debug)]
pub(crate) struct PageError(Problem);

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Refused> for PageError {
    fn from(refused: Refused) -> Self {
        Self(refused.0)
    }
}

impl From<ReadError> for PageError {
    fn from(error: ReadError) -> Self {
        Self(error.into())
    }
}

impl From<tokio::task::JoinError> for PageError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(internal(&error))
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    here: &'a str,
    problem: &'a Problem,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match (ErrorPage { here: "", problem: &self.0 }).render() {
            Ok(html) => {
                let mut response = (status, Html(html)).into_response();
                crate::http::answer::complement(&self.0, response.headers_mut());
                response
            }
            Err(_) => Refused(self.0).into_response(),
        }
    }
}

#[derive(Template)]
#[template(path = "problems.html")]
struct ProblemsPage {
    here: &'static str,
    codes: &'static [ProblemCode],
}

async fn problems() -> Page {
    render(&ProblemsPage { here: "", codes: ProblemCode::ALL })
}

fn render(page: &impl Template) -> Page {
    page.render().map(Html).map_err(|error| PageError(internal(&error)))
}

fn now(shared: &Shared) -> Timestamp {
    timestamp(shared.config.clock.millis())
}

/// Whether the request comes from a browser, so that an error is answered as a page.
pub(crate) fn is_person(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|kinds| kinds.contains("text/html"))
}

/// Serves a file that is built into the program.
fn file(kind: &'static str, content: &'static str) -> impl Fn() -> std::future::Ready<Response> + Clone + Send {
    move || {
        // The files change only with the program, so a page of another version must not use cached ones for long.
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")];
        std::future::ready((headers, content).into_response())
    }
}

pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route("/", get(matrix::page))
        .route("/jobs", get(jobs::page))
        .route("/jobs/{job}", get(job::page))
        .route("/jobs/{job}/retry", post(login::retry))
        .route("/jobs/{job}/confirm", post(login::confirm))
        .route("/login", get(login::page).post(login::open))
        .route("/logout", post(login::close))
        .route("/jobs/{job}/files", get(files::page))
        .route("/jobs/{job}/files/{number}", get(files::one))
        .route("/jobs/{job}/log", get(log::page))
        .route("/jobs/{job}/log/live", get(live::log))
        .route("/workers", get(workers::list))
        .route("/workers/{worker}", get(workers::one))
        .route("/packages/{package}", get(history::package))
        .route("/packages/{package}/{target}", get(history::target))
        .route("/regressions", get(states::regressions))
        .route("/flaky", get(states::flaky))
        .route("/compare", get(compare::page))
        .route("/feed.atom", get(feed::atom))
        .route("/badge/{package}/{file}", get(feed::badge))
        .route("/data/status/{suite}/{architecture}/packages.json", get(feed::packages_json))
        .route("/problems", get(problems))
        .route("/storage", get(storage::page))
        .route("/archive", get(watch::page))
        .route("/webhooks", get(webhooks::page))
        .route("/events", get(live::events))
        .route("/static/style.css", get(file("text/css; charset=utf-8", include_str!("../../static/style.css"))))
        .route("/static/live.js", get(file("text/javascript; charset=utf-8", include_str!("../../static/live.js"))))
        .route("/static/icon.svg", get(file("image/svg+xml", include_str!("../../static/icon.svg"))))
}
