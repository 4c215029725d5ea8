//! Every route of the API in one table, from which the router and the OpenAPI document are made.

use std::sync::LazyLock;

use axum::http::Method;
use axum::routing::{delete, get, head, patch, post, put};
use axum::{Json, Router};
use protocol::api::{
    AddJobs, AddKnown, AddedJobs, AskKept, AskParts, BundleFiles, BundleStorage, Claim, Claimed, Comparison, Complete,
    Completed, Confirmed, CreateUpload, DebciStatus, ExplanationList, GiveBack, Given, Heartbeat, HeartbeatAnswer,
    HistoryList, JobInfo, JobPackages, JobPage, KeptPackages, KnownFailure, KnownList, LogAnswer, PREFIX, Parts, Pause,
    Register, Registered, ResultDetail, ResultPage, RetryGpus, Upload, WorkerInfo, WorkerPage, WorkerReport,
};
use serde_json::Value;

use crate::http::auth::Reader;
use crate::http::endpoint::{Content, Endpoint, For, json};
use crate::http::openapi::document;
use crate::http::{bundle_files, debci, history, jobs, kept, leases, packages, results, storage, uploads, workers};
use crate::hub::Shared;

const WORKER: (&str, &str) = ("worker", "Which worker had it last: its id, its name, or the beginning of either");

const PAGING: [(&str, &str); 2] =
    [("limit", "How many at most; 100 if it is missing"), ("after", "`next` of the page before")];

const HISTORY: [(&str, &str); 8] = [
    ("package", "Of this source package, or of those that a pattern with * and ? matches"),
    ("target", "On this target: gfx1030"),
    ("test", "This test; the whole run if it is empty"),
    ("as", "Run as user or root; both if it is missing"),
    ("state", "In one of these states, with commas between them: regression,new-failure"),
    ("variants", "true: also with packages from elsewhere than the archive"),
    ("changes", "How many changes of state each at most; none if it is missing"),
    ("runs", "How many runs each at most; none if it is missing"),
];

/// The table of all routes.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let of = Endpoint::new;
    vec![
        of(Method::POST, "/workers", "register", For::Joining, post(workers::register))
            .says("Registers a worker, or takes it up again")
            .takes(json::<Register>())
            .answers(200, json::<Registered>()),
        of(Method::GET, "/workers", "list-workers", For::Reader, get(workers::list))
            .says("Lists workers by their ids")
            .query(&PAGING)
            .answers(200, json::<WorkerPage>()),
        of(Method::GET, "/workers/{worker}", "show-worker", For::Reader, get(workers::one))
            .says("Shows a worker")
            .answers(200, json::<WorkerInfo>()),
        of(Method::PUT, "/workers/{worker}/health", "report-health", For::Worker, put(workers::report))
            .says("Says how a worker is")
            .takes(json::<WorkerReport>())
            .answers(204, Content::Nothing),
        of(Method::POST, "/workers/{worker}/pause", "pause-worker", For::Admin, post(workers::pause))
            .says("Gives a worker no more jobs until it is resumed; what it runs goes on")
            .takes(json::<Pause>())
            .answers(200, json::<WorkerInfo>()),
        of(Method::POST, "/workers/{worker}/resume", "resume-worker", For::Admin, post(workers::resume))
            .says("Gives a worker jobs again")
            .answers(200, json::<WorkerInfo>()),
        of(Method::POST, "/workers/{worker}/retry-gpus", "retry-gpus", For::Admin, post(workers::retry_gpus))
            .says("Has a worker try GPUs again that it has left out; it restarts for it before its next job")
            .takes(json::<RetryGpus>())
            .answers(200, json::<WorkerInfo>()),
        of(Method::DELETE, "/workers/{worker}", "remove-worker", For::Admin, delete(workers::remove))
            .says("Forgets a worker: its tokens end, its jobs go to others, its results stay")
            .answers(204, Content::Nothing),
        of(Method::POST, "/claims", "claim", For::Worker, post(leases::claim))
            .says("Asks for a job and waits for one; 204 if there was none")
            .takes(json::<Claim>())
            .answers(200, json::<Claimed>()),
        of(Method::POST, "/leases/{lease}/heartbeat", "heartbeat", For::Worker, post(leases::heartbeat))
            .says("Keeps a lease; hears whether to stop")
            .takes(json::<Heartbeat>())
            .answers(200, json::<HeartbeatAnswer>()),
        of(Method::PUT, "/leases/{lease}/log", "append-log", For::Worker, put(leases::log))
            .says("Appends a piece of at most 1 MiB to the log; what is there already is not written again")
            .query(&[("offset", "Where the piece begins, in bytes")])
            .takes(Content::Bytes("application/octet-stream"))
            .answers(200, json::<LogAnswer>()),
        of(Method::POST, "/leases/{lease}/complete", "complete", For::Worker, post(leases::complete))
            .says("Delivers the result of a job; its bundle was uploaded before")
            .takes(json::<Complete>())
            .answers(200, json::<Completed>()),
        of(Method::POST, "/leases/{lease}/give-back", "give-back", For::Worker, post(leases::give_back))
            .says("Gives a job back")
            .takes(json::<GiveBack>())
            .answers(200, json::<Given>()),
        of(Method::POST, "/uploads", "create-upload", For::Worker, post(uploads::create))
            .says("Announces an upload, or finds it again")
            .takes(json::<CreateUpload>())
            .answers(201, json::<Upload>()),
        of(Method::HEAD, "/uploads/{upload}", "ask-upload", For::Worker, head(uploads::ask))
            .says("Asks how much of an upload is there: headers upload-offset, upload-length, upload-complete")
            .answers(200, Content::Nothing),
        of(Method::PATCH, "/uploads/{upload}", "append-upload", For::Worker, patch(uploads::append))
            .says("Appends to an upload; with the last byte its digest is checked")
            .headers(&[("upload-offset", "Where the bytes begin")])
            .takes(Content::Bytes("application/octet-stream"))
            .answers(204, Content::Nothing),
        of(Method::POST, "/uploads/{upload}/parts", "ask-parts", For::Worker, post(uploads::parts))
            .says("Signs addresses for the parts of a bundle that the hub's storage has not, or ends the upload")
            .takes(json::<AskParts>())
            .answers(200, json::<Parts>()),
        of(Method::POST, "/packages", "create-package-upload", For::Admin, post(packages::create))
            .says("Announces the upload of a package file for a job that will be added, or finds it again")
            .takes(json::<CreateUpload>())
            .answers(201, json::<Upload>()),
        of(Method::HEAD, "/packages/{upload}", "ask-package-upload", For::Admin, head(packages::ask))
            .says("Asks how much of a package file is there: headers upload-offset, upload-length, upload-complete")
            .answers(200, Content::Nothing),
        of(Method::PATCH, "/packages/{upload}", "append-package-upload", For::Admin, patch(packages::append))
            .says("Appends to the upload of a package file; with the last byte its digest is checked")
            .headers(&[("upload-offset", "Where the bytes begin")])
            .takes(Content::Bytes("application/octet-stream"))
            .answers(204, Content::Nothing),
        of(Method::GET, "/leases/{lease}/packages/{sha256}", "read-package", For::Worker, get(packages::fetch))
            .says("Downloads a package file of the job that the worker has; takes Range")
            .answers(200, Content::Bytes("application/octet-stream")),
        of(Method::POST, "/kept-packages", "list-kept-packages", For::Reader, post(kept::list))
            .says("Says which versions of packages the hub keeps, so that jobs can have them when the archive has them no more")
            .takes(json::<AskKept>())
            .answers(200, json::<KeptPackages>()),
        of(Method::GET, "/kept-packages/{sha256}", "read-kept-package", For::Admin, get(kept::fetch))
            .says("Downloads a package that the hub keeps; takes Range")
            .answers(200, Content::Bytes("application/octet-stream")),
        of(Method::POST, "/jobs", "add-jobs", For::Admin, post(jobs::add))
            .says("Adds jobs")
            .takes(json::<AddJobs>())
            .answers(200, json::<AddedJobs>()),
        of(Method::GET, "/jobs", "list-jobs", For::Reader, get(jobs::list))
            .says("Lists jobs, the newest first")
            .query(&[
                ("state", "queued, running, finished, cancelled or given-up"),
                ("package", "What is tested, or a pattern for its name with * and ?"),
                ("target", "On what its result is: gfx1030; none without a GPU"),
                WORKER,
                PAGING[0],
                PAGING[1],
            ])
            .answers(200, json::<JobPage>()),
        of(Method::GET, "/jobs/{job}", "show-job", For::Reader, get(jobs::one))
            .says("Shows a job with its attempts")
            .answers(200, json::<JobInfo>()),
        of(Method::GET, "/jobs/{job}/log", "read-log", For::Reader, get(jobs::log))
            .says("Reads the log that was sent while the job ran; takes Range")
            .query(&[("attempt", "Which attempt's; the last if it is missing")])
            .answers(200, Content::Bytes("text/plain; charset=utf-8")),
        of(Method::POST, "/jobs/{job}/cancel", "cancel-job", For::Admin, post(jobs::cancel))
            .says("Cancels a job; its worker hears of it with the next heartbeat")
            .answers(200, json::<JobInfo>()),
        of(Method::POST, "/jobs/{job}/retry", "retry-job", For::Admin, post(jobs::retry))
            .says("Adds a job like one that is over, unless that was done and the new one is not over yet")
            .answers(200, json::<JobInfo>()),
        of(Method::GET, "/results", "list-results", For::Reader, get(results::list))
            .says("Lists results, those of the newest jobs first")
            .query(&[
                ("package", "What was tested"),
                ("target", "On what: gfx1030"),
                ("verdict", "pass, neutral, fail, timeout, gpu-fault or testbed-failed"),
                WORKER,
                PAGING[0],
                PAGING[1],
            ])
            .answers(200, json::<ResultPage>()),
        of(Method::GET, "/results/{job}", "show-result", For::Reader, get(results::one))
            .says("Shows the result of a job")
            .answers(200, json::<ResultDetail>()),
        of(Method::GET, "/results/{job}/bundle", "read-bundle", For::Reader, get(results::bundle))
            .says("Downloads the bundle of a result; takes Range")
            .answers(200, Content::Bytes("application/zstd")),
        of(Method::GET, "/results/{job}/files", "list-files", For::Reader, get(bundle_files::list))
            .says("Lists the files of the bundle of a result")
            .query(&[
                ("find", "Only names that contain this text, in upper or lower case"),
                ("limit", "How many at most; 500 if it is missing"),
                PAGING[1],
            ])
            .answers(200, json::<BundleFiles>()),
        of(Method::GET, "/results/{job}/files/{number}", "read-file", For::Reader, get(bundle_files::one))
            .says("Reads a file of the bundle of a result: plain text, a PNG, JPEG, GIF or WebP image, or bytes; takes Range")
            .query(&[("download", "true: a browser saves it instead of showing it")])
            .answers(200, Content::Bytes("*/*")),
        of(Method::GET, "/debci", "show-debci", For::Reader, get(debci::status))
            .says("Shows the connections to a debci server whose jobs the hub takes, and to workers of debci that get its jobs")
            .answers(200, json::<DebciStatus>()),
        of(Method::GET, "/results/{job}/packages", "list-packages", For::Reader, get(history::packages))
            .says("Lists the packages that were installed while the tests of a job ran")
            .answers(200, json::<JobPackages>()),
        of(Method::GET, "/results/{job}/bug", "write-bug", For::Reader, get(history::bug))
            .says("Writes the text of a bug report for reportbug")
            .answers(200, Content::Bytes("text/plain; charset=utf-8")),
        of(Method::POST, "/jobs/{job}/confirm", "confirm-job", For::Admin, post(history::confirm))
            .says("Adds a job that runs the failing tests of a job again, unless there is one that is not over yet")
            .query(&[("elsewhere", "true: on another machine than before, if one could take it")])
            .answers(200, json::<Confirmed>()),
        of(Method::GET, "/history", "list-history", For::Reader, get(history::list))
            .says("Lists tests with their states: since when they fail, and what passed last")
            .query(&HISTORY)
            .answers(200, json::<HistoryList>()),
        of(Method::GET, "/why", "explain", For::Reader, get(history::why))
            .says("Explains why tests of a package do not pass: what changed since they passed, and what that clears")
            .query(&HISTORY)
            .answers(200, json::<ExplanationList>()),
        of(Method::GET, "/compare", "compare", For::Reader, get(history::compare))
            .says("Compares two jobs, or all tests at the end of two days")
            .query(&[
                ("before", "A job's id, or a day: 2026-10-01"),
                ("after", "A job's id, or a day"),
                ("package", "Only this one, of days"),
            ])
            .answers(200, json::<Comparison>()),
        of(Method::GET, "/known", "list-known", For::Reader, get(history::known))
            .says("Lists known failures")
            .answers(200, json::<KnownList>()),
        of(Method::POST, "/known", "add-known", For::Admin, post(history::add_known))
            .says("Lists a failure as known: it is shown again when it passes or no longer runs")
            .takes(json::<AddKnown>())
            .answers(200, json::<KnownFailure>()),
        of(Method::DELETE, "/known/{known}", "remove-known", For::Admin, delete(history::remove_known))
            .says("Removes a known failure")
            .answers(204, Content::Nothing),
        of(Method::GET, "/storage", "show-storage", For::Reader, get(storage::show))
            .says("Says where bundles are kept, and whether that works")
            .answers(200, json::<BundleStorage>()),
        of(Method::GET, "/openapi.json", "openapi", For::Reader, get(openapi))
            .says("This description")
            .answers(200, Content::Json(|_| schemars::json_schema!({ "type": "object" }))),
    ]
}

/// The OpenAPI document of all routes.
pub(crate) fn openapi_document() -> Value {
    document(&endpoints())
}

async fn openapi(_: Reader) -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi_document);
    Json(&DOCUMENT)
}

/// The HTTP router of the API.
pub(crate) fn router() -> Router<Shared> {
    endpoints()
        .into_iter()
        .fold(Router::new(), |router, endpoint| router.route(&format!("{PREFIX}{}", endpoint.path), endpoint.handler))
}
