//! [`Timing`]: how long a connection waits for what.

use std::time::Duration;

/// How long a connection waits for what. Tests wait less.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The unit of heartbeat intervals, which the protocol counts in seconds.
    pub heartbeat_unit: Duration,
    /// How often an idle connection is looked after. Less than a third of the shortest heartbeat.
    pub tick: Duration,
    /// How long the broker may take to answer. It may have to sync a message of many megabytes to a slow disk.
    pub answer: Duration,
    /// How long a published message waits for its confirmation while the broker says that it lacks memory or disk space.
    pub blocked: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_unit: Duration::from_secs(1),
            tick: Duration::from_secs(1),
            answer: Duration::from_secs(60),
            blocked: Duration::from_secs(600),
        }
    }
}
