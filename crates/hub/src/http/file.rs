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

/// Longest name of a file for a user's disk, in bytes.
const LONGEST_NAME: usize = 100;

/// The `Range` of a request. It has a meaning for GET only (RFC 9110, section 14.2).
pub(crate) fn range<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a str> {
    headers.get(header::RANGE).filter(|_| method == Method::GET)?.to_str().ok()
}

/// What a browser does with a file (`Content-Disposition`, RFC 6266).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition<'a> {
    /// Shows it if it can.
    Show,
    /// Shows it if it can, and saves it under this name when told to.
    ShowAs(&'a str),
    /// Saves it under this name.
    Save(&'a str),
}

impl Disposition<'_> {
    fn header(self) -> Option<HeaderValue> {
        let (what, name) = match self {
            Self::Show => return None,
            Self::ShowAs(name) => ("inline", name),
            Self::Save(name) => ("attachment", name),
        };
        HeaderValue::try_from(format!("{what}; filename=\"{}\"", plain_name(name))).ok()
    }
}

/// A name for a file on a user's disk, of a path that anybody may have chosen: the end of its last part, of letters and
/// digits, and of marks that have no meaning in a header, a path or a shell.
fn plain_name(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let plain = |char: char| if char.is_ascii_alphanumeric() || "._+-".contains(char) { char } else { '_' };
    let chars: Vec<char> = last.chars().map(plain).collect();
    let end: String = chars.get(chars.len().saturating_sub(LONGEST_NAME)..).unwrap_or_default().iter().collect();
    let end = end.trim_start_matches(['.', '-']);
    if end.is_empty() { "file".to_owned() } else { end.to_owned() }
}

/// Sends an open file, or the asked range of it. The length is fixed at the start, as a log may grow meanwhile. The permit
/// is released when everything was sent.
pub(crate) async fn send(
    mut file: File,
    kind: &'static str,
    disposition: Disposition<'_>,
    range: Option<&str>,
    permit: Permit,
) -> Answer<Response> {
    let length = file.metadata().await.map_err(|error| io_problem(&error))?.len();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.extend(disposition.header().map(|value| (header::CONTENT_DISPOSITION, value)));
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

    #[test]
    fn names_of_others_are_harmless_in_a_header_and_on_a_disk() {
        for (path, name) in [
            ("user/artifacts/rocrand-tests.xml", "rocrand-tests.xml"),
            ("user/\"; filename=\"evil.exe", "___filename__evil.exe"),
            ("a\r\nSet-Cookie: x=1", "a__Set-Cookie__x_1"),
            ("user/.bashrc", "bashrc"),
            ("user/--help", "help"),
            ("..", "file"),
            ("", "file"),
        ] {
            assert_eq!(plain_name(path), name);
        }
        assert_eq!(plain_name(&format!("{}.png", "x".repeat(4000))).len(), LONGEST_NAME);
    }
}
