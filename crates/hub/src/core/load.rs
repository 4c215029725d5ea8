//! Loads the in-memory state from the database, at the start and after a failed transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use protocol::Job;
use protocol::api::JobState;
use rusqlite::Connection;

use crate::clock::{deadline_at, millis};
use crate::config::Config;
use crate::core::leases::excluded;
use crate::core::need::Need;
use crate::core::offers::offered_in;
use crate::core::queue::Queued;
use crate::core::state::{Live, State};
use crate::core::worker::{ClockOffset, Worker};
use crate::store::columns::{Json, Named};
use crate::token::Who;

impl State {
    /// Loads the state. Leases get their full time again, as workers could not send heartbeats while the hub was down.
    pub(crate) fn load(db: &Connection, config: &Config) -> rusqlite::Result<Self> {
        let mut state = Self::default();
        let deadline = config.clock.monotonic().saturating_add(millis(config.lease));
        let mut statement = db.prepare(
            // Each place has a part that is not replaced; the index of parts has only these.
            "SELECT number, job, added FROM jobs
             WHERE state = ?1
                 AND NOT EXISTS (SELECT 1 FROM shards s WHERE s.parent = jobs.number AND s.replaced IS NULL)",
        )?;
        let mut rows = statement.query([JobState::Queued.name()])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let Json(job): Json<Job> = row.get(1)?;
            let excluded = excluded(db, number)?;
            let (need, priority, added) = (Need::of(&job), job.priority, row.get(2)?);
            state.queue.insert(Queued { number, need, priority, excluded, added });
        }
        let mut statement = db.prepare(
            "SELECT l.id, l.job, j.id, l.attempt, l.worker, l.confirmed, o.until, o.queue
             FROM leases l JOIN jobs j ON j.number = l.job LEFT JOIN debci_offers o ON o.lease = l.id
             WHERE l.state = 'active'",
        )?;
        // A literal in the query: SQLite uses the index of active leases only then.
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // What is offered to workers of debci has a time by the calendar.
            let offered: Option<(i64, String)> = row.get::<_, Option<i64>>(6)?.zip(row.get(7)?);
            let live = Live {
                job: row.get(1)?,
                job_id: row.get(2)?,
                attempt: row.get(3)?,
                worker: row.get(4)?,
                // Set below, once the workers are loaded.
                machine: None,
                deadline: offered.as_ref().map_or(deadline, |(until, _)| deadline_at(&*config.clock, *until)),
                confirmed: row.get(5)?,
                phase: offered.map(|(_, queue)| offered_in(&queue)).unwrap_or_default(),
            };
            state.leases.insert(row.get(0)?, live);
        }
        let mut statement = db.prepare(
            "SELECT w.id, ifnull(n.name, w.id), w.machine, w.boot, w.health, w.message, w.registered, w.seen, w.paused,
                 w.clock
             FROM workers w LEFT JOIN names n ON n.worker = w.id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (Json(machine), Named(health)) = (row.get(2)?, row.get(4)?);
            let worker = Worker {
                name: row.get(1)?,
                machine: Arc::new(machine),
                boot: row.get(3)?,
                health,
                message: row.get(5)?,
                registered: row.get(6)?,
                seen: Arc::new(AtomicI64::new(row.get(7)?)),
                paused: row.get(8)?,
                clock: ClockOffset::new(row.get(9)?),
                retry: None,
            };
            state.workers.insert(row.get(0)?, worker);
        }
        let mut statement = db.prepare("SELECT hash, kind, worker FROM tokens")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let hash: [u8; 32] = row.get(0)?;
            let who = match (row.get::<_, String>(1)?.as_str(), row.get::<_, Option<String>>(2)?) {
                ("admin", _) => Who::Admin,
                ("worker", Some(worker)) => Who::Worker(worker),
                _ => continue,
            };
            state.tokens.insert(hash.into(), who);
        }
        Ok(state)
    }

    /// Replaces a state that is no longer valid, keeping what the database does not have.
    pub(crate) fn replace(&mut self, mut fresh: Self) {
        fresh.waiters = std::mem::take(&mut self.waiters);
        for (lease, live) in &mut fresh.leases {
            if let Some(old) = self.leases.get_mut(lease) {
                live.deadline = old.deadline;
                live.machine.clone_from(&old.machine);
                live.phase = std::mem::take(&mut old.phase);
            }
        }
        for (id, worker) in &fresh.workers {
            if let Some(old) = self.workers.get(id) {
                worker.seen.fetch_max(old.seen.load(Ordering::Relaxed), Ordering::Relaxed);
                worker.clock.set(old.clock.get());
            }
        }
        let join = self.tokens.iter().filter(|(_, who)| **who == Who::Join);
        fresh.tokens.extend(join.map(|(hash, who)| (*hash, who.clone())));
        *self = fresh;
    }
}
