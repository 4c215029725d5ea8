//! Sends results to the broker, and then has it forget their jobs.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use advice::Advice;
use amqp::{Error, Receipt};
use debci::{Heading, JobLine, LARGEST_MESSAGE, MARGIN, RESULTS_QUEUE, ResultFile};
use jiff::Timestamp;

use crate::core::debci::{Due, Reply};
use crate::debci::Bridge;
use crate::debci::broker::pauses;
use crate::store::debci::Answer;

/// How often the database is asked for results if nobody says that there is one.
const OFTEN: Duration = Duration::from_secs(1);
/// Results that are made at the same time.
const AT_ONCE: usize = 4;
/// The nice(1) value of the threads that make them.
const NICE: i32 = 10;

/// Sends results until the hub ends.
pub(super) fn run(bridge: &Bridge) {
    let sender = Sender { bridge, largest: AtomicUsize::new(LARGEST_MESSAGE - MARGIN), unnoted: Mutex::default() };
    let mut backoff = pauses();
    while !bridge.link.is_over() {
        match sender.round() {
            Ok(()) => backoff = pauses(),
            Err(what) => {
                bridge.link.problem(what);
                // What fails at once every time is not tried in a tight loop, whoever wakes this thread.
                let pause = backoff.next_pause();
                let until = std::time::Instant::now() + pause;
                while !bridge.link.is_over() && std::time::Instant::now() < until {
                    std::thread::sleep(pause.min(Duration::from_millis(100)));
                }
            }
        }
        bridge.link.ended.wait(OFTEN);
    }
}

/// Why a result was not sent, in words for the log and the page of the hub.
enum Unsent {
    /// Others can be sent.
    Result(String),
    /// No other can be sent now.
    Broker(String),
}

/// What one thread, or all of them, did in a round.
#[derive(Default)]
struct Sent {
    results: usize,
    /// The first result that cannot be sent.
    unsent: Option<String>,
    /// Why no more can be sent.
    broker: Option<String>,
}

impl Sent {
    fn with(self, other: Self) -> Self {
        Self {
            results: self.results.saturating_add(other.results),
            unsent: self.unsent.or(other.unsent),
            broker: self.broker.or(other.broker),
        }
    }
}

struct Sender<'a> {
    bridge: &'a Bridge,
    /// Largest result that the broker takes, in bytes.
    largest: AtomicUsize,
    /// Numbers of jobs whose result the broker has, which could not be written down.
    unnoted: Mutex<Vec<i64>>,
}

impl Sender<'_> {
    /// Sends all results whose jobs the broker keeps for us.
    fn round(&self) -> Result<(), String> {
        let of_hub = |problem: protocol::api::Problem| format!("results are not sent: {}", problem.detail);
        let unnoted = std::mem::take(&mut *self.unnoted.lock().unwrap_or_else(PoisonError::into_inner));
        if !unnoted.is_empty()
            && let Err(problem) = self.note(unnoted.clone())
        {
            self.unnoted.lock().unwrap_or_else(PoisonError::into_inner).extend(unnoted);
            return Err(of_hub(problem));
        }
        let server = self.bridge.server.clone();
        let forgotten = self.bridge.link.forgotten();
        let found = self.bridge.shared.core.write_blocking(move |tx| {
            tx.acknowledged_debci(&forgotten)?;
            Ok((tx.due_debci(&server)?, tx.unacknowledged_debci(&server)?))
        });
        let (due, answered) = found.map_err(of_hub)?;
        // One that came again while its result was on its way.
        for number in answered {
            if let Some(receipt) = self.bridge.link.receipt(number) {
                self.bridge.link.acknowledge(number, receipt);
            }
        }
        let due: Vec<(Due, Receipt)> = due
            .into_iter()
            .filter_map(|due| self.bridge.link.receipt(due.number).map(|receipt| (due, receipt)))
            .collect();
        let threads = AT_ONCE.min(due.len());
        let due = Mutex::new(due.into_iter());
        let each = parallel::map(0..threads, threads, |_| {
            // On Linux this affects the calling thread only.
            let _ = rustix::process::setpriority_process(None, NICE);
            let mut sent = Sent::default();
            while sent.broker.is_none() && !self.bridge.link.is_over() {
                let Some((due, receipt)) = due.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
                match self.send(&due, receipt) {
                    Ok(()) => sent.results += 1,
                    Err(Unsent::Result(why)) => sent.unsent = sent.unsent.or(Some(why)),
                    Err(Unsent::Broker(why)) => sent.broker = Some(why),
                }
            }
            sent
        });
        let sent = each.into_iter().fold(Sent::default(), Sent::with);
        match (sent.broker, sent.unsent) {
            // The next round is at once: more may have come meanwhile.
            (None, Some(why)) if sent.results > 0 => {
                self.bridge.link.problem(why);
                Ok(())
            }
            (Some(why), _) | (None, Some(why)) => Err(why),
            (None, None) => Ok(()),
        }
    }

    /// Sends one result. Then the database has it that nothing is left to do, and only then the broker forgets the job.
    fn send(&self, due: &Due, receipt: Receipt) -> Result<(), Unsent> {
        let link = &self.bridge.link;
        self.look_for_bundle(due).map_err(Unsent::Result)?;
        let mut result = self.make(due);
        loop {
            match link.broker.answer(receipt, RESULTS_QUEUE, &result.bytes) {
                Ok(()) => break,
                Err(Error::NotHeld) => {
                    link.let_go(due.number, receipt);
                    return Ok(());
                }
                Err(Error::TooLarge { most, .. }) => {
                    // Smaller each time, whatever the broker says.
                    let most = most.saturating_sub(MARGIN).min(result.bytes.len().saturating_sub(1));
                    self.largest.fetch_min(most, Ordering::SeqCst);
                    let smaller = self.make(due);
                    if smaller.bytes.len() >= result.bytes.len() {
                        return Err(Unsent::Result(format!(
                            "the result of job {} is not sent: the broker takes at most {most} bytes; raise its \
                             max_message_size",
                            due.run
                        )));
                    }
                    result = smaller;
                }
                Err(error) => {
                    let why = Advice::of(&error).in_one_line();
                    return Err(Unsent::Broker(format!("the result of job {} is not sent: {why}", due.run)));
                }
            }
        }
        if let Err(problem) = self.note(vec![due.number]) {
            tracing::error!(%problem, run = %due.run, "debci: a result was sent, and that could not be written down yet");
            self.unnoted.lock().unwrap_or_else(PoisonError::into_inner).push(due.number);
        }
        link.acknowledge(due.number, receipt);
        link.answered();
        Ok(())
    }

    fn note(&self, numbers: Vec<i64>) -> Result<(), protocol::api::Problem> {
        self.bridge.shared.core.write_blocking(move |tx| tx.answered_debci(&numbers, Answer::Sent))
    }

    /// Fails if the bundle of a result cannot be read now, but perhaps later: a job is answered once, so that waits. One that
    /// is gone, or was changed, is told in the answer.
    fn look_for_bundle(&self, due: &Due) -> Result<(), String> {
        let Reply::Result { bundle, .. } = &due.reply else { return Ok(()) };
        match self.bridge.shared.bundles.open(bundle) {
            Err(error) if error.is_passing() => {
                Err(format!("the result of job {} is not sent: its bundle cannot be read now: {error}", due.run))
            }
            _ => Ok(()),
        }
    }

    /// Makes the result file of a job.
    fn make(&self, due: &Due) -> ResultFile {
        let line = JobLine::parse(due.line.as_bytes()).ok();
        let largest = self.largest.load(Ordering::SeqCst);
        let (worker, notes) = match &due.reply {
            Reply::Result { worker, job, .. } => (worker.as_str(), self.page(job).into_iter().collect()),
            Reply::Reason(_) => ("hub", Vec::new()),
        };
        let heading = Heading { run: due.run, job: line.as_ref(), architecture: &due.architecture, worker, notes };
        debci::or_reason(&heading, |heading| match &due.reply {
            Reply::Result { bundle, .. } => {
                let bundles = &self.bridge.shared.bundles;
                let mut open = || {
                    let file = bundles.open(bundle).map_err(io::Error::other)?;
                    Ok(Box::new(file) as Box<dyn Read>)
                };
                debci::of_bundle(heading, &mut open, largest)
            }
            Reply::Reason(reason) => debci::of_refusal(heading, reason, Timestamp::now()),
        })
    }

    /// Where people find the complete result.
    fn page(&self, job: &str) -> Option<String> {
        let pages = self.bridge.options.pages.as_ref()?;
        Some(format!("the complete result is at {}/jobs/{job}", pages.trim_end_matches('/')))
    }
}
