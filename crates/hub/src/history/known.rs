//! Queries of the failures that are listed as known.

use history::matches;
use protocol::api::{AddKnown, KnownFailure};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::timestamp;

pub(super) const SELECT: &str = "SELECT id, package, test, target, bug, text, until, added FROM known";

pub(super) fn read(row: &Row) -> rusqlite::Result<KnownFailure> {
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
