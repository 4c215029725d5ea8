//! Reads the archive every so often, and makes jobs when there is something to do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::OptionalExtension as _;
use sha256::Digest;
use tokio::time::{Instant, sleep, sleep_until};
use transfer::Backoff;

use crate::background::run_in_background;
use crate::clock::timestamp;
use crate::hub::Hub;
use crate::store::columns::Hex;
use crate::watch::reconcile::Observed;
use crate::watch::{Watch, WatchOptions};

/// The pause after the archive could not be read for the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// How often it is looked for room if nobody says that something has changed.
const OFTEN: Duration = Duration::from_secs(60);
/// How often at most: reports of jobs come in swarms.
const SELDOM: Duration = Duration::from_secs(1);

impl Hub {
    /// Names the archive to watch, for whose changes jobs are made: every so often if called before [`Hub::serve`],
    /// otherwise when [`Hub::read_archive`] and [`Hub::make_watch_jobs`] are called. A second call changes nothing.
    pub fn watch_archive(&self, options: WatchOptions) {
        let watch = Watch { options, status: Mutex::default() };
        // A hub watches one archive; the first one stays.
        let _ = self.shared.watch.set(Arc::new(watch));
    }

    /// Watches the archive until the hub ends.
    pub(crate) async fn run_watch(&self, watch: Arc<Watch>) {
        let mut events = self.shared.core.watch();
        let every = watch.options.every;
        let mut backoff = Backoff::new(FIRST_PAUSE.min(every), every);
        let mut next = Instant::now();
        loop {
            if Instant::now() >= next {
                let pause = if self.read_archive().await {
                    backoff.reset();
                    every
                } else {
                    backoff.next_pause()
                };
                next = Instant::now() + pause;
            }
            self.make_watch_jobs().await;
            sleep(SELDOM).await;
            let until = next.min(Instant::now() + OFTEN);
            tokio::select! {
                () = sleep_until(until) => {}
                // Whatever it is, also that there were too many to hear of all.
                _ = events.recv() => {}
            }
        }
    }

    /// Reads the archive once. Returns whether it can be read and is believed. [`Hub::serve`] does this every so often.
    pub async fn read_archive(&self) -> bool {
        let Some(watch) = self.shared.watch.get().cloned() else { return false };
        let outcome = self.read_archive_once(&watch).await;
        let now = self.now();
        match outcome {
            Ok(()) => {
                watch.worked(now);
                true
            }
            Err(what) => {
                watch.failed(now, what);
                false
            }
        }
    }

    async fn read_archive_once(&self, watch: &Watch) -> Result<(), String> {
        // After a start it is read in any case: this version may choose other packages than the one before.
        let known = if watch.status().read.is_some() { self.known_release().await? } else { None };
        let archive = watch.options.archive.clone();
        let read = run_in_background("archive", move || archive.read(known)).await;
        let read = read.map_err(|problem| problem.to_string())?.map_err(|error| error.in_one_line())?;
        let Some(state) = read else { return Ok(()) };
        let observed = self.shared.core.write(move |tx| tx.observe_archive(&state)).await;
        match observed.map_err(|problem| format!("it could not be written down: {problem}"))? {
            Observed::Taken => Ok(()),
            Observed::NotBelieved(why) => Err(why),
        }
    }

    async fn known_release(&self) -> Result<Option<Digest>, String> {
        let find = self.shared.readers.run(|db| {
            let mut find = db.prepare_cached("SELECT release FROM watch_archive")?;
            Ok(find.query_row([], |row| row.get(0)).optional()?.map(|Hex(digest)| digest))
        });
        find.await.map_err(|error| format!("the database cannot be read: {error}"))
    }

    /// Makes the jobs that there is room for. Returns their ids. [`Hub::serve`] does this when something has changed.
    pub async fn make_watch_jobs(&self) -> Vec<String> {
        let Some(watch) = self.shared.watch.get() else { return Vec::new() };
        let (budget, priority) = (watch.options.budget, watch.options.priority);
        let made = self.shared.core.write(move |tx| tx.make_watch_jobs(budget, priority)).await;
        made.unwrap_or_else(|problem| {
            if !self.shared.core.is_read_only() {
                tracing::error!(%problem, "no jobs could be made for changes of the archive");
            }
            Vec::new()
        })
    }

    fn now(&self) -> Timestamp {
        timestamp(self.shared.config.clock.millis())
    }
}
