//! [`WebhookStatus`]: whether deliveries to a receiver work, as pages show it.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// How it goes with a receiver.
#[derive(Debug, Default)]
pub(crate) struct WebhookStatus(Mutex<Option<(Timestamp, String)>>);

impl WebhookStatus {
    /// What went wrong the last time, and since when something does.
    pub(crate) fn problem(&self) -> Option<(Timestamp, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn worked(&self, name: &str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::warn!(receiver = name, "the webhook takes events again");
        }
    }

    /// Notes what went wrong. The log has it once, however often it happens in a row.
    pub(super) fn failed(&self, name: &str, now: Timestamp, what: &str) {
        let mut problem = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*problem {
            Some((_, known)) if known == what => return,
            Some((since, _)) => *since,
            None => now,
        };
        tracing::warn!(receiver = name, "the webhook takes no event: {what}");
        *problem = Some((since, what.to_owned()));
    }
}
