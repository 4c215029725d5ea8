//! [`Debci`]: takes jobs from a debci server's message broker, and sends results there.
//!
//! The broker keeps a job until its result is confirmed and the job is acknowledged. What this machine was running when
//! the connection was lost goes back into the queue; a result is sent only while the broker keeps its job for us, so
//! that no job gets two: it waits in the outbox, and is sent when the job comes back here. If another worker gets the
//! job, its result counts.

mod answered;
mod job_state;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use advice::{Advice, Advise};
use amqp::{Broker, Error, Message, Queue, Receipt};
use debci::{
    ArchitectureQueue, Heading, JobLine, LARGEST_MESSAGE, LONGEST_LINE, LineError, MARGIN, RESULTS_QUEUE, ResultFile,
    ResultFileError, RunId,
};
use jiff::Timestamp;
use protocol::Machine;
use protocol::api::{GiveBackReason, Health};
use transfer::Backoff;

use super::job_source::{Assignment, Claim, Delivery, End, JobSource, TestbedOptions};
use super::outbox::{Outbox, Waiting};
use super::running::InterruptedJob;
use super::timeouts::Timeouts;
use super::uploader::Tell;
use answered::Answered;
use appliance::report::Report;
use appliance::settings::WhenDone;
use job_state::{JobState, JobStates};

/// How often the queues are looked at while they are empty.
const OFTEN: Duration = Duration::from_secs(3);
/// The highest priority of debci's queues.
const PRIORITIES: u8 = 10;
/// How long a result waits for its job to come back to this machine.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often the outbox is looked through for results that nobody wants.
const TIDY: Duration = Duration::from_secs(600);
/// How long connecting and logging in may take.
const CONNECT: Duration = Duration::from_secs(30);

/// Which server, which of its jobs, and how to behave.
pub struct Settings {
    /// The broker.
    pub address: amqp::Address,
    /// Certificates.
    pub tls: amqp::TlsOptions,
    /// Suites whose jobs are run.
    pub suites: Vec<String>,
    /// Architecture, to which targets are added.
    pub architecture: String,
    /// The backend whose queues are read.
    pub backend: String,
    /// Address of the server's web pages.
    pub api: Option<String>,
    /// What to do when there are no jobs.
    pub when_done: WhenDone,
    /// The data directory.
    pub data: PathBuf,
    /// Timeouts and backoff.
    pub timeouts: Timeouts,
    /// Sends reports to PID 1.
    pub tell: Tell,
    /// Becomes true when the machine is to stop.
    pub stop: Arc<AtomicBool>,
}

/// A debci server as a job source.
pub struct Debci {
    settings: Settings,
    server: String,
    machine: String,
    queues: Vec<ArchitectureQueue>,
    broker: Option<Broker>,
    states: Option<JobStates>,
    answered: Answered,
    outbox: Outbox,
    current: Option<Current>,
    /// Largest result that the broker takes, in bytes.
    largest: usize,
    backoff: Backoff,
    told: String,
    idle_since: Option<Instant>,
    /// When the outbox was last looked through.
    tidied: Option<Instant>,
}

/// Makes a result file of at most so many bytes.
type MakeResult<'a> = dyn FnMut(&Heading<'_>, usize) -> Result<ResultFile, ResultFileError> + 'a;

/// A job that the broker keeps for us.
#[derive(Debug, Clone)]
struct Current {
    run: RunId,
    /// `None` if only the run id of its line could be read.
    line: Option<JobLine>,
    architecture: String,
    receipt: Receipt,
}

/// What became of sending a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The broker has stored it, and the job is dealt with.
    Done,
    /// The job is back in its queue: whoever takes it answers it.
    NotOurs,
}

impl Debci {
    /// Prepares the source; the broker is first reached when a job is claimed.
    ///
    /// # Errors
    /// If the data directory or the system's certificates cannot be read.
    pub fn open(settings: Settings) -> Result<Self, Advice> {
        let failed = |what: String| Advice::new(what, "look at the data partition");
        let data = settings.data.clone();
        let kept = |error: io::Error| failed(format!("opening what is kept in {}: {error}", data.display()));
        let states = settings.api.as_deref().map(|api| JobStates::new(api, settings.tls.authorities.as_deref()));
        let states =
            states.transpose().map_err(|error| failed(format!("preparing to ask the debci server: {error}")))?;
        Ok(Self {
            server: settings.address.to_string(),
            machine: String::new(),
            queues: Vec::new(),
            broker: None,
            states,
            answered: Answered::open(&data).map_err(kept)?,
            outbox: Outbox::open(&data).map_err(kept)?,
            current: None,
            largest: LARGEST_MESSAGE - MARGIN,
            backoff: settings.timeouts.backoff(),
            told: String::new(),
            idle_since: None,
            tidied: None,
            settings,
        })
    }

    /// Decides what to do with a message: answers it at once, or returns the job to run.
    fn decide(&mut self, message: &Message) -> Result<Option<Assignment>, Advice> {
        let Some(queue) = self.queues.get(message.queue).cloned() else { return Ok(None) };
        let (run, line, refusal) = match JobLine::parse(&message.body) {
            Ok(line) => (line.run, Some(line.clone()), self.cannot_run(&line)),
            Err(LineError::Refused { run, reason }) => (run, None, Some(reason)),
            Err(LineError::NoRun(reason)) => {
                let what = format!("a message in the queue {} is dropped: {reason}", queue.name);
                self.problem(what, "only debci should write to this queue");
                self.acknowledge(message.receipt);
                return Ok(None);
            }
        };
        let current = Current { run, line: line.clone(), architecture: queue.architecture, receipt: message.receipt };
        if self.is_dealt_with(run, message.redelivered) {
            self.acknowledge(message.receipt);
            return Ok(None);
        }
        let name = name(run);
        if let Some(waiting) = self.waiting(&name)? {
            self.send_waiting(&current, &waiting)?;
            return Ok(None);
        }
        let (Some(line), None) = (line, &refusal) else {
            self.refuse(&current, refusal.as_deref().unwrap_or("it cannot be read"));
            return Ok(None);
        };
        let testbed = TestbedOptions {
            upgrade: true,
            apt_sources: line.apt_sources.clone(),
            signing_keys: line.signing_keys.clone(),
        };
        let assignment = Assignment { lease: Some(name), testbed, ..Assignment::new(line.job(queue.gpu)) };
        self.current = Some(current);
        Ok(Some(assignment))
    }

    /// Why a job cannot be run in this machine's testbeds.
    fn cannot_run(&self, line: &JobLine) -> Option<String> {
        let suites = &self.settings.suites;
        if !suites.contains(&line.suite) {
            return Some(format!("this worker tests in {}, and not in {}", suites.join(" and "), line.suite));
        }
        let variant = line.autopkgtest.as_ref()?;
        Some(format!("this worker has no autopkgtest variant `{variant}`, only Debian's own autopkgtest"))
    }

    /// Whether the job has its result already: from here, or as the server says.
    ///
    /// A job that was answered here comes again only as a redelivery, if its acknowledgement was lost. Another one with
    /// this run id is a new job of a server whose database was made anew.
    fn is_dealt_with(&mut self, run: RunId, redelivered: bool) -> bool {
        if redelivered && self.answered.has(&self.server, run) {
            return true;
        }
        let Some(states) = &self.states else { return false };
        match states.of(run) {
            Ok(JobState::Pending) => false,
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

    /// The result in the outbox that has this name and is for this server.
    fn waiting(&self, name: &str) -> Result<Option<Waiting>, Advice> {
        let all = self.outbox.waiting().map_err(outbox)?;
        let is_it =
            |waiting: &Waiting| waiting.result.to == self.server && waiting.result.lease.as_deref() == Some(name);
        Ok(all.into_iter().find(is_it))
    }

    /// Sends a result from the outbox, and removes it if the broker has it.
    fn send_waiting(&mut self, current: &Current, waiting: &Waiting) -> Result<Sent, Advice> {
        let bundle = waiting.bundle.clone();
        let mut open = || Ok(Box::new(File::open(&bundle)?) as Box<dyn Read>);
        let sent = self.send(current, &mut |heading, most| debci::of_bundle(heading, &mut open, most));
        if sent == Sent::Done {
            self.outbox.remove(waiting).map_err(outbox)?;
        }
        Ok(sent)
    }

    /// Answers a job that is not run.
    fn refuse(&mut self, current: &Current, reason: &str) -> Sent {
        let when = Timestamp::now();
        self.send(current, &mut |heading, _| debci::of_refusal(heading, reason, when))
    }

    /// Sends a result for as long as the broker keeps its job for us.
    fn send(&mut self, current: &Current, make: &mut MakeResult<'_>) -> Sent {
        let Some(broker) = self.broker.clone() else { return Sent::NotOurs };
        let mut backoff = self.settings.timeouts.backoff();
        let mut result = self.result_file(current, make);
        loop {
            match broker.answer(current.receipt, RESULTS_QUEUE, &result.bytes) {
                Ok(()) => break,
                Err(Error::NotHeld) => return Sent::NotOurs,
                Err(Error::TooLarge { most, .. }) => {
                    // Smaller each time, whatever the broker says.
                    self.largest = most.saturating_sub(MARGIN).min(result.bytes.len().saturating_sub(1));
                    let smaller = self.result_file(current, make);
                    if smaller.bytes.len() >= result.bytes.len() {
                        self.say(format!(
                            "the result of job {} is not sent: the broker takes at most {most} bytes; raise its max_message_size",
                            current.run
                        ));
                        if self.settings.stop.load(Ordering::Relaxed) {
                            return Sent::NotOurs;
                        }
                        self.sleep(backoff.next_pause());
                    }
                    result = smaller;
                }
                Err(error) => {
                    self.say(format!(
                        "the result of job {} is not sent: {}",
                        current.run,
                        Advice::of(&error).in_one_line()
                    ));
                    if self.settings.stop.load(Ordering::Relaxed) {
                        return Sent::NotOurs;
                    }
                    self.sleep(backoff.next_pause());
                }
            }
        }
        self.say(String::new());
        // The job may come back if the connection is lost now, or the machine dies.
        if let Err(error) = self.answered.add(&self.server, current.run) {
            self.problem(
                format!("noting that job {} has its result: {error}", current.run),
                "look at the data partition",
            );
        }
        self.acknowledge(current.receipt);
        Sent::Done
    }

    /// Makes a result file, and if that fails, one that says why.
    fn result_file(&self, current: &Current, make: &mut MakeResult<'_>) -> ResultFile {
        let heading = Heading {
            run: current.run,
            job: current.line.as_ref(),
            architecture: &current.architecture,
            worker: &self.machine,
            notes: Vec::new(),
        };
        let nothing = ResultFile { bytes: Vec::new(), exit_code: 16, left_out: 0 };
        make(&heading, self.largest).unwrap_or_else(|error| {
            let reason = format!("its tests ran, and its result cannot be read: {error}");
            debci::of_refusal(&heading, &reason, Timestamp::now()).unwrap_or(nothing)
        })
    }

    fn acknowledge(&self, receipt: Receipt) {
        if let Some(broker) = &self.broker {
            // If the broker has taken it back, it comes again, and is known then.
            drop(broker.acknowledge(receipt));
        }
    }

    /// Removes results whose job was answered by others, or does not come back.
    fn tidy(&mut self) -> Result<(), Advice> {
        if self.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY) {
            return Ok(());
        }
        self.tidied = Some(Instant::now());
        for waiting in self.outbox.waiting().map_err(outbox)? {
            let run = waiting.result.lease.as_deref().and_then(|lease| lease.strip_prefix(PREFIX)?.parse().ok());
            let Some(run) = run.filter(|_| waiting.result.to == self.server) else { continue };
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

    /// The queues are empty.
    fn rest(&mut self) -> Claim {
        let since = *self.idle_since.get_or_insert_with(|| {
            (self.settings.tell)(&Report::Idle { why: format!("no jobs in the queues of {}", self.server) });
            Instant::now()
        });
        if self.settings.when_done == WhenDone::PowerOff && since.elapsed() >= self.settings.timeouts.last_claim {
            return Claim::End(format!("there are no more jobs in the queues of {}", self.server));
        }
        self.sleep(OFTEN.min(self.settings.timeouts.longest_pause));
        Claim::Nothing
    }

    fn sleep(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time && !self.settings.stop.load(Ordering::Relaxed) {
            thread::sleep(time.min(Duration::from_millis(100)));
        }
    }

    fn say(&mut self, text: String) {
        if self.told != text {
            (self.settings.tell)(&Report::condition("debci", text.clone()));
            self.told = text;
        }
    }

    fn problem(&self, what: String, advice: &'static str) {
        (self.settings.tell)(&Report::problem(what, advice));
    }
}

impl JobSource for Debci {
    fn name(&self) -> String {
        self.server.clone()
    }

    fn ready(&mut self, machine: &Machine, interrupted: Option<&InterruptedJob>) -> Result<(), Advice> {
        if let Some(interrupted) = interrupted.filter(|interrupted| interrupted.record.source == self.name()) {
            self.problem(interrupted.describe(), "the broker hands it out again");
        }
        self.machine.clone_from(&machine.name);
        let Settings { architecture, backend, .. } = &self.settings;
        self.queues = debci::queues(architecture, backend, &machine.gpus);
        if self.queues.is_empty() {
            let text = "no job is taken: each queue of debci is for a GPU, and this machine has none that can be used";
            self.say(text.to_owned());
            return Ok(());
        }
        let queue = |queue: &ArchitectureQueue| Queue { name: queue.name.clone(), max_priority: Some(PRIORITIES) };
        let broker = Broker::new(amqp::Options {
            address: self.settings.address.clone(),
            tls: self.settings.tls.clone(),
            name: format!("rocbed {}", self.machine),
            queues: self.queues.iter().map(queue).collect(),
            others: vec![Queue { name: RESULTS_QUEUE.to_owned(), max_priority: None }],
            largest: LONGEST_LINE,
            timeout: CONNECT,
        });
        let broker = broker.map_err(|error| {
            Advice::new(format!("preparing the connection to {}: {error}", self.server), error.help())
        })?;
        self.broker = Some(broker);
        Ok(())
    }

    /// Makes room in the outbox: a machine whose outbox is full is unfit, and claims nothing.
    fn health(&mut self, _: Health, _: &str) -> Result<(), Advice> {
        self.tidy()
    }

    fn claim(&mut self) -> Result<Claim, Advice> {
        let Some(broker) = self.broker.clone() else { return Ok(self.rest()) };
        match broker.take() {
            Ok(Some(message)) => {
                self.say(String::new());
                (self.idle_since, self.backoff) = (None, self.settings.timeouts.backoff());
                Ok(self.decide(&message)?.map_or(Claim::Nothing, |assignment| Claim::Job(Box::new(assignment))))
            }
            Ok(None) => {
                self.say(String::new());
                self.backoff = self.settings.timeouts.backoff();
                self.tidy()?;
                Ok(self.rest())
            }
            Err(error) => {
                self.say(format!("no jobs from {}: {}", self.server, Advice::of(&error).in_one_line()));
                let pause = self.backoff.next_pause();
                self.sleep(pause);
                Ok(Claim::Nothing)
            }
        }
    }

    fn started(&mut self, _: &Assignment) -> Result<(), Advice> {
        Ok(())
    }

    fn log(&mut self, _: &[u8]) -> Result<(), Advice> {
        Ok(()) // it is in the result
    }

    /// A result is durable once it is in the outbox; the broker gives its job out until it has the result.
    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        self.outbox.put(&self.server, assignment.lease.as_deref(), delivery).map_err(outbox)?;
        let (Some(current), Some(waiting)) = (self.current.take(), self.waiting(assignment.name())?) else {
            return Ok(());
        };
        if self.send_waiting(&current, &waiting)? == Sent::NotOurs {
            let what = format!("the connection to {} was lost while {} ran", self.server, assignment.job.id);
            self.problem(what, "its result is kept, and sent if the broker hands the job to this machine again");
        }
        Ok(())
    }

    fn give_back(&mut self, _assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if reason.excludes_machine() {
            // debci cannot keep a job from one worker only: it would come back at once.
            self.refuse(&current, message);
            return Ok(());
        }
        if let Some(broker) = &self.broker {
            // Otherwise it is back already.
            drop(broker.requeue(current.receipt));
        }
        Ok(())
    }

    fn end(&mut self, _: &End) -> Result<(), Advice> {
        if let Some(broker) = &self.broker {
            broker.close();
        }
        Ok(())
    }
}

/// What leases of a debci server begin with.
const PREFIX: &str = "debci-";

/// The name of a job's bundle.
fn name(run: RunId) -> String {
    format!("{PREFIX}{run}")
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn outbox(error: io::Error) -> Advice {
    Advice::new(format!("reading or writing the results that are to be sent: {error}"), "look at the data partition")
}
