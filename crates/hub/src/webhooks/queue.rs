//! The events that wait for their receivers, in the database.

use protocol::api::StateEvent;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::core::{Failure, Tx};
use crate::history::changes_since;
use crate::token::random_hex;
use crate::webhooks::Webhook;

/// Version of the form of events.
const VERSION: u32 = 1;

pub(crate) const TABLE: &str = "
-- Events that their receivers have not taken.
CREATE TABLE IF NOT EXISTS webhook_queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,         -- digest of its address
    id TEXT NOT NULL,               -- of the event
    event TEXT NOT NULL,            -- JSON, as it is posted
    added INTEGER NOT NULL,         -- milliseconds since 1970
    refused INTEGER NOT NULL DEFAULT 0      -- how often
);
CREATE INDEX IF NOT EXISTS webhook_queue_receiver ON webhook_queue (receiver, number);

CREATE TABLE IF NOT EXISTS webhook_counts (
    receiver TEXT PRIMARY KEY,
    delivered INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0      -- there were too many, or it was refused too often
) WITHOUT ROWID;
";

/// How many events of a receiver there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) waiting: u32,
    pub(crate) delivered: u32,
    pub(crate) dropped: u32,
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) number: i64,
    pub(super) id: String,
    /// The event as JSON.
    pub(super) event: String,
    /// How often the receiver has refused it.
    pub(super) refused: u32,
}

pub(crate) fn counts(db: &Connection, receiver: &str) -> rusqlite::Result<Counts> {
    let waiting = db
        .prepare_cached("SELECT count(*) FROM webhook_queue WHERE receiver = ?1")?
        .query_row([receiver], |row| row.get(0))?;
    let others = db
        .prepare_cached("SELECT delivered, dropped FROM webhook_counts WHERE receiver = ?1")?
        .query_row([receiver], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (delivered, dropped) = others.unwrap_or_default();
    Ok(Counts { waiting, delivered, dropped })
}

/// The next event for a receiver.
pub(super) fn next(db: &Connection, receiver: &str) -> rusqlite::Result<Option<Queued>> {
    db.prepare_cached(
        "SELECT number, id, event, refused FROM webhook_queue WHERE receiver = ?1 ORDER BY number LIMIT 1",
    )?
    .query_row([receiver], |row| {
        Ok(Queued { number: row.get(0)?, id: row.get(1)?, event: row.get(2)?, refused: row.get(3)? })
    })
    .optional()
}

/// Why an event is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Dropped,
}

impl Tx<'_> {
    /// The number of the latest change of a state, for [`Self::queue_changes`].
    pub(crate) fn latest_change(&self) -> Result<i64, Failure> {
        if self.config.webhooks.is_empty() {
            return Ok(0);
        }
        let mut find = self.db.prepare_cached("SELECT ifnull(max(id), 0) FROM history_changes")?;
        Ok(find.query_row([], |row| row.get(0))?)
    }

    /// Queues the changes of states after this one for the receivers that want them.
    pub(crate) fn queue_changes(&self, after: i64) -> Result<(), Failure> {
        if self.config.webhooks.is_empty() {
            return Ok(());
        }
        for (test, change) in changes_since(self.db, after)? {
            let mut event = StateEvent {
                version: VERSION,
                id: random_hex::<16>()?,
                hub: None,
                package: test.package,
                test: test.test,
                target: test.target,
                run_as: test.run_as,
                simulated: test.simulated,
                change,
            };
            for hook in self.config.webhooks.iter().filter(|hook| hook.wants(event.change.to)) {
                event.hub.clone_from(&hook.hub);
                self.db
                    .prepare_cached("INSERT INTO webhook_queue (receiver, id, event, added) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![hook.key(), event.id, serde_json::to_string(&event)?, self.now])?;
            }
        }
        for hook in &self.config.webhooks {
            self.drop_oldest(hook)?;
        }
        Ok(())
    }

    /// Drops the oldest events of a receiver that has too many.
    fn drop_oldest(&self, hook: &Webhook) -> Result<(), Failure> {
        let key = hook.key();
        let most = self.config.max_webhook_queue;
        let dropped = self
            .db
            .prepare_cached(
                "DELETE FROM webhook_queue WHERE number IN
                     (SELECT number FROM webhook_queue WHERE receiver = ?1 ORDER BY number DESC LIMIT -1 OFFSET ?2)",
            )?
            .execute(params![key, most])?;
        if dropped > 0 {
            tracing::warn!(receiver = hook.name, dropped, most, "too many events wait: the oldest were dropped");
            self.count(&key, Outcome::Dropped, dropped)?;
        }
        Ok(())
    }

    fn count(&self, receiver: &str, outcome: Outcome, count: usize) -> Result<(), Failure> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let (delivered, dropped) = if outcome == Outcome::Delivered { (count, 0) } else { (0, count) };
        self.db
            .prepare_cached(
                "INSERT INTO webhook_counts (receiver, delivered, dropped) VALUES (?1, ?2, ?3)
                 ON CONFLICT (receiver) DO UPDATE SET delivered = delivered + ?2, dropped = dropped + ?3",
            )?
            .execute(params![receiver, delivered, dropped])?;
        Ok(())
    }

    /// Removes an event.
    pub(super) fn remove_event(&self, receiver: &str, number: i64, outcome: Outcome) -> Result<(), Failure> {
        let removed = self.db.prepare_cached("DELETE FROM webhook_queue WHERE number = ?1")?.execute([number])?;
        self.count(receiver, outcome, removed)
    }

    /// Notes that a receiver has refused an event.
    pub(super) fn note_refusal(&self, number: i64) -> Result<(), Failure> {
        self.db
            .prepare_cached("UPDATE webhook_queue SET refused = refused + 1 WHERE number = ?1")?
            .execute([number])?;
        Ok(())
    }

    /// Removes the events of receivers that are no longer in the settings. Returns how many there were.
    pub(super) fn forget_receivers(&self) -> Result<usize, Failure> {
        let keys: Vec<String> = self.config.webhooks.iter().map(Webhook::key).collect();
        let mut statement = self.db.prepare_cached("SELECT DISTINCT receiver FROM webhook_queue")?;
        let known = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        let mut removed = 0;
        for gone in known.iter().filter(|receiver| !keys.contains(receiver)) {
            removed += self.db.prepare_cached("DELETE FROM webhook_queue WHERE receiver = ?1")?.execute([gone])?;
        }
        Ok(removed)
    }
}
