//! [`Report`]: the agent's reports to PID 1, one line of JSON each on its standard output.

use advice::{Advice, Help};
use protocol::Verdict;
use protocol::api::GiveBackReason;
use serde::{Deserialize, Serialize};

/// A report from the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// The agent has checked the machine and can take jobs.
    Ready {
        /// The GPUs, one line each, or why there are none.
        gpus: Vec<String>,
        /// The job source.
        source: String,
        /// The hub's address, if jobs come from a hub.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hub: Option<String>,
    },
    /// A job has begun.
    Job {
        /// The job's id.
        id: String,
        /// The job's number in a list and the list's length, if that is known.
        #[serde(default)]
        position: Option<(usize, usize)>,
        /// How many seconds it usually takes, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<u64>,
        /// Ids of the GPUs that it has.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gpus: Vec<String>,
    },
    /// A job has entered another phase.
    Phase {
        /// The job's id.
        id: String,
        /// The phase in a few words.
        text: String,
    },
    /// A job has ended.
    Finished {
        /// The job's id.
        id: String,
        /// The result's verdict.
        verdict: Verdict,
        /// The result in a few words.
        summary: String,
    },
    /// A job has no result here: it was cancelled, or goes back to where it came from.
    GivenBack {
        /// The job's id.
        id: String,
        /// The kind of reason.
        reason: GiveBackReason,
        /// The reason in a few words.
        why: String,
    },
    /// There is nothing to do.
    Idle {
        /// The reason, in a few words.
        why: String,
    },
    /// A problem occurred. The help is for a person at the machine.
    Problem(Advice),
    /// A lasting condition, until the next report about the same thing: the hub, undelivered results, the machine's
    /// health.
    Condition {
        /// The thing, in one word.
        of: String,
        /// Its condition; empty if there is nothing to say any more.
        text: String,
        /// Whether it needs attention.
        bad: bool,
    },
    /// The agent is done; the machine should be switched off.
    PowerOff {
        /// The reason.
        why: String,
    },
    /// The machine should be restarted.
    Restart {
        /// The reason.
        why: String,
    },
}

impl Report {
    /// A problem, with what a person at the machine can do.
    pub fn problem(what: impl Into<String>, help: impl Into<Help>) -> Self {
        Self::Problem(Advice::new(what, help))
    }

    /// A condition that needs attention; an empty text ends it.
    pub fn condition(of: &str, text: String) -> Self {
        Self::Condition { of: of.to_owned(), bad: !text.is_empty(), text }
    }

    /// Formats the report as a line with its end.
    pub fn line(&self) -> String {
        // A value of this type always has a JSON form; an empty line would be ignored.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// Parses a line; `None` if it is not a report.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        for report in [
            Report::Ready { gpus: vec!["gfx1030".into()], source: "hub".into(), hub: None },
            Report::Ready { gpus: Vec::new(), source: "hub".into(), hub: Some("http://192.0.2.7:8420".into()) },
            Report::Job {
                id: "gzip".into(),
                position: Some((1, 2)),
                expected: Some(90),
                gpus: vec!["simulated-0".into()],
            },
            Report::Phase { id: "gzip".into(), text: "test simple".into() },
            Report::Finished { id: "gzip".into(), verdict: Verdict::Pass, summary: "1 passed".into() },
            Report::GivenBack { id: "gzip".into(), reason: GiveBackReason::Cancelled, why: "nobody wants it".into() },
            Report::problem("no data partition", ["write the stick again", "take another one"]),
            Report::PowerOff { why: "all done".into() },
            Report::condition("hub", "no answer".into()),
        ] {
            assert_eq!(Report::parse(report.line().trim_end()), Some(report));
        }
        assert_eq!(Report::parse("login:"), None);
    }
}
