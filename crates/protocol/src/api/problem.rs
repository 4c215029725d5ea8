//! [`Problem`]: the reason why a request is refused (RFC 9457).

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RetryGpus;

/// The reason why a request is refused: an `application/problem+json` document (RFC 9457, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Address of a page about this kind of problem, relative to the hub.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong in this case.
    pub detail: String,
    /// The kind, for programs.
    pub code: ProblemCode,
    /// What to do about it.
    pub advice: String,
    /// The right offset, if the request's was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// After how many seconds the same request may be answered otherwise; header `Retry-After` says the same.
    #[serde(rename = "retry-after", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub retry_after: Option<NonZeroU32>,
    /// The GPUs that a user wants the worker to check again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<RetryGpus>>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $text:literal $status:literal $title:literal $advice:literal;)*) => {
        /// Kinds of problems. A reader takes one that it does not know as [`ProblemCode::Unknown`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)*
            /// A code of a later hub.
            #[serde(other)]
            Unknown,
        }

        impl ProblemCode {
            /// All codes that a hub of this version sends.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown => "unknown" }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* Self::Unknown => 500 }
            }

            /// In a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* Self::Unknown => "something that this version does not know" }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* Self::Unknown => "use a later rocbed" }
            }
        }
    };
}

codes! {
    /// The request is not what the API takes.
    BadRequest "bad-request" 400 "the request is not understood"
        "compare it with the description at /api/v1/openapi.json";
    /// It was written for a later version.
    TooNew "too-new" 400 "the request is of a later version of the protocol"
        "update the hub, or use an image that was built for it";
    /// There is no token, or not one that the hub knows.
    Unauthorized "unauthorized" 401 "no valid token"
        "send `Authorization: Bearer TOKEN`; a worker gets its token when it registers with the join token";
    /// The token is for something else.
    Forbidden "forbidden" 403 "the token does not allow this"
        "people's requests need the admin token, a worker's its own";
    /// Somebody has told the hub to give this worker no jobs.
    WorkerPaused "worker-paused" 403 "the worker is paused at the hub"
        "ask again in some minutes; who runs the hub resumes it with `rocbed workers resume`";
    /// Somebody wants GPUs of this worker to be tried again that it has left out.
    RetryGpus "retry-gpus" 409 "GPUs that were left out are to be tried again"
        "forget their faults, restart, and register with them";
    /// There is nothing there.
    NotFound "not-found" 404 "there is no such thing"
        "check the id; `rocbed jobs list`, `rocbed results list` and `rocbed workers list` show them";
    /// There is something, but it cannot do this.
    MethodNotAllowed "method-not-allowed" 405 "this address does not take that method"
        "compare the request with the description at /api/v1/openapi.json";
    /// No such lease, or it is another worker's.
    LeaseUnknown "lease-unknown" 404 "the worker has no such lease"
        "forget the job, and claim another";
    /// The lease ended: it was given back, or completed.
    LeaseOver "lease-over" 409 "the lease is over"
        "forget the job, and claim another";
    /// Another attempt delivered the result.
    AlreadyCompleted "already-completed" 409 "the job has a result already"
        "forget this result: the job's result is kept, and is never replaced";
    /// Somebody cancelled the job.
    JobCancelled "job-cancelled" 409 "the job was cancelled"
        "forget this result: nobody wants it any more";
    /// The name of a request was used before, for something else.
    RequestReused "request-reused" 409 "the name of the request was used for something else"
        "choose a new name for each list; send the same name only to hear the same answer again";
    /// The job ended, and stays as it did.
    JobOver "job-over" 409 "the job is over"
        "leave it as it is; a retry adds a job like it";
    /// It was there, and somebody made room.
    Gone "gone" 410 "this is no longer kept"
        "do without it; a retry of the job makes another";
    /// Somebody has changed the bundle in the storage.
    BundleChanged "bundle-changed" 502 "the bundle in the hub's storage is not what was delivered"
        "who runs the hub puts the object that is named back from a backup or an older version; a retry of the job makes another";
    /// The bundle is not there, or not complete.
    BundleMissing "bundle-missing" 409 "the bundle was not uploaded"
        "upload it, then complete the lease again";
    /// The bundle cannot be read.
    BundleInvalid "bundle-invalid" 422 "the bundle is not one that the hub takes"
        "make the bundle anew, or give the job back";
    /// The bundle is another job's.
    WrongJob "wrong-job" 422 "the bundle is not of this job"
        "upload the bundle of the lease's job";
    /// The result says of the worker's GPUs what the worker itself did not say.
    WrongMachine "wrong-machine" 422 "the result is not of this worker's machine"
        "register with the machine's GPUs as they are, then claim jobs and deliver what came of them";
    /// A value makes no sense.
    Invalid "invalid" 422 "a value makes no sense"
        "correct the field that is named";
    /// Data does not go on where the hub's ends.
    WrongOffset "wrong-offset" 409 "the data does not begin where the hub's ends"
        "go on from the offset that is given";
    /// Another request is writing there.
    Busy "busy" 409 "another request is writing there"
        "try again in a second";
    /// What arrived is not what was announced.
    DigestMismatch "digest-mismatch" 422 "the data is not what was announced"
        "upload it again from the beginning";
    /// It is larger than the hub takes.
    TooLarge "too-large" 413 "this is larger than the hub takes"
        "send less, or raise the hub's limit";
    /// The file of a bundle is large, or far behind in it.
    OnlyInBundle "only-in-bundle" 422 "the file is not sent by itself"
        "download the whole bundle at /api/v1/results/{job}/bundle, or with `rocbed results fetch`";
    /// One address or one worker asks for more than its share.
    TooMany "too-many" 429 "too much at once from one address or worker"
        "wait for as long as Retry-After says; who runs the hub can raise its limits";
    /// The worker has sent more than its share.
    QuotaExceeded "quota-exceeded" 429 "the worker has sent as much as it may"
        "keep the data and try again later; who runs the hub can raise the quota of workers";
    /// The request arrived too slowly.
    TooSlow "too-slow" 408 "the request came too slowly"
        "check the network, and send it again";
    /// The disk is nearly full.
    DiskFull "disk-full" 507 "the hub's disk is nearly full"
        "keep the data and try again later; somebody has to make room at the hub";
    /// The bundle is being read, and that takes a while.
    Checking "checking" 503 "the bundle is still being checked"
        "send the same request again after Retry-After: it is answered when the bundle was checked";
    /// The hub is overloaded or is shutting down.
    Unavailable "unavailable" 503 "the hub cannot do this now"
        "try again in a moment";
    /// A fault inside the hub.
    Internal "internal" 500 "something went wrong in the hub"
        "try again; if it stays, look at the hub's log";
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems#{}", code.name()).into(),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code,
            advice: code.advice().into(),
            offset: None,
            retry_after: None,
            retry: None,
        }
    }

    /// The same, with the offset that would have been right.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same, with the seconds after which it is worth another try; at least one.
    #[must_use]
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = NonZeroU32::new(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX));
        self
    }

    /// After how long it is worth another try, if the hub has said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.map(|seconds| Duration::from_secs(seconds.get().into()))
    }
}

/// The kind of problem and its details, without the advice.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_in_json() -> Result<(), serde_json::Error> {
        for code in ProblemCode::ALL {
            assert_eq!(serde_json::to_string(code)?, format!("\"{}\"", code.name()));
        }
        assert_eq!(serde_json::from_str::<ProblemCode>("\"of-tomorrow\"")?, ProblemCode::Unknown);
        Ok(())
    }

    #[test]
    fn a_problem_has_the_members_of_the_standard() -> Result<(), serde_json::Error> {
        let json = serde_json::to_value(Problem::new(ProblemCode::WrongOffset, "the hub has 7 bytes").at(7))?;
        assert_eq!(json["type"], "/problems#wrong-offset");
        assert_eq!((&json["status"], &json["offset"]), (&409.into(), &7.into()));
        let wait = Problem::new(ProblemCode::TooMany, "too many requests").after(0);
        assert_eq!((wait.status, wait.retry_after()), (429, Some(Duration::from_secs(1))));
        let json = serde_json::to_string(&wait)?;
        assert!(json.contains("\"retry-after\":1"), "{json}");
        assert_eq!(serde_json::from_str::<Problem>(&json)?, wait);
        Ok(())
    }
}
