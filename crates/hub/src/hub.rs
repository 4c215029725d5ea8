//! [`Hub`]: opens a data directory and holds everything that requests share.

use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::api::{Problem, ProblemCode};
use tokio::sync::watch;

use crate::clock::millis;
use crate::completion::in_progress::Completions;
use crate::config::Config;
use crate::core::{Core, State};
use crate::debci::link::Link;
use crate::debci::offers::link::OffersLink;
use crate::error::HubError;
use crate::kept::KeepOptions;
use crate::limits::Limits;
use crate::problem::io_problem;
use crate::quota::Received;
use crate::sessions::Sessions;
use crate::store::bundles::{Bucket, Directory};
use crate::store::{Bundles, CaseFiles, DataDir, FileLists, Listing, Logs, Readers, Uploads, free_bytes, schema};
use crate::token::{Who, hash};
use crate::watch::Watch;
use crate::webhooks::WebhookStatus;

/// A hub with an open data directory, ready to [serve](Hub::serve) requests.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Shared,
    stop: watch::Sender<bool>,
    join_token: String,
    new_admin_token: Option<String>,
}

/// State shared by all requests.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) core: Core,
    pub(crate) readers: Readers,
    pub(crate) bundles: Bundles,
    /// Package files of jobs that are not over.
    pub(crate) package_files: Directory,
    pub(crate) uploads: Uploads,
    pub(crate) logs: Logs,
    pub(crate) cases: CaseFiles,
    pub(crate) file_lists: FileLists,
    pub(crate) counters: Counters,
    pub(crate) completions: Completions,
    pub(crate) limits: Limits,
    pub(crate) received: Received,
    /// Browsers whose users have logged in.
    pub(crate) sessions: Sessions,
    /// The connection to a debci server, if its jobs are taken.
    pub(crate) debci: OnceLock<Arc<Link>>,
    /// The connection to the broker of debci's workers, if jobs are offered to them.
    pub(crate) offers: OnceLock<Arc<OffersLink>>,
    /// Which packages are kept, if any.
    pub(crate) keep: OnceLock<KeepOptions>,
    /// What watches an archive, if one is watched.
    pub(crate) watch: OnceLock<Arc<Watch>>,
    /// How it goes with each of the configuration's webhooks, in their order.
    pub(crate) webhooks: Vec<WebhookStatus>,
    /// Becomes true when the hub shuts down; long waits end then.
    pub(crate) stop: watch::Receiver<bool>,
    data: DataDir,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Counters for `/metrics`, since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) expired_leases: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Requests refused because their party exceeded its limits.
    pub(crate) turned_away: AtomicU64,
    /// Connections closed to make room for others.
    pub(crate) left_connections: AtomicU64,
}

impl Counters {
    pub(crate) fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Hub {
    /// Opens a data directory, and creates it if it does not exist. After any interruption the data is consistent
    /// again; leases continue.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used, or another hub uses it.
    pub fn open(data_dir: &Path, config: Config) -> Result<Self, HubError> {
        let data = DataDir::open(data_dir)?;
        let path = data.database();
        let failed = |error| HubError::Database { path: path.clone(), error };
        let (db, state, readers) = match schema::open(&path) {
            Ok(db) => {
                let state = State::load(&db, &config).map_err(failed)?;
                (Some(db), state, Readers::open(&path)?)
            }
            Err(error) if schema::is_full(&error) => {
                let Ok(alone) = schema::open_full(&path) else { return Err(error) };
                tracing::error!(
                    %error,
                    "the disk of {} is full: pages can be read, and everything else is refused until there is room",
                    data_dir.display()
                );
                let state = State::load(&alone, &config).map_err(failed)?;
                (None, state, Readers::alone(&path, alone))
            }
            Err(error) => return Err(error),
        };
        let package_files = Directory::new(data.packages());
        let core = Core::start(db, state, &config, package_files.clone(), readers.clone());
        let join_token = data.join_token()?;
        let (stop, stopped) = watch::channel(false);
        let new_admin_token = {
            let mut state = core.state_mut();
            state.tokens.insert(hash(&join_token), Who::Join);
            !state.tokens.values().any(|who| *who == Who::Admin)
        };
        let bundles: Bundles = match &config.storage {
            None => Arc::new(Directory::new(data.bundles())),
            Some(storage) => {
                let cache = data.bundle_cache();
                let opened = Bucket::open(storage, data.bundles(), cache.clone(), config.max_upload, config.min_free);
                Arc::new(opened.map_err(HubError::io("use", cache))?)
            }
        };
        let shared = Shared(Arc::new(Inner {
            limits: Limits::new(&config),
            webhooks: config.webhooks.iter().map(|_| WebhookStatus::default()).collect(),
            config,
            core,
            readers,
            bundles,
            package_files,
            uploads: Uploads::new(data.uploads()),
            logs: Logs::new(data.logs()),
            cases: CaseFiles::new(data.logs()),
            file_lists: FileLists::new(data.logs()),
            counters: Counters::default(),
            completions: Completions::new(),
            received: Received::default(),
            sessions: Sessions::default(),
            debci: OnceLock::new(),
            offers: OnceLock::new(),
            keep: OnceLock::new(),
            watch: OnceLock::new(),
            stop: stopped,
            data,
        }));
        let mut hub = Self { shared, stop, join_token, new_admin_token: None };
        if new_admin_token {
            hub.new_admin_token = Some(hub.replace_admin_token()?);
        }
        Ok(hub)
    }

    /// The token with which machines become workers, as it was when the hub was opened. It stays the same across
    /// restarts.
    pub fn join_token(&self) -> &str {
        &self.join_token
    }

    /// The token for users. `Some` only at the first start, when it is created: only its digest is stored.
    pub fn new_admin_token(&self) -> Option<&str> {
        self.new_admin_token.as_deref()
    }

    /// Creates a new admin token; the previous one becomes invalid. Blocks: not for async code.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    #[allow(clippy::redundant_closure_for_method_calls)] // a method of a type with a lifetime is not general enough
    pub fn replace_admin_token(&self) -> Result<String, HubError> {
        let failed = |problem: Problem| HubError::System { what: "token", reason: problem.to_string() };
        self.shared.core.write_blocking(|tx| tx.replace_admin_token()).map_err(failed)
    }

    /// Ends expired leases and returns how many there were. [`Hub::serve`] does this every second.
    #[allow(clippy::redundant_closure_for_method_calls)] // as above
    pub async fn expire_leases(&self) -> usize {
        let expired = self.shared.core.write(|tx| tx.expire()).await.unwrap_or_else(|problem| {
            // This was reported when the hub started.
            if !self.shared.core.is_read_only() {
                tracing::error!(%problem, "leases could not be looked at");
            }
            0
        });
        self.shared.counters.expired_leases.fetch_add(expired as u64, Ordering::Relaxed);
        expired
    }

    /// Periodic housekeeping while the hub runs: expiry, saved contact times, garbage collection.
    pub(crate) async fn run_housekeeping(&self) {
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        every_second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for seconds in 0_u64.. {
            every_second.tick().await;
            self.expire_leases().await;
            if seconds % 60 == 30 {
                self.save_seen().await;
            }
            if seconds % 3600 == 10 {
                self.collect_garbage().await;
            }
        }
    }

    pub(crate) async fn save_seen(&self) {
        let since = self.shared.config.clock.millis().saturating_sub(120_000);
        if let Err(problem) = self.shared.core.write(move |tx| tx.save_seen(since)).await {
            tracing::warn!(%problem, "when workers were seen could not be written down");
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Inner {
    /// Workers heard from since this time (milliseconds since 1970) are online.
    pub(crate) fn online_since(&self) -> i64 {
        self.config.clock.millis().saturating_sub(millis(self.config.offline_after))
    }

    /// Returns an error if the disk is nearly full.
    pub(crate) fn check_room(&self) -> Result<(), Problem> {
        self.check_room_for(0)
    }

    /// Returns an error if the disk would be nearly full with this many more bytes.
    pub(crate) fn check_room_for(&self, bytes: u64) -> Result<(), Problem> {
        let mut free = free_bytes(self.data.root()).map_err(|error| io_problem(&error))?;
        if free.saturating_sub(bytes) < self.config.min_free && self.bundles.bucket().is_some() {
            self.bundles.make_room();
            free = free_bytes(self.data.root()).map_err(|error| io_problem(&error))?;
        }
        if free.saturating_sub(bytes) >= self.config.min_free {
            return Ok(());
        }
        tracing::error!(free, "the data directory's disk is nearly full: uploads and logs are refused");
        Err(Problem::new(ProblemCode::DiskFull, format!("{free} bytes are free in the data directory's file system")))
    }

    /// Bytes by which the free space is less than what uploads and logs need; 0 if there is enough.
    pub(crate) fn missing_room(&self) -> Result<u64, Problem> {
        let free = free_bytes(self.data.root()).map_err(|error| io_problem(&error))?;
        Ok(self.config.min_free.saturating_sub(free))
    }

    /// Stores what pages show of a bundle beside the result. The bundle has it too, so nothing is lost if that fails.
    pub(crate) fn keep_derived(&self, job: i64, junit: Option<&[u8]>, listing: &Listing) -> std::io::Result<()> {
        if let Some(junit) = junit {
            self.cases.keep(job, junit)?;
        }
        self.file_lists.keep(job, listing)
    }

    /// Reads the join token from its file.
    pub(crate) fn read_join_token(&self) -> Result<String, HubError> {
        self.data.join_token()
    }

    /// The data directory: where large files are made that become bundles.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.root()
    }

    pub(crate) fn free(&self) -> u64 {
        free_bytes(self.data.root()).unwrap_or(0)
    }

    pub(crate) fn database_bytes(&self) -> u64 {
        std::fs::metadata(self.data.database()).map_or(0, |about| about.len())
    }
}
