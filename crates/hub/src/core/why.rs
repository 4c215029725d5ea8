//! Explains to users why a job is still queued.

use std::collections::{BTreeSet, HashMap};

use protocol::api::Health;

use crate::core::need::Need;
use crate::core::queue::Queued;
use crate::core::state::State;

/// Most names in one sentence.
const NAMES: usize = 5;

/// Explanations for the jobs of one page, cached, as many jobs have the same need.
#[derive(Debug)]
pub(crate) struct Reasons<'a> {
    state: &'a State,
    /// Workers heard from since this time are online.
    online_since: i64,
    known: HashMap<(Need, Vec<String>, bool), String>,
}

impl<'a> Reasons<'a> {
    pub(crate) fn new(state: &'a State, online_since: i64) -> Self {
        Self { state, online_since, known: HashMap::new() }
    }

    /// The reason why a job is queued; `None` if it is not.
    pub(crate) fn why(&mut self, number: i64) -> Option<String> {
        let job = self.state.queue.get(number)?;
        let is_kept = self.state.reservations.worker_of(number).is_some();
        let key = (job.need.clone(), job.excluded.clone(), is_kept);
        if let Some(known) = self.known.get(&key) {
            return Some(known.clone());
        }
        let words = self.words(job);
        self.known.insert(key, words.clone());
        Some(words)
    }

    fn words(&self, job: &Queued) -> String {
        let workers = &self.state.workers;
        if workers.is_empty() {
            return "no worker has registered yet".into();
        }
        let mut able: Vec<_> = workers.iter().filter(|(_, worker)| job.need.fits_machine(&worker.machine)).collect();
        able.sort_unstable_by_key(|(id, _)| *id);
        if able.is_empty() {
            let targets: BTreeSet<String> = workers
                .values()
                .flat_map(|worker| worker.machine.gpus.gpus.iter().map(|gpu| gpu.target.to_string()))
                .collect();
            let count = workers.len();
            let workers = if count == 1 { "the only worker".to_owned() } else { format!("the {count} workers") };
            let verb = if count == 1 { "has" } else { "have" };
            let there = if targets.is_empty() { "no GPU".to_owned() } else { names(targets) };
            return format!("no registered worker has {}; {workers} {verb} {there}", job.need.words());
        }
        able.retain(|(id, _)| !job.excluded.contains(id));
        if able.is_empty() {
            let names = names(job.excluded.iter().map(|id| self.state.name_of(id).to_owned()));
            return format!(
                "only {names} could take it, where it was lost twice or from where it was given back; other machines \
                 have to join"
            );
        }
        let ready = |worker: &&super::worker::Worker| {
            worker.paused.is_none() && worker.seen_since(self.online_since) && worker.health == Health::Ready
        };
        if let Some(worker) = self.state.reservations.worker_of(job.number) {
            return format!("is next on {}, once what runs there has ended", self.state.name_of(worker));
        }
        let count = able.iter().filter(|(_, worker)| ready(worker)).count();
        if count == 0 {
            let state = |worker: &super::worker::Worker| {
                let how = match worker.paused {
                    Some(_) => "paused",
                    None if worker.seen_since(self.online_since) => worker.health.name(),
                    None => "offline",
                };
                format!("{} ({how})", worker.name)
            };
            let names = names(able.iter().map(|(_, worker)| state(worker)));
            return format!("no worker that could take it is ready: {names}");
        }
        // The beginning is what a narrow terminal shows.
        match (count, able.iter().find(|(_, worker)| ready(worker))) {
            (1, Some((_, worker))) => format!("waits for {}, which is busy", worker.name),
            _ => format!("waits for one of {count} workers, which are busy"),
        }
    }
}

fn names(names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<String> = names.into_iter().collect();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let list = names.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}
