//! The download of one file: tries its URLs in order, with retries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use progress::Task;
use transfer::{Backoff, server_of};

use crate::fetch::attempt::{Sink, Stopped};
use crate::fetch::client::Client;
use crate::fetch::error::{Cause, Failure, Problem};
use crate::fetch::partial::Partial;
use crate::fetch::{Download, FetchOptions};
use crate::{Store, StoreError};

/// Outcome of one file's download.
pub(crate) enum Outcome {
    Stored,
    Failed(Failure),
    Local(StoreError),
    Cancelled,
}

/// State shared by the downloads of one call.
pub(crate) struct Job<'a> {
    pub(crate) store: &'a Store,
    pub(crate) options: &'a FetchOptions,
    pub(crate) client: &'a Client,
    /// Servers that are down: other files need not wait for the same timeouts.
    pub(crate) unreachable: &'a Mutex<Vec<String>>,
    pub(crate) cancelled: &'a AtomicBool,
    pub(crate) task: &'a dyn Task,
}

/// Outcome of one URL.
enum Tried {
    Complete,
    Gave(Cause),
}

impl Job<'_> {
    pub(crate) fn run(&self, download: &Download) -> Outcome {
        self.task.detail(&download.label);
        match self.run_inner(download) {
            Ok(outcome) => outcome,
            Err(Stopped::Local(error)) => Outcome::Local(error),
            Err(Stopped::Cancelled) => Outcome::Cancelled,
            Err(Stopped::Problem(problem, _)) => {
                let cause = Cause { url: String::new(), attempts: 1, problem };
                Outcome::Failed(Failure { label: download.label.clone(), causes: vec![cause] })
            }
        }
    }

    fn run_inner(&self, download: &Download) -> Result<Outcome, Stopped> {
        let Some(mut partial) = Partial::open(self.store, &download.digest, download.size)? else {
            self.task.advance(download.size.unwrap_or(0));
            return Ok(Outcome::Stored);
        };
        // The furthest position reached: bytes fetched a second time are not progress.
        let mut furthest = partial.length();
        self.task.advance(furthest);
        let mut causes = Vec::new();
        for url in &download.urls {
            match self.try_url(url, download, &mut partial, &mut furthest)? {
                Tried::Complete => {
                    partial.finish(self.store, &download.digest, &download.label)?;
                    return Ok(Outcome::Stored);
                }
                Tried::Gave(cause) => causes.push(cause),
            }
        }
        if causes.is_empty() {
            let problem = Problem::BadUrl("there is none for this file".to_owned());
            causes.push(Cause { url: String::new(), attempts: 0, problem });
        }
        Ok(Outcome::Failed(Failure { label: download.label.clone(), causes }))
    }

    /// Tries one URL until it succeeds, fails permanently, or has failed often enough in a row.
    fn try_url(
        &self,
        url: &str,
        download: &Download,
        partial: &mut Partial,
        furthest: &mut u64,
    ) -> Result<Tried, Stopped> {
        // Behind a proxy that is down, it is not the server that could not be reached.
        let host = format!("{}{}", server_of(url), self.client.through(url));
        let (mut attempts, mut failures, mut wrong) = (0, 0, 0);
        let mut backoff = self.options.backoff();
        loop {
            let gave = |attempts, problem| Ok(Tried::Gave(Cause { url: url.to_owned(), attempts, problem }));
            if self.known_down(&host) {
                return gave(attempts, Problem::Unreachable("given up after other files' attempts".to_owned()));
            }
            let (before, resumed) = (*furthest, partial.length() > 0);
            attempts += 1;
            let mut sink = Sink {
                partial,
                size: download.size,
                limit: self.options.size_limit,
                cancelled: self.cancelled,
                grown: &mut |length| {
                    self.task.advance(length.saturating_sub(*furthest));
                    *furthest = length.max(*furthest);
                },
            };
            let (problem, wait) = match sink.fill(self.client, url) {
                Ok(()) => {
                    let got = partial.digest();
                    if got == download.digest {
                        return Ok(Tried::Complete);
                    }
                    partial.reset()?;
                    wrong += 1;
                    let problem = Problem::WrongDigest { expected: download.digest, got };
                    // Once more from the start if the existing part may be wrong, or if there is no other URL.
                    if wrong > 1 || !(resumed || download.urls.len() == 1) {
                        return gave(attempts, problem);
                    }
                    continue;
                }
                Err(Stopped::Problem(problem, wait)) => (problem, wait),
                Err(stopped) => return Err(stopped),
            };
            if *furthest > before {
                failures = 0;
                backoff.reset();
            }
            failures += 1;
            if !problem.is_transient() {
                return gave(attempts, problem);
            }
            if failures >= self.options.attempts {
                if matches!(problem, Problem::Unreachable(_)) {
                    self.mark_down(&host);
                }
                return gave(attempts, problem);
            }
            pause(&mut backoff, wait, self.cancelled);
        }
    }

    fn known_down(&self, host: &str) -> bool {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|down| down == host)
    }

    fn mark_down(&self, host: &str) {
        let mut down = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        if !down.iter().any(|known| known == host) {
            down.push(host.to_owned());
        }
    }
}

/// Waits before the next attempt, for as long as the server asked for, within limits.
pub(crate) fn pause(backoff: &mut Backoff, asked: Option<Duration>, cancelled: &AtomicBool) {
    let end = Instant::now() + backoff.next_pause_after(asked);
    while !cancelled.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}
