//! The calls of the API, one for each route.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use protocol::Verdict;
use protocol::api::{
    AddJobs, AddKnown, AddedJobs, AskKept, BundleFiles, Claim, Claimed, Comparison, Complete, Completed, Confirmed,
    DebciStatus, ExplanationList, GiveBack, Given, Heartbeat, HeartbeatAnswer, HistoryList, JobInfo, JobPackages,
    JobPage, JobState, KeptPackages, KnownFailure, KnownList, LogAnswer, Pause, ProblemCode, Register, Registered,
    ResultDetail, ResultPage, RetryGpus, TestState, WorkerInfo, WorkerPage, WorkerReport,
};
use ureq::http::Method;

use crate::error::ClientError;
use crate::http::{Call, Client};

/// Longest time that a call waits while the hub checks a bundle, besides the timeout of each answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Filter for a list of jobs.
#[derive(Debug, Clone, Default)]
pub struct JobQuery {
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs of this package.
    pub package: Option<String>,
    /// Only jobs with results on this target.
    pub target: Option<String>,
    /// Only jobs that this worker has or last had: its id, its name, or the beginning of either.
    pub worker: Option<String>,
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Most jobs on the page.
    pub limit: Option<usize>,
}

/// Filter for a list of results.
#[derive(Debug, Clone, Default)]
pub struct ResultQuery {
    /// Only results of this package.
    pub package: Option<String>,
    /// Only results on this target.
    pub target: Option<String>,
    /// Only results with this verdict.
    pub verdict: Option<Verdict>,
    /// Only results from this worker: its id, its name, or the beginning of either.
    pub worker: Option<String>,
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Most results on the page.
    pub limit: Option<usize>,
}

/// Filter for histories of tests.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only of this source package.
    pub package: Option<String>,
    /// Only on this target.
    pub target: Option<String>,
    /// Only this test; the whole run if it is empty.
    pub test: Option<String>,
    /// Only tests in these states.
    pub states: Vec<TestState>,
    /// Also tests with packages from elsewhere than the archive.
    pub variants: bool,
    /// Most changes of state of each test.
    pub changes: usize,
    /// Most runs of each test.
    pub runs: usize,
}

impl HistoryQuery {
    fn fields(&self) -> [(&'static str, Option<String>); 7] {
        let states: Vec<&str> = self.states.iter().map(|state| state.name()).collect();
        let number = |number: usize| (number > 0).then(|| number.to_string());
        [
            ("package", self.package.clone()),
            ("target", self.target.clone()),
            ("test", self.test.clone()),
            ("state", (!states.is_empty()).then(|| states.join(","))),
            ("variants", self.variants.then(|| "true".to_owned())),
            ("changes", number(self.changes)),
            ("runs", number(self.runs)),
        ]
    }
}

/// Percent-encodes a part of an address (RFC 3986, section 2.1).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn query(path: &str, fields: &[(&str, Option<String>)]) -> String {
    let given = fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_deref()?))));
    let given = given.collect::<Vec<_>>().join("&");
    if given.is_empty() { path.to_owned() } else { format!("{path}?{given}") }
}

/// Calls of workers.
impl Client {
    /// Registers a worker, with the join token. The answer has the worker's own token.
    ///
    /// # Errors
    ///
    /// If the hub cannot be reached or refuses; the same for all calls.
    pub fn register(&self, request: &Register) -> Result<Registered, ClientError> {
        self.document(Method::POST, "/workers", Some(request))
    }

    /// Reports the worker's status.
    pub fn report(&self, worker: &str, report: &WorkerReport) -> Result<(), ClientError> {
        let path = format!("/workers/{}/health", escape(worker));
        self.exchange::<()>(Method::PUT, &path, Some(report), Duration::ZERO).map(drop)
    }

    /// Claims a job, and waits for one as long as the claim says.
    pub fn claim(&self, claim: &Claim) -> Result<Option<Claimed>, ClientError> {
        self.exchange(Method::POST, "/claims", Some(claim), Duration::from_secs(claim.wait))
    }

    /// Renews a lease.
    pub fn heartbeat(&self, lease: &str, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ClientError> {
        self.document(Method::POST, &format!("/leases/{}/heartbeat", escape(lease)), Some(heartbeat))
    }

    /// Appends a piece of at most 1 MiB to the log. Returns the length of the log at the hub.
    ///
    /// # Errors
    ///
    /// With [`protocol::api::ProblemCode::WrongOffset`] if the hub lacks something before the piece; the problem's
    /// offset says where to continue.
    pub fn append_log(&self, lease: &str, offset: u64, piece: &[u8]) -> Result<u64, ClientError> {
        let path = format!("/leases/{}/log?offset={offset}", escape(lease));
        let mut response = self.call(&Call::new(Method::PUT, path.clone()).bytes(piece))?;
        let odd = |reason: String| ClientError::NotAHub { url: self.shown(&path), reason };
        let mut bytes = Vec::new();
        let read = response.body_mut().as_reader().take(1 << 16).read_to_end(&mut bytes);
        read.map_err(|error| odd(error.to_string()))?;
        let answer: LogAnswer = serde_json::from_slice(&bytes).map_err(|error| odd(error.to_string()))?;
        Ok(answer.offset)
    }

    /// Delivers a result, whose bundle was [uploaded](Client::upload) before. The hub takes some time to check a large
    /// bundle; the call repeats the request for up to two minutes.
    ///
    /// # Errors
    ///
    /// With [`ProblemCode::Checking`], a temporary error, if the check takes longer.
    pub fn complete(&self, lease: &str, complete: &Complete) -> Result<Completed, ClientError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.document(Method::POST, &format!("/leases/{}/complete", escape(lease)), Some(complete)) {
                Err(ClientError::Refused(problem)) if problem.code == ProblemCode::Checking => {
                    let pause = problem.retry_after().unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(30));
                    if Instant::now() + pause > until {
                        return Err(ClientError::Refused(problem));
                    }
                    sleep(pause);
                }
                other => return other,
            }
        }
    }

    /// Gives a job back.
    pub fn give_back(&self, lease: &str, request: &GiveBack) -> Result<Given, ClientError> {
        self.document(Method::POST, &format!("/leases/{}/give-back", escape(lease)), Some(request))
    }
}

/// Calls of users.
impl Client {
    /// Adds jobs.
    pub fn add_jobs(&self, request: &AddJobs) -> Result<AddedJobs, ClientError> {
        self.document(Method::POST, "/jobs", Some(request))
    }

    /// A page of jobs, newest first.
    pub fn jobs(&self, wanted: &JobQuery) -> Result<JobPage, ClientError> {
        self.get(&query(
            "/jobs",
            &[
                ("state", wanted.state.map(|state| state.name().to_owned())),
                ("package", wanted.package.clone()),
                ("target", wanted.target.clone()),
                ("worker", wanted.worker.clone()),
                ("after", wanted.after.clone()),
                ("limit", wanted.limit.map(|limit| limit.to_string())),
            ],
        ))
    }

    /// A job with its attempts.
    pub fn job(&self, job: &str) -> Result<JobInfo, ClientError> {
        self.get(&format!("/jobs/{}", escape(job)))
    }

    /// Cancels a job.
    pub fn cancel(&self, job: &str) -> Result<JobInfo, ClientError> {
        self.document(Method::POST, &format!("/jobs/{}/cancel", escape(job)), None::<&()>)
    }

    /// Adds a copy of a job that has ended. Returns the new job.
    pub fn retry(&self, job: &str) -> Result<JobInfo, ClientError> {
        self.document(Method::POST, &format!("/jobs/{}/retry", escape(job)), None::<&()>)
    }

    /// Adds a job that runs the failing tests of a job again; `elsewhere`: on another machine, if one could take it.
    pub fn confirm(&self, job: &str, elsewhere: bool) -> Result<Confirmed, ClientError> {
        let path = format!("/jobs/{}/confirm", escape(job));
        let path = query(&path, &[("elsewhere", elsewhere.then(|| "true".to_owned()))]);
        self.document(Method::POST, &path, None::<&()>)
    }

    /// Histories of tests.
    pub fn history(&self, wanted: &HistoryQuery) -> Result<HistoryList, ClientError> {
        self.get(&query("/history", &wanted.fields()))
    }

    /// Explanations of tests that do not pass.
    pub fn why(&self, wanted: &HistoryQuery) -> Result<ExplanationList, ClientError> {
        self.get(&query("/why", &wanted.fields()))
    }

    /// Compares two jobs, or two days.
    pub fn compare(&self, before: &str, after: &str, package: Option<&str>) -> Result<Comparison, ClientError> {
        let fields = [
            ("before", Some(before.to_owned())),
            ("after", Some(after.to_owned())),
            ("package", package.map(str::to_owned)),
        ];
        self.get(&query("/compare", &fields))
    }

    /// The packages that were installed while the tests of a job ran.
    pub fn packages(&self, job: &str) -> Result<JobPackages, ClientError> {
        self.get(&format!("/results/{}/packages", escape(job)))
    }

    /// Which versions of packages the hub keeps, of at most [`AskKept::MOST`].
    pub fn kept_packages(&self, question: &AskKept) -> Result<KeptPackages, ClientError> {
        self.document(Method::POST, "/kept-packages", Some(question))
    }

    /// Downloads the text of a bug report. Returns the number of bytes.
    pub fn bug(&self, job: &str, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/results/{}/bug", escape(job)), 0, to)
    }

    /// All known failures.
    pub fn known(&self) -> Result<KnownList, ClientError> {
        self.get("/known")
    }

    /// Lists a failure as known.
    pub fn add_known(&self, known: &AddKnown) -> Result<KnownFailure, ClientError> {
        self.document(Method::POST, "/known", Some(known))
    }

    /// Removes a known failure.
    pub fn remove_known(&self, id: i64) -> Result<(), ClientError> {
        self.exchange::<()>(Method::DELETE, &format!("/known/{id}"), None::<&()>, Duration::ZERO).map(drop)
    }

    /// A page of results, newest jobs first.
    pub fn results(&self, wanted: &ResultQuery) -> Result<ResultPage, ClientError> {
        self.get(&query(
            "/results",
            &[
                ("package", wanted.package.clone()),
                ("target", wanted.target.clone()),
                ("verdict", wanted.verdict.map(|verdict| verdict.name().to_owned())),
                ("worker", wanted.worker.clone()),
                ("after", wanted.after.clone()),
                ("limit", wanted.limit.map(|limit| limit.to_string())),
            ],
        ))
    }

    /// The result of a job.
    pub fn result(&self, job: &str) -> Result<ResultDetail, ClientError> {
        self.get(&format!("/results/{}", escape(job)))
    }

    /// Downloads the bundle of a job's result; an interrupted download is resumed. Returns the number of bytes.
    pub fn bundle(&self, job: &str, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.bundle_from(job, 0, to)
    }

    /// Like [`Client::bundle`], starting at this byte, to continue an earlier download.
    pub fn bundle_from(&self, job: &str, offset: u64, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/results/{}/bundle", escape(job)), offset, to)
    }

    /// The first files of the bundle of a job's result, or those after `next` of the answer before.
    pub fn files(&self, job: &str, after: Option<&str>) -> Result<BundleFiles, ClientError> {
        self.get(&query(&format!("/results/{}/files", escape(job)), &[("after", after.map(str::to_owned))]))
    }

    /// Downloads a file of the bundle by its number. Returns the number of bytes.
    pub fn file(&self, job: &str, number: usize, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/results/{}/files/{number}", escape(job)), 0, to)
    }

    /// A reader for the bundle, for callers that need only its beginning. It does not resume after an interruption.
    pub fn read_bundle(&self, job: &str) -> Result<impl Read + use<>, ClientError> {
        let call = Call::new(Method::GET, format!("/results/{}/bundle", escape(job)));
        Ok(self.call(&call)?.into_body().into_reader())
    }

    /// Downloads the log of a job's last attempt, as far as it was sent. Returns the number of bytes.
    pub fn log(&self, job: &str, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/jobs/{}/log", escape(job)), 0, to)
    }

    /// Downloads an attempt's log from this byte on, which may be empty. Returns the number of bytes.
    pub fn log_from(&self, job: &str, attempt: u32, offset: u64, to: &mut dyn Write) -> Result<u64, ClientError> {
        match self.download(&format!("/jobs/{}/log?attempt={attempt}", escape(job)), offset, to) {
            Err(error) if error.code() == Some(ProblemCode::NotFound) => Ok(0),
            other => other,
        }
    }

    /// Downloads one of the hub's pages or static files: `/jobs/ID`, `/static/style.css`.
    pub fn page(&self, path: &str, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.pages().download(path, 0, to)
    }

    /// A page of workers in the order of their ids, after the given one.
    pub fn workers(&self, after: Option<&str>) -> Result<WorkerPage, ClientError> {
        self.get(&query("/workers", &[("after", after.map(str::to_owned))]))
    }

    /// The hub's connection to a debci server.
    pub fn debci(&self) -> Result<DebciStatus, ClientError> {
        self.get("/debci")
    }

    /// Describes a worker.
    pub fn worker(&self, worker: &str) -> Result<WorkerInfo, ClientError> {
        self.get(&format!("/workers/{}", escape(worker)))
    }

    /// Pauses a worker: it gets no more jobs until it is resumed; running jobs continue.
    pub fn pause(&self, worker: &str, pause: &Pause) -> Result<WorkerInfo, ClientError> {
        self.document(Method::POST, &format!("/workers/{}/pause", escape(worker)), Some(pause))
    }

    /// Resumes a paused worker.
    pub fn resume(&self, worker: &str) -> Result<WorkerInfo, ClientError> {
        self.document(Method::POST, &format!("/workers/{}/resume", escape(worker)), None::<&()>)
    }

    /// Makes a worker retry GPUs that it excluded because of faults.
    pub fn retry_gpus(&self, worker: &str, retry: &RetryGpus) -> Result<WorkerInfo, ClientError> {
        self.document(Method::POST, &format!("/workers/{}/retry-gpus", escape(worker)), Some(retry))
    }

    /// Removes a worker: its tokens become invalid, its jobs go to others, its results stay.
    pub fn remove_worker(&self, worker: &str) -> Result<(), ClientError> {
        let path = format!("/workers/{}", escape(worker));
        self.exchange::<()>(Method::DELETE, &path, None::<&()>, Duration::ZERO).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_addresses_is_escaped() {
        assert_eq!(escape("../a b?c#d%+é"), "..%2Fa%20b%3Fc%23d%25%2B%C3%A9");
        assert_eq!(query("/jobs", &[("state", None), ("package", Some("a&b".into()))]), "/jobs?package=a%26b");
        assert_eq!(query("/jobs", &[("state", None)]), "/jobs");
    }
}
