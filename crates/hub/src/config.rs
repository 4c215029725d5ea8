//! [`Config`]: limits and times. Every one has a default that needs no thought.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::party::Network;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How a hub behaves.
#[derive(Clone)]
pub struct Config {
    /// A lease runs out after this time without a heartbeat. 60 s.
    pub lease: Duration,
    /// The longest that a claim waits for a job. 60 s.
    pub longest_wait: Duration,
    /// How often a job is given out again after it was lost. 2.
    pub retries: u32,
    /// A worker that was not heard of for so long is offline. 5 minutes.
    pub offline_after: Duration,
    /// The largest bundle, in bytes. 4 GiB.
    pub max_upload: u64,
    /// The most that a bundle may unpack to, in bytes. 16 GiB.
    pub max_unpacked: u64,
    /// The longest log of one attempt, in bytes; what comes after it is refused. 256 MiB.
    pub max_log: u64,
    /// The largest JSON document in a request, in bytes. 16 MiB.
    pub max_json: u64,
    /// Uploads and logs are refused while the data directory's file system has less free, in bytes. 1 GiB.
    pub min_free: u64,
    /// Connections at the same time; more wait until others end. 20,000.
    pub max_connections: usize,
    /// Connections at the same time from one address (IPv6: one /64) over which no request with a token came; the oldest ends
    /// when there are more. All of these together have half of `max_connections`. 512.
    pub max_connections_per_address: usize,
    /// Event streams and downloads at the same time, each, from one address, or with one token. 32.
    pub max_streams: usize,
    /// Requests without a token that one address may make in a second, in the long run; ten times as many at once. 100.
    pub max_requests: u32,
    /// Reverse proxies that are believed when they say, in `X-Forwarded-For`, for whom they ask. None.
    pub trusted_proxies: Vec<Network>,
    /// Bytes of bundles that one worker may upload in 24 hours. 64 GiB.
    pub max_daily_upload: u64,
    /// Bytes of bundles that one worker may have here that belong to no result. 16 GiB.
    pub max_pending_upload: u64,
    /// How long a worker waits for its bundle to be checked, before it is told to ask again. 20 s.
    pub check_wait: Duration,
    /// Time of a processor that checking bundles which are refused may take before their worker has to wait; each second
    /// more costs it twenty. 5 s.
    pub free_checking: Duration,
    /// A client has this long to send the next piece of a request, and to take the next piece of an answer. 30 s.
    pub patience: Duration,
    /// Whether everybody may look at pages, jobs and results. If not, the admin token is asked for: as bearer token, or
    /// by a browser as password. True.
    pub public: bool,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            longest_wait: Duration::from_secs(60),
            retries: 2,
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
            check_wait: Duration::from_secs(20),
            free_checking: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            public: true,
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
            .field("check_wait", &self.check_wait)
            .field("free_checking", &self.free_checking)
            .field("patience", &self.patience)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
