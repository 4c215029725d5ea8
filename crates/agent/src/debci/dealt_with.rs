//! Whether a job needs a result from here: not if it has one already, or nobody waits for it.

use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use advice::Advice;
use debci::RunId;

use super::{Debci, PREFIX, outbox, results_queue};
use debci::{JobState, JobStateError, JobStates};

/// How long a result waits for its job to come back to this machine.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often the outbox is looked through for results that nobody wants.
const TIDY: Duration = Duration::from_secs(600);

impl Debci {
    /// Whether the job has its result already: from here, or as the server says.
    ///
    /// A job that was answered here comes again only as a redelivery, if its acknowledgement was lost. Another one with
    /// this run id is a new job of a server whose database was made anew.
    pub(super) fn is_dealt_with(&mut self, run: RunId, redelivered: bool) -> bool {
        if redelivered && self.answered.has(&self.server, run) {
            return true;
        }
        let Some(states) = &self.states else { return false };
        let state = if redelivered { self.settled_state(states, run) } else { states.of(run) };
        match state {
            Ok(JobState::Pending) => false,
            // Usual after a connection was lost; otherwise somebody may want to know why their job is not run.
            Ok(JobState::Completed) if redelivered => true,
            Ok(JobState::Completed) => {
                self.problem(
                    format!("the job {run} is dropped: it has a result, or was cancelled"),
                    "nothing has to be done, unless it happens to every job: then look at `debci-api`",
                );
                true
            }
            // The address may be that of another server, and then every job would be dropped.
            Ok(JobState::Unknown) => {
                self.problem(format!("the server does not know the job {run}"), "look at `debci-api`; the job is run");
                false
            }
            Err(why) => {
                // A result too many is better than none.
                self.problem(
                    format!("asking for the state of job {run}: {why}"),
                    "look at `debci-api`; the job is run",
                );
                false
            }
        }
    }

    /// The state of a job that was given out before. Its result may be on its way to the server: then the job counts as
    /// pending only once the collector has taken what waited for it, or takes too long.
    fn settled_state(&self, states: &JobStates, run: RunId) -> Result<JobState, JobStateError> {
        let timeouts = &self.settings.timeouts;
        let began = Instant::now();
        loop {
            let state = states.of(run)?;
            let waited = began.elapsed();
            if state != JobState::Pending || waited >= timeouts.collected || self.settings.stop.load(Ordering::Relaxed)
            {
                return Ok(state);
            }
            let waiting = self.broker.as_ref().map_or(Ok(0), |broker| broker.count(&results_queue()));
            match waiting {
                // The collector may just be reading the last one.
                Ok(0) if waited < timeouts.collecting => {}
                Ok(1..) => {}
                // Without a connection the job is not ours any more, whatever its state.
                Ok(0) | Err(_) => return Ok(state),
            }
            thread::sleep(timeouts.collecting / 5);
        }
    }

    /// Removes results whose job was answered by others, or does not come back.
    pub(super) fn tidy(&mut self) -> Result<(), Advice> {
        if self.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY) {
            return Ok(());
        }
        self.tidied = Some(Instant::now());
        for waiting in self.outbox.waiting().map_err(outbox)? {
            let run = waiting.result.lease.as_deref().and_then(|lease| lease.strip_prefix(PREFIX)?.parse().ok());
            let is_ours = waiting.result.to == self.server && waiting.result.refused.is_none();
            let Some(run) = run.filter(|_| is_ours) else { continue };
            let state = self.states.as_ref().and_then(|states| states.of(run).ok());
            let age = fs::metadata(&waiting.bundle).and_then(|metadata| metadata.modified());
            let age = age.ok().and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default();
            if state == Some(JobState::Completed) || age > KEPT {
                let what =
                    format!("the result of {} is not wanted any more: another worker took the job", waiting.result.job);
                self.problem(what, "nothing has to be done");
                self.outbox.remove(&waiting).map_err(outbox)?;
            }
        }
        Ok(())
    }
}
