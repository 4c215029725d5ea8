//! [`Crew`]: the jobs that run at the moment, each in a thread of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use appliance::report::Report;

use crate::allocation::Share;
use crate::interrupt::Interrupt;
use crate::job_source::{Assignment, Progress};
use crate::rate_limit::RateLimit;
use crate::run::{Outcome, RunError, RunJob};

/// How many phases of a job are told at once, and then in a second. A test can print lines that look like
/// autopkgtest's; what reads the reports has a serial line to write them to.
const PHASES: (u32, u32) = (30, 2);

/// Longest text of a phase, in characters.
const LONGEST_PHASE: usize = 200;

/// A running job.
struct Running<'scope> {
    assignment: Box<Assignment>,
    share: Share,
    began: Instant,
    interrupt: Interrupt,
    /// Whether the machine wants the job to end, and not its source.
    is_to_end: bool,
    /// `None` if there is no thread for it.
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

/// A job that has ended.
pub(super) struct Ended {
    pub(super) assignment: Box<Assignment>,
    pub(super) share: Share,
    /// How long it ran.
    pub(super) took: Duration,
    /// Whether the machine wanted it to end.
    pub(super) was_to_end: bool,
    pub(super) outcome: Result<Outcome, RunError>,
}

/// What a job's thread says at its end: nothing if it panicked.
struct Farewell {
    name: String,
    outcome: Option<Result<Outcome, RunError>>,
}

/// Sends the farewell, whatever happens to the thread.
struct Leaving {
    farewell: Farewell,
    sender: Sender<Farewell>,
    ended: Arc<AtomicUsize>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        let farewell = Farewell { name: self.farewell.name.clone(), outcome: self.farewell.outcome.take() };
        // The receiver is gone only if nobody wants to know any more.
        let _ = self.sender.send(farewell);
    }
}

/// The jobs that run at the moment.
pub(super) struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    runner: &'env dyn RunJob,
    tell: &'env (dyn Fn(&Report) + Sync),
    running: BTreeMap<String, Running<'scope>>,
    sender: Sender<Farewell>,
    receiver: Receiver<Farewell>,
    /// How many have ended and were not taken yet.
    ended: Arc<AtomicUsize>,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    /// Nobody; jobs will be run by `runner`.
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        runner: &'env dyn RunJob,
        tell: &'env (dyn Fn(&Report) + Sync),
    ) -> Self {
        let (sender, receiver) = channel();
        Self { scope, runner, tell, running: BTreeMap::new(), sender, receiver, ended: Arc::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether this assignment runs already.
    pub(super) fn has(&self, name: &str) -> bool {
        self.running.contains_key(name)
    }

    /// Starts a job.
    pub(super) fn begin(&mut self, assignment: Box<Assignment>, share: Share, progress: Box<dyn Progress>) {
        let name = assignment.name().to_owned();
        let farewell = Farewell { name: name.clone(), outcome: None };
        let leaving = Leaving { farewell, sender: self.sender.clone(), ended: Arc::clone(&self.ended) };
        let (runner, tell) = (self.runner, self.tell);
        let (theirs, granted) = (assignment.clone(), share.clone());
        let run = move || {
            let mut leaving = leaving;
            leaving.farewell.outcome = Some(run(runner, tell, &theirs, &granted, progress));
        };
        let started = Builder::new().name("job".into()).spawn_scoped(self.scope, run);
        // If there is none, what was moved to it has said farewell without an outcome.
        let thread = started.ok();
        let interrupt = assignment.interrupt.clone();
        let running = Running { assignment, share, began: Instant::now(), interrupt, is_to_end: false, thread };
        self.running.insert(name, running);
    }

    /// Whether a job has ended that was not taken yet.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst) > 0
    }

    /// A job that has ended; waits for one for at most this time.
    pub(super) fn next(&mut self, wait: Duration) -> Option<Ended> {
        let Farewell { name, outcome } = self.receiver.recv_timeout(wait).ok()?;
        self.ended.fetch_sub(1, Ordering::SeqCst);
        let Running { assignment, share, began, is_to_end, thread, .. } = self.running.remove(&name)?;
        let has_thread = thread.is_some();
        if let Some(Err(panic)) = thread.map(ScopedJoinHandle::join) {
            // As if it had been in this thread: nothing is known of the state that it has left.
            resume_unwind(panic);
        }
        let why = if has_thread { "its thread ended without a word" } else { "there is no thread for it" };
        let outcome = outcome.unwrap_or_else(|| Err(RunError::Prepare(io::Error::other(why))));
        Some(Ended { assignment, share, took: began.elapsed(), was_to_end: is_to_end, outcome })
    }

    /// Ends all jobs, for a reason of this machine.
    pub(super) fn interrupt(&mut self, why: &str) {
        for running in self.running.values_mut() {
            // One that its source has ended is not to be given out again.
            running.is_to_end |= running.interrupt.why().is_none();
            running.interrupt.interrupt(why);
        }
    }
}

/// Runs a job to its end, and passes on its log and phases.
fn run(
    runner: &dyn RunJob,
    tell: &(dyn Fn(&Report) + Sync),
    assignment: &Assignment,
    share: &Share,
    progress: Box<dyn Progress>,
) -> Result<Outcome, RunError> {
    let (progress, mut lost) = (RefCell::new(progress), None);
    let (mut limit, mut left_out) = (RateLimit::new(PHASES.0, PHASES.1), 0_u64);
    runner.run(
        assignment,
        share,
        &mut |bytes| {
            // If the log cannot be streamed, the bundle still has it.
            if lost.is_none() {
                lost = progress.borrow_mut().log(bytes).err();
            }
        },
        &mut |phase| {
            if !limit.admits(Instant::now()) {
                left_out += 1;
                return;
            }
            let mut text: String = phase.chars().take(LONGEST_PHASE).collect();
            if left_out > 0 {
                text += &format!(" ({left_out} left out before)");
                left_out = 0;
            }
            progress.borrow_mut().phase(&text);
            tell(&Report::Phase { id: assignment.job.id.clone(), text });
        },
    )
}
