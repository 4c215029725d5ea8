//! HTTP answers: JSON, or a problem.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::api::{PROBLEM_TYPE, Problem, ProblemCode};

pub(crate) use crate::problem::io_problem;

use crate::problem::internal;
use crate::store::ReadError;

/// A [`Problem`] as an answer.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Problem);

/// Result type of handlers.
pub(crate) type Answer<T> = Result<T, Refused>;

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        Self(error.into())
    }
}

impl From<protocol::api::Invalid> for Refused {
    fn from(invalid: protocol::api::Invalid) -> Self {
        Self(Problem::new(ProblemCode::Invalid, invalid.to_string()))
    }
}

impl From<tokio::task::JoinError> for Refused {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(internal(&error))
    }
}

/// Returns an error with this code and text.
pub(crate) fn refuse<T>(code: ProblemCode, detail: impl Into<String>) -> Answer<T> {
    Err(Refused(Problem::new(code, detail)))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self.0)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        complement(&self.0, response.headers_mut());
        response
    }
}

/// Adds the headers that belong to a problem, whatever the format of the body.
pub(crate) fn complement(problem: &Problem, headers: &mut HeaderMap) {
    if problem.code == ProblemCode::Unauthorized {
        let both = "Bearer, Basic realm=\"rocbed hub\", charset=\"UTF-8\"";
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(both));
    }
    let usual = match problem.code {
        ProblemCode::Busy | ProblemCode::Unavailable | ProblemCode::TooMany => Some(1),
        ProblemCode::Checking => Some(5),
        ProblemCode::DiskFull => Some(60),
        ProblemCode::QuotaExceeded => Some(3600),
        _ => None,
    };
    if let Some(seconds) = problem.retry_after().map(|time| time.as_secs()).or(usual) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}
