//! What is done every second: leases run out, and what the memory knows is written down now and then.

use std::sync::atomic::Ordering;

use rusqlite::params;

use crate::core::{Failure, Tx};

impl Tx<'_> {
    /// Ends leases that have run out. Says how many.
    pub(crate) fn expire(&mut self) -> Result<usize, Failure> {
        let now = self.config.clock.steady();
        let over = self.state.leases.iter().filter(|(_, live)| live.deadline <= now);
        let over: Vec<String> = over.map(|(lease, _)| lease.clone()).collect();
        let seconds = self.config.lease.as_secs();
        for lease in &over {
            self.lose(lease, &format!("nothing was heard of the worker for {seconds} s"))?;
        }
        self.state.waiters.forget_closed();
        self.dispatch()?;
        Ok(over.len())
    }

    /// Writes down when workers were heard of and what is known of their clocks, of those heard of since the time given.
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

    /// Forgets what nobody will ask for again: requests that are older than the time given.
    pub(crate) fn forget_requests(&mut self, before: i64) -> Result<(), Failure> {
        self.db.prepare_cached("DELETE FROM additions WHERE added < ?1")?.execute([before])?;
        Ok(())
    }
}
