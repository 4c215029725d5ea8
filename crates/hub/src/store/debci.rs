//! The tables of jobs that came from debci servers, and of jobs that are offered to workers of debci.
//!
//! They are made where they are missing, and are not part of the numbered layout: a hub that knows nothing of them leaves
//! them alone.

use debci::JobLine;
use protocol::api::{DebciOrigin, Testbed};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::timestamp;

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS debci_jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    server TEXT NOT NULL,           -- address of its broker, without a password
    run INTEGER NOT NULL,           -- the server's number of the job
    architecture TEXT NOT NULL,     -- amd64+gfx1030
    line TEXT NOT NULL,             -- as it was in the queue
    job INTEGER UNIQUE REFERENCES jobs,     -- NULL if it is refused
    refusal TEXT,                   -- why it is not run
    taken INTEGER NOT NULL,         -- milliseconds since 1970
    answered INTEGER,               -- when it was clear what becomes of it
    answer TEXT,                    -- and what that is
    acknowledged INTEGER NOT NULL DEFAULT 0     -- the broker has forgotten it
);
CREATE INDEX IF NOT EXISTS debci_jobs_run ON debci_jobs (server, run, number);
CREATE INDEX IF NOT EXISTS debci_jobs_open ON debci_jobs (server, number) WHERE acknowledged = 0;

CREATE TABLE IF NOT EXISTS debci_offers (
    run INTEGER PRIMARY KEY,        -- the number under which workers know the job; at random, so that nobody guesses it
    server TEXT NOT NULL,           -- address of the broker, without a password
    lease TEXT NOT NULL UNIQUE,
    architecture TEXT NOT NULL,     -- amd64+gfx1030
    queue TEXT NOT NULL,
    line TEXT NOT NULL,             -- as it is in the queue
    priority INTEGER NOT NULL,
    waits_until INTEGER NOT NULL,   -- milliseconds since 1970: no worker gets it later
    until INTEGER NOT NULL,         -- when the job is taken back
    stored INTEGER NOT NULL DEFAULT 0       -- the broker has confirmed it
);
CREATE INDEX IF NOT EXISTS debci_offers_waiting ON debci_offers (server) WHERE stored = 0;
";

/// What became of a job's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The broker has confirmed it.
    Sent,
    /// The server has a result from elsewhere, or has cancelled the job.
    NotWanted,
    /// The broker did not hand the job out to this hub again.
    TakenByOthers,
}

impl Answer {
    /// The answer of this name. `None` if a later version has written it.
    fn of_name(name: &str) -> Option<Self> {
        [Self::Sent, Self::NotWanted, Self::TakenByOthers].into_iter().find(|answer| answer.name() == name)
    }

    /// As it is written in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NotWanted => "not-wanted",
            Self::TakenByOthers => "taken-by-others",
        }
    }

    /// What became of it, in words for people.
    fn words(self) -> &'static str {
        match self {
            Self::Sent => "the result was sent",
            Self::NotWanted => "not sent: the server has a result from elsewhere, or has cancelled the job",
            Self::TakenByOthers => "not sent: the connection was lost, and another worker got the job",
        }
    }
}

/// Columns of a job's row `d` for [`origin`].
macro_rules! origin_columns {
    () => {
        "d.server AS debci_server, d.run AS debci_run, d.architecture AS debci_architecture, d.line AS debci_line,
         d.answered AS debci_answered, d.answer AS debci_answer"
    };
}
pub(super) use origin_columns;

/// Reads the columns of [`origin_columns`]; `None` if the job did not come from a debci server.
pub(super) fn origin(row: &Row) -> rusqlite::Result<Option<DebciOrigin>> {
    let Some(server) = row.get("debci_server")? else { return Ok(None) };
    let line = parsed(&row.get::<_, String>("debci_line")?);
    Ok(Some(DebciOrigin {
        server,
        run: row.get::<_, i64>("debci_run")?.unsigned_abs(),
        architecture: row.get("debci_architecture")?,
        suite: line.as_ref().map(|line| line.suite.clone()).unwrap_or_default(),
        trigger: line.as_ref().and_then(JobLine::shown_trigger),
        apt_sources: line.map(|line| line.apt_sources).unwrap_or_default(),
        answered: row.get::<_, Option<i64>>("debci_answered")?.map(timestamp),
        answer: row
            .get::<_, Option<String>>("debci_answer")?
            .map(|name| Answer::of_name(&name).map_or(name, |answer| answer.words().to_owned())),
    }))
}

/// The line of a job, if a debci server has asked for it.
pub(crate) fn line_of(db: &Connection, job: i64) -> rusqlite::Result<Option<JobLine>> {
    let line: Option<String> = db
        .prepare_cached("SELECT line FROM debci_jobs WHERE job = ?1")?
        .query_row([job], |row| row.get(0))
        .optional()?;
    Ok(line.as_deref().and_then(parsed))
}

/// A line that was taken before. One that this version cannot read any more has no more to say.
fn parsed(line: &str) -> Option<JobLine> {
    JobLine::parse(line.as_bytes()).ok()
}

/// The testbed that a line asks for. debci's own workers upgrade theirs too.
pub(crate) fn testbed(line: JobLine) -> Testbed {
    // A key is ASCII armour.
    let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
    Testbed {
        upgrade: true,
        apt_sources: line.apt_sources,
        signing_keys: line.signing_keys.into_iter().map(text).collect(),
    }
}
