//! Cookies and forms of browsers whose users have logged in.

use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::header::{COOKIE, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use protocol::api::{Problem, ProblemCode};
use serde::de::DeserializeOwned;

use crate::http::answer::Refused;
use crate::http::body::whole;
use crate::hub::Shared;
use crate::sessions::{LIFETIME, Session};
use crate::token::Who;

/// Name of the cookie.
const NAME: &str = "rocbed-session";

/// Largest form, in bytes.
const LARGEST_FORM: u64 = 16 << 10;

/// The session that a request's cookie belongs to, if there is one and its token is still good.
#[derive(Debug, Clone)]
pub(crate) struct LoggedIn(pub(crate) Option<Session>);

impl FromRequestParts<Shared> for LoggedIn {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        Ok(Self(session(&parts.headers, shared)))
    }
}

/// The value of the cookie in a request.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == NAME).map(|(_, value)| value)
}

/// The open session of a request.
pub(crate) fn session(headers: &HeaderMap, shared: &Shared) -> Option<Session> {
    let session = shared.sessions.find(cookie(headers)?, shared.config.clock.millis())?;
    let is_good = shared.core.state().tokens.get(&session.token) == Some(&Who::Admin);
    Some(session).filter(|_| is_good)
}

/// The header that sets the cookie. A browser that has logged in over TLS never sends it without.
pub(crate) fn set_cookie(value: &str, request: &HeaderMap) -> String {
    let is_secure = request.get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/; Max-Age={LIFETIME}; HttpOnly; SameSite=Lax{secure}")
}

/// The header that removes the cookie.
pub(crate) fn remove_cookie() -> String {
    format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

/// Refuses a form that is not from a page of the session.
pub(crate) fn check_form(session: &Session, form_key: &str, headers: &HeaderMap) -> Result<(), Problem> {
    // Browsers say which site has caused a request (Fetch Metadata); others, and old ones, say nothing.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if session.is_of(form_key) && site.is_none_or(|site| site == b"same-origin") {
        return Ok(());
    }
    let detail = "the form is not from a page that the hub has made for you: open the page again";
    Err(Problem::new(ProblemCode::Forbidden, detail))
}

/// Reads the fields of a form (`application/x-www-form-urlencoded`).
pub(crate) async fn fields<T: DeserializeOwned>(body: Body, shared: &Shared) -> Result<T, Refused> {
    let mut body = body;
    let bytes = whole(&mut body, LARGEST_FORM, shared).await?;
    let wrong = || {
        Refused(Problem::new(
            ProblemCode::BadRequest,
            "a field of the form is missing or cannot be read: open the page again, and send it from there",
        ))
    };
    // It has the syntax of a query.
    let query = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
    let uri: Uri = format!("/?{query}").parse().map_err(|_| wrong())?;
    Query::try_from_uri(&uri).map(|Query(fields)| fields).map_err(|_| wrong())
}

/// A path on this hub to go on to; the first page in place of all that could lead elsewhere.
pub(crate) fn local(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && next.chars().all(|char| char.is_ascii_graphic() && char != '\\');
    if is_local { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        for (header, expected) in [
            ("rocbed-session=abc", Some("abc")),
            ("a=b; rocbed-session=abc; c", Some("abc")),
            ("xrocbed-session=abc", None),
            ("rocbed-session", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(header))]);
            assert_eq!(cookie(&headers), expected, "{header}");
        }
        assert!(set_cookie("x", &HeaderMap::new()).ends_with("HttpOnly; SameSite=Lax"));
        let secure = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://hub.example"))]);
        assert!(set_cookie("x", &secure).ends_with("; Secure"));
    }

    #[test]
    fn nobody_is_led_to_another_site() {
        for next in
            ["//evil.example", "https://evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b", "", "jobs", "/ä"]
        {
            assert_eq!(local(next), "/", "{next}");
        }
        assert_eq!(local("/jobs/rocfft-2?x=1"), "/jobs/rocfft-2?x=1");
    }

    proptest! {
        #[test]
        fn any_text_leads_to_a_path_of_the_hub(text in ".{0,40}") {
            let to = local(&text);
            prop_assert!(to.starts_with('/') && !to.starts_with("//") && HeaderValue::from_str(to).is_ok());
        }
    }
}
