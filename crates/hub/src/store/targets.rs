//! The table of the targets that results are of, for lists of jobs on a target: `results` has them as words in one column,
//! which no index finds.
//!
//! It is made where it is missing, and is not part of the numbered layout.

use protocol::{JobResult, NO_GPU};
use rusqlite::Connection;

pub(super) const TABLE: &str = "
-- A result without a GPU is under the target `none`.
CREATE TABLE IF NOT EXISTS result_targets (
    job INTEGER NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (job, target)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS result_targets_target ON result_targets (target, job);
";

/// Notes the targets of a result.
pub(crate) fn note(db: &Connection, job: i64, result: &JobResult) -> rusqlite::Result<()> {
    let mut found = result.targets();
    if found.is_empty() {
        found.push(NO_GPU.to_owned());
    }
    let mut statement = db.prepare_cached("INSERT OR IGNORE INTO result_targets (job, target) VALUES (?1, ?2)")?;
    for target in found {
        statement.execute(rusqlite::params![job, target])?;
    }
    Ok(())
}

/// Adds the results that a hub without this table has accepted.
pub(super) fn fill(db: &Connection) -> rusqlite::Result<()> {
    let added = db.execute(
        "INSERT OR IGNORE INTO result_targets (job, target)
         WITH RECURSIVE words (job, word, rest) AS (
             SELECT r.job, '', CASE r.targets WHEN '' THEN ?1 ELSE r.targets END || ' ' FROM results r
             WHERE r.job NOT IN (SELECT job FROM result_targets)
             UNION ALL
             SELECT job, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1) FROM words
             WHERE rest <> ''
         ) SELECT job, word FROM words WHERE word <> ''",
        [NO_GPU],
    )?;
    if added > 0 {
        tracing::info!(count = added, "the targets of results are noted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_an_older_hub_are_added_once() -> rusqlite::Result<()> {
        let db = Connection::open_in_memory()?;
        db.execute_batch("CREATE TABLE results (job INTEGER PRIMARY KEY, targets TEXT NOT NULL)")?;
        db.execute_batch("INSERT INTO results VALUES (1, 'gfx1030'), (2, ''), (3, 'gfx1030 gfx942')")?;
        db.execute_batch(TABLE)?;
        let all = || -> rusqlite::Result<Vec<(i64, String)>> {
            let mut statement = db.prepare("SELECT job, target FROM result_targets ORDER BY job, target")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let expected = [(1, "gfx1030"), (2, "none"), (3, "gfx1030"), (3, "gfx942")];
        for _ in 0..2 {
            fill(&db)?;
            assert_eq!(all()?, expected.map(|(job, target)| (job, target.to_owned())));
        }
        Ok(())
    }
}
