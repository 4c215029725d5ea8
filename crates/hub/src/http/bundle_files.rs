//! Routes for single files of a result's bundle.
//!
//! Tests choose names and contents. No content is ever taken for a document that could run anything: it has the type of
//! an image if it begins like one, of plain text if it looks like text, and otherwise of bytes that a browser saves; the
//! policy puts it into a sandbox besides. A request unpacks at most [`REACH`] bytes of the bundle.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use bundle::ReadError;
use protocol::api::{BundleFile, BundleFiles, Problem, ProblemCode};
use serde::Deserialize;
use sha256::Digest;

use crate::concurrency::Permit;
use crate::http::answer::{Answer, Refused, io_problem, refuse};
use crate::http::auth::Reader;
use crate::http::file::{self, Disposition};
use crate::http::jobs::find;
use crate::http::results::without_result;
use crate::hub::Shared;
use crate::limits::Stream;
use crate::party::Party;
use crate::problem::internal;
use crate::storage::open_bundle;
use crate::store::Listing;
use crate::store::file_lists::REACH;

/// Content-Security-Policy of a file of a bundle: it loads, runs and sends nothing, and has no origin.
const POLICY: &str = "sandbox; default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Bytes at the beginning of a file that its type is determined from.
const SNIFFED: u64 = 8 << 10;

/// Query for a list of files.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    /// Text that names contain.
    pub(crate) find: Option<String>,
    pub(crate) limit: Option<usize>,
    pub(crate) after: Option<String>,
}

/// Query for a file.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct How {
    /// Whether a browser saves it instead of showing it.
    download: Option<bool>,
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Path(job): Path<String>,
    Query(filter): Query<Filter>,
) -> Answer<Json<BundleFiles>> {
    Ok(Json(page(&shared, &party, &job, filter).await?))
}

/// A page of the list of a bundle's files.
pub(crate) async fn page(shared: &Shared, party: &Party, job: &str, filter: Filter) -> Answer<BundleFiles> {
    let limit = filter.limit.unwrap_or(500).clamp(1, 2000);
    let wrong =
        |text: &str| Problem::new(ProblemCode::Invalid, format!("after: `{text}` is not what a page ended with"));
    let from = filter.after.map_or(Ok(0), |text| text.parse::<usize>().map_err(|_| wrong(&text)))?;
    let find = filter.find.unwrap_or_default();
    let (number, _) = listed(shared, party, job).await?;
    let lists = shared.file_lists.clone();
    let found = tokio::task::spawn_blocking(move || lists.page(number, find.trim(), from, limit)).await?;
    Ok(found.map_err(|error| io_problem(&error))?.unwrap_or_default())
}

/// Number of a job whose bundle's files are listed, and the bundle. A list that is not there, as the result is from before hubs kept them,
/// is made from the bundle.
async fn listed(shared: &Shared, party: &Party, job: &str) -> Answer<(i64, Digest)> {
    let (number, _, info) = find(shared, job).await?;
    let Some(result) = info.result else {
        return Err(without_result(shared, job).await?);
    };
    let lists = shared.file_lists.clone();
    let known = tokio::task::spawn_blocking(move || lists.page(number, "", 0, 1)).await?;
    // One that cannot be read is made again.
    if known.is_ok_and(|list| list.is_some()) {
        return Ok((number, result.bundle));
    }
    let permit = shared.limits.stream(Stream::BundleFile, party)?;
    shared.check_room()?;
    let bundle = open(shared, job, result.bundle).await?;
    let lists = shared.file_lists.clone();
    let made = shared.limits.unpack(move || -> Result<(), ReadError> {
        let mut listing = Listing::default();
        let ended = bundle::list(bundle, REACH, &mut |entry| listing.add(entry));
        listing.cut = matches!(ended, Err(ReadError::TooLarge(_)));
        if !listing.cut {
            ended?;
        }
        drop(permit);
        Ok(lists.keep(number, &listing)?)
    });
    made.await?.map_err(unreadable)?;
    Ok((number, result.bundle))
}

async fn open(shared: &Shared, job: &str, sha256: Digest) -> Answer<File> {
    Ok(open_bundle(shared, sha256, format!("the bundle of job `{job}` is no longer kept")).await?)
}

/// The problem of a bundle that was accepted and cannot be read now.
fn unreadable(error: ReadError) -> Refused {
    match error {
        ReadError::Io(error) => io_problem(&error).into(),
        // Headers of a bundle may be larger than was reckoned when it was listed.
        ReadError::TooLarge(_) => {
            let detail = format!("it is behind the first {REACH} bytes of the bundle");
            Problem::new(ProblemCode::OnlyInBundle, detail).into()
        }
        other => internal(&other).into(),
    }
}

pub(crate) async fn one(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Path((job, number)): Path<(String, String)>,
    Query(how): Query<How>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let missing = || Problem::new(ProblemCode::NotFound, format!("the bundle of job `{job}` has no file `{number}`"));
    let place: usize = number.parse().map_err(|_| missing())?;
    let (job_number, digest) = listed(&shared, &party, &job).await?;
    let lists = shared.file_lists.clone();
    let found = tokio::task::spawn_blocking(move || lists.one(job_number, place)).await?;
    let found = found.map_err(|error| io_problem(&error))?.filter(|file| file.target.is_none());
    let file = found.ok_or_else(missing)?;
    if file.only_in_bundle {
        let detail = format!("it has {} bytes, or is behind the first {REACH} bytes of the bundle", file.size);
        return refuse(ProblemCode::OnlyInBundle, detail);
    }
    let permit = shared.limits.stream(Stream::BundleFile, &party)?;
    let bundle = open(&shared, &job, digest).await?;
    let Some((content, kind, permit)) = unpacked(&shared, bundle, &file, permit).await? else {
        return Err(missing().into());
    };
    let disposition = match kind {
        Some(_) if !how.download.unwrap_or(false) => Disposition::ShowAs(&file.name),
        _ => Disposition::Save(&file.name),
    };
    let kind = kind.unwrap_or("application/octet-stream");
    let content = tokio::fs::File::from_std(content);
    let mut response = file::send(content, kind, disposition, file::range(&method, &headers), permit).await?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

/// Unpacks a file of a bundle into one that has no name, and determines its type. `None` if it is not in the bundle.
async fn unpacked(
    shared: &Shared,
    bundle: File,
    file: &BundleFile,
    permit: Permit,
) -> Answer<Option<(File, Option<&'static str>, Permit)>> {
    shared.check_room_for(file.size)?;
    let (directory, number) = (shared.data_dir().to_owned(), file.number);
    let unpack = move || -> Result<_, ReadError> {
        let mut content = tempfile::tempfile_in(directory)?;
        let mut to = io::BufWriter::new(&mut content);
        let size = bundle::copy_entry(bundle, number, REACH, &mut to)?;
        to.flush()?;
        drop(to);
        content.rewind()?;
        let mut beginning = Vec::new();
        (&content).take(SNIFFED).read_to_end(&mut beginning)?;
        content.rewind()?;
        Ok(size.map(|_| (content, kind(&beginning), permit)))
    };
    shared.limits.unpack(unpack).await?.map_err(unreadable)
}

/// The media type of a file that a browser may show; `None` of one that it saves.
fn kind(beginning: &[u8]) -> Option<&'static str> {
    match beginning {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        bytes if bytes.iter().copied().any(is_binary) => None,
        _ => Some("text/plain; charset=utf-8"),
    }
}

/// Whether a byte does not occur in text: the standard's binary data bytes (WHATWG MIME Sniffing, section 3), but for bell
/// and backspace, which logs of terminals have.
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0..=6 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_and_text_are_shown_and_markup_is_text() {
        let text = Some("text/plain; charset=utf-8");
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"<html><script>alert(1)</script>", text),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", text),
            (b"<?xml version='1.0'?><testsuites/>", text),
            (b"%PDF-1.7", text),
            (b"\x1b[31mred\x1b[0m\x07\x08 100 %\n", text),
            (b"caf\xe9 not UTF-8", text),
            (b"", text),
            (b"\x1f\x8b\x08\0", None),
            (b"\x7fELF\x02\x01", None),
            (b"text\0", None),
        ] {
            assert_eq!(kind(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
