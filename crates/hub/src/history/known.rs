//! Known failures.

use history::matches;
use protocol::api::{AddKnown, KnownFailure, Problem, ProblemCode};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::timestamp;
use crate::core::{Failure, Tx};
use crate::history::record::{Recompute, recompute};

/// Most known failures.
const MOST: i64 = 10_000;

const SELECT: &str = "SELECT id, package, test, target, bug, text, until, added FROM known";

fn read(row: &Row) -> rusqlite::Result<KnownFailure> {
    Ok(KnownFailure {
        id: row.get(0)?,
        failure: AddKnown {
            package: row.get(1)?,
            test: row.get(2)?,
            target: row.get(3)?,
            bug: row.get(4)?,
            text: row.get(5)?,
            until: row.get(6)?,
        },
        added: timestamp(row.get(7)?),
    })
}

/// All known failures, or those of a package.
pub(crate) fn all(db: &Connection, package: Option<&str>) -> rusqlite::Result<Vec<KnownFailure>> {
    if let Some(package) = package {
        let mut statement = db.prepare_cached(&format!("{SELECT} WHERE package = ?1 ORDER BY id"))?;
        statement.query_map([package], read)?.collect()
    } else {
        let mut statement = db.prepare_cached(&format!("{SELECT} ORDER BY package, id"))?;
        statement.query_map([], read)?.collect()
    }
}

/// The entry that covers the failure of a test.
pub(super) fn covering(db: &Connection, cell: i64) -> rusqlite::Result<Option<KnownFailure>> {
    let found = db
        .prepare_cached(
            "SELECT s.package, c.test, c.target, (SELECT r.version FROM history_outcomes o
                 JOIN history_runs r ON r.id = o.run WHERE o.cell = c.id AND r.version IS NOT NULL
                 ORDER BY o.run DESC LIMIT 1)
             FROM history_cells c JOIN history_series s ON s.id = c.series WHERE c.id = ?1",
        )?
        .query_row([cell], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })
        .optional()?;
    let Some((package, test, target, version)) = found else { return Ok(None) };
    let entries = all(db, Some(&package))?;
    Ok(entries.into_iter().find(|known| matches(known, &package, &test, &target, version.as_deref())))
}

/// Whether the failure of a test is listed as known.
pub(super) fn covers(db: &Connection, cell: i64) -> rusqlite::Result<bool> {
    Ok(covering(db, cell)?.is_some())
}

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
