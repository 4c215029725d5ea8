//! Names of workers: short, unique, and kept for ever, even if a worker is removed.

use protocol::Machine;
use protocol::api::{is_sayable, short_name};
use rusqlite::{Connection, OptionalExtension, params};
use sha256::Digest;

use crate::store::columns::Json;

/// Most matching workers listed for an ambiguous name.
const MOST: usize = 5;

/// First words of names for machines that have no name of their own.
const FIRST: [&str; 32] = [
    "amber", "autumn", "bold", "brisk", "calm", "clever", "coral", "crisp", "dusty", "early", "fair", "gentle",
    "golden", "grand", "happy", "hidden", "ivory", "jolly", "kind", "lively", "lucky", "mellow", "misty", "noble",
    "polar", "proud", "quiet", "rapid", "silver", "steady", "sunny", "warm",
];

/// Second words.
const SECOND: [&str; 32] = [
    "badger", "beaver", "bison", "condor", "crane", "dolphin", "eagle", "falcon", "ferret", "finch", "gecko", "heron",
    "ibis", "jackal", "koala", "lemur", "lynx", "marten", "moose", "otter", "panda", "parrot", "puffin", "raven",
    "robin", "salmon", "seal", "stork", "swan", "tiger", "walrus", "zebra",
];

/// Two words derived from an id.
fn words(id: &str) -> String {
    let digest = Digest::of(id);
    let pick = |list: [&'static str; 32], at: usize| {
        let number = digest.as_bytes().get(at).copied().map_or(0, usize::from) % list.len();
        list.get(number).copied().unwrap_or("machine")
    };
    format!("{}-{}", pick(FIRST, 0), pick(SECOND, 1))
}

/// The name of a worker. A new worker gets its id if that is readable, else its host name, its proposed name, or two
/// words. If the name is taken, a number is added.
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

/// Whether another worker has this name, or has it as its id.
fn is_taken(db: &Connection, name: &str, id: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM names WHERE worker <> ?2 AND (name = ?1 OR worker = ?1)")?.exists([name, id])
}

/// Worker that a text refers to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// Exactly one: its id.
    One(String),
    /// No known worker.
    Nobody,
    /// Several workers: some of their names.
    Several(Vec<String>),
}

/// Workers to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// Registered workers.
    Registered,
    /// Registered and removed workers.
    All,
}

/// Finds a worker by its id, its name, or a unique beginning of either. Ids take precedence over names, and complete
/// matches over beginnings.
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

/// Names all known workers, in the order of their registration.
pub(crate) fn fill(db: &Connection) -> rusqlite::Result<()> {
    let mut statement = db.prepare("SELECT id, machine FROM workers ORDER BY registered, id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // An unreadable description must not prevent the hub from starting.
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
    fn words_of_names_are_short() {
        for word in FIRST.iter().chain(&SECOND) {
            assert!((3..=7).contains(&word.len()), "{word}");
        }
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
