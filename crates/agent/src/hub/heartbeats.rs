//! [`HeartbeatThread`]: keeps leases alive. It is independent of running tests and long uploads.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use protocol::api::{Health, Heartbeat, WorkerReport};
use transfer::Backoff;

use super::link::Link;
use crate::interrupt::Interrupt;
use crate::timeouts::Timeouts;

/// After a new phase the next heartbeat is sent earlier, after this delay: phases come in bursts.
const PHASE_DELAY: Duration = Duration::from_secs(2);

/// A lease that is kept alive.
struct HeldLease {
    phase: String,
    /// Ends the job; `None` if only a result is left to deliver.
    interrupt: Option<Interrupt>,
    /// The heartbeat interval: a third of the lease's time.
    every: Duration,
    due: Instant,
    backoff: Backoff,
}

#[derive(Default)]
struct State {
    leases: BTreeMap<String, HeldLease>,
    /// The report about the machine that is still to be sent, and when.
    health: Option<(WorkerReport, Instant)>,
    over: bool,
}

/// The heartbeat thread and the state it shares.
#[derive(Clone)]
pub(crate) struct HeartbeatThread {
    shared: Arc<(Mutex<State>, Condvar)>,
    timeouts: Timeouts,
}

/// The request that is due.
enum Due {
    Beat { lease: String, phase: String },
    Health(WorkerReport),
}

impl HeartbeatThread {
    pub(crate) fn start(link: Arc<Link>, timeouts: &Timeouts) -> io::Result<Self> {
        let heartbeats = Self { shared: Arc::default(), timeouts: timeouts.clone() };
        let theirs = heartbeats.clone();
        thread::Builder::new().name("heartbeats".into()).spawn(move || {
            while let Some(due) = theirs.wait() {
                theirs.serve(&link, due);
            }
        })?;
        Ok(heartbeats)
    }

    /// Keeps a lease alive from now on; the first heartbeat is sent at once.
    pub(crate) fn hold(&self, lease: &str, phase: &str, interrupt: Option<Interrupt>, lease_time: Duration) {
        let every = (lease_time / 3).max(Duration::from_millis(10));
        let backoff = self.timeouts.backoff();
        let held = HeldLease { phase: phase.to_owned(), interrupt, every, due: Instant::now(), backoff };
        self.with(|state| drop(state.leases.insert(lease.to_owned(), held)));
    }

    /// Sets the job's new phase.
    pub(crate) fn phase(&self, lease: &str, phase: &str) {
        self.with(|state| {
            if let Some(held) = state.leases.get_mut(lease) {
                phase.clone_into(&mut held.phase);
                held.due = held.due.min(Instant::now() + PHASE_DELAY.min(held.every));
            }
        });
    }

    /// Marks that only the result is left to deliver: nothing is to be interrupted any more.
    pub(crate) fn delivering(&self, lease: &str) {
        self.phase(lease, "delivering the result");
        self.with(|state| {
            if let Some(held) = state.leases.get_mut(lease) {
                held.interrupt = None;
            }
        });
    }

    /// Stops keeping a lease alive.
    pub(crate) fn release(&self, lease: &str) {
        self.with(|state| drop(state.leases.remove(lease)));
    }

    /// Reports the machine's health, until the hub has received it or it has changed.
    pub(crate) fn report_health(&self, health: Health, message: &str) {
        let report = WorkerReport { health, message: message.to_owned() };
        self.with(|state| state.health = Some((report, Instant::now())));
    }

    /// Whether the hub has received all reports about the machine.
    pub(crate) fn has_reported(&self) -> bool {
        self.with(|state| state.health.is_none())
    }

    /// Ends the thread.
    pub(crate) fn finish(&self) {
        self.with(|state| state.over = true);
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        self.shared.1.notify_all();
        result
    }

    /// Waits until a request is due; `None` means the end.
    fn wait(&self) -> Option<Due> {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.over {
                return None;
            }
            let now = Instant::now();
            if let Some((report, due)) = &state.health
                && *due <= now
            {
                return Some(Due::Health(report.clone()));
            }
            let first = state.leases.iter().min_by_key(|(_, held)| held.due);
            if let Some((lease, held)) = first.filter(|(_, held)| held.due <= now) {
                return Some(Due::Beat { lease: lease.clone(), phase: held.phase.clone() });
            }
            let next = first.map(|(_, held)| held.due).into_iter().chain(state.health.as_ref().map(|(_, due)| *due));
            let left = next.min().map_or(Duration::from_secs(3600), |due| due.saturating_duration_since(now));
            state = self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn serve(&self, link: &Link, due: Due) {
        match due {
            Due::Beat { lease, phase } => self.beat(link, &lease, phase),
            Due::Health(report) => {
                let Some(worker) = link.worker() else { return };
                let outcome = link.brief(|client| client.report(&worker, &report));
                let again = outcome.is_err_and(|error| error.is_passing());
                self.with(|state| match &mut state.health {
                    Some((now, due)) if *now == report && again => *due = Instant::now() + self.timeouts.longest_pause,
                    // The hub would refuse it again.
                    Some((now, _)) if *now == report => state.health = None,
                    _ => {}
                });
            }
        }
    }

    fn beat(&self, link: &Link, lease: &str, phase: String) {
        let heartbeat = Heartbeat { phase };
        let outcome = link.brief(|client| client.heartbeat(lease, &heartbeat));
        self.with(|state| {
            let Some(held) = state.leases.get_mut(lease) else { return };
            let now = Instant::now();
            let over = match outcome {
                Ok(answer) => {
                    held.every = Duration::from_secs(answer.lease_seconds.max(1)) / 3;
                    held.due = now + held.every;
                    if held.phase != heartbeat.phase {
                        held.due = now + PHASE_DELAY.min(held.every);
                    }
                    held.backoff.reset();
                    answer.cancel
                }
                Err(error) if error.is_unwanted() => Some(error.to_string()),
                Err(_) => {
                    held.due = now + held.backoff.next_pause().min(held.every);
                    None
                }
            };
            if let Some(why) = over {
                if let Some(interrupt) = &held.interrupt {
                    interrupt.interrupt(&why);
                }
                state.leases.remove(lease);
            }
        });
    }
}
