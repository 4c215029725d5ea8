//! [`Uploader`]: a thread that delivers what is in the outbox, and retries for as long as it takes.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::outbox::{Outbox, PendingResult, Waiting};
use super::timeouts::Timeouts;
use appliance::report::Report;

/// Sends a report to PID 1, from any thread.
pub type Tell = Arc<dyn Fn(&Report) + Send + Sync>;

/// Delivers results to one recipient.
pub trait Transport: Send + 'static {
    /// The recipient, as in [`PendingResult::to`].
    fn address(&self) -> String;

    /// Tries once to deliver a result.
    fn deliver(&mut self, result: &PendingResult, bundle: &Path) -> UploadOutcome;
}

/// The outcome of one try to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadOutcome {
    /// The recipient has it.
    Delivered,
    /// It is not wanted any more, for this reason.
    Unwanted(String),
    /// It will never be taken, for this reason.
    Refused(String),
    /// It could not be delivered now, for this reason; try again later.
    Later(String),
}

#[derive(Debug, Default)]
struct State {
    /// Whether a result was put in, or the end was asked for.
    woken: bool,
    /// Whether nothing is left that could be delivered.
    idle: bool,
    over: bool,
}

/// The uploader's thread.
#[derive(Debug, Clone)]
pub struct Uploader {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Uploader {
    /// Starts the thread. It ends when [`Uploader::finish`] is called, or with the process.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(outbox: Outbox, transport: impl Transport, timeouts: Timeouts, tell: Tell) -> std::io::Result<Self> {
        let uploader = Self { shared: Arc::default() };
        let mut round = Round { outbox, transport: Box::new(transport), tell, said: String::new() };
        let theirs = uploader.clone();
        thread::Builder::new().name("uploader".into()).spawn(move || theirs.run(&mut round, &timeouts))?;
        Ok(uploader)
    }

    /// Tries at once: a result was put into the outbox.
    pub fn wake(&self) {
        self.with(|state| (state.woken, state.idle) = (true, false));
    }

    /// Waits until everything deliverable is delivered, or `enough` returns true. Returns whether it is delivered.
    pub fn drained(&self, enough: &dyn Fn() -> bool) -> bool {
        self.wake();
        loop {
            if self.with(|state| state.idle) {
                return true;
            }
            if enough() {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the thread after its current result.
    pub fn finish(&self) {
        self.with(|state| (state.woken, state.over) = (true, true));
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        self.shared.1.notify_all();
        result
    }

    fn run(&self, round: &mut Round, timeouts: &Timeouts) {
        let mut backoff = timeouts.backoff();
        loop {
            // A result that is put in from here on wakes it again.
            if self.with(|state| std::mem::take(&mut state.woken) && state.over) {
                return;
            }
            let pause = match round.deliver() {
                Ok(true) => {
                    backoff.reset();
                    self.with(|state| state.idle = !state.woken);
                    None
                }
                Ok(false) => Some(backoff.next_pause()),
                Err(error) => {
                    round.say(format!("reading the outbox: {error}"));
                    Some(backoff.next_pause())
                }
            };
            self.sleep(pause);
        }
    }

    /// Sleeps until it is woken, or the pause is over.
    fn sleep(&self, pause: Option<Duration>) {
        let until = pause.map(|pause| Instant::now() + pause);
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.woken {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            let left = left.unwrap_or(Duration::from_secs(3600));
            state = self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

struct Round {
    outbox: Outbox,
    transport: Box<dyn Transport>,
    tell: Tell,
    said: String,
}

impl Round {
    /// Tries everything once. Returns true if nothing is left to be delivered later.
    fn deliver(&mut self) -> std::io::Result<bool> {
        let address = self.transport.address();
        let all = self.outbox.waiting()?;
        let (mine, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|waiting| waiting.result.to == address);
        let mut later: Option<(usize, String)> = None;
        for waiting in mine.iter().filter(|waiting| waiting.result.refused.is_none()) {
            // If the hub cannot be reached for one result, the others have to wait too.
            if let Some((count, _)) = &mut later {
                *count += 1;
                continue;
            }
            if let Some(why) = self.one(waiting)? {
                later = Some((1, why));
            }
        }
        let refused = mine.iter().filter_map(|waiting| waiting.result.refused.as_deref());
        let mut words: Vec<String> = Vec::new();
        words.extend(later.as_ref().map(|(count, why)| format!("{} to be sent: {why}", results(*count))));
        words.extend(refused.map(|why| format!("a result is kept that will never be taken: {why}")));
        words.extend(others.first().map(|other| format!("{} for {}", results(others.len()), other.result.to)));
        self.say(words.join("; "));
        Ok(later.is_none())
    }

    /// Tries one result. Returns the reason for a retry, if one is needed.
    fn one(&mut self, waiting: &Waiting) -> std::io::Result<Option<String>> {
        match self.transport.deliver(&waiting.result, &waiting.bundle) {
            UploadOutcome::Delivered => self.outbox.remove(waiting)?,
            UploadOutcome::Unwanted(why) => {
                let what = format!("the result of {} is not wanted any more: {why}", waiting.result.job);
                (self.tell)(&Report::problem(what, "nothing has to be done"));
                self.outbox.remove(waiting)?;
            }
            UploadOutcome::Refused(why) => {
                let what = format!("the result of {} is not taken: {why}", waiting.result.job);
                let advice = format!("it is kept in {}", waiting.bundle.display());
                (self.tell)(&Report::problem(what, advice));
                self.outbox.refuse(waiting, &why)?;
            }
            UploadOutcome::Later(why) => return Ok(Some(why)),
        }
        Ok(None)
    }

    fn say(&mut self, text: String) {
        if self.said != text {
            (self.tell)(&Report::condition("outbox", text.clone()));
            self.said = text;
        }
    }
}

fn results(count: usize) -> String {
    if count == 1 { "a result waits".into() } else { format!("{count} results wait") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Delivery;
    use protocol::Verdict;
    use std::collections::VecDeque;

    /// A transport that gives these answers in order, and repeats the last one.
    struct Answers(Arc<Mutex<VecDeque<UploadOutcome>>>);

    impl Transport for Answers {
        fn address(&self) -> String {
            "hub".into()
        }

        fn deliver(&mut self, _: &PendingResult, bundle: &Path) -> UploadOutcome {
            assert!(bundle.exists());
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            answers.pop_front().unwrap_or(UploadOutcome::Delivered)
        }
    }

    fn put(outbox: &Outbox, data: &Path, to: &str, job: &str) -> std::io::Result<()> {
        let bundle = data.join("made");
        std::fs::write(&bundle, "x")?;
        let summary = String::new();
        let delivery = Delivery {
            job: job.into(),
            verdict: Verdict::Pass,
            summary,
            bundle,
            size: 1,
            sha256: sha256::Digest::of(""),
        };
        outbox.put(to, None, &delivery).map(drop)
    }

    fn deliver(answers: &[UploadOutcome]) -> std::io::Result<(Vec<String>, Vec<String>)> {
        let data = tempfile::tempdir()?;
        let outbox = Outbox::open(data.path())?;
        put(&outbox, data.path(), "hub", "gzip")?;
        put(&outbox, data.path(), "hub", "sed")?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let tell: Tell = Arc::new(move |report: &Report| {
            let text = match report {
                Report::Condition { text, .. } => text.clone(),
                other => format!("{other:?}"),
            };
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        });
        let answers = Answers(Arc::new(Mutex::new(answers.iter().cloned().collect())));
        let uploader = Uploader::start(outbox.clone(), answers, Timeouts::of_tests(), tell)?;
        assert!(uploader.drained(&|| false));
        uploader.finish();
        let left = outbox.waiting()?.into_iter().map(|waiting| waiting.result.job).collect();
        let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((left, told))
    }

    #[test]
    fn what_cannot_be_delivered_now_is_tried_again() -> std::io::Result<()> {
        let later = || UploadOutcome::Later("the hub is away".into());
        let (left, told) =
            deliver(&[later(), later(), UploadOutcome::Delivered, UploadOutcome::Unwanted("cancelled".into())])?;
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(told[0], "2 results wait to be sent: the hub is away");
        assert!(told[1].contains("not wanted any more: cancelled"), "{told:?}");
        assert_eq!((told[2].as_str(), told.len()), ("", 3));
        Ok(())
    }

    #[test]
    fn what_will_never_be_taken_is_kept_and_holds_nothing_up() -> std::io::Result<()> {
        let (left, told) = deliver(&[UploadOutcome::Refused("it is too large".into()), UploadOutcome::Delivered])?;
        assert_eq!(left, ["gzip"]);
        assert!(told[0].contains("it is too large"), "{told:?}");
        Ok(())
    }
}
