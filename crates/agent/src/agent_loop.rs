//! The agent's main loop: QUALIFY, claim, run, deliver, CHECK.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use protocol::api::{GiveBackReason, Health};
use protocol::{Machine, Verdict};

use super::fitness::{EndedJob, Fitness};
use super::job_source::{Assignment, Claim, End, JobSource};
use super::run::{Outcome, RunError, RunJob, grant};
use super::running::{Journal, MAX_LOSSES_PER_MACHINE, RunningJob};
use appliance::report::Report;
use appliance::settings::WhenDone;

/// After this many failures for reasons of this machine, a job is left to other machines.
const MAX_FAILURES_PER_MACHINE: u32 = 3;

/// The pause after a job that could not be run: the machine would get the same job again at once.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How long to wait for defects that may go away before the machine is reported as unfit: a time server may answer
/// late, and results may be on their way.
const GRACE: Duration = Duration::from_secs(600);

/// The job loop, with what it needs.
pub struct AgentLoop<'a> {
    /// The job source and result sink.
    pub source: &'a mut dyn JobSource,
    /// Runs the jobs.
    pub runner: &'a mut dyn RunJob,
    /// Checks the machine.
    pub fitness: &'a mut dyn Fitness,
    /// Records the running job, on machines that come back after a restart.
    pub journal: Option<&'a mut Journal>,
    /// Description of the machine.
    pub machine: &'a Machine,
    /// What to do when the machine cannot take jobs.
    pub when_done: WhenDone,
    /// Becomes true when the machine is to stop.
    pub stop: &'a AtomicBool,
    /// Sends reports to PID 1.
    pub tell: &'a mut dyn FnMut(&Report),
}

impl AgentLoop<'_> {
    /// Runs jobs until there are no more or the machine is to end. Returns the reason for the end.
    ///
    /// # Errors
    /// If the other side went away for good: undelivered results are still in the data directory.
    pub fn run(mut self) -> Result<End, Advice> {
        let interrupted = self.journal.as_ref().and_then(|journal| journal.interrupted());
        if let Some(interrupted) = &interrupted {
            let advice = "look at the machine's health; the job is given back";
            (self.tell)(&Report::problem(interrupted.describe(), advice));
        }
        self.source.ready(self.machine, interrupted.as_ref())?;
        self.note(Journal::settle);
        self.source.health(Health::Qualifying, "")?;
        let end = self.take_jobs()?;
        match &end {
            End::Done(why) => self.source.health(Health::Off, why)?,
            End::Stopped => self.source.health(Health::Off, "the machine was told to stop")?,
            End::Restart(why) => self.source.health(Health::Rebooting, why)?,
        }
        self.source.end(&end)?;
        Ok(end)
    }

    fn take_jobs(&mut self) -> Result<End, Advice> {
        let (mut failures, mut times) = (BTreeMap::new(), BTreeMap::new());
        loop {
            if let Some(end) = self.qualify()? {
                return Ok(end);
            }
            let assignment = loop {
                if self.stopped() {
                    return Ok(End::Stopped);
                }
                match self.source.claim()? {
                    Claim::Job(assignment) => break assignment,
                    Claim::Nothing => {}
                    Claim::End(why) => return Ok(End::Done(why)),
                    Claim::RetryGpus(gpus) => return Ok(End::Restart(self.fitness.retry_gpus(&gpus))),
                }
            };
            if let Some(why) = self.handle(&assignment, &mut failures, &mut times)? {
                return Ok(End::Restart(why));
            }
        }
    }

    /// Waits until the machine is fit, or it is to end.
    fn qualify(&mut self) -> Result<Option<End>, Advice> {
        let (mut told, mut waited) = (String::new(), Duration::ZERO);
        loop {
            if self.stopped() {
                return Ok(Some(End::Stopped));
            }
            let defects = self.fitness.qualify();
            // The stop may have been asked for in the meantime, and then the defects mean nothing.
            if self.stopped() {
                return Ok(Some(End::Stopped));
            }
            if let Some(why) = self.fitness.wants_restart() {
                return Ok(Some(End::Restart(why)));
            }
            if defects.is_empty() {
                if !told.is_empty() {
                    (self.tell)(&Report::condition("health", String::new()));
                }
                self.source.health(Health::Ready, "")?;
                return Ok(None);
            }
            let text = defects.iter().map(|defect| defect.advice.in_one_line()).collect::<Vec<_>>().join("; ");
            let passes = waited < GRACE && defects.iter().all(|defect| defect.passes);
            let (health, word) =
                if passes { (Health::Qualifying, "no job is taken") } else { (Health::Unfit, "unfit") };
            self.source.health(health, &text)?;
            let tell = format!("{word}: {text}");
            if tell != told {
                (self.tell)(&Report::condition("health", tell.clone()));
                told = tell;
            }
            if !passes && self.when_done == WhenDone::PowerOff {
                return Ok(Some(End::Done(format!("the machine is unfit: {text}"))));
            }
            let pause = self.fitness.pause();
            waited = waited.saturating_add(pause);
            self.wait(pause);
        }
    }

    /// Runs one job. Returns the reason for a restart of the machine, if there is one. `times` has the seconds that
    /// the sources took here before, for job sources that do not know.
    fn handle(
        &mut self,
        assignment: &Assignment,
        failures: &mut BTreeMap<String, u32>,
        times: &mut BTreeMap<String, u64>,
    ) -> Result<Option<String>, Advice> {
        let job = &assignment.job;
        let (id, position) = (job.id.clone(), assignment.position);
        let expected = assignment.usual_seconds.or_else(|| times.get(&job.source.to_string()).copied());
        (self.tell)(&Report::Job { id: id.clone(), position, expected });
        let kills = self.journal.as_ref().map_or(0, |journal| journal.times(&id));
        if kills >= MAX_LOSSES_PER_MACHINE {
            let why = format!("this machine stopped or hung {kills} times while the job ran");
            self.give_back(assignment, GiveBackReason::MachineKiller, &why)?;
            return Ok(None);
        }
        let gpus = grant(job, self.machine).unwrap_or_default();
        let record = RunningJob {
            job: id.clone(),
            lease: assignment.lease.clone(),
            source: self.source.name(),
            gpus: gpus.iter().map(|gpu| gpu.id.clone()).collect(),
            boot: String::new(),
        };
        self.note(|journal| journal.begin(record));
        let began = Instant::now();
        self.source.started(assignment)?;
        let outcome = self.run_job(assignment);
        let mut ended = EndedJob { gpus: gpus.iter().map(|gpu| gpu.id.clone()).collect(), ..EndedJob::default() };
        match outcome {
            Ok(Outcome::Ran { delivery, stuck, faults }) => {
                self.source.deliver(assignment, &delivery)?;
                failures.remove(&id);
                times.insert(job.source.to_string(), began.elapsed().as_secs());
                (ended.verdict, ended.stuck) = (Some(delivery.verdict), stuck);
                (ended.contained, ended.faulty) = (faults.contained, faults.serious);
                let summary = delivery.summary.clone();
                (self.tell)(&Report::Finished { id, verdict: delivery.verdict, summary });
                self.runner.forget(&delivery);
            }
            Ok(Outcome::Declined(why)) => {
                self.give_back(assignment, GiveBackReason::CannotRun, &why)?;
            }
            Ok(Outcome::Stopped { stuck }) => {
                ended.stuck = stuck;
                let (reason, why) = match assignment.interrupt.why() {
                    Some(why) => (GiveBackReason::Cancelled, why),
                    None => (GiveBackReason::ShuttingDown, "the machine was told to stop"),
                };
                self.give_back(assignment, reason, why)?;
            }
            Err(error) => {
                let problem = error.in_one_line();
                let count = failures.entry(id.clone()).or_insert(0);
                *count += 1;
                let reason =
                    if *count >= MAX_FAILURES_PER_MACHINE { GiveBackReason::CannotRun } else { GiveBackReason::Other };
                self.source.give_back(assignment, reason, &problem)?;
                (self.tell)(&Report::Finished { id, verdict: Verdict::TestbedFailed, summary: problem });
                self.wait(PAUSE_AFTER_FAILURE);
            }
        }
        let has_result = ended.verdict.is_some();
        self.note(|journal| journal.end(has_result));
        Ok(self.fitness.check(ended))
    }

    /// Gives a job back, and tells so.
    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, why: &str) -> Result<(), Advice> {
        self.source.give_back(assignment, reason, why)?;
        (self.tell)(&Report::GivenBack { id: assignment.job.id.clone(), reason, why: why.to_owned() });
        Ok(())
    }

    /// Runs a job, and passes on its log and phases.
    fn run_job(&mut self, assignment: &Assignment) -> Result<Outcome, RunError> {
        let (source, mut lost) = (RefCell::new(&mut *self.source), None);
        self.runner.run(
            assignment,
            &mut |bytes| {
                // If the log cannot be streamed, the bundle still has it.
                if lost.is_none() {
                    lost = source.borrow_mut().log(bytes).err();
                }
            },
            &mut |phase| {
                source.borrow_mut().phase(phase);
                (self.tell)(&Report::Phase { text: phase.to_owned() });
            },
        )
    }

    /// Writes to the journal. If that fails the work goes on: only less is known after a crash.
    fn note(&mut self, write: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        let Some(journal) = self.journal.as_mut() else { return };
        if let Err(error) = write(journal) {
            let advice = "a crash would not be known after the restart: make room on the data partition";
            (self.tell)(&Report::problem(format!("writing down which job runs: {error}"), advice));
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn wait(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time && !self.stopped() {
            thread::sleep(time.min(Duration::from_millis(100)));
        }
    }
}

#[cfg(test)]
mod tests;
