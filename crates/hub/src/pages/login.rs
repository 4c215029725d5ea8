//! The page to log in and out, and what people who are logged in do with jobs.

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use protocol::api::{Problem, ProblemCode};
use serde::Deserialize;

use crate::history::Elsewhere;
use crate::http::login::{LoggedIn, check_form, cookie, fields, local, remove_cookie, session, set_cookie};
use crate::hub::Shared;
use crate::pages::{PageError, render};
use crate::problem::internal;
use crate::token::{Who, hash};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    here: &'static str,
    next: String,
    /// The form key of the session, if there is one.
    form_key: Option<String>,
    /// Whether the token that was sent is not known.
    is_wrong: bool,
}

/// Query of the page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    next: Option<String>,
}

/// The form with a token.
#[derive(Deserialize)]
struct Token {
    token: String,
    #[serde(default)]
    next: String,
}

/// A form of a page of a session.
#[derive(Deserialize)]
struct Button {
    #[serde(rename = "form-key")]
    form_key: String,
    #[serde(default)]
    elsewhere: bool,
}

pub(crate) async fn page(LoggedIn(session): LoggedIn, Query(asked): Query<Asked>) -> Result<Html<String>, PageError> {
    let next = local(asked.next.as_deref().unwrap_or("/")).to_owned();
    render(&LoginPage { here: "", next, form_key: session.map(|session| session.form_key), is_wrong: false })
}

pub(crate) async fn open(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> Result<Response, PageError> {
    let Token { token, next } = fields(body, &shared).await?;
    let (digest, next) = (hash(token.trim()), local(&next));
    if shared.core.state().tokens.get(&digest) != Some(&Who::Admin) {
        let page = render(&LoginPage { here: "", next: next.to_owned(), form_key: None, is_wrong: true })?;
        return Ok((StatusCode::FORBIDDEN, page).into_response());
    }
    let opened = shared.sessions.open(digest, shared.config.clock.millis());
    let value = opened.map_err(|error| PageError::from(internal(&error)))?;
    Ok((
        StatusCode::SEE_OTHER,
        [(header::LOCATION, next.to_owned()), (header::SET_COOKIE, set_cookie(&value, &headers))],
    )
        .into_response())
}

pub(crate) async fn close(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> Result<Response, PageError> {
    let button: Button = fields(body, &shared).await?;
    if let Some(session) = session(&headers, &shared) {
        check_form(&session, &button.form_key, &headers)?;
        shared.sessions.close(cookie(&headers).unwrap_or_default());
    }
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, "/login".to_owned()), (header::SET_COOKIE, remove_cookie())])
        .into_response())
}

fn see(path: String) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

/// Who has sent a form.
enum Sender {
    /// A user who is logged in, with what the form says.
    LoggedIn(Button),
    /// Somebody who has to log in first: the page for it.
    Unknown(Response),
}

/// Reads a form that changes something about a job.
async fn button(shared: &Shared, job: &str, headers: &HeaderMap, body: Body) -> Result<Sender, PageError> {
    let Some(session) = session(headers, shared) else {
        return Ok(Sender::Unknown(see(format!("/login?next={}", address(job).replace('+', "%2B")))));
    };
    let button: Button = fields(body, shared).await?;
    check_form(&session, &button.form_key, headers)?;
    Ok(Sender::LoggedIn(button))
}

/// Path of the page of a job. An id from an address may be any text.
fn address(job: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-._+~@:".contains(char);
    if job.chars().all(plain) { format!("/jobs/{job}") } else { "/jobs".to_owned() }
}

pub(crate) async fn retry(
    State(shared): State<Shared>,
    Path(job): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PageError> {
    if let Sender::Unknown(login) = button(&shared, &job, &headers, body).await? {
        return Ok(login);
    }
    let new = shared.core.write(move |tx| tx.retry(&job)).await?;
    Ok(see(address(&new)))
}

pub(crate) async fn confirm(
    State(shared): State<Shared>,
    Path(job): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PageError> {
    let button = match button(&shared, &job, &headers, body).await? {
        Sender::LoggedIn(button) => button,
        Sender::Unknown(login) => return Ok(login),
    };
    let elsewhere = if button.elsewhere { Elsewhere::IfPossible } else { Elsewhere::Anywhere };
    let confirmed = shared.core.write(move |tx| tx.confirm(&job, elsewhere)).await?;
    let missing = || Problem::new(ProblemCode::Internal, "the hub has made no job");
    let new = confirmed.jobs.first().ok_or_else(missing)?;
    Ok(see(address(new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_s_address_has_nothing_that_an_address_gives_a_meaning() {
        assert_eq!(address("rocrand@gfx1030-2"), "/jobs/rocrand@gfx1030-2");
        for job in ["a/../b", "a?b", "a#b", "a%2fb", "a b", "a\r\nb", "ä"] {
            assert_eq!(address(job), "/jobs", "{job}");
        }
    }
}
