//! Environments of runs, and lists of installed packages.

use std::collections::{BTreeMap, HashMap};

use history::Environment;
use protocol::api::{JobPackages, TestPackages};
use protocol::{ArchiveState, JobResult, PackageList};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::kept;
use crate::store::columns::Json;

/// What is stored of the environment of a run, besides its packages, worker and GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Stored {
    pub(super) kernel: String,
    #[serde(default)]
    pub(super) firmware: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) image: String,
    #[serde(default)]
    pub(super) command_line: String,
    #[serde(default)]
    pub(super) archives: Vec<ArchiveState>,
}

/// Stores the environment of a result; returns its number.
pub(super) fn store(db: &Connection, result: &JobResult, archives: &[ArchiveState]) -> rusqlite::Result<i64> {
    let environment = Environment::of(result, "");
    let stored = Stored {
        kernel: environment.kernel,
        firmware: environment.firmware,
        image: environment.image,
        command_line: environment.command_line,
        archives: archives.to_vec(),
    };
    let description = serde_json::to_string(&stored).map_err(|error| unstorable(error.into()))?;
    let found = db
        .prepare_cached("SELECT id FROM history_environments WHERE description = ?1")?
        .query_row([&description], |row| row.get(0))
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    db.prepare_cached("INSERT INTO history_environments (description) VALUES (?1)")?.execute([&description])?;
    Ok(db.last_insert_rowid())
}

/// Stores the package lists of a result; returns their numbers by digest. Lists that are not valid are left out.
pub(super) fn store_lists(db: &Connection, result: &JobResult) -> rusqlite::Result<BTreeMap<Digest, i64>> {
    let lists = result.installed.resolve().unwrap_or_else(|error| {
        tracing::warn!(job = result.job.id, %error, "the package lists of a result are not valid");
        BTreeMap::new()
    });
    let mut numbers = BTreeMap::new();
    for (digest, list) in lists {
        let number = if let Some(number) = number_of(db, digest)? {
            kept::list_again(db, number)?;
            number
        } else {
            let packed = zstd::encode_all(list.text().as_bytes(), 9).map_err(|error| unstorable(error.into()))?;
            db.prepare_cached("INSERT INTO package_lists (sha256, packages) VALUES (?1, ?2)")?
                .execute(params![digest.to_string(), packed])?;
            db.last_insert_rowid()
        };
        numbers.insert(digest, number);
    }
    // Of a result whose lists were stored before, only the digests are left.
    for digest in result.tests().filter_map(|(_, test)| test.installed) {
        if !numbers.contains_key(&digest)
            && let Some(number) = number_of(db, digest)?
        {
            kept::list_again(db, number)?;
            numbers.insert(digest, number);
        }
    }
    Ok(numbers)
}

/// The error for a value that cannot be written: nothing is stored in its place.
fn unstorable(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error)
}

fn number_of(db: &Connection, digest: Digest) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM package_lists WHERE sha256 = ?1")?
        .query_row([digest.to_string()], |row| row.get(0))
        .optional()
}

/// Loads a package list.
pub(super) fn load_list(db: &Connection, number: i64) -> rusqlite::Result<Option<PackageList>> {
    let packed: Option<Vec<u8>> = db
        .prepare_cached("SELECT packages FROM package_lists WHERE id = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    let text = packed.and_then(|packed| zstd::decode_all(&packed[..]).ok());
    Ok(text.and_then(|text| PackageList::parse(&String::from_utf8_lossy(&text)).ok()))
}

/// Loads environments; a package list is read once.
pub(super) struct Environments<'a> {
    db: &'a Connection,
    sources: HashMap<i64, Option<BTreeMap<String, String>>>,
}

impl<'a> Environments<'a> {
    pub(super) fn new(db: &'a Connection) -> Self {
        Self { db, sources: HashMap::new() }
    }

    /// The environment of a test in a run.
    pub(super) fn of(&mut self, cell: i64, run: i64) -> rusqlite::Result<Option<Environment>> {
        let found = self
            .db
            .prepare_cached(
                "SELECT e.description, ifnull(n.name, r.worker), r.gpu, o.packages
                 FROM history_outcomes o JOIN history_runs r ON r.id = o.run
                 JOIN history_environments e ON e.id = r.environment LEFT JOIN names n ON n.worker = r.worker
                 WHERE o.cell = ?1 AND o.run = ?2",
            )?
            .query_row([cell, run], |row| {
                let Json(stored): Json<Stored> = row.get(0)?;
                Ok((stored, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<i64>>(3)?))
            })
            .optional()?;
        let Some((stored, worker, gpu, packages)) = found else { return Ok(None) };
        let packages = packages.map(|number| self.sources(number)).transpose()?.flatten();
        Ok(Some(Environment {
            kernel: stored.kernel,
            firmware: stored.firmware,
            image: stored.image,
            command_line: stored.command_line,
            machine: format!("{worker} {gpu}").trim().to_owned(),
            packages,
        }))
    }

    /// The source packages of a list.
    fn sources(&mut self, number: i64) -> rusqlite::Result<Option<BTreeMap<String, String>>> {
        if let Some(known) = self.sources.get(&number) {
            return Ok(known.clone());
        }
        let owned = |list: PackageList| {
            list.sources().into_iter().map(|(source, version)| (source.to_owned(), version)).collect()
        };
        let sources: Option<BTreeMap<String, String>> = load_list(self.db, number)?.map(owned);
        self.sources.insert(number, sources.clone());
        Ok(sources)
    }
}

/// The packages that were installed while the tests of a job ran; `None` if there is no such result.
pub(crate) fn packages_of_job(db: &Connection, job: &str) -> rusqlite::Result<Option<JobPackages>> {
    let found: Option<Json<JobResult>> = db
        .prepare_cached("SELECT r.result FROM results r JOIN jobs j ON j.number = r.job WHERE j.id = ?1")?
        .query_row([job], |row| row.get(0))
        .optional()?;
    let Some(Json(result)) = found else { return Ok(None) };
    let mut packages = JobPackages::default();
    for (run, test) in result.tests() {
        let Some(digest) = test.installed else { continue };
        let is_new = !packages.tests.iter().any(|test| test.sha256 == digest);
        let list = match number_of(db, digest)?.filter(|_| is_new) {
            Some(number) => load_list(db, number)?,
            None => None,
        };
        packages.tests.push(TestPackages {
            run_as: run.run_as,
            test: test.name.clone(),
            sha256: digest,
            packages: list.iter().flat_map(PackageList::packages).map(ToString::to_string).collect(),
        });
    }
    Ok(Some(packages))
}
