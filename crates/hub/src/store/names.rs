//! What people call workers: short names, unique and kept for ever, also when a worker is removed.

use protocol::Machine;
use protocol::api::{is_sayable, short_name};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::store::columns::Json;

/// The most workers that an ambiguous name is told to fit.
const MOST: usize = 5;

/// Words for machines that have nothing to be called by. What comes first.
const FIRST: [&str; 32] = [
    "amber", "autumn", "bold", "brisk", "calm", "clever", "coral", "crisp", "dusty", "early", "fair", "gentle",
    "golden", "grand", "happy", "hidden", "ivory", "jolly", "kind", "lively", "lucky", "mellow", "misty", "noble",
    "polar", "proud", "quiet", "rapid", "silver", "steady", "sunny", "warm",
];

/// What comes second.
const SECOND: [&str; 32] = [
    "badger", "beaver", "bison", "condor", "crane", "dolphin", "eagle", "falcon", "ferret", "finch", "gecko", "heron",
    "ibis", "jackal", "koala", "lemur", "lynx", "marten", "moose", "otter", "panda", "parrot", "puffin", "raven",
    "robin", "salmon", "seal", "stork", "swan", "tiger", "walrus", "zebra",
];

/// Two words that follow from an id.
fn words(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let pick = |list: [&'static str; 32], at: usize| {
        let number = digest.get(at).copied().map_or(0, usize::from) % list.len();
        list.get(number).copied().unwrap_or("machine")
    };
    format!("{}-{}", pick(FIRST, 0), pick(SECOND, 1))
}

/// The name of a worker; it gets one if it has none: its id if people can say it, else its host's name, what it proposes, or
/// words. One that another has gets a number.
pub(crate) fn give(db: &Connection, id: &str, host: &str, proposed: Option<&str>) -> rusqlite::Result<String> {
    let known = db
        .prepare_cached("SELECT name FROM names WHERE worker = ?1")?
        .query_row([id], |row| row.get::<_, String>(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let own = is_sayable(id).then(|| id.to_ascii_lowercase());
    let base = own.or_else(|| short_name(host)).or_else(|| short_name(proposed?)).unwrap_or_else(|| words(id));
    let mut name = base.clone();
    let mut number = 1_u64;
    while is_taken(db, &name, id)? {
        number = number.saturating_add(1);
        name = format!("{base}-{number}");
    }
    db.prepare_cached("INSERT INTO names (worker, name) VALUES (?1, ?2)")?.execute([id, &name])?;
    Ok(name)
}

/// Whether another worker has the name, or has it as its id.
fn is_taken(db: &Connection, name: &str, id: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM names WHERE worker <> ?2 AND (name = ?1 OR worker = ?1)")?.exists([name, id])
}

/// Which worker a text means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// This one: its id.
    One(String),
    /// None that is known.
    Nobody,
    /// One of several: their names, some of them.
    Several(Vec<String>),
}

/// Whom a text may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// Workers that are registered.
    Registered,
    /// Also those that were removed.
    All,
}

/// Finds the worker that a text means: its id, its name, or the beginning of either that no other has. An id comes before
/// a name, and a whole one before a beginning.
pub(crate) fn find(db: &Connection, text: &str, among: Among) -> rusqlite::Result<Meant> {
    let lower = text.to_ascii_lowercase();
    let who = match among {
        Among::Registered => "names WHERE worker IN (SELECT id FROM workers) AND",
        Among::All => "names WHERE",
    };
    for (column, text) in [("worker", text), ("name", &lower)] {
        let sql = format!("SELECT worker FROM {who} {column} = ?1");
        if let Some(worker) = db.prepare_cached(&sql)?.query_row([text], |row| row.get(0)).optional()? {
            return Ok(Meant::One(worker));
        }
    }
    if text.is_empty() {
        return Ok(Meant::Nobody);
    }
    let sql = format!(
        "SELECT worker, name FROM {who} (substr(worker, 1, length(?1)) = ?1 OR substr(name, 1, length(?2)) = ?2)
         ORDER BY name LIMIT {MOST}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let found = statement.query_map(params![text, lower], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = found.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    Ok(match &found[..] {
        [] => Meant::Nobody,
        [(worker, _)] => Meant::One(worker.clone()),
        _ => Meant::Several(found.into_iter().map(|(_, name)| name).collect()),
    })
}

/// Gives names to all workers that are known, in the order in which they came.
pub(crate) fn fill(db: &Connection) -> rusqlite::Result<()> {
    let mut statement = db.prepare("SELECT id, machine FROM workers ORDER BY registered, id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // One that cannot be read is no reason not to start.
        let host = row.get(1).map_or_else(|_| String::new(), |Json(machine): Json<Machine>| machine.name);
        give(db, &row.get::<_, String>(0)?, &host, None)?;
    }
    let mut statement = db.prepare("SELECT worker FROM leases GROUP BY worker ORDER BY min(turn)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        give(db, &row.get::<_, String>(0)?, "", None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "4c4c4544-0051-3510-8052-b4c04f4e3732";

    fn db() -> rusqlite::Result<Connection> {
        let db = Connection::open_in_memory()?;
        db.execute_batch(
            "CREATE TABLE workers (id TEXT); CREATE TABLE names (worker TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        )?;
        Ok(db)
    }

    #[test]
    fn a_worker_is_called_by_what_people_can_say() -> rusqlite::Result<()> {
        let db = db()?;
        for (id, host, proposed, name) in [
            ("lab-1", "elsewhere", Some("PowerEdge R7525"), "lab-1"),
            (UUID, "gpu7.lab", None, "gpu7-lab"),
            ("mac-3cecef001122", "rocbed", Some("ROG STRIX B550"), "rog-strix-b550"),
            ("mac-3cecef001133", "rocbed", Some("ROG STRIX B550"), "rog-strix-b550-2"),
            ("mac-3cecef001144", "lab-1", None, "lab-1-2"),
            (UUID, "another host", Some("another board"), "gpu7-lab"),
        ] {
            assert_eq!(give(&db, id, host, proposed)?, name, "{id}");
        }
        let random = give(&db, "random-0123456789abcdef0123456789abcdef", "rocbed", None)?;
        let (first, second) = random.split_once('-').expect("two words");
        assert!(FIRST.contains(&first) && SECOND.contains(&second), "{random}");
        Ok(())
    }

    #[test]
    fn ids_names_and_beginnings_that_only_one_has() -> rusqlite::Result<()> {
        let db = db()?;
        for (id, host) in [(UUID, "epyc-1"), ("mac-3cecef001122", "epyc-2"), ("epyc", ""), ("gone-1", "")] {
            give(&db, id, host, None)?;
            db.execute("INSERT INTO workers SELECT ?1 WHERE ?1 <> 'gone-1'", [id])?;
        }
        let find = |text| find(&db, text, Among::Registered);
        let one = |id: &str| Meant::One(id.to_owned());
        assert_eq!((find(UUID)?, find("4c4c")?, find("Epyc-1")?), (one(UUID), one(UUID), one(UUID)));
        assert_eq!(find("epyc")?, one("epyc"), "a whole one comes before a beginning");
        assert_eq!(find("ep")?, Meant::Several(vec!["epyc".into(), "epyc-1".into(), "epyc-2".into()]));
        assert_eq!((find("")?, find("x")?, find("gone-1")?), (Meant::Nobody, Meant::Nobody, Meant::Nobody));
        assert_eq!(super::find(&db, "gone", Among::All)?, one("gone-1"));
        Ok(())
    }
}
