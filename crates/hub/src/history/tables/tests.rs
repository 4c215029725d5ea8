use protocol::api::TestState;
use serde_json::{Value, json};

use super::*;
use crate::history::queries::{HistoryFilter, tests};
use crate::store::schema;

/// A result of a job, as an earlier version of the program has stored it.
fn add(db: &Connection, number: i64, more: &Value, verdict: &str, outcome: &str, given: i64) -> rusqlite::Result<()> {
    let mut job = json!({ "id": format!("rocrand-{number}"), "package": "rocrand" });
    for (name, value) in more.as_object().into_iter().flatten() {
        job[name] = value.clone();
    }
    let machine = json!({
        "name": "epyc", "kernel": "7.2.13", "processors": 1, "memory": 1, "rocbed": "0",
        "gpus": { "gpus": [], "unusable": [], "simulated": false },
    });
    let result = json!({
        "version": 1, "job": job, "verdict": verdict, "simulated": false, "started": "2026-11-01T10:00:00Z",
        "finished": "2026-11-01T10:01:00Z", "gpus": [], "machine": machine,
        "runs": [{
            "as": "user", "verdict": verdict, "seconds": 1.0, "directory": "user",
            "package": { "name": "rocrand", "version": format!("6.4.{number}-1") },
            "tests": [{ "name": "upstream", "outcome": outcome }],
        }],
    });
    let lease = format!("lease-{number}");
    db.execute(
        "INSERT INTO jobs (number, id, package, job, state, lease, worker, attempts, added)
         VALUES (?1, 'rocrand-' || ?1, 'rocrand', ?2, 'finished', ?3, 'w1', 1, 1)",
        params![number, job.to_string(), lease],
    )?;
    db.execute(
        "INSERT INTO leases (id, job, worker, request, attempt, state, confirmed, given, turn)
         VALUES (?1, ?2, 'w1', ?1, 1, 'completed', 1, ?3, ?3)",
        params![lease, number, given],
    )?;
    db.execute(
        "INSERT INTO results VALUES (?1, ?2, 'w1', 'rocrand', '1-1', ?3, 0, '', '', 0, 0, 0, 'b', 1, ?4)",
        params![number, lease, verdict, result.to_string()],
    )?;
    Ok(())
}

/// A database without the tables of the history.
fn old(path: &std::path::Path) -> Result<Connection, Box<dyn std::error::Error>> {
    let db = schema::open(path)?;
    db.execute_batch(DROP)?;
    db.execute_batch("DROP TABLE history_version")?;
    Ok(db)
}

fn states(db: &Connection, variants: bool) -> rusqlite::Result<Vec<(String, String, TestState)>> {
    let filter = HistoryFilter { variants, changes: 100, ..HistoryFilter::default() };
    Ok(tests(db, &filter, 0)?.into_iter().map(|test| (test.test, test.variant, test.state)).collect())
}

#[test]
fn the_history_is_made_of_the_results_that_there_are() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hub.sqlite");
    let db = old(&path)?;
    add(&db, 1, &json!({}), "pass", "pass", 100)?;
    // Delivered before an older one, and the order of leases counts.
    add(&db, 2, &json!({}), "fail", "fail", 300)?;
    add(&db, 3, &json!({}), "fail", "fail", 200)?;
    add(&db, 4, &json!({}), "gpu-fault", "fail", 400)?;
    add(&db, 5, &json!({ "pin": ["experimental=src:rocrand"] }), "pass", "pass", 500)?;
    add(&db, 6, &json!({}), "pass", "pass", 600)?;
    db.execute("UPDATE results SET result = '{' WHERE job = 6", [])?;
    let before: i64 = db.query_row("SELECT count(*) FROM results", [], |row| row.get(0))?;
    drop(db);
    let db = schema::open(&path)?;
    assert_eq!(before, db.query_row("SELECT count(*) FROM results", [], |row| row.get::<_, i64>(0))?);
    let plain = |test: &str| (test.to_owned(), String::new(), TestState::Regression);
    assert_eq!(states(&db, false)?, [plain(""), plain("upstream")]);
    let pinned = |test: &str| (test.to_owned(), "pin experimental=src:rocrand".to_owned(), TestState::Ok);
    assert_eq!(states(&db, true)?, [plain(""), plain("upstream"), pinned(""), pinned("upstream")]);
    let filter = HistoryFilter { test: Some("upstream".into()), changes: 9, runs: 9, ..HistoryFilter::default() };
    let test = tests(&db, &filter, 0)?.remove(0);
    let job = |run: &Option<protocol::api::TestRun>| run.as_ref().map(|run| run.job.clone());
    assert_eq!((job(&test.last_good), job(&test.first_bad)), (Some("rocrand-1".into()), Some("rocrand-3".into())));
    let changes: Vec<_> = test.changes.iter().map(|change| (change.run.job.as_str(), change.to)).collect();
    assert_eq!(
        changes,
        [("rocrand-2", TestState::Regression), ("rocrand-3", TestState::NewFailure), ("rocrand-1", TestState::Ok),]
    );
    assert_eq!((test.runs.len(), test.infrastructure), (4, 1));
    Ok(())
}

#[test]
fn results_that_a_program_without_history_has_accepted_are_added() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hub.sqlite");
    let db = schema::open(&path)?;
    add(&db, 1, &json!({}), "pass", "pass", 100)?;
    drop(db);
    let db = schema::open(&path)?;
    assert_eq!(states(&db, false)?.len(), 2);
    db.execute("INSERT INTO known (package, text, added) VALUES ('rocrand', 'x', 1)", [])?;
    add(&db, 2, &json!({}), "fail", "fail", 200)?;
    // Tables of another version are made again; what is known stays.
    db.execute("UPDATE history_version SET version = 99", [])?;
    drop(db);
    let db = schema::open(&path)?;
    assert!(states(&db, false)?.iter().all(|(_, _, state)| *state == TestState::Known));
    Ok(())
}
