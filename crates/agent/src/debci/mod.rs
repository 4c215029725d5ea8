//! [`Debci`]: takes jobs from a debci server's message broker, and sends results there.
//!
//! The broker keeps a job until its result is confirmed and the job is acknowledged. What this machine was running when
//! the connection was lost goes back into the queue; a result is sent only while the broker keeps its job for us, so
//! that no job gets two: it waits in the outbox, and is sent when the job comes back here. If another worker gets the
//! job, its result counts.
//!
//! If the connection is lost after a result was published and before it was confirmed, nobody knows whether the broker
//! has it. The job comes again, and then the server is asked, once its collector has taken what waits for it.

mod answered;
mod dealt_with;
mod send;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::{Advice, Advise};
use amqp::{Broker, Message, Queue};
use debci::{
    ArchitectureQueue, JobLine, JobStates, LARGEST_MESSAGE, LONGEST_LINE, LineError, MARGIN, PRIORITIES, RESULTS_QUEUE,
    RunId,
};
use protocol::api::{GiveBackReason, Health};
use protocol::{Job, Machine};
use transfer::Backoff;

use super::job_source::{Assignment, Claim, Delivery, End, JobSource, Progress, Room, TestbedOptions};
use super::outbox::{Outbox, Waiting};
use super::running::InterruptedJob;
use super::timeouts::Timeouts;
use super::uploader::Tell;
use answered::Answered;
use appliance::report::Report;
use appliance::settings::WhenDone;
use send::{Current, Sent};

/// How often the queues are looked at while they are empty.
const OFTEN: Duration = Duration::from_secs(3);
/// How long connecting and logging in may take.
const CONNECT: Duration = Duration::from_secs(30);

/// Which server, which of its jobs, and how to behave.
pub struct Settings {
    /// The broker.
    pub address: protocol::BrokerAddress,
    /// Certificates for the broker.
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
    /// The jobs that the broker keeps for us while they run, by their bundles' names.
    current: BTreeMap<String, Current>,
    /// Largest result that the broker takes, in bytes.
    largest: usize,
    backoff: Backoff,
    told: String,
    idle_since: Option<Instant>,
    /// When the outbox was last looked through.
    tidied: Option<Instant>,
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
            current: BTreeMap::new(),
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
            Ok(line) => (line.run, Some(line.clone()), line.refusal(&self.settings.suites)),
            Err(LineError::Refused { run, reason }) => (run, None, Some(reason)),
            Err(LineError::NoRun(reason)) => {
                self.reject(&queue, message, &reason);
                return Ok(None);
            }
        };
        let current = Current { run, line: line.clone(), architecture: queue.architecture, receipt: message.receipt };
        let name = name(run);
        let waiting = self.waiting(&name)?;
        if self.is_dealt_with(run, message.redelivered) {
            if let Some(waiting) = waiting {
                self.outbox.remove(&waiting).map_err(outbox)?;
            }
            self.acknowledge(message.receipt);
            return Ok(None);
        }
        if let Some(waiting) = waiting {
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
        self.current.insert(name.clone(), current);
        let assignment = Assignment { lease: Some(name), testbed, ..Assignment::new(line.job(queue.gpu)) };
        Ok(Some(assignment))
    }

    /// Refuses a message that nothing can answer.
    fn reject(&self, queue: &ArchitectureQueue, message: &Message, reason: &str) {
        const SHOWN: usize = 100;
        let begins = String::from_utf8_lossy(message.body.get(..SHOWN).unwrap_or(&message.body)).into_owned();
        let begins = safetext::printable(&begins);
        self.problem(
            format!("a message in the queue {} is not run: {reason}. It begins with `{begins}`", queue.name),
            "only debci should write to this queue; a dead letter exchange of the broker would keep such messages",
        );
        if let Some(broker) = &self.broker {
            // If the broker has taken it back, it comes again.
            let _ = broker.reject(message.receipt);
        }
    }

    /// The result in the outbox that has this name, is for this server and can be sent.
    fn waiting(&self, name: &str) -> Result<Option<Waiting>, Advice> {
        let all = self.outbox.waiting().map_err(outbox)?;
        let is_it = |waiting: &Waiting| {
            waiting.result.to == self.server
                && waiting.result.lease.as_deref() == Some(name)
                && waiting.result.refused.is_none()
        };
        Ok(all.into_iter().find(is_it))
    }

    /// The queues whose jobs can begin now: one whose GPUs are all busy keeps its jobs for others.
    fn with_room(&self, room: &Room<'_>) -> Vec<usize> {
        let suits = |queue: &ArchitectureQueue| {
            let job = Job { gpu: queue.gpu.clone(), ..Job::of_package("any") };
            room.suits(&job)
        };
        self.queues.iter().enumerate().filter(|(_, queue)| suits(queue)).map(|(number, _)| number).collect()
    }

    /// The queues are empty.
    fn rest(&mut self, room: &Room<'_>) -> Claim {
        if !room.is_idle() {
            self.idle_since = None;
            self.sleep_unless(OFTEN.min(self.settings.timeouts.longest_pause), &|| room.is_over());
            return Claim::Nothing;
        }
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
        self.sleep_unless(time, &|| false);
    }

    fn sleep_unless(&self, time: Duration, enough: &dyn Fn() -> bool) {
        let began = Instant::now();
        while began.elapsed() < time && !self.settings.stop.load(Ordering::Relaxed) && !enough() {
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

    fn ready(&mut self, machine: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice> {
        for job in interrupted.iter().filter(|interrupted| interrupted.record.source == self.name()) {
            self.problem(job.describe(), "the broker hands it out again");
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
            others: vec![results_queue()],
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

    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice> {
        let Some(broker) = self.broker.clone() else { return Ok(self.rest(room)) };
        match broker.take_from_any(&self.with_room(room)) {
            Ok(Some(message)) => {
                self.say(String::new());
                (self.idle_since, self.backoff) = (None, self.settings.timeouts.backoff());
                Ok(self.decide(&message)?.map_or(Claim::Nothing, |assignment| Claim::Job(Box::new(assignment))))
            }
            Ok(None) => {
                self.say(String::new());
                self.backoff = self.settings.timeouts.backoff();
                self.tidy()?;
                Ok(self.rest(room))
            }
            Err(error) => {
                self.say(format!("no jobs from {}: {}", self.server, Advice::of(&error).in_one_line()));
                let pause = self.backoff.next_pause();
                self.sleep_unless(pause, &|| room.is_over());
                Ok(Claim::Nothing)
            }
        }
    }

    fn started(&mut self, _: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        Ok(Box::new(())) // the log is in the result
    }

    /// A result is durable once it is in the outbox; the broker gives its job out until it has the result.
    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        let stored_at = assignment.storage.as_ref().map(|place| place.of(&delivery.job, delivery.sha256));
        let lease = assignment.lease.as_deref();
        self.outbox.put_stored(&self.server, lease, delivery, stored_at).map_err(outbox)?;
        let current = self.current.remove(assignment.name());
        let (Some(current), Some(waiting)) = (current, self.waiting(assignment.name())?) else {
            return Ok(());
        };
        if self.send_waiting(&current, &waiting)? == Sent::NotOurs {
            let what = format!("the connection to {} was lost while {} ran", self.server, assignment.job.id);
            self.problem(what, "its result is kept, and sent if the broker hands the job to this machine again");
        }
        Ok(())
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        let Some(current) = self.current.remove(assignment.name()) else { return Ok(()) };
        if reason.excludes_machine() {
            // debci cannot keep a job from one worker only: it would come back at once.
            self.refuse(&current, message);
            return Ok(());
        }
        if let Some(broker) = &self.broker {
            // If this fails, the broker has taken it back already.
            let _ = broker.requeue(current.receipt);
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

/// The queue with results, as debci's collector declares it.
fn results_queue() -> Queue {
    Queue { name: RESULTS_QUEUE.to_owned(), max_priority: None }
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
