//! Sends results to the queue of debci's collector.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::Ordering;

use advice::Advice;
use amqp::{Error, Receipt};
use debci::{Heading, JobLine, MARGIN, RESULTS_QUEUE, ResultFile, ResultFileError, RunId};
use jiff::Timestamp;

use super::{Debci, outbox};
use crate::outbox::Waiting;

/// Makes a result file of at most so many bytes.
type MakeResult<'a> = dyn FnMut(&Heading<'_>, usize) -> Result<ResultFile, ResultFileError> + 'a;

/// A job that the broker keeps for us.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) run: RunId,
    /// `None` if only the run id of its line could be read.
    pub(super) line: Option<JobLine>,
    pub(super) architecture: String,
    pub(super) receipt: Receipt,
}

/// What became of sending a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// The broker has stored it, and the job is dealt with.
    Done,
    /// Likewise, but there was no result that could be sent, for this reason: debci shows a temporary failure.
    Replaced(String),
    /// The job is back in its queue: whoever takes it answers it.
    NotOurs,
}

/// A result file, and the reason if it only says that there is none.
struct Made {
    file: ResultFile,
    replaced: Option<String>,
}

impl Debci {
    /// Sends a result from the outbox, and removes it if the broker has it.
    pub(super) fn send_waiting(&mut self, current: &Current, waiting: &Waiting) -> Result<Sent, Advice> {
        let bundle = waiting.bundle.clone();
        let mut open = || Ok(Box::new(File::open(&bundle)?) as Box<dyn Read>);
        let notes: Vec<String> = waiting
            .result
            .stored_at
            .iter()
            .map(|address| format!("the complete result bundle is at {address}"))
            .collect();
        let sent = self.send(current, &mut |heading, most| {
            debci::of_bundle(&Heading { notes: notes.clone(), ..heading.clone() }, &mut open, most)
        });
        match &sent {
            Sent::Done => self.outbox.remove(waiting).map_err(outbox)?,
            // It is all that there is of hours of tests: somebody may still be able to read it.
            Sent::Replaced(why) => {
                self.outbox.refuse(waiting, why).map_err(outbox)?;
                let what = format!("debci was told that there is no result of {}: {why}", waiting.result.job);
                self.problem(what, "its bundle is kept in `outbox` on the data partition: look at it, and remove it");
            }
            Sent::NotOurs => {}
        }
        Ok(sent)
    }

    /// Answers a job that is not run.
    pub(super) fn refuse(&mut self, current: &Current, reason: &str) -> Sent {
        let when = Timestamp::now();
        self.send(current, &mut |heading, _| debci::of_refusal(heading, reason, when))
    }

    /// Sends a result for as long as the broker keeps its job for us.
    fn send(&mut self, current: &Current, make: &mut MakeResult<'_>) -> Sent {
        let Some(broker) = self.broker.clone() else { return Sent::NotOurs };
        let mut backoff = self.settings.timeouts.backoff();
        let mut result = self.result_file(current, make);
        loop {
            let why = match broker.answer(current.receipt, RESULTS_QUEUE, &result.file.bytes) {
                Ok(()) => break,
                Err(Error::NotHeld) => return Sent::NotOurs,
                Err(Error::TooLarge { most, .. }) => {
                    // Smaller each time, whatever the broker says.
                    let length = result.file.bytes.len();
                    self.largest = most.saturating_sub(MARGIN).min(length.saturating_sub(1));
                    result = self.result_file(current, make);
                    if result.file.bytes.len() < length {
                        continue;
                    }
                    format!("the broker takes at most {most} bytes; raise its max_message_size")
                }
                Err(error) => Advice::of(&error).in_one_line(),
            };
            self.say(format!("the result of job {} is not sent: {why}", current.run));
            if self.settings.stop.load(Ordering::Relaxed) {
                return Sent::NotOurs;
            }
            self.sleep(backoff.next_pause());
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
        result.replaced.map_or(Sent::Done, Sent::Replaced)
    }

    /// Makes a result file, and if that fails, one that says why.
    fn result_file(&self, current: &Current, make: &mut MakeResult<'_>) -> Made {
        let heading = Heading {
            run: current.run,
            job: current.line.as_ref(),
            architecture: &current.architecture,
            worker: &self.machine,
            notes: Vec::new(),
        };
        let error = match make(&heading, self.largest) {
            Ok(file) => return Made { file, replaced: None },
            Err(error) => advice::Report::of(&error, |_| None),
        };
        let why = std::iter::once(error.message).chain(error.causes).collect::<Vec<_>>().join(": ");
        let reason = format!("its tests ran, and their result cannot be sent: {why}");
        let nothing = ResultFile { bytes: Vec::new(), exit_code: 16, left_out: 0 };
        let file = debci::of_refusal(&heading, &reason, Timestamp::now()).unwrap_or(nothing);
        Made { file, replaced: Some(why) }
    }

    pub(super) fn acknowledge(&self, receipt: Receipt) {
        if let Some(broker) = &self.broker {
            // If the broker has taken it back, it comes again, and is known then.
            let _ = broker.acknowledge(receipt);
        }
    }
}
