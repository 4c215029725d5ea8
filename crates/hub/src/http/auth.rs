//! Authentication: `Authorization: Bearer TOKEN` (RFC 6750, section 2.1), and for browsers that only read, `Basic` with
//! the token as password (RFC 7617), or the cookie of a session ([`login`](super::login)). Browsers also send these with
//! requests that other sites' pages cause, so neither allows changes here.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::Method;
use axum::http::header::{AUTHORIZATION, DATE};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::fmt::rfc2822::DateTimeParser;
use protocol::api::{Problem, ProblemCode};

use crate::core::{HubEvent, WorkerClock};
use crate::http::answer::Refused;
use crate::http::login::session;
use crate::hub::Shared;
use crate::party::Party;
use crate::token::{Who, hash};

/// A worker, authenticated with its own token.
#[derive(Debug)]
pub(crate) struct WorkerId(pub(crate) String);

/// A user with the admin token.
#[derive(Debug)]
pub(crate) struct Admin;

/// A machine with the join token, or a worker that registers again (its id).
#[derive(Debug)]
pub(crate) struct Joining(pub(crate) Option<String>);

/// A reader: anyone if the hub is public, else a client with a token.
#[derive(Debug)]
pub(crate) struct Reader;

/// The party that a request's token identifies, determined once per request.
#[derive(Debug, Clone)]
pub(crate) struct Identity(Result<Option<Who>, Problem>);

impl Identity {
    pub(crate) fn new(who: Result<Option<Who>, Refused>) -> Self {
        Self(who.map_err(|refused| refused.0))
    }
}

/// The sender of a request, as determined before if it was.
fn known(parts: &Parts, shared: &Shared) -> Result<Option<Who>, Refused> {
    match parts.extensions.get::<Identity>() {
        Some(Identity(who)) => who.clone().map_err(Refused),
        None => who(parts, shared),
    }
}

/// The owner of a request's token; `None` without a token.
pub(crate) fn who(parts: &Parts, shared: &Shared) -> Result<Option<Who>, Refused> {
    let is_read = [Method::GET, Method::HEAD].contains(&parts.method);
    let Some(value) = parts.headers.get(AUTHORIZATION) else {
        let session = if is_read { session(&parts.headers, shared) } else { None };
        return Ok(session.map(|_| Who::Admin));
    };
    let unknown = || Refused(Problem::new(ProblemCode::Unauthorized, "the hub does not know this token"));
    let (kind, token) = value.to_str().ok().and_then(token).ok_or_else(unknown)?;
    if kind == Kind::Password && !is_read {
        let text = "a token as a browser's password is for reading only; to change something, send it as a bearer token, as \
                    rocbed does";
        return Err(Refused(Problem::new(ProblemCode::Forbidden, text)));
    }
    // The lookup uses the token's digest, so its duration reveals nothing about existing tokens.
    let found = shared.core.state().tokens.get(&hash(&token)).cloned();
    found.map(Some).ok_or_else(unknown)
}

/// How a token was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By a program, deliberately.
    Bearer,
    /// By a browser, automatically.
    Password,
}

fn token(value: &str) -> Option<(Kind, String)> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((Kind::Bearer, rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| (Kind::Password, password.to_owned()))
}

/// Standard base64 (RFC 4648, section 4), with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl FromRequestParts<Shared> for Party {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Refused> {
        let none = || Problem::new(ProblemCode::Internal, "nobody asks");
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Refused(none()))
    }
}

fn missing<T>(needed: &str) -> Result<T, Refused> {
    Err(Refused(Problem::new(ProblemCode::Unauthorized, format!("this needs {needed}"))))
}

fn forbidden<T>(needed: &str) -> Result<T, Refused> {
    Err(Refused(Problem::new(ProblemCode::Forbidden, format!("this needs {needed}, and the token is another"))))
}

/// Offset of the sender's clock in milliseconds (positive: ahead), from its `Date` header (RFC 9110, section 6.6.1),
/// which has whole seconds. The time that the request took to arrive makes it slightly smaller.
fn clock_ahead(headers: &HeaderMap, shared: &Shared) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let there = DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(there.as_millisecond().saturating_sub(shared.config.clock.millis()))
}

/// Records the worker's clock offset, if the request has a `Date`.
pub(crate) fn note_clock(headers: &HeaderMap, worker: &str, shared: &Shared) -> WorkerClock {
    let Some(ahead) = clock_ahead(headers, shared) else { return WorkerClock::Untold };
    let changed = shared.core.state().workers.get(worker).is_some_and(|worker| worker.clock.set(Some(ahead)));
    if changed {
        shared.core.tell(HubEvent::Worker(worker.to_owned()));
    }
    WorkerClock::Told
}

/// Whether a worker's request had its time.
impl FromRequestParts<Shared> for WorkerClock {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        Ok(clock_ahead(&parts.headers, shared).map_or(Self::Untold, |_| Self::Told))
    }
}

impl FromRequestParts<Shared> for WorkerId {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        let needed = "a worker's token";
        match known(parts, shared)? {
            Some(Who::Worker(id)) => {
                shared.core.state().saw(&id, shared.config.clock.millis());
                note_clock(&parts.headers, &id, shared);
                Ok(Self(id))
            }
            Some(_) => forbidden(needed),
            None => missing(needed),
        }
    }
}

impl FromRequestParts<Shared> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        let needed = "the admin token";
        match known(parts, shared)? {
            Some(Who::Admin) => Ok(Self),
            Some(_) => forbidden(needed),
            None => missing(needed),
        }
    }
}

impl FromRequestParts<Shared> for Joining {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        let needed = "the join token";
        match known(parts, shared)? {
            Some(Who::Join) => Ok(Self(None)),
            Some(Who::Worker(id)) => Ok(Self(Some(id))),
            Some(Who::Admin) => forbidden(needed),
            None => missing(needed),
        }
    }
}

impl FromRequestParts<Shared> for Reader {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        if shared.config.public {
            return Ok(Self);
        }
        match known(parts, shared)? {
            Some(Who::Admin | Who::Worker(_)) => Ok(Self),
            Some(Who::Join) => forbidden("the admin token"),
            None => missing("the admin token (for a browser: as password, with any name)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_programs_and_of_browsers() {
        for (header, expected) in [
            ("Bearer abc", Some((Kind::Bearer, "abc"))),
            ("bearer  abc ", Some((Kind::Bearer, "abc"))),
            ("Basic bWU6YWJj", Some((Kind::Password, "abc"))),
            ("Basic bWU6YTpi", Some((Kind::Password, "a:b"))),
            ("Basic OmFi", Some((Kind::Password, "ab"))),
            ("Basic !!", None),
            ("Basic bWU=", None),
            ("Digest abc", None),
            ("abc", None),
        ] {
            assert_eq!(token(header), expected.map(|(kind, token)| (kind, token.to_owned())), "{header}");
        }
    }
}
