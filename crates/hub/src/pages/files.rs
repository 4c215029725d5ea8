//! The page with the files of a result's bundle.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use protocol::api::BundleFile;

use crate::format::size;
use crate::http::Reader;
use crate::http::bundle_files::{self, Filter, How};
use crate::hub::Shared;
use crate::pages::{Page, PageError, render};
use crate::party::Party;

#[derive(Template)]
#[template(path = "files.html")]
struct FilesPage {
    here: &'static str,
    id: String,
    find: String,
    files: Vec<Line>,
    next: Option<String>,
    is_cut: bool,
}

struct Line {
    number: usize,
    name: String,
    size: String,
    target: Option<String>,
    only_in_bundle: bool,
}

impl Line {
    fn new(file: BundleFile) -> Self {
        let BundleFile { number, name, size: bytes, target, only_in_bundle } = file;
        Self { number, name, size: size(bytes), target, only_in_bundle }
    }
}

pub(crate) async fn page(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Path(id): Path<String>,
    Query(filter): Query<Filter>,
) -> Page {
    let find = filter.find.clone().unwrap_or_default();
    let found = bundle_files::page(&shared, &party, &id, filter).await?;
    let files = found.files.into_iter().map(Line::new).collect();
    render(&FilesPage { here: "jobs", id, find, files, next: found.next, is_cut: found.cut })
}

/// One of the files, as the API sends it. What goes wrong is told as a page.
pub(crate) async fn one(
    shared: State<Shared>,
    reader: Reader,
    party: Party,
    path: Path<(String, String)>,
    how: Query<How>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    Ok(bundle_files::one(shared, reader, party, path, how, method, headers).await?)
}
