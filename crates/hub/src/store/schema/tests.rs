use protocol::Machine;
use serde_json::{Value, json};

use super::*;

const LAYOUT_2: &str = include_str!("layout-2.sql");

const UUID: &str = "4c4c4544-0051-3510-8052-b4c04f4e3732";

fn machine() -> Value {
    json!(Machine { name: "epyc".into(), ..Machine::default() })
}

/// A database of layout 2 with one worker.
fn old(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.execute_batch(LAYOUT_2)?;
    db.execute("INSERT INTO workers VALUES (?1, 'b', ?2, 'ready', '', 1, 2, NULL)", [UUID, &machine().to_string()])?;
    db.pragma_update(None, "user_version", 2)?;
    Ok(db)
}

/// Adds a job with a result. Its lease was given at `given`, and its worker says that it finished at `finished`, in
/// seconds.
fn add(db: &Connection, number: i64, more: &Value, verdict: &str, given: i64, finished: i64) -> rusqlite::Result<()> {
    let mut job = json!({ "id": format!("rocrand-{number}"), "package": "rocrand" });
    for (name, value) in more.as_object().into_iter().flatten() {
        job[name] = value.clone();
    }
    let time = |seconds| jiff::Timestamp::from_second(seconds).expect("a time").to_string();
    let result = json!({
        "version": 1, "job": job, "verdict": verdict, "simulated": false, "started": time(0), "finished": time(finished),
        "runs": [], "gpus": [], "machine": machine(),
    });
    let lease = format!("lease-{number}");
    db.execute(
        "INSERT INTO jobs (number, id, package, job, state, lease, worker, attempts, added)
         VALUES (?1, 'rocrand-' || ?1, 'rocrand', ?2, 'finished', ?3, ?4, 1, 1)",
        rusqlite::params![number, job.to_string(), lease, UUID],
    )?;
    db.execute(
        "INSERT INTO leases (id, job, worker, request, attempt, state, confirmed, reason, given, ended)
         VALUES (?1, ?2, ?3, ?1, 1, 'completed', 1, 'late', ?4, ?4)",
        rusqlite::params![lease, number, UUID, given],
    )?;
    db.execute(
        "INSERT INTO results VALUES (?1, ?2, ?3, 'rocrand', '1-1', ?4, 0, '', '', 0, ?5, ?6, 'b', 1, ?7)",
        rusqlite::params![number, lease, UUID, verdict, finished * 1000, 5_000 + number, result.to_string()],
    )?;
    Ok(())
}

#[test]
fn what_version_1_has_made_is_brought_up_to_date() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hub.sqlite");
    let db = old(&path)?;
    db.execute_batch("ALTER TABLE workers DROP COLUMN paused; PRAGMA user_version = 1;")?;
    drop(db);
    let db = open(&path)?;
    let seen: (i64, Option<String>, Option<i64>) =
        db.query_row("SELECT seen, paused, clock FROM workers", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    assert_eq!(seen, (2, None, None));
    db.execute_batch("PRAGMA user_version = 99")?;
    drop(db);
    assert!(matches!(open(&path), Err(HubError::TooNew { found: 99, .. })));
    Ok(())
}

#[test]
fn results_of_version_2_are_ordered_anew_and_workers_get_names() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hub.sqlite");
    let db = old(&path)?;
    // The last plain result is from a worker with a slow clock; the later ones say nothing about the package.
    add(&db, 1, &json!({}), "pass", 100, 50_000)?;
    add(&db, 2, &json!({}), "fail", 200, 10)?;
    add(&db, 3, &json!({ "pin": ["experimental=src:rocrand"] }), "pass", 300, 60_000)?;
    add(&db, 4, &json!({}), "testbed-failed", 400, 70_000)?;
    db.execute("UPDATE results SET result = '{' WHERE job = 1", [])?;
    drop(db);
    let db = open(&path)?;
    let cell: (String, String, i64, String, String, i64) =
        db.query_row("SELECT package, target, job, verdict, mark, mark_job FROM coverage", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?;
    assert_eq!(cell, ("rocrand".into(), "none".into(), 2, "fail".into(), "testbed-failed".into(), 4));
    let name: String = db.query_row("SELECT name FROM names WHERE worker = ?1", [UUID], |row| row.get(0))?;
    assert_eq!(name, "epyc");
    let leases: (i64, i64, String) =
        db.query_row("SELECT turn, late, reason FROM leases WHERE job = 3", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    assert_eq!(leases, (3, 1, String::new()));
    drop(db);
    open(&path)?;
    Ok(())
}

#[test]
fn a_layout_that_was_brought_up_to_date_is_the_same_as_a_new_one() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let (earlier, new) = (directory.path().join("earlier.sqlite"), directory.path().join("new.sqlite"));
    drop(old(&earlier)?);
    let columns = |path: &Path| -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
        let db = open(path)?;
        let mut statement = db.prepare(
            "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ORDER BY m.name, c.name",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    assert_eq!(columns(&earlier)?, columns(&new)?);
    Ok(())
}
