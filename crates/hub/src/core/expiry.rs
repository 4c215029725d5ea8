//! Expiry: ends leases without heartbeats, and periodically saves when workers were last heard from.

use std::sync::atomic::Ordering;

use rusqlite::params;

use crate::core::offers::OFFERED;
use crate::core::{Failure, Tx};

impl Tx<'_> {
    /// Ends expired leases. Returns how many there were.
    pub(crate) fn expire(&mut self) -> Result<usize, Failure> {
        let now = self.config.clock.monotonic();
        let over = self.state.leases.iter().filter(|(_, live)| live.deadline <= now);
        let over: Vec<String> = over.map(|(lease, _)| lease.clone()).collect();
        let seconds = self.config.lease.as_secs();
        for lease in &over {
            let is_offer = self.state.lease_of(lease, OFFERED).is_some();
            let reason = if is_offer {
                "no worker of debci has sent a result in time".to_owned()
            } else {
                format!("nothing was heard of the worker for {seconds} s")
            };
            self.lose(lease, &reason)?;
        }
        self.state.waiters.forget_closed();
        self.dispatch()?;
        Ok(over.len())
    }

    /// Saves the last contact and the clock offset of the workers heard from since the given time.
    pub(crate) fn save_seen(&mut self, since: i64) -> Result<(), Failure> {
        let mut statement = self.db.prepare_cached("UPDATE workers SET seen = ?2, clock = ?3 WHERE id = ?1")?;
        for (id, worker) in &self.state.workers {
            let seen = worker.seen.load(Ordering::Relaxed);
            if seen >= since {
                statement.execute(params![id, seen, worker.clock.get()])?;
            }
        }
        Ok(())
    }

    /// Forgets request ids older than the given time.
    pub(crate) fn forget_requests(&mut self, before: i64) -> Result<(), Failure> {
        self.db.prepare_cached("DELETE FROM additions WHERE added < ?1")?.execute([before])?;
        Ok(())
    }
}
