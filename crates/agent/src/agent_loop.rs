//! The agent's main loop: QUALIFY, claim, run, deliver, CHECK.
//!
//! One thread deals with the source, the journal and the machine's fitness; each running job has a thread of its own
//! ([`crew`]), which tells it only that the job has ended. While there is something free, the next job is claimed. When
//! the machine has to be restarted, no more is claimed, and what runs is waited for.

mod crew;
mod rest;
mod schedule;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use protocol::api::{GiveBackReason, Health};
use protocol::{Job, Machine, Verdict};

use self::crew::{Crew, Ended};
use self::rest::Kept;
use self::schedule::Phase;
pub use self::schedule::Schedule;
use super::allocation::{Allocation, Fit, Share};
use super::fitness::{EndedJob, Fitness};
use super::job_source::{Assignment, Claim, End, JobSource, Room};
use super::run::{Outcome, RunJob};
use super::running::{Journal, Losses, RunningJob};
use appliance::report::Report;
use appliance::settings::WhenDone;

/// After this many failures for reasons of this machine, a job is left to other machines.
const MAX_FAILURES_PER_MACHINE: u32 = 3;

/// The pause after a job that could not be run: the machine would get the same job again at once.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How long to wait for defects that may go away before the machine is reported as unfit: a time server may answer
/// late, and results may be on their way.
const GRACE: Duration = Duration::from_secs(600);

/// How long a wait for jobs takes before it is looked whether the machine is to stop.
const TICK: Duration = Duration::from_millis(100);

/// How long to wait for something that nothing else can happen without.
const A_WHILE: Duration = Duration::from_secs(1);

/// What several jobs at once may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtOnce {
    /// How many may run at once; if it is not given, one for each GPU, and more without GPUs on a large machine.
    pub most: Option<u32>,
    /// How long the machine waits for jobs that run before it is restarted because of another.
    pub patience: Duration,
}

impl Default for AtOnce {
    fn default() -> Self {
        Self { most: None, patience: Duration::from_secs(3600) }
    }
}

/// The job loop, with what it needs.
pub struct AgentLoop<'a> {
    /// The job source and result sink.
    pub source: &'a mut dyn JobSource,
    /// Runs the jobs.
    pub runner: &'a dyn RunJob,
    /// Checks the machine.
    pub fitness: &'a mut dyn Fitness,
    /// Records the running jobs, on machines that come back after a restart.
    pub journal: Option<&'a mut Journal>,
    /// Description of the machine.
    pub machine: &'a Machine,
    /// How many jobs run at once.
    pub at_once: AtOnce,
    /// What to do when the machine cannot take jobs.
    pub when_done: WhenDone,
    /// When the machine may work, and what it does without work.
    pub schedule: Schedule<'a>,
    /// Becomes true when the machine is to stop.
    pub stop: &'a AtomicBool,
    /// Sends reports to PID 1.
    pub tell: &'a (dyn Fn(&Report) + Sync),
}

impl AgentLoop<'_> {
    /// Runs jobs until there are no more or the machine is to end. Returns the reason for the end.
    ///
    /// # Errors
    /// If the other side went away for good: undelivered results are still in the data directory.
    pub fn run(self) -> Result<End, Advice> {
        thread::scope(|scope| {
            let crew = Crew::new(scope, self.runner, self.tell);
            let allocation = Allocation::new(self.machine, self.at_once.most);
            let mut shift = Shift {
                parts: self,
                crew,
                allocation,
                waiting: None,
                restart: None,
                look: Look::default(),
                phase: Phase::Open,
                undelivered: None,
                wakes: false,
                not_before: None,
                failures: BTreeMap::new(),
                times: BTreeMap::new(),
            };
            let end = shift.run();
            if end.is_err() {
                // Nobody takes their results. The threads are waited for at the end of the scope.
                shift.crew.interrupt("the other side is gone");
            }
            end
        })
    }
}

/// What is known of the machine's fitness.
#[derive(Debug, Default)]
struct Look {
    /// Whether it was found fit, and no job has ended since.
    is_fit: bool,
    /// When to look again.
    due: Option<Instant>,
    /// What was told last.
    told: String,
    /// How long defects have been waited for.
    waited: Duration,
}

/// What to do after a look at the machine.
enum Qualified {
    /// The machine can take jobs: claim one.
    Fit,
    /// Look at it again after this time.
    Wait(Duration),
    /// End the loop, and what happens then.
    End(End),
}

/// A loop that runs.
struct Shift<'scope, 'env> {
    parts: AgentLoop<'env>,
    crew: Crew<'scope, 'env>,
    allocation: Allocation,
    /// A job that has been claimed, and cannot begin before others have ended.
    waiting: Option<Box<Assignment>>,
    /// The reason for a restart, once there is one.
    restart: Option<String>,
    look: Look,
    /// The phase of the owner's times that was told last.
    phase: Phase,
    /// Since when results are on their way.
    undelivered: Option<Instant>,
    /// Whether its clock is to switch the machine on again for its next hours.
    wakes: bool,
    /// When the next job may be claimed.
    not_before: Option<Instant>,
    /// How often jobs could not be run for reasons of this machine.
    failures: BTreeMap<String, u32>,
    /// How many seconds the sources took here before, for job sources that do not know.
    times: BTreeMap<String, u64>,
}

impl Shift<'_, '_> {
    fn run(&mut self) -> Result<End, Advice> {
        let interrupted = self.parts.journal.as_ref().map(|journal| journal.interrupted()).unwrap_or_default();
        for job in &interrupted {
            let advice = "look at the machine's health; the job is given back";
            (self.parts.tell)(&Report::problem(job.describe(), advice));
        }
        self.parts.source.ready(self.parts.machine, &interrupted)?;
        self.note(Journal::settle);
        self.parts.source.health(Health::Qualifying, "")?;
        let end = self.take_jobs()?;
        let end = self.wind_up(end)?;
        match &end {
            End::Done(why) => self.parts.source.health(Health::Off, why)?,
            End::Stopped => self.parts.source.health(Health::Off, "the machine was told to stop")?,
            End::Restart(why) => self.parts.source.health(Health::Rebooting, why)?,
        }
        self.parts.source.end(&end)?;
        if self.wakes {
            // Anew, as the last results may have taken longer than it was to the next hours.
            if let Err(error) = self.set_alarm() {
                (self.parts.tell)(&Report::Problem(error));
            }
        }
        Ok(end)
    }

    /// Takes jobs until there are no more or the machine is to end; some may still run then.
    fn take_jobs(&mut self) -> Result<End, Advice> {
        loop {
            self.take_ended(Duration::ZERO)?;
            if self.stopped() {
                return Ok(End::Stopped);
            }
            if let Some(why) = self.restart.take() {
                return Ok(End::Restart(why));
            }
            match self.keep_times()? {
                Kept::Work => {}
                Kept::Rest => continue,
                Kept::End(end) => return Ok(end),
            }
            match self.qualify()? {
                Qualified::Fit => {}
                Qualified::Wait(time) => {
                    self.take_ended(time)?;
                    continue;
                }
                Qualified::End(end) => return Ok(end),
            }
            let pause = self.not_before.map(|time| time.saturating_duration_since(Instant::now())).unwrap_or_default();
            if !pause.is_zero() {
                self.take_ended(pause)?;
            } else if let Some(assignment) = self.waiting.take() {
                self.begin(assignment)?;
            } else if self.allocation.offer().is_none() {
                self.take_ended(A_WHILE)?;
            } else {
                match self.claim()? {
                    Claim::Job(assignment) => self.begin(assignment)?,
                    Claim::Nothing => {}
                    // One that runs may be given back, and be the next.
                    Claim::End(_) if !self.crew.is_empty() => self.take_ended(A_WHILE)?,
                    Claim::End(why) => return Ok(End::Done(why)),
                    Claim::RetryGpus(gpus) => return Ok(End::Restart(self.parts.fitness.retry_gpus(&gpus))),
                }
            }
        }
    }

    fn claim(&mut self) -> Result<Claim, Advice> {
        let Self { parts, crew, allocation, .. } = self;
        let AgentLoop { source, journal, schedule, .. } = parts;
        let alone = |job: &Job| journal.as_ref().is_some_and(|journal| journal.losses(&job.id).is_suspect());
        let over = || crew.has_ended() || schedule.phase() != Phase::Open;
        source.claim(&Room::new(allocation, &alone, &over))
    }

    /// Waits for what runs, and gives back what cannot be waited for.
    fn wind_up(&mut self, mut end: End) -> Result<End, Advice> {
        if let Some(assignment) = self.waiting.take() {
            let why = if let End::Restart(why) = &end { why.as_str() } else { "the machine is going to end" };
            self.parts.source.give_back(&assignment, GiveBackReason::ShuttingDown, why)?;
        }
        let until = Instant::now() + self.parts.at_once.patience;
        let mut told = 0;
        while !self.crew.is_empty() {
            self.end_with_the_hours(self.parts.schedule.phase());
            if self.stopped() {
                // Whoever runs the jobs ends them.
                end = End::Stopped;
            }
            if let End::Restart(why) = &end {
                if self.crew.len() != told {
                    told = self.crew.len();
                    let jobs = if told == 1 { "a job has".to_owned() } else { format!("{told} jobs have") };
                    let text = format!("takes no jobs, and restarts once {jobs} ended: {why}");
                    self.parts.source.health(Health::Rebooting, &text)?;
                    (self.parts.tell)(&Report::condition("health", text));
                }
                if Instant::now() >= until {
                    self.crew.interrupt(&format!("the machine has to be restarted: {why}"));
                }
            }
            self.take_ended(A_WHILE.min(until.saturating_duration_since(Instant::now()).max(TICK)))?;
        }
        Ok(end)
    }

    /// Looks whether the machine is fit, if that is due.
    fn qualify(&mut self) -> Result<Qualified, Advice> {
        if self.look.is_fit {
            return Ok(Qualified::Fit);
        }
        let left = self.look.due.map(|due| due.saturating_duration_since(Instant::now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Qualified::Wait(left));
        }
        let defects = self.parts.fitness.qualify(&self.allocation.busy());
        // The stop may have been asked for in the meantime, and then the defects mean nothing.
        if self.stopped() {
            return Ok(Qualified::End(End::Stopped));
        }
        if let Some(why) = self.parts.fitness.wants_restart() {
            return Ok(Qualified::End(End::Restart(why)));
        }
        if defects.is_empty() {
            if !self.look.told.is_empty() {
                (self.parts.tell)(&Report::condition("health", String::new()));
            }
            self.look = Look { is_fit: true, ..Look::default() };
            self.parts.source.health(Health::Ready, "")?;
            return Ok(Qualified::Fit);
        }
        let text = defects.iter().map(|defect| defect.advice.in_one_line()).collect::<Vec<_>>().join("; ");
        let passes = self.look.waited < GRACE && defects.iter().all(|defect| defect.passes);
        let (health, word) = if passes { (Health::Qualifying, "no job is taken") } else { (Health::Unfit, "unfit") };
        self.parts.source.health(health, &text)?;
        let tell = format!("{word}: {text}");
        if tell != self.look.told {
            (self.parts.tell)(&Report::condition("health", tell.clone()));
            self.look.told = tell;
        }
        if !passes && self.parts.when_done == WhenDone::PowerOff {
            return Ok(Qualified::End(End::Done(format!("the machine is unfit: {text}"))));
        }
        let pause = self.parts.fitness.pause();
        self.look.waited = self.look.waited.saturating_add(pause);
        self.look.due = Some(Instant::now() + pause);
        Ok(Qualified::Wait(pause))
    }

    /// Begins a job, or gives it back, or keeps it until it can begin.
    fn begin(&mut self, assignment: Box<Assignment>) -> Result<(), Advice> {
        let job = &assignment.job;
        if let Some(why) = assignment.interrupt.why() {
            // It was cancelled while it waited.
            return self.parts.source.give_back(&assignment, GiveBackReason::Cancelled, why);
        }
        let losses = self.losses(&job.id);
        if losses.is_killer() {
            self.tell_of(&assignment, &[]);
            let why = format!("this machine stopped or hung {} times while the job ran", losses.all());
            return self.give_back(&assignment, GiveBackReason::MachineKiller, &why);
        }
        if self.comes_too_late(&assignment)? {
            return Ok(());
        }
        let alone = losses.is_suspect();
        match self.allocation.fit(job, alone) {
            Fit::Now(share) if !self.crew.has(assignment.name()) => self.start(assignment, share, alone),
            Fit::Never(why) => {
                self.tell_of(&assignment, &[]);
                drop(self.parts.source.started(&assignment)?);
                self.give_back(&assignment, GiveBackReason::CannotRun, &why.to_string())
            }
            Fit::Now(_) | Fit::Later => {
                self.waiting = Some(assignment);
                self.take_ended(A_WHILE)
            }
        }
    }

    fn start(&mut self, assignment: Box<Assignment>, share: Share, alone: bool) -> Result<(), Advice> {
        let gpus = share.ids();
        self.tell_of(&assignment, &gpus);
        let record = RunningJob {
            job: assignment.job.id.clone(),
            lease: assignment.lease.clone(),
            source: self.parts.source.name(),
            gpus,
            boot: String::new(),
        };
        self.note(|journal| journal.begin(record));
        let progress = self.parts.source.started(&assignment)?;
        self.allocation.take(assignment.name(), share.clone(), alone);
        self.crew.begin(assignment, share, progress);
        Ok(())
    }

    /// Reports a job's begin.
    fn tell_of(&self, assignment: &Assignment, gpus: &[String]) {
        let Assignment { job, position, .. } = assignment;
        let expected = self.expected(assignment);
        let id = job.id.clone();
        (self.parts.tell)(&Report::Job { id, position: *position, expected, gpus: gpus.to_vec() });
    }

    /// How many seconds a job usually takes, if that is known.
    fn expected(&self, assignment: &Assignment) -> Option<u64> {
        assignment.usual_seconds.or_else(|| self.times.get(&assignment.job.source.to_string()).copied())
    }

    /// Gives a job back, and tells so.
    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, why: &str) -> Result<(), Advice> {
        self.parts.source.give_back(assignment, reason, why)?;
        (self.parts.tell)(&Report::GivenBack { id: assignment.job.id.clone(), reason, why: why.to_owned() });
        Ok(())
    }

    fn tell_end(&self, id: &str, verdict: Verdict, summary: String) {
        (self.parts.tell)(&Report::Finished { id: id.to_owned(), verdict, summary });
    }

    /// Deals with all jobs that have ended. If none has, waits for one for at most this time, or until the machine is to
    /// stop.
    fn take_ended(&mut self, wait: Duration) -> Result<(), Advice> {
        let began = Instant::now();
        let was_stopped = self.stopped();
        let mut ended = self.crew.next(wait.min(TICK));
        while ended.is_none() && began.elapsed() < wait && self.stopped() == was_stopped {
            ended = self.crew.next(wait.saturating_sub(began.elapsed()).min(TICK));
        }
        while let Some(job) = ended {
            self.finish(job)?;
            ended = self.crew.next(Duration::ZERO);
        }
        Ok(())
    }

    /// Delivers a result, or gives the job back, and checks the machine.
    fn finish(&mut self, job: Ended) -> Result<(), Advice> {
        let Ended { assignment, share, took, was_to_end, outcome } = job;
        let id = assignment.job.id.clone();
        let mut ended = EndedJob { gpus: share.ids(), ..EndedJob::default() };
        match outcome {
            Ok(Outcome::Ran { delivery, stuck, faults }) => {
                self.parts.source.deliver(&assignment, &delivery)?;
                self.failures.remove(&id);
                self.times.insert(assignment.job.source.to_string(), took.as_secs());
                (ended.verdict, ended.stuck) = (Some(delivery.verdict), stuck);
                (ended.contained, ended.faulty) = (faults.contained, faults.serious);
                self.tell_end(&id, delivery.verdict, delivery.summary.clone());
                self.parts.runner.forget(&delivery);
            }
            Ok(Outcome::Declined(why)) => {
                self.give_back(&assignment, GiveBackReason::CannotRun, &why)?;
            }
            Ok(Outcome::Stopped { stuck }) => {
                ended.stuck = stuck;
                let (reason, why) = match assignment.interrupt.why() {
                    Some(why) if was_to_end => (self.reason_of_end(), why),
                    Some(why) => (GiveBackReason::Cancelled, why),
                    None => (GiveBackReason::ShuttingDown, "the machine was told to stop"),
                };
                self.give_back(&assignment, reason, why)?;
            }
            Err(error) => {
                let problem = error.in_one_line();
                let count = self.failures.entry(id.clone()).or_insert(0);
                *count += 1;
                let reason =
                    if *count >= MAX_FAILURES_PER_MACHINE { GiveBackReason::CannotRun } else { GiveBackReason::Other };
                self.parts.source.give_back(&assignment, reason, &problem)?;
                self.tell_end(&id, Verdict::TestbedFailed, problem);
                self.not_before = Some(Instant::now() + PAUSE_AFTER_FAILURE);
            }
        }
        let has_result = ended.verdict.is_some();
        self.note(|journal| journal.end(&id, assignment.lease.as_deref(), has_result));
        self.allocation.release(assignment.name());
        self.look = Look { told: std::mem::take(&mut self.look.told), ..Look::default() };
        let faulty: Vec<String> = ended.faulty.keys().cloned().collect();
        if let Some(why) = self.parts.fitness.check(ended) {
            self.allocation.set_aside(faulty);
            self.restart.get_or_insert(why);
        }
        Ok(())
    }

    fn losses(&self, job: &str) -> Losses {
        self.parts.journal.as_ref().map(|journal| journal.losses(job)).unwrap_or_default()
    }

    /// Writes to the journal. If that fails the work goes on: only less is known after a crash.
    fn note(&mut self, write: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        let Some(journal) = self.parts.journal.as_mut() else { return };
        if let Err(error) = write(journal) {
            let advice = "a crash would not be known after the restart: make room on the data partition";
            (self.parts.tell)(&Report::problem(format!("writing down which jobs run: {error}"), advice));
        }
    }

    fn stopped(&self) -> bool {
        self.parts.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
