//! The calls, one for each route.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use protocol::Verdict;
use protocol::api::{
    AddJobs, AddedJobs, Claim, Claimed, Complete, Completed, GiveBack, Given, Heartbeat, HeartbeatAnswer, JobInfo,
    JobPage, JobState, LogAnswer, Pause, ProblemCode, Register, Registered, ResultDetail, ResultPage, RetryGpus,
    WorkerInfo, WorkerPage, WorkerReport,
};
use ureq::http::Method;

use crate::error::ClientError;
use crate::http::{Call, Client};

/// How long a call waits for a hub that checks a bundle, besides what each answer takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which jobs are wanted.
#[derive(Debug, Clone, Default)]
pub struct JobQuery {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this package.
    pub package: Option<String>,
    /// Only those that this worker has or had last: its id, its name, or the beginning of either.
    pub worker: Option<String>,
    /// `next` of the page before.
    pub after: Option<String>,
    /// How many at most.
    pub limit: Option<usize>,
}

/// Which results are wanted.
#[derive(Debug, Clone, Default)]
pub struct ResultQuery {
    /// Only of this package.
    pub package: Option<String>,
    /// Only on this target.
    pub target: Option<String>,
    /// Only with this verdict.
    pub verdict: Option<Verdict>,
    /// Only from this worker: its id, its name, or the beginning of either.
    pub worker: Option<String>,
    /// `next` of the page before.
    pub after: Option<String>,
    /// How many at most.
    pub limit: Option<usize>,
}

/// A part of an address, with everything that has a meaning there written otherwise (RFC 3986, section 2.1).
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

/// What workers say.
impl Client {
    /// Registers a worker, with the join token. The answer has the worker's own.
    ///
    /// # Errors
    /// If the hub cannot be reached or refuses; so for all calls.
    pub fn register(&self, request: &Register) -> Result<Registered, ClientError> {
        self.document(Method::POST, "/workers", Some(request))
    }

    /// Says how the worker is.
    pub fn report(&self, worker: &str, report: &WorkerReport) -> Result<(), ClientError> {
        let path = format!("/workers/{}/health", escape(worker));
        self.exchange::<()>(Method::PUT, &path, Some(report), Duration::ZERO).map(drop)
    }

    /// Asks for a job, and waits for one as long as the claim says.
    pub fn claim(&self, claim: &Claim) -> Result<Option<Claimed>, ClientError> {
        self.exchange(Method::POST, "/claims", Some(claim), Duration::from_secs(claim.wait))
    }

    /// Keeps a lease.
    pub fn heartbeat(&self, lease: &str, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ClientError> {
        self.document(Method::POST, &format!("/leases/{}/heartbeat", escape(lease)), Some(heartbeat))
    }

    /// Appends a piece of at most 1 MiB to the log. Says how much of the log the hub has.
    ///
    /// # Errors
    /// With [`protocol::api::ProblemCode::WrongOffset`] if something before the piece is missing there; the problem's
    /// offset says where to go on.
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

    /// Delivers a result. Its bundle was [uploaded](Client::upload) before. A large bundle takes the hub a while to check:
    /// then it is asked again, for two minutes at most.
    ///
    /// # Errors
    /// With [`ProblemCode::Checking`], which is passing, if the bundle is not checked by then.
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

/// What people ask for.
impl Client {
    /// Adds jobs.
    pub fn add_jobs(&self, request: &AddJobs) -> Result<AddedJobs, ClientError> {
        self.document(Method::POST, "/jobs", Some(request))
    }

    /// A page of jobs, the newest first.
    pub fn jobs(&self, wanted: &JobQuery) -> Result<JobPage, ClientError> {
        self.get(&query(
            "/jobs",
            &[
                ("state", wanted.state.map(|state| state.name().to_owned())),
                ("package", wanted.package.clone()),
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

    /// Adds a job like one that is over. The answer is the new one.
    pub fn retry(&self, job: &str) -> Result<JobInfo, ClientError> {
        self.document(Method::POST, &format!("/jobs/{}/retry", escape(job)), None::<&()>)
    }

    /// A page of results, those of the newest jobs first.
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

    /// Writes the bundle of a job's result. A download that is cut goes on where it was. Says how many bytes there were.
    pub fn bundle(&self, job: &str, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.bundle_from(job, 0, to)
    }

    /// The same from this byte on, for whoever has what is before it.
    pub fn bundle_from(&self, job: &str, offset: u64, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/results/{}/bundle", escape(job)), offset, to)
    }

    /// The bundle as it comes, for whoever needs only its beginning. It does not go on by itself when it is cut.
    pub fn read_bundle(&self, job: &str) -> Result<impl Read + use<>, ClientError> {
        let call = Call::new(Method::GET, format!("/results/{}/bundle", escape(job)));
        Ok(self.call(&call)?.into_body().into_reader())
    }

    /// Writes the log that was sent while a job ran, of its last attempt.
    pub fn log(&self, job: &str, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/jobs/{}/log", escape(job)), 0, to)
    }

    /// Writes what an attempt's log has from this byte on, which may be nothing yet. Says how many bytes there were.
    pub fn log_from(&self, job: &str, attempt: u32, offset: u64, to: &mut dyn Write) -> Result<u64, ClientError> {
        match self.download(&format!("/jobs/{}/log?attempt={attempt}", escape(job)), offset, to) {
            Err(error) if error.code() == Some(ProblemCode::NotFound) => Ok(0),
            other => other,
        }
    }

    /// Writes one of the hub's pages, or a file that belongs to them: `/jobs/ID`, `/static/style.css`.
    pub fn page(&self, path: &str, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.pages().download(path, 0, to)
    }

    /// A page of workers by their ids, `after` the one given.
    pub fn workers(&self, after: Option<&str>) -> Result<WorkerPage, ClientError> {
        self.get(&query("/workers", &[("after", after.map(str::to_owned))]))
    }

    /// A worker.
    pub fn worker(&self, worker: &str) -> Result<WorkerInfo, ClientError> {
        self.get(&format!("/workers/{}", escape(worker)))
    }

    /// Gives a worker no more jobs until it is resumed; what it runs goes on.
    pub fn pause(&self, worker: &str, pause: &Pause) -> Result<WorkerInfo, ClientError> {
        self.document(Method::POST, &format!("/workers/{}/pause", escape(worker)), Some(pause))
    }

    /// Gives a worker jobs again.
    pub fn resume(&self, worker: &str) -> Result<WorkerInfo, ClientError> {
        self.document(Method::POST, &format!("/workers/{}/resume", escape(worker)), None::<&()>)
    }

    /// Has a worker try GPUs again that it has left out for their faults.
    pub fn retry_gpus(&self, worker: &str, retry: &RetryGpus) -> Result<WorkerInfo, ClientError> {
        self.document(Method::POST, &format!("/workers/{}/retry-gpus", escape(worker)), Some(retry))
    }

    /// Forgets a worker: its tokens end, its jobs go to others, its results stay.
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
