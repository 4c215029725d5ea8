//! [`Hub`]: takes jobs from a hub, and delivers results to it.
//!
//! All requests are retried until they succeed, whatever happens to the hub or the network. What must not wait for
//! the hub runs in threads of its own: the log ([`stream`]), [`heartbeats`] and results ([`transport`]).
//! docs/hub.md describes the protocol.

mod claims;
mod heartbeats;
mod link;
mod packages;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use client::ClientError;
use protocol::Machine;
use protocol::api::{GiveBack, GiveBackReason, Health, ProblemCode, Register};

use self::claims::{Asked, Waited};
use self::heartbeats::HeartbeatThread;
use self::link::Link;
use self::stream::LogStream;
use self::transport::HubTransport;
use crate::identity;
use crate::job_source::{Assignment, Claim, Delivery, End, JobSource, Progress, Room};
use crate::outbox::Outbox;
use crate::running::InterruptedJob;
use crate::timeouts::Timeouts;
use crate::uploader::{Tell, Uploader};
use appliance::report::Report;
use appliance::settings::{Secret, WhenDone};

/// How often giving a job back is tried; after that its lease runs out.
const GIVE_BACK_TRIES: u32 = 6;

/// How to reach and use the hub.
pub struct HubOptions {
    /// The hub's address.
    pub address: String,
    /// The token with which a machine registers as a worker.
    pub join_token: Option<Secret>,
    /// A PEM file with the authority that has signed the hub's certificate.
    pub ca_file: Option<PathBuf>,
    /// The data directory.
    pub data: PathBuf,
    /// Directory for the package files of the job that runs; it is removed with them.
    pub packages: PathBuf,
    /// What to do when there are no jobs.
    pub when_done: WhenDone,
    /// Timeouts and backoff.
    pub timeouts: Timeouts,
    /// Becomes true when the machine is to stop.
    pub stop: Arc<AtomicBool>,
    /// Sends reports to PID 1.
    pub tell: Tell,
}

/// The log and the phases of a job on their way to the hub.
struct HubProgress {
    lease: String,
    log: LogStream,
    heartbeats: HeartbeatThread,
}

impl Progress for HubProgress {
    fn phase(&mut self, text: &str) {
        self.heartbeats.phase(&self.lease, text);
    }

    fn log(&mut self, bytes: &[u8]) -> Result<(), Advice> {
        self.log.push(bytes);
        Ok(())
    }
}

/// A hub as job source and result sink.
pub struct Hub {
    options: HubOptions,
    link: Arc<Link>,
    heartbeats: HeartbeatThread,
    outbox: Outbox,
    /// The uploader, once we are registered.
    uploader: Option<Uploader>,
    /// Identifies the claim until it is answered with a job.
    request: String,
    longest_wait: Duration,
    lease_time: Duration,
    /// The claim that is on its way.
    asked: Option<Asked>,
    /// Logs of running jobs, by their leases.
    logs: BTreeMap<String, LogStream>,
    /// Logs of jobs that have ended, as far as they are not sent yet.
    rests: Vec<LogStream>,
    /// The last reported reason why there are no jobs; empty if there are.
    paused: String,
}

impl Hub {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    /// If the address or the certificate is not valid, or the data directory cannot be used.
    pub fn new(options: HubOptions) -> Result<Self, Advice> {
        let wrong = |what: String, help: &'static str| Advice::new(what, help);
        let data = options.data.display();
        let unusable = |error| wrong(format!("using {data}: {error}"), "look at the stick's data partition");
        let outbox = Outbox::open(&options.data).map_err(unusable)?;
        let link = Link::new(
            &options.address,
            options.ca_file.as_deref(),
            options.join_token.clone(),
            &options.data,
            &options.timeouts,
            Arc::clone(&options.tell),
        );
        let link = link.map_err(|error| wrong(format!("hub: {error}"), "correct `hub` or `hub-ca` in rocbed.toml"))?;
        let link = Arc::new(link);
        let heartbeats = HeartbeatThread::start(Arc::clone(&link), &options.timeouts)
            .map_err(|error| wrong(format!("starting a thread: {error}"), "give the machine more memory"))?;
        Ok(Self {
            link,
            heartbeats,
            outbox,
            uploader: None,
            request: request_id()?,
            longest_wait: options.timeouts.claim,
            lease_time: Duration::from_secs(60),
            asked: None,
            logs: BTreeMap::new(),
            rests: Vec::new(),
            paused: String::new(),
            options,
        })
    }

    fn stopped(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed)
    }

    /// Waits, but returns early when the machine is to stop.
    fn pause(&self, time: Duration) {
        self.pause_unless(time, &|| false);
    }

    /// Likewise, and when there is something else to do.
    fn pause_unless(&self, time: Duration, enough: &dyn Fn() -> bool) {
        let end = Instant::now() + time;
        while !self.stopped() && !enough() && Instant::now() < end {
            thread::sleep(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        }
    }

    /// Registers, however long it takes. Returns without success only if the machine is to stop.
    fn register(&mut self) {
        let mut backoff = self.options.timeouts.backoff();
        while !self.stopped() {
            match self.link.register() {
                Ok(registered) => {
                    self.lease_time = Duration::from_secs(registered.lease_seconds.max(1));
                    self.longest_wait = self.options.timeouts.claim.min(Duration::from_secs(registered.longest_wait));
                    return;
                }
                Err(error) if error.is_passing() => self.pause(backoff.next_pause()),
                // A person has to fix something, here or at the hub.
                Err(_) => self.pause(self.options.timeouts.longest_pause),
            }
        }
    }

    fn give_back_lease(&self, lease: &str, reason: GiveBackReason, message: &str) {
        self.heartbeats.release(lease);
        let request = GiveBack { reason, message: message.to_owned() };
        let mut backoff = self.options.timeouts.backoff();
        for _ in 0..GIVE_BACK_TRIES {
            match self.link.brief(|client| client.give_back(lease, &request)) {
                Err(error) if error.is_passing() && !self.stopped() => self.pause(backoff.next_pause()),
                // The hub has been told, has forgotten the lease already, or notices when it runs out.
                _ => return,
            }
        }
    }

    /// Removes what is kept for a job that is over: its log, of which the rest is still sent, and its package files.
    fn forget(&mut self, assignment: &Assignment) {
        if let Some(lease) = &assignment.lease {
            if let Some(log) = self.logs.remove(lease) {
                log.close();
                self.rests.push(log);
            }
            // What cannot be removed takes room until the next start.
            let _ = packages::remove(&self.options.packages.join(lease));
        }
        self.rests.retain(|log| !log.is_over());
    }

    /// Reports on the screen that the machine was paused at the hub, or that this is over.
    fn tell_paused(&mut self, error: Option<&ClientError>) {
        let text = match error {
            Some(ClientError::Refused(problem)) if problem.code == ProblemCode::WorkerPaused => problem.detail.clone(),
            None => String::new(),
            // This error says nothing about it.
            Some(_) => return,
        };
        if self.paused != text {
            self.paused.clone_from(&text);
            (self.options.tell)(&Report::condition("jobs", text));
        }
    }

    fn problem(&self, what: String, advice: &'static str) {
        (self.options.tell)(&Report::problem(what, advice));
    }

    /// Registers together with the results still to be delivered, and keeps their leases alive.
    fn enter(&mut self, machine: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice> {
        let io = |error| Advice::new(format!("hub: {error}"), "look at the data partition");
        // Files of jobs that ran before a restart; what cannot be removed takes room only.
        let _ = packages::remove(&self.options.packages);
        let id = identity::worker_id(Path::new("/"), &self.options.data).map_err(io)?;
        let waiting = self.outbox.waiting().map_err(io)?;
        let ours = waiting.iter().filter(|waiting| waiting.result.to == self.link.address());
        let ours = ours.filter(|waiting| waiting.result.refused.is_none());
        let mut holding: Vec<String> = ours.filter_map(|waiting| waiting.result.lease.clone()).collect();
        let to_deliver = holding.clone();
        let name = self.name();
        let interrupted = interrupted.iter().filter(|interrupted| interrupted.record.source == name);
        // A job with a result was not lost, whatever the journal says.
        let lost: Vec<(&InterruptedJob, String)> = interrupted
            .filter_map(|interrupted| Some((interrupted, interrupted.record.lease.clone()?)))
            .filter(|(_, lease)| !to_deliver.contains(lease))
            .collect();
        holding.extend(lost.iter().map(|(_, lease)| lease.clone()));
        self.link.introduce(Register {
            version: protocol::VERSION,
            id,
            boot: request_id()?,
            holding,
            machine: machine.clone(),
            name: identity::proposed_name(Path::new("/")),
        });
        self.register();
        for lease in to_deliver {
            self.heartbeats.hold(&lease, "delivering the result", None, self.lease_time);
        }
        for (interrupted, lease) in lost {
            let kills = interrupted.losses.is_killer();
            let reason = if kills { GiveBackReason::MachineKiller } else { GiveBackReason::Other };
            self.give_back_lease(&lease, reason, &interrupted.describe());
        }
        let transport = HubTransport { link: Arc::clone(&self.link), heartbeats: self.heartbeats.clone() };
        let (timeouts, tell) = (self.options.timeouts.clone(), Arc::clone(&self.options.tell));
        self.uploader = Some(Uploader::start(self.outbox.clone(), transport, timeouts, tell).map_err(io)?);
        Ok(())
    }
}

impl JobSource for Hub {
    fn name(&self) -> String {
        self.link.address().to_owned()
    }

    fn hub(&self) -> Option<String> {
        Some(self.name())
    }

    fn ready(&mut self, machine: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice> {
        self.enter(machine, interrupted)
    }

    fn health(&mut self, health: Health, message: &str) -> Result<(), Advice> {
        self.heartbeats.report_health(health, message);
        Ok(())
    }

    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice> {
        let finite = self.options.when_done == WhenDone::PowerOff;
        let wait = if finite { self.options.timeouts.last_claim.min(self.longest_wait) } else { self.longest_wait };
        let (asked, outcome) = match self.wait_for_answer(room, wait) {
            Waited::Answered(asked, outcome) => (asked, *outcome),
            Waited::Enough => return Ok(Claim::Nothing),
            Waited::Failed => {
                self.pause_unless(self.options.timeouts.first_pause, &|| room.is_over());
                return Ok(Claim::Nothing);
            }
        };
        self.tell_paused(outcome.as_ref().err());
        match outcome {
            Ok(Some(claimed)) => return self.accept(claimed),
            Ok(None) => {
                let wait = asked.wait;
                // A hub that is going away answers early.
                let whole = asked.began.elapsed() >= wait.mul_f64(0.9);
                if finite && whole {
                    let why = format!("{} had no job for {} s, and when-done=power-off", self.name(), wait.as_secs());
                    return Ok(Claim::End(why));
                }
                if !whole {
                    self.pause_unless(self.options.timeouts.first_pause, &|| room.is_over());
                }
            }
            Err(ClientError::Refused(problem)) if problem.code == ProblemCode::RetryGpus => {
                return Ok(Claim::RetryGpus(problem.retry.map(|retry| retry.gpus).unwrap_or_default()));
            }
            Err(error) if error.code() == Some(ProblemCode::LeaseOver) => self.request = request_id()?,
            Err(error) => {
                let timeouts = &self.options.timeouts;
                // The loop asks again; each time is a new call.
                let pause = if error.is_passing() { timeouts.longest_pause / 10 } else { timeouts.longest_pause };
                self.pause_unless(pause.max(timeouts.first_pause), &|| room.is_over());
            }
        }
        Ok(Claim::Nothing)
    }

    fn withdraw(&mut self) -> Result<(), Advice> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        // The hub answers as soon as it hears that the machine takes no jobs.
        if let Ok(Ok(Some(claimed))) = asked.answer.recv_timeout(self.options.timeouts.answer) {
            self.give_back_lease(&claimed.lease, GiveBackReason::Other, "the machine takes no jobs now");
        }
        Ok(())
    }

    fn has_undelivered(&self) -> bool {
        let is_done = self.uploader.as_ref().is_none_or(|uploader| uploader.drained(&|| true));
        !is_done || !self.heartbeats.has_reported()
    }

    fn started(&mut self, assignment: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        let Some(lease) = assignment.lease.clone() else { return Ok(Box::new(())) };
        match LogStream::start(Arc::clone(&self.link), lease.clone(), self.options.timeouts.clone()) {
            Ok(log) => {
                self.logs.insert(lease.clone(), log.clone());
                Ok(Box::new(HubProgress { lease, log, heartbeats: self.heartbeats.clone() }))
            }
            Err(error) => {
                self.problem(format!("starting a thread: {error}"), "the log is in the bundle only");
                Ok(Box::new(()))
            }
        }
    }

    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        self.forget(assignment);
        match self.outbox.put(self.link.address(), assignment.lease.as_deref(), delivery) {
            Ok(_) => {
                if let Some(lease) = &assignment.lease {
                    self.heartbeats.delivering(lease);
                }
                if let Some(uploader) = &self.uploader {
                    uploader.wake();
                }
            }
            Err(error) => {
                let what = format!("keeping the result of {}: {error}", delivery.job);
                self.problem(what.clone(), "make room on the data partition; the job is given back");
                self.give_back(assignment, GiveBackReason::Other, &what)?;
            }
        }
        Ok(())
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        self.forget(assignment);
        if let Some(lease) = &assignment.lease {
            self.give_back_lease(lease, reason, message);
        }
        Ok(())
    }

    fn end(&mut self, end: &End) -> Result<(), Advice> {
        if let Some(Ok(Ok(Some(claimed)))) = self.asked.take().map(|asked| asked.answer.try_recv()) {
            self.give_back_lease(&claimed.lease, GiveBackReason::ShuttingDown, "the machine takes no more jobs");
        }
        let (until, lasting) = (Instant::now() + self.options.timeouts.farewell, self.outbox.is_lasting());
        let late = || Instant::now() >= until;
        // Results in memory would be lost: only a person at the machine may decide that.
        let hurried = *end == End::Stopped || lasting;
        let enough = || self.stopped() && late() || hurried && late();
        let drained = self.uploader.as_ref().is_none_or(|uploader| uploader.drained(&enough));
        let heard = || self.rests.iter().all(LogStream::is_over) && self.heartbeats.has_reported();
        while !late() && !heard() {
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(uploader) = &self.uploader {
            uploader.finish();
        }
        self.heartbeats.finish();
        if !drained {
            let (what, advice) = if lasting {
                ("results are not delivered yet", "they are on the stick, and are sent after the next start")
            } else {
                ("results were not delivered, and are lost", "give the stick a data partition")
            };
            self.problem(what.into(), advice);
        }
        Ok(())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(uploader) = &self.uploader {
            uploader.finish();
        }
        self.heartbeats.finish();
        for log in self.logs.values().chain(&self.rests) {
            log.close();
        }
    }
}

/// A random, unique id.
fn request_id() -> Result<String, Advice> {
    client::request_id()
        .map_err(|error| Advice::new(error.to_string(), "report this as a bug of rocbed, with this text"))
}
