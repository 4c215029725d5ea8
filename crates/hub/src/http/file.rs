//! Sends a file, or a range of it (RFC 9110, section 14).

use std::io::SeekFrom;
use std::path::Path;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::gate::Pass;
use crate::http::answer::{Answer, io_problem};

/// Bytes read at a time.
const PIECE: u64 = 128 << 10;

/// Sends a file; with `name` a browser saves it. The length is fixed at the start, as a log may grow meanwhile. The
/// pass is released when everything was sent.
pub(crate) async fn send(
    path: &Path,
    kind: &'static str,
    name: Option<&str>,
    asked: &HeaderMap,
    pass: Pass,
) -> Answer<Response> {
    let mut file = File::open(path).await.map_err(|error| io_problem(&error))?;
    let length = file.metadata().await.map_err(|error| io_problem(&error))?.len();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(value) = name.and_then(|name| HeaderValue::try_from(format!("attachment; filename=\"{name}\"")).ok()) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    let range = asked.get(header::RANGE).and_then(|value| value.to_str().ok()).map(|text| range(text, length));
    let (status, first, count) = match range {
        Some(Range::Part(first, last)) => {
            let value = format!("bytes {first}-{last}/{length}");
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (header::CONTENT_RANGE, value)));
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        Some(Range::Outside) => {
            let value = HeaderValue::try_from(format!("bytes */{length}")).ok();
            headers.extend(value.map(|value| (header::CONTENT_RANGE, value)));
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
        Some(Range::Ignored) | None => (StatusCode::OK, 0, length),
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    file.seek(SeekFrom::Start(first)).await.map_err(|error| io_problem(&error))?;
    let pieces = futures_util::stream::try_unfold((file, count, pass), |(mut file, left, pass)| async move {
        let mut piece = vec![0; left.min(PIECE) as usize];
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        Ok(Some((Bytes::from(piece), (file, left.saturating_sub(read as u64), pass))))
    });
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// The first and the last byte.
    Part(u64, u64),
    /// The range is outside of the file.
    Outside,
    /// Not a single byte range: a server may then send the whole file.
    Ignored,
}

fn range(text: &str, length: u64) -> Range {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Range::Ignored;
    };
    let end = length.saturating_sub(1);
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Range::Ignored,
        (Ok(first), _) if (last.is_empty() || last.parse::<u64>().is_ok()) && first >= length => Range::Outside,
        (Ok(first), Ok(last)) => Range::Part(first, last.min(end)),
        (Ok(first), Err(_)) if last.is_empty() => Range::Part(first, end),
        (Err(_), Ok(0)) if first.is_empty() => Range::Outside,
        (Err(_), Ok(count)) if first.is_empty() && length > 0 => Range::Part(length.saturating_sub(count), end),
        _ => Range::Ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_standard_has_them() {
        for (text, expected) in [
            ("bytes=0-4", Range::Part(0, 4)),
            ("bytes=5-", Range::Part(5, 9)),
            ("bytes=-3", Range::Part(7, 9)),
            ("bytes=-30", Range::Part(0, 9)),
            ("bytes=8-30", Range::Part(8, 9)),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=4-2", Range::Ignored),
            ("bytes=0-1,3-4", Range::Ignored),
            ("lines=1-2", Range::Ignored),
        ] {
            assert_eq!(range(text, 10), expected, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Range::Outside);
    }
}
