//! [`JobStates`]: asks a debci server whether a job still waits for its result.

use std::time::Duration;

use serde::Deserialize;
use transfer::tls::RootsError;
use ureq::Agent;
use ureq::http::StatusCode;

use crate::run_id::RunId;

/// How long the server may take. The job waits meanwhile.
const ANSWER: Duration = Duration::from_secs(20);
/// Largest answer that is read, in bytes.
const LARGEST: u64 = 4096;

/// What a server says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It has no result.
    Pending,
    /// It has a result, or was cancelled.
    Completed,
    /// There is no such job.
    Unknown,
}

/// Why the state of a job is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct JobStateError {
    address: String,
    reason: String,
}

/// A debci server's `/api/v1/job_state`, which needs no key.
#[derive(Debug)]
pub struct JobStates {
    agent: Agent,
    address: String,
}

#[derive(Deserialize)]
struct Answer {
    state: String,
}

impl JobStates {
    /// Prepares to ask the server whose web pages are at this address; `authorities` is the text of a PEM file with more
    /// authorities than the system's.
    ///
    /// # Errors
    /// If the authorities cannot be read.
    pub fn new(address: &str, authorities: Option<&str>) -> Result<Self, RootsError> {
        let tls = authorities.map_or_else(|| transfer::tls::trusting(None), transfer::tls::trusting_text)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("rocbed/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(ANSWER))
            .tls_config(tls);
        Ok(Self { agent: config.build().into(), address: address.trim_end_matches('/').to_owned() })
    }

    /// Asks for the state of a job.
    ///
    /// # Errors
    /// If the server cannot be reached, or does not answer as a debci server does.
    pub fn of(&self, run: RunId) -> Result<JobState, JobStateError> {
        let address = format!("{}/api/v1/job_state/{run}", self.address);
        let failed = |reason| JobStateError { address: address.clone(), reason };
        let mut answer = self.agent.get(&address).call().map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(LARGEST).read_to_vec();
        let body = body.map_err(|error| failed(error.to_string()))?;
        parse(status, &body).map_err(failed)
    }
}

fn parse(status: StatusCode, body: &[u8]) -> Result<JobState, String> {
    let text = String::from_utf8_lossy(body);
    // The server answers so also where the address is wrong in another way, with other words.
    if status == StatusCode::BAD_REQUEST && text.contains("Cannot find Job") {
        return Ok(JobState::Unknown);
    }
    if status != StatusCode::OK {
        return Err(format!("it answers {status}"));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|error| format!("its answer: {error}"))?;
    match answer.state.as_str() {
        "pending" => Ok(JobState::Pending),
        "completed" => Ok(JobState::Completed),
        _ => Err("it names a state that is not known".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clear_answers_count() {
        let of =
            |status: u16, body: &str| parse(StatusCode::from_u16(status).unwrap_or_default(), body.as_bytes()).ok();
        assert_eq!(of(200, r#"{"state": "pending"}"#), Some(JobState::Pending));
        assert_eq!(of(200, r#"{"state": "completed"}"#), Some(JobState::Completed));
        assert_eq!(of(400, r#"{"error": "Cannot find Job with this id"}"#), Some(JobState::Unknown));
        for (status, body) in
            [(400, "Bad Request"), (404, ""), (502, "{}"), (200, "<html>"), (200, r#"{"state": "new"}"#)]
        {
            assert_eq!(of(status, body), None, "{status} {body}");
        }
    }
}
