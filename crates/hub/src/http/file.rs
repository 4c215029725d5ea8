//! Sends a file, or a range of it (RFC 9110, section 14).

use std::io::SeekFrom;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use transfer::range::{ContentRange, RequestedRange};

use crate::concurrency::Permit;
use crate::http::answer::{Answer, io_problem};

/// Bytes read at a time.
const PIECE: u64 = 128 << 10;

/// The `Range` of a request. It has a meaning for GET only (RFC 9110, section 14.2).
pub(crate) fn range<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a str> {
    headers.get(header::RANGE).filter(|_| method == Method::GET)?.to_str().ok()
}

/// Sends an open file, or the asked range of it; with `name` a browser saves it. The length is fixed at the start, as a log may grow meanwhile. The
/// permit is released when everything was sent.
pub(crate) async fn send(
    mut file: File,
    kind: &'static str,
    name: Option<&str>,
    range: Option<&str>,
    permit: Permit,
) -> Answer<Response> {
    let length = file.metadata().await.map_err(|error| io_problem(&error))?.len();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(value) = name.and_then(|name| HeaderValue::try_from(format!("attachment; filename=\"{name}\"")).ok()) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    let mut content_range = |range: ContentRange| {
        let value = HeaderValue::try_from(range.to_string()).ok();
        headers.extend(value.map(|value| (header::CONTENT_RANGE, value)));
    };
    let (status, first, count) = match range.map_or(RequestedRange::All, |value| RequestedRange::parse(value, length)) {
        RequestedRange::All => (StatusCode::OK, 0, length),
        RequestedRange::Part(range) => {
            content_range(ContentRange::part(&range, length));
            (StatusCode::PARTIAL_CONTENT, range.start, range.end.saturating_sub(range.start))
        }
        RequestedRange::Nothing => {
            content_range(ContentRange::unsatisfied(length));
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    file.seek(SeekFrom::Start(first)).await.map_err(|error| io_problem(&error))?;
    let pieces = futures_util::stream::try_unfold((file, count, permit), |(mut file, left, permit)| async move {
        let mut piece = vec![0; left.min(PIECE) as usize];
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        Ok(Some((Bytes::from(piece), (file, left.saturating_sub(read as u64), permit))))
    });
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_in_get_requests_only() {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=1-"))]);
        assert_eq!(range(&Method::GET, &headers), Some("bytes=1-"));
        assert_eq!(range(&Method::HEAD, &headers), None);
    }
}
