//! [`Config`]: limits and times. Every field has a usable default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::party::Network;
use crate::webhooks::Webhook;

/// A bucket for bundles.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The bucket.
    pub bucket: s3::Bucket,
    /// Bytes of bundles that are in the bucket and are kept here too. 10 GiB.
    pub max_cache: u64,
    /// Whether workers upload bundles to the bucket themselves, with addresses that the hub signs. False.
    pub direct: bool,
    /// Largest bundle that a worker uploads with one request, in bytes; larger ones go in parts. 64 MiB.
    pub single_limit: u64,
    /// Length of these parts in bytes, but for the last one; at least 5 MiB. 16 MiB.
    pub part_size: u64,
    /// For how long a worker may use an address that the hub has signed; then it asks for a new one. 1 hour.
    pub offer_time: Duration,
}

impl Storage {
    /// This bucket, with the defaults.
    pub fn new(bucket: s3::Bucket) -> Self {
        Self {
            bucket,
            max_cache: 10 * GIB,
            direct: false,
            single_limit: 64 * MIB,
            part_size: 16 * MIB,
            offer_time: Duration::from_secs(3600),
        }
    }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Configuration of a hub. Each field's default ends its description.
#[derive(Clone)]
pub struct Config {
    /// Time without a heartbeat after which a lease expires. 60 s.
    pub lease: Duration,
    /// Longest time that a claim waits for a job. 60 s.
    pub longest_wait: Duration,
    /// How often a lost job is given out again. 2.
    pub retries: u32,
    /// How long a job waits for several GPUs of a machine before it is kept free for it. 30 minutes.
    pub reserve_after: Duration,
    /// Time without contact after which a worker counts as offline. 5 minutes.
    pub offline_after: Duration,
    /// Largest bundle, in bytes. 4 GiB.
    pub max_upload: u64,
    /// Most bytes that a bundle may unpack to. 16 GiB.
    pub max_unpacked: u64,
    /// Longest log of one attempt, in bytes; the rest is refused. 256 MiB.
    pub max_log: u64,
    /// Largest JSON document in a request, in bytes. 16 MiB.
    pub max_json: u64,
    /// Free bytes on the data directory's file system below which uploads and logs are refused. 1 GiB.
    pub min_free: u64,
    /// Most simultaneous connections; more wait until others end. 20,000.
    pub max_connections: usize,
    /// Most simultaneous connections from one address (IPv6: one /64) that have carried no request with a token; beyond
    /// that the oldest is closed. All such connections together get half of `max_connections`. 512.
    pub max_connections_per_address: usize,
    /// Most simultaneous event streams, and most simultaneous downloads, per address or per token. 32.
    pub max_streams: usize,
    /// Requests per second without a token from one address, on average; bursts may be ten times as many. 100.
    pub max_requests: u32,
    /// Reverse proxies whose `X-Forwarded-For` is trusted. None.
    pub trusted_proxies: Vec<Network>,
    /// Bundle bytes that one worker may upload in 24 hours. 64 GiB.
    pub max_daily_upload: u64,
    /// Bundle bytes that one worker may store without a result that uses them. 16 GiB.
    pub max_pending_upload: u64,
    /// Bytes of package files of all jobs together. 32 GiB.
    pub max_packages: u64,
    /// How long a worker waits for the check of its bundle before it is told to ask again. 20 s. Zero: every answer is for
    /// the repeated request.
    pub check_wait: Duration,
    /// Processor time for checking refused bundles that a worker may use without penalty; each further second makes it
    /// wait twenty. 5 s.
    pub free_checking: Duration,
    /// Longest wait for a client to send the next piece of a request or take the next piece of an answer. 30 s.
    pub patience: Duration,
    /// Whether pages, jobs and results can be read without a token. If not, the admin token is needed: as bearer token,
    /// or in a browser as password. True.
    pub public: bool,
    /// Whether the failing tests of a job are run again by itself when one of them has passed before. False.
    pub confirm: bool,
    /// Receivers of changes of the states of tests. None.
    pub webhooks: Vec<Webhook>,
    /// Most events that wait for one of them; the oldest are dropped. 10,000.
    pub max_webhook_queue: u32,
    /// The bucket that bundles are kept in, instead of the data directory. None.
    pub storage: Option<Storage>,
    /// Source of the time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            longest_wait: Duration::from_secs(60),
            retries: 2,
            reserve_after: Duration::from_secs(1800),
            offline_after: Duration::from_secs(300),
            max_upload: 4 * GIB,
            max_unpacked: ::bundle::UNPACKED,
            max_log: 256 * MIB,
            max_json: 16 * MIB,
            min_free: GIB,
            max_connections: 20_000,
            max_connections_per_address: 512,
            max_streams: 32,
            max_requests: 100,
            trusted_proxies: Vec::new(),
            max_daily_upload: 64 * GIB,
            max_pending_upload: 16 * GIB,
            max_packages: 32 * GIB,
            check_wait: Duration::from_secs(20),
            free_checking: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            public: true,
            confirm: false,
            webhooks: Vec::new(),
            max_webhook_queue: 10_000,
            storage: None,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("lease", &self.lease)
            .field("longest_wait", &self.longest_wait)
            .field("retries", &self.retries)
            .field("reserve_after", &self.reserve_after)
            .field("offline_after", &self.offline_after)
            .field("max_upload", &self.max_upload)
            .field("max_unpacked", &self.max_unpacked)
            .field("max_log", &self.max_log)
            .field("max_json", &self.max_json)
            .field("min_free", &self.min_free)
            .field("max_connections", &self.max_connections)
            .field("max_connections_per_address", &self.max_connections_per_address)
            .field("max_streams", &self.max_streams)
            .field("max_requests", &self.max_requests)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("max_daily_upload", &self.max_daily_upload)
            .field("max_pending_upload", &self.max_pending_upload)
            .field("max_packages", &self.max_packages)
            .field("check_wait", &self.check_wait)
            .field("free_checking", &self.free_checking)
            .field("patience", &self.patience)
            .field("public", &self.public)
            .field("confirm", &self.confirm)
            .field("webhooks", &self.webhooks)
            .field("max_webhook_queue", &self.max_webhook_queue)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}
