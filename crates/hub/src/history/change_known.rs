//! Commands that list failures as known, and remove them.

use protocol::api::{AddKnown, KnownFailure, Problem, ProblemCode};
use rusqlite::{Connection, OptionalExtension, params};

use crate::core::{Failure, Tx};
use crate::history::known::{SELECT, all, read};
use crate::history::record::{Recompute, recompute};

/// Most known failures.
const MOST: i64 = 10_000;

/// Computes the states of all tests of a package anew.
fn recompute_package(db: &Connection, package: &str) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT c.id FROM history_cells c JOIN history_series s ON s.id = c.series WHERE s.package = ?1",
    )?;
    let cells: Vec<i64> = statement.query_map([package], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for cell in cells {
        recompute(db, cell, Recompute::Latest)?;
    }
    Ok(())
}

impl Tx<'_> {
    /// Lists a failure as known. One that is listed already stays as it is.
    pub(crate) fn add_known(&mut self, known: &AddKnown) -> Result<KnownFailure, Failure> {
        let same = all(self.db, Some(&known.package))?.into_iter().find(|other| other.failure == *known);
        if let Some(same) = same {
            return Ok(same);
        }
        let count: i64 = self.db.query_row("SELECT count(*) FROM known", [], |row| row.get(0))?;
        if count >= MOST {
            let detail = format!("there are {MOST} known failures: remove those that are no longer needed");
            return Err(Problem::new(ProblemCode::TooMany, detail).into());
        }
        self.db
            .prepare_cached(
                "INSERT INTO known (package, test, target, bug, text, until, added) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![known.package, known.test, known.target, known.bug, known.text, known.until, self.now])?;
        let (id, before) = (self.db.last_insert_rowid(), self.latest_change()?);
        recompute_package(self.db, &known.package)?;
        self.queue_changes(before)?;
        let sql = format!("{SELECT} WHERE id = ?1");
        Ok(self.db.prepare_cached(&sql)?.query_row([id], read)?)
    }

    /// Removes a known failure.
    pub(crate) fn remove_known(&mut self, id: i64) -> Result<(), Failure> {
        let package: Option<String> = self
            .db
            .prepare_cached("DELETE FROM known WHERE id = ?1 RETURNING package")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(package) = package else {
            return Err(Problem::new(ProblemCode::NotFound, format!("there is no known failure {id}")).into());
        };
        let before = self.latest_change()?;
        recompute_package(self.db, &package)?;
        self.queue_changes(before)
    }
}
