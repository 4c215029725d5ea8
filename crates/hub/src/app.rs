//! The web application: all routes, with the checks and headers that apply to every request.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use protocol::VERSION;
use protocol::api::{PROTOCOL_HEADER, Problem, ProblemCode};

use crate::connections::Visit;
use crate::http::answer::{Answer, Refused, refuse};
use crate::http::auth::{self, Identity};
use crate::http::routes;
use crate::hub::Shared;
use crate::party::{Origin, Party, asked_by};
use crate::{metrics, pages};

/// Content-Security-Policy: only the hub's own scripts and styles, nothing from other sites, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(crate) fn app(shared: Shared) -> Router {
    Router::new()
        .merge(routes::router())
        .merge(pages::router())
        .route("/metrics", get(metrics::serve))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(shared.clone(), around))
        .with_state(shared)
}

async fn nowhere(request: Request) -> Response {
    let problem = Problem::new(ProblemCode::NotFound, format!("nothing is at {}", request.uri().path()));
    if pages::is_person(request.headers()) {
        pages::PageError::from(problem).into_response()
    } else {
        Refused(problem).into_response()
    }
}

async fn wrong_method(request: Request) -> Answer<()> {
    refuse(ProblemCode::MethodNotAllowed, format!("{} does not take {}", request.uri().path(), request.method()))
}

/// Applies the per-party limits before any work is done for a request.
async fn admitted(shared: &Shared, mut request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let who = auth::who(&parts, shared);
    let visit = parts.extensions.get::<Arc<Visit>>().cloned();
    let peer = visit.as_ref().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |visit| visit.peer);
    let origin = Origin::of(asked_by(peer, &parts.headers, &shared.config.trusted_proxies));
    let party = Party::new(who.as_ref().ok().and_then(Option::as_ref), origin);
    if let Some(visit) = &visit {
        visit.belongs_to(&party);
    }
    let admitted = match shared.limits.admit(&party).await {
        Ok(admitted) => admitted,
        Err(problem) => {
            shared.counters.turned_away.fetch_add(1, Ordering::Relaxed);
            return if pages::is_person(&parts.headers) {
                pages::PageError::from(problem).into_response()
            } else {
                Refused(problem).into_response()
            };
        }
    };
    parts.extensions.insert(party);
    parts.extensions.insert(Identity::new(who));
    request = Request::from_parts(parts, body);
    let response = next.run(request).await;
    drop(admitted);
    response
}

async fn around(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let version = request.headers().get(PROTOCOL_HEADER).map(|value| value.to_str().ok()?.parse::<u32>().ok());
    let mut response = match version {
        Some(None) => {
            let problem = Problem::new(ProblemCode::BadRequest, format!("header {PROTOCOL_HEADER} is not a number"));
            Refused(problem).into_response()
        }
        Some(Some(version)) if version > VERSION => {
            let detail = format!("the request is of version {version}, and the hub speaks {VERSION}");
            Refused(Problem::new(ProblemCode::TooNew, detail)).into_response()
        }
        _ => admitted(&shared, request, next).await,
    };
    // axum answers with its own texts if it cannot parse an address or query; they become problems here.
    let strange =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if response.status() == StatusCode::BAD_REQUEST && strange {
        let detail = "the address or its query is not understood";
        response = Refused(Problem::new(ProblemCode::BadRequest, detail)).into_response();
    }
    count(&shared, response.status());
    let headers = response.headers_mut();
    headers.insert(PROTOCOL_HEADER, HeaderValue::from(VERSION));
    // A file of a test has a stricter one.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn count(shared: &Shared, status: StatusCode) {
    let counters = &shared.counters;
    counters.requests.fetch_add(1, Ordering::Relaxed);
    if status.is_client_error() {
        counters.refused.fetch_add(1, Ordering::Relaxed);
    } else if status.is_server_error() {
        counters.failed.fetch_add(1, Ordering::Relaxed);
    }
}
