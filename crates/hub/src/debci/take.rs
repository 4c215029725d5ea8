//! Takes jobs from the broker's queues while workers wait for some.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use advice::Advice;
use amqp::{Error, Message, Queue};
use debci::{ArchitectureQueue, JobLine, JobState, LineError, PRIORITIES, RunId};
use jiff::Timestamp;
use protocol::Job;
use protocol::api::Problem;

use crate::core::debci::{Arrived, Known, Work};
use crate::core::need::Need;
use crate::debci::Bridge;
use crate::debci::broker::pauses;
use crate::store::debci::Answer;

/// How often an empty queue is looked at.
const OFTEN: Duration = Duration::from_millis(250);
/// Shortest time between two looks at the workers: they may ask for jobs thousands of times in a second.
const BREATH: Duration = Duration::from_millis(10);
/// How often the workers' targets are looked at.
const TARGETS: Duration = Duration::from_secs(1);
/// Most jobs taken from one queue before the next one has its turn. They are stored in one transaction.
const BATCH: usize = 32;
/// How long after a connection was opened the broker may still hand out again what was lost with the one before: it
/// notices after two heartbeats that a machine is gone.
const REUNION: Duration = Duration::from_secs(300);
/// How often open jobs that did not come back are looked at, and after how long they are given up.
const TIDY: Duration = Duration::from_secs(600);
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Reason why a round has ended early.
enum Trouble {
    Broker(Error),
    Hub(Problem),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Hub(problem)
    }
}

/// Takes jobs until the hub ends.
pub(super) fn run(bridge: Bridge) {
    let mut taker = Taker::new(bridge);
    let mut backoff = pauses();
    while !taker.bridge.link.is_over() {
        match taker.round() {
            Ok(0) => taker.rest(),
            Ok(_) => backoff = pauses(),
            Err(trouble) => {
                let what = match trouble {
                    Trouble::Broker(error) => Advice::of(&error).in_one_line(),
                    Trouble::Hub(problem) => format!("no jobs are taken: {}", problem.detail),
                };
                taker.bridge.link.problem(what);
                if taker.bridge.link.broker.connection().is_none() {
                    taker.bridge.link.connected(None);
                }
                taker.sleep(backoff.next_pause());
            }
        }
    }
}

pub(super) struct Taker {
    bridge: Bridge,
    queues: Vec<Place>,
    looked_at_workers: Option<Instant>,
    /// The connection that was open at the last look.
    connection: Option<u64>,
    connected: Instant,
    /// Open jobs that the broker has not handed out over this connection yet: numbers with their architectures.
    missing: HashMap<i64, String>,
    tidied: Instant,
    /// Which queue comes first in the next round.
    first: usize,
}

/// A queue, and when it is worth a look again.
struct Place {
    queue: ArchitectureQueue,
    need: Need,
    not_before: Instant,
}

impl Taker {
    pub(super) fn new(bridge: Bridge) -> Self {
        let now = Instant::now();
        Self {
            bridge,
            queues: Vec::new(),
            looked_at_workers: None,
            connection: None,
            connected: now,
            missing: HashMap::new(),
            tidied: now,
            first: 0,
        }
    }

    /// Looks at each queue once. Returns how many messages were taken.
    fn round(&mut self) -> Result<usize, Trouble> {
        self.look_at_workers();
        let declared: Vec<Queue> = self.queues.iter().map(|place| queue(&place.queue.name)).collect();
        self.bridge.link.broker.declare(&declared)?;
        self.greet()?;
        self.tidy()?;
        self.bridge.shared.check_room()?;
        let mut taken = 0;
        self.first = self.first.wrapping_add(1);
        for turn in 0..self.queues.len() {
            let at = self.first.wrapping_add(turn) % self.queues.len().max(1);
            let Some(place) = self.queues.get(at).filter(|place| place.not_before <= Instant::now()) else { continue };
            let most = self.allowance(place).min(BATCH);
            if most == 0 {
                continue;
            }
            let wanted = place.queue.clone();
            let mut messages = Vec::new();
            while messages.len() < most {
                match self.bridge.link.broker.take(&wanted.name) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => {
                        if let Some(place) = self.queues.get_mut(at) {
                            place.not_before = Instant::now() + OFTEN;
                        }
                        break;
                    }
                    // What was taken before belongs to a connection that is gone: it comes again.
                    Err(error) => return Err(error.into()),
                }
            }
            taken += messages.len();
            self.store(&wanted, messages)?;
        }
        Ok(taken)
    }

    /// How many jobs may be taken from a queue: as many as workers wait for, and those that this hub has and has to get
    /// again after the connection was lost.
    fn allowance(&self, place: &Place) -> usize {
        let (free, waiting) = {
            let state = self.bridge.shared.core.state();
            (state.waiters.count(&place.need), state.queue.len_of(&place.need))
        };
        let ahead = usize::try_from(self.bridge.options.ahead.max(1)).unwrap_or(usize::MAX);
        let missing = if self.connected.elapsed() < REUNION {
            self.missing.values().filter(|architecture| **architecture == place.queue.architecture).count()
        } else {
            0
        };
        free.saturating_mul(ahead).saturating_add(missing).saturating_sub(waiting)
    }

    /// Finds the queues of all workers' targets, also of those that are busy or away: debci gives jobs for a backend
    /// whose queue is not there to another one.
    fn look_at_workers(&mut self) {
        if self.looked_at_workers.is_some_and(|last| last.elapsed() < TARGETS) {
            return;
        }
        self.looked_at_workers = Some(Instant::now());
        let options = &self.bridge.options;
        let mut known: HashSet<String> = self.queues.iter().map(|place| place.queue.name.clone()).collect();
        let mut new = Vec::new();
        for worker in self.bridge.shared.core.state().workers.values() {
            for queue in debci::queues(&options.architecture, &options.backend, &worker.machine.gpus) {
                if known.insert(queue.name.clone()) {
                    new.push(queue);
                }
            }
        }
        if new.is_empty() {
            return;
        }
        new.sort_by(|one, other| one.name.cmp(&other.name));
        for queue in new {
            tracing::info!("debci: jobs are taken from {}", queue.name);
            let need = Need::of(&Job { gpu: queue.gpu.clone(), ..Job::of_package("any") });
            self.queues.push(Place { queue, need, not_before: Instant::now() });
        }
        self.bridge.link.queues(self.queues.iter().map(|place| place.queue.name.clone()).collect());
    }

    /// After a new connection was opened: finds out which jobs are to come again.
    fn greet(&mut self) -> Result<(), Trouble> {
        let link = &self.bridge.link;
        let Some(connection) = link.broker.connection().filter(|now| self.connection != Some(*now)) else {
            return Ok(());
        };
        link.keep_only(connection);
        let server = self.bridge.server.clone();
        let open = self.bridge.shared.core.write_blocking(move |tx| tx.open_debci(&server))?;
        let missing = open.into_iter().filter(|open| link.receipt(open.number).is_none());
        self.missing = missing.map(|open| (open.number, open.architecture)).collect();
        self.connection = Some(connection);
        self.connected = Instant::now();
        for place in &mut self.queues {
            place.not_before = self.connected;
        }
        link.connected(Some(Timestamp::now()));
        tracing::info!(open = self.missing.len(), "debci: connected to {}", self.bridge.server);
        Ok(())
    }

    /// Stores what was taken from a queue, and keeps the receipts.
    fn store(&mut self, queue: &ArchitectureQueue, messages: Vec<Message>) -> Result<(), Trouble> {
        let mut receipts = Vec::new();
        let mut arrived = Vec::new();
        let mut may_ask = true;
        for message in messages {
            match self.read(queue, &message, &mut may_ask) {
                Some(job) => {
                    receipts.push(message.receipt);
                    arrived.push(job);
                }
                None => self.acknowledge(message.receipt),
            }
        }
        if arrived.is_empty() {
            return Ok(());
        }
        let server = self.bridge.server.clone();
        let known = match self.bridge.shared.core.write_blocking(move |tx| tx.take_debci(&server, arrived)) {
            Ok(known) => known,
            Err(problem) => {
                for receipt in receipts {
                    // If this fails, the connection is lost, and the broker has it back already.
                    let _ = self.bridge.link.broker.requeue(receipt);
                }
                return Err(problem.into());
            }
        };
        self.bridge.link.took(receipts.len());
        for (known, receipt) in known.into_iter().zip(receipts) {
            match known {
                Known::Open(number) => {
                    self.missing.remove(&number);
                    if !self.bridge.link.hold(number, receipt) {
                        // The same job twice in the queue has one answer.
                        self.acknowledge(receipt);
                    }
                }
                Known::Answered(Some(number)) => {
                    self.missing.remove(&number);
                    self.bridge.link.acknowledge(number, receipt);
                }
                Known::Answered(None) => self.acknowledge(receipt),
            }
        }
        self.bridge.link.ended.wake();
        Ok(())
    }

    /// Reads a message. `None` if no answer is possible.
    fn read(&self, queue: &ArchitectureQueue, message: &Message, may_ask: &mut bool) -> Option<Arrived> {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        let (run, work) = match JobLine::parse(&message.body) {
            Ok(line) => {
                let work = line.refusal(&self.bridge.options.suites).map_or_else(
                    || {
                        let job = Job { priority: message.priority.into(), ..line.job(queue.gpu.clone()) };
                        Work::Run(Box::new(job))
                    },
                    Work::Refuse,
                );
                (line.run, work)
            }
            Err(LineError::Refused { run, reason }) => (run, Work::Refuse(reason)),
            Err(LineError::NoRun(reason)) => {
                self.bridge.link.problem(format!("a message in the queue {} is dropped: {reason}", queue.name));
                return None;
            }
        };
        let work = if message.redelivered && self.has_result(run, may_ask) { Work::NotWanted } else { work };
        let (architecture, redelivered) = (queue.architecture.clone(), message.redelivered);
        Some(Arrived { run, architecture, line: text, redelivered, work })
    }

    /// Whether the server has a result of a job. If it cannot be asked, that is assumed of none, and it is not asked again
    /// in this round: a result too many is better than none.
    fn has_result(&self, run: RunId, may_ask: &mut bool) -> bool {
        let Some(states) = self.bridge.states.as_ref().filter(|_| *may_ask) else { return false };
        match states.of(run) {
            Ok(state) => state == JobState::Completed,
            Err(error) => {
                *may_ask = false;
                self.bridge.link.problem(format!("asking for the state of job {run}: {error}"));
                false
            }
        }
    }

    /// Ends what has waited too long for its message: another worker has answered it.
    fn tidy(&mut self) -> Result<(), Trouble> {
        if self.tidied.elapsed() < TIDY {
            return Ok(());
        }
        self.tidied = Instant::now();
        let server = self.bridge.server.clone();
        let open = self.bridge.shared.core.write_blocking(move |tx| tx.open_debci(&server))?;
        let now = self.bridge.shared.config.clock.millis();
        let (mut may_ask, mut others, mut unwanted) = (true, Vec::new(), Vec::new());
        for job in open {
            if self.bridge.link.receipt(job.number).is_some() {
                continue;
            }
            if now.saturating_sub(job.taken) > crate::clock::millis(KEPT) {
                others.push(job.number);
            } else if self.has_result(job.run, &mut may_ask) {
                unwanted.push(job.number);
            }
        }
        self.missing.retain(|number, _| !others.contains(number) && !unwanted.contains(number));
        self.bridge.shared.core.write_blocking(move |tx| {
            for (numbers, answer) in [(others, Answer::TakenByOthers), (unwanted, Answer::NotWanted)] {
                tx.answered_debci(&numbers, answer)?;
                tx.acknowledged_debci(&numbers)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn acknowledge(&self, receipt: amqp::Receipt) {
        // If the broker has taken it back, it comes again, and is known then.
        let _ = self.bridge.link.broker.acknowledge(receipt);
    }

    /// Waits until a worker is free, or the queues are worth a look.
    fn rest(&self) {
        self.bridge.link.free.wait(OFTEN);
        if !self.bridge.link.is_over() {
            std::thread::sleep(BREATH);
        }
    }

    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.bridge.link.is_over() && Instant::now() < until {
            std::thread::sleep(time.min(Duration::from_millis(100)));
        }
    }
}

fn queue(name: &str) -> Queue {
    Queue { name: name.to_owned(), max_priority: Some(PRIORITIES) }
}
