//! What the test programs found, collected while several of them run.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::counts::Counts;

/// Sums over all programs.
#[derive(Default)]
pub(super) struct Results(Mutex<Parts>);

#[derive(Default)]
struct Parts {
    counts: Counts,
    failed: Vec<String>,
    error: Option<anyhow::Error>,
}

/// Result of one program.
pub(super) struct Ended {
    pub(super) counts: Counts,
    pub(super) succeeded: bool,
}

impl Results {
    /// Adds the result of a program, or why it could not be run.
    pub(super) fn add(&self, name: &str, ended: Result<Ended>) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ended {
            Ok(ended) => {
                parts.counts += ended.counts;
                if !ended.succeeded {
                    parts.failed.push(name.to_owned());
                }
            }
            Err(error) => parts.error = Some(error.context(name.to_owned())),
        }
    }

    /// The sums and the names of programs that failed; the last error if a program could not be run.
    pub(super) fn into_parts(self) -> Result<(Counts, Vec<String>)> {
        let parts = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        match parts.error {
            Some(error) => Err(error),
            None => Ok((parts.counts, parts.failed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_failed_are_named() {
        let results = Results::default();
        let counts = Counts { passed: 3, failed: 0, ignored: 1 };
        results.add("hub", Ok(Ended { counts, succeeded: true }));
        results.add("agent", Ok(Ended { counts: Counts { failed: 1, ..counts }, succeeded: false }));
        let sum = Counts { passed: 6, failed: 1, ignored: 2 };
        assert_eq!(results.into_parts().unwrap(), (sum, vec!["agent".to_owned()]));
    }

    #[test]
    fn a_program_that_cannot_be_run_is_an_error() {
        let results = Results::default();
        results.add("hub", Err(anyhow::anyhow!("no such file")));
        assert_eq!(format!("{:#}", results.into_parts().unwrap_err()), "hub: no such file");
    }
}
