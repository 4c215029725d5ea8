//! [`Report`]: what the agent tells PID 1, a line of JSON each on its standard output.

use protocol::Verdict;
use serde::{Deserialize, Serialize};

/// What the agent is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// It has looked at the machine and can take work.
    Ready {
        /// The GPUs, a line each; why there are none.
        gpus: Vec<String>,
        /// Where jobs come from.
        source: String,
    },
    /// A job has begun.
    Job {
        /// Its id.
        id: String,
        /// Its number in a list of known length, and that length.
        #[serde(default)]
        position: Option<(usize, usize)>,
    },
    /// What the job is at.
    Phase {
        /// In a few words.
        text: String,
    },
    /// A job has ended.
    Finished {
        /// Its id.
        id: String,
        /// What came of it.
        verdict: Verdict,
        /// In a few words.
        summary: String,
    },
    /// There is nothing to do, and why.
    Idle {
        /// In a few words.
        why: String,
    },
    /// Something is wrong.
    Problem {
        /// What.
        what: String,
        /// What whoever stands before the machine can do.
        advice: String,
    },
    /// How something is that lasts, until the same is said otherwise: the hub, results that wait, the machine's health.
    Condition {
        /// What: one word.
        of: String,
        /// How it is; empty if there is nothing to say any more.
        text: String,
        /// Whether somebody should look at it.
        bad: bool,
    },
    /// It is done; the machine should be switched off.
    PowerOff {
        /// Why.
        why: String,
    },
    /// The machine should be restarted.
    Restart {
        /// Why.
        why: String,
    },
}

impl Report {
    /// A condition that somebody should look at; an empty text is its end.
    pub fn condition(of: &str, text: String) -> Self {
        Self::Condition { of: of.to_owned(), bad: !text.is_empty(), text }
    }

    /// The line, with its end.
    pub fn line(&self) -> String {
        // A value of this type always has a JSON form; an empty line would be passed over.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// Reads a line; `None` if it is none.
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
            Report::Ready { gpus: vec!["gfx1030".into()], source: "hub".into() },
            Report::Job { id: "gzip".into(), position: Some((1, 2)) },
            Report::Finished { id: "gzip".into(), verdict: Verdict::Pass, summary: "1 passed".into() },
            Report::PowerOff { why: "all done".into() },
            Report::condition("hub", "no answer".into()),
        ] {
            assert_eq!(Report::parse(report.line().trim_end()), Some(report));
        }
        assert_eq!(Report::parse("login:"), None);
    }
}
