//! Takes jobs from a list on a web server, and uploads results to one: for setups without a hub.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use protocol::api::GiveBackReason;
use protocol::{Job, JobList, Machine, Source};
use serde::{Deserialize, Serialize};
use sha256::Digest;

use super::backlog::Backlog;
use super::job_source::{Assignment, Claim, Delivery, End, JobSource, Progress, Room};
use super::outbox::{Outbox, PendingResult};
use super::running::InterruptedJob;
use super::timeouts::Timeouts;
use super::uploader::{Tell, Transport, UploadOutcome, Uploader};
use super::web::{Fetched, Validators, Web};
use appliance::report::Report;
use appliance::settings::WhenDone;

/// The polling interval for the list.
const OFTEN: Duration = Duration::from_secs(180);

/// The file in the data directory that records finished jobs.
const FILE: &str = "url-list.json";

/// The number of finished jobs that are remembered; the oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// How many digits of a job's digest distinguish it from an earlier job with the same id.
const DIGITS: usize = 8;

/// Where the list is, where results go, and how to behave.
pub struct UrlListOptions<'a> {
    /// URL of the job list.
    pub jobs: &'a str,
    /// URL below which bundles are put.
    pub results: &'a str,
    /// What to do when all jobs are done.
    pub when_done: WhenDone,
    /// The data directory.
    pub data: &'a Path,
    /// Timeouts and backoff.
    pub timeouts: Timeouts,
    /// Sends reports to PID 1.
    pub tell: Tell,
    /// Becomes true when the machine is to stop.
    pub stop: &'a Arc<AtomicBool>,
}

/// The job list and its remaining jobs.
pub struct UrlList {
    address: String,
    machine: String,
    web: Web,
    done: Done,
    queue: Backlog,
    /// Jobs that were given out and have no result yet.
    given_out: Vec<Digest>,
    /// Jobs that this machine cannot run, until it is restarted.
    passed_over: Vec<Digest>,
    known: Validators,
    asked: Option<Instant>,
    has_list: bool,
    is_idle: bool,
    outbox: Outbox,
    uploader: Uploader,
    to: String,
    when_done: WhenDone,
    timeouts: Timeouts,
    tell: Tell,
    stop: Arc<AtomicBool>,
}

/// Finished jobs, by their digests. The same job with another result address counts as another one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    /// A growing sequence number for each digest.
    done: BTreeMap<Digest, u64>,
}

#[derive(Debug)]
struct Done {
    path: PathBuf,
    contents: Contents,
}

impl Done {
    fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        let contents = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, contents })
    }

    fn add(&mut self, digest: Digest) -> io::Result<()> {
        let done = &mut self.contents.done;
        let next = done.values().max().map_or(0, |last| last.saturating_add(1));
        done.insert(digest, next);
        while done.len() > REMEMBERED {
            let oldest = done.iter().min_by_key(|(_, number)| **number).map(|(digest, _)| *digest);
            oldest.map(|digest| done.remove(&digest));
        }
        durable::replace(&self.path, &serde_json::to_vec(&self.contents)?, durable::Readers::Owner)
    }
}

/// Uploads bundles to the server.
struct WebTransport {
    web: Web,
    to: String,
}

impl Transport for WebTransport {
    fn address(&self) -> String {
        self.to.clone()
    }

    fn deliver(&mut self, result: &PendingResult, bundle: &Path) -> UploadOutcome {
        let name = result.lease.as_deref().unwrap_or(&result.job);
        self.web.put(&format!("{}/{name}.tar.zst", self.to), bundle, result.size, &result.sha256)
    }
}

impl UrlList {
    /// Prepares the source; the server is first asked when a job is claimed.
    ///
    /// # Errors
    /// If the record of finished jobs or the certificates cannot be read.
    pub fn open(options: UrlListOptions<'_>) -> Result<Self, Advice> {
        let web = Web::new().map_err(|error| failed(format!("preparing to ask {}: {error}", options.jobs)))?;
        let kept = |error: io::Error| failed(format!("opening what is kept in {}: {error}", options.data.display()));
        let (done, outbox) = (Done::open(options.data).map_err(kept)?, Outbox::open(options.data).map_err(kept)?);
        let to = options.results.trim_end_matches('/').to_owned();
        let transport = WebTransport { web: web.clone(), to: to.clone() };
        let uploader = Uploader::start(outbox.clone(), transport, options.timeouts.clone(), Arc::clone(&options.tell));
        Ok(Self {
            address: options.jobs.to_owned(),
            machine: String::new(),
            web,
            done,
            queue: Backlog::default(),
            given_out: Vec::new(),
            passed_over: Vec::new(),
            known: Validators::default(),
            asked: None,
            has_list: false,
            is_idle: false,
            outbox,
            uploader: uploader.map_err(kept)?,
            to,
            when_done: options.when_done,
            timeouts: options.timeouts,
            tell: options.tell,
            stop: Arc::clone(options.stop),
        })
    }

    /// Asks for the list, and takes the jobs that are new in it.
    fn ask(&mut self) {
        self.asked = Some(Instant::now());
        let list = match self.web.fetch(&self.address, &self.known) {
            Ok(Fetched::Unchanged) => None,
            Ok(Fetched::List(bytes, known)) => match JobList::parse_without_hub(&bytes) {
                Ok(list) => Some((list, known)),
                // An empty list is fine: there may be no jobs on some days.
                Err(protocol::ListError::Empty) => Some((JobList::default(), known)),
                Err(error) => {
                    return self.say(format!("the list at {}: {}", self.address, Advice::of(&error).in_one_line()));
                }
            },
            Err(error) => return self.say(error.to_string()),
        };
        self.say(String::new());
        self.has_list = true;
        let Some((list, known)) = list else { return };
        self.known = known;
        let (mut queue, mut problems) = (VecDeque::new(), Vec::new());
        for job in list.job {
            let digest = digest(&self.to, &job);
            if let Source::Path(path) = &job.source {
                problems.push(format!("job {}: {path} is a path, which nobody can follow from here", job.id));
            } else if let Some(file) = job.packages.first() {
                problems.push(format!("job {}: the package file {} does not come with the list", job.id, file.name()));
            } else if let Err(error) = job.check() {
                problems.push(format!("job {}: {error}", job.id));
            } else if !self.done.contents.done.contains_key(&digest)
                && !self.passed_over.contains(&digest)
                && !self.given_out.contains(&digest)
            {
                queue.push_back(job);
            }
        }
        self.queue.replace(queue);
        for what in problems {
            (self.tell)(&Report::problem(what, "use `url` and `apt-sources`, or a job list on the stick"));
        }
    }

    /// Reports a problem with the list, until it is gone.
    fn say(&self, problem: String) {
        (self.tell)(&Report::condition("jobs", problem));
    }

    /// Handles the end of the list: nothing is left to do.
    fn rest(&mut self) -> Claim {
        if self.when_done == WhenDone::PowerOff && self.has_list {
            let stopped = || self.stop.load(Ordering::Relaxed);
            if self.uploader.drained(&stopped) {
                return Claim::End(format!("all jobs of {} are done", self.address));
            }
        }
        if !self.is_idle && self.has_list {
            self.is_idle = true;
            (self.tell)(&Report::Idle { why: format!("all jobs of {} are done; waiting for more", self.address) });
        }
        self.pause(&|| false)
    }

    fn pause(&self, enough: &dyn Fn() -> bool) -> Claim {
        let began = Instant::now();
        while began.elapsed() < self.timeouts.gather && !self.stop.load(Ordering::Relaxed) && !enough() {
            thread::sleep(self.timeouts.gather.min(Duration::from_millis(20)));
        }
        Claim::Nothing
    }

    /// A job is not given out any more.
    fn take_back(&mut self, job: &Job) -> Digest {
        let digest = digest(&self.to, job);
        self.given_out.retain(|other| *other != digest);
        digest
    }

    /// The time until the list is asked for again: short until it was fetched once.
    fn interval(&self) -> Duration {
        if self.has_list { OFTEN } else { self.timeouts.longest_pause }
    }
}

impl JobSource for UrlList {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn ready(&mut self, machine: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice> {
        self.machine.clone_from(&machine.name);
        self.uploader.wake(); // what was made before the restart
        for job in interrupted.iter().filter(|interrupted| interrupted.record.source == self.name()) {
            (self.tell)(&Report::problem(job.describe(), "it is run again"));
        }
        Ok(())
    }

    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice> {
        if self.asked.is_none_or(|asked| asked.elapsed() >= self.interval()) {
            self.ask();
        }
        let Some(job) = self.queue.take_first(room) else {
            // What is left waits for what runs, or that may come back.
            return Ok(if room.is_idle() { self.rest() } else { self.pause(&|| room.is_over()) });
        };
        self.is_idle = false;
        let digest = digest(&self.to, &job);
        self.given_out.push(digest);
        let lease = Some(bundle_name(&self.machine, digest, &job));
        Ok(Claim::Job(Box::new(Assignment { lease, ..Assignment::new(job) })))
    }

    fn has_undelivered(&self) -> bool {
        !self.uploader.drained(&|| true)
    }

    fn started(&mut self, _: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        Ok(Box::new(())) // the log is in the bundle
    }

    /// A result in the outbox is durable: it is retried until the server has it.
    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        let kept = |error: io::Error| failed(format!("keeping the result of {}: {error}", delivery.job));
        self.outbox.put(&self.to, assignment.lease.as_deref(), delivery).map_err(kept)?;
        let digest = self.take_back(&assignment.job);
        self.done.add(digest).map_err(kept)?;
        self.uploader.wake();
        Ok(())
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, _message: &str) -> Result<(), Advice> {
        let digest = self.take_back(&assignment.job);
        match reason {
            GiveBackReason::CannotRun | GiveBackReason::MachineKiller => self.passed_over.push(digest),
            _ => self.queue.push_back(assignment.job.clone()),
        }
        Ok(())
    }

    fn end(&mut self, _: &End) -> Result<(), Advice> {
        let began = Instant::now();
        // It is worth waiting for results that are only in memory; PID 1 has a limit of its own.
        let enough = || self.outbox.is_lasting() && began.elapsed() >= self.timeouts.farewell;
        self.uploader.drained(&enough);
        self.uploader.finish();
        Ok(())
    }
}

/// The digest that identifies a finished job: over the result address and everything that the list says of the job.
fn digest(to: &str, job: &Job) -> Digest {
    // A job always has a JSON form.
    let text = serde_json::to_string(job).unwrap_or_default();
    Digest::of(format!("{to}\n{text}"))
}

/// A bundle name that is unique to this machine and job: `lab-gzip-1f2e3d4c`.
fn bundle_name(machine: &str, digest: Digest, job: &Job) -> String {
    let plain: String =
        machine.chars().map(|char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '-' }).collect();
    // Together no longer than the outbox accepts for a name.
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    format!("{}-{}-{}", cut(&plain, 30).trim_start_matches('-'), cut(&job.id, 50), digest.prefix(DIGITS))
}

fn failed(what: String) -> Advice {
    Advice::new(what, "look at the data partition and the settings `jobs` and `results`")
}

#[cfg(test)]
mod tests;
