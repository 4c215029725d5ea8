//! Compares the archive with what was tested: what differs waits for a job.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gpu::Target;
use protocol::api::JobState;
use protocol::{GpuNeed, Job, NO_GPU};
use rusqlite::{Connection, params};
use sha256::Digest;

use crate::core::{Failure, Tx};
use crate::store::columns::{Hex, Json, Named};
use crate::watch::plan::Reason;
use crate::watch::{ArchiveState, WatchedPackage, tables};

/// A package of the archive, without the versions of what it is tested with.
struct Listed {
    package: String,
    version: String,
    need: GpuNeed,
    state: String,
}

/// Package and target.
type Key = (String, String);

/// Targets of the workers' GPUs, and whether a real GPU has it.
pub(super) type Targets = BTreeMap<Target, bool>;

/// Versions of binary packages, by their names.
type Versions = BTreeMap<String, String>;

/// What differs between the archive and what was tested: the reason, and words for people.
type Difference = (Reason, String);

/// What comes of an archive that was read.
#[derive(Debug)]
pub(super) enum Observed {
    /// It is the one that jobs are made for now.
    Taken,
    /// Nothing changes; the text says why.
    NotBelieved(String),
}

impl Tx<'_> {
    /// Takes the archive as it was read now, if it is believed.
    pub(super) fn observe_archive(&mut self, archive: &ArchiveState) -> Result<Observed, Failure> {
        if let Some(known) = tables::known(self.db)?
            && known.suite == archive.suite
            && archive.date < known.date
        {
            return Ok(Observed::NotBelieved(format!(
                "the Release file of {} is of {}, older than the one of {} that was read before; nothing is taken from it \
                 until the mirror has a newer one",
                archive.suite, archive.date, known.date
            )));
        }
        let had: i64 = self.db.query_row("SELECT count(*) FROM watch_packages", [], |row| row.get(0))?;
        if archive.packages.is_empty() && had > 0 {
            return Ok(Observed::NotBelieved(format!(
                "{} has no package any more that is to be tested, and had {had}; nothing is taken from it",
                archive.suite
            )));
        }
        self.db.execute("DELETE FROM watch_packages", [])?;
        let mut insert = self.db.prepare_cached(
            "INSERT OR REPLACE INTO watch_packages (package, version, need, tested_with, state)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for package in &archive.packages {
            if !is_testable(&package.package) {
                tracing::warn!(package = package.package, "not a name of a source package; it is not tested");
                continue;
            }
            let tested_with = serde_json::to_string(&package.tested_with)?;
            let need = serde_json::to_string(&package.need)?;
            insert.execute(params![package.package, package.version, need, tested_with, state_of(package)])?;
        }
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO watch_archive (id, suite, date, release, read) VALUES (1, ?1, ?2, ?3, ?4)",
            )?
            .execute(params![archive.suite, archive.date.as_millisecond(), Hex(archive.release), self.now])?;
        Ok(Observed::Taken)
    }

    /// Has everything wait that was tested otherwise than the archive is now, and nothing else.
    pub(super) fn reconcile_watch(&mut self) -> Result<(), Failure> {
        let targets = self.watched_targets();
        let tested = tested(self.db)?;
        let mut waits: HashMap<Key, String> = waiting_states(self.db)?;
        for package in listed(self.db)? {
            for (target, is_real) in targets_of(&package.need, &targets) {
                let key = (package.package.clone(), target);
                let waiting = waits.remove(&key);
                let is_tested = match tested.get(&key) {
                    Some(known) if known.state == package.state => true,
                    Some(known) if known.is_queued => {
                        // That job will find the archive as it is now.
                        self.note_tested(&key, known.job)?;
                        true
                    }
                    Some(_) => false,
                    None => match self.result_of(&key, &package.version, is_real)? {
                        Some(job) => {
                            self.note_tested(&key, job)?;
                            true
                        }
                        None => false,
                    },
                };
                if is_tested {
                    if waiting.is_some() {
                        self.forget_waiting(&key)?;
                    }
                } else if waiting.as_ref() != Some(&package.state) {
                    let (reason, why) = self.difference(&key, &package)?;
                    self.have_wait(&key, reason, &why, &package.state)?;
                }
            }
        }
        // Packages that are gone, and targets that no worker has any more.
        for key in waits.into_keys() {
            self.forget_waiting(&key)?;
        }
        Ok(())
    }

    /// The targets of all workers that have registered.
    fn watched_targets(&self) -> Targets {
        let mut targets = Targets::new();
        for worker in self.state.workers.values() {
            for gpu in &worker.machine.gpus.gpus {
                *targets.entry(gpu.target.without_features()).or_default() |= !worker.machine.gpus.simulated;
            }
        }
        targets
    }

    /// Notes that a job tests the package as the archive has it now.
    pub(super) fn note_tested(&self, (package, target): &Key, job: i64) -> Result<(), Failure> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO watch_tested (package, target, version, tested_with, state, job)
                 SELECT package, ?2, version, tested_with, state, ?3 FROM watch_packages WHERE package = ?1",
            )?
            .execute(params![package, target, job])?;
        Ok(())
    }

    /// The job of a result of this version that counts for the target.
    fn result_of(&self, (package, target): &Key, version: &str, is_real: bool) -> Result<Option<i64>, Failure> {
        let mut find = self.db.prepare_cached(
            "SELECT r.job FROM coverage c JOIN results r ON r.job = c.job
             WHERE c.package = ?1 AND c.target = ?2 AND c.simulated = ?3 AND r.version = ?4",
        )?;
        let mut rows = find.query(params![package, target, !is_real, version])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// What has changed since a package was last tested on a target.
    fn difference(&self, (package, target): &Key, now: &Listed) -> Result<Difference, Failure> {
        let mut find = self.db.prepare_cached(
            "SELECT t.version, t.tested_with, p.tested_with FROM watch_tested t
             JOIN watch_packages p ON p.package = t.package WHERE t.package = ?1 AND t.target = ?2",
        )?;
        let mut rows = find.query(params![package, target])?;
        let Some(row) = rows.next()? else {
            return Ok((Reason::Untested, format!("version {} was not tested on it", now.version)));
        };
        let version: String = row.get(0)?;
        let (Json(before), Json(after)): (Json<Versions>, Json<Versions>) = (row.get(1)?, row.get(2)?);
        if version != now.version {
            return Ok((Reason::Own, format!("{package} {version} -> {}", now.version)));
        }
        Ok((Reason::Dependency, changes(&before, &after)))
    }

    /// Has a package wait. One that waits already waits since then.
    fn have_wait(&self, (package, target): &Key, reason: Reason, why: &str, state: &str) -> Result<(), Failure> {
        self.db
            .prepare_cached(
                "INSERT INTO watch_waiting (package, target, reason, why, state, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (package, target) DO UPDATE SET reason = ?3, why = ?4, state = ?5",
            )?
            .execute(params![package, target, reason.to_string(), why, state, self.now])?;
        Ok(())
    }

    pub(super) fn forget_waiting(&self, (package, target): &Key) -> Result<(), Failure> {
        self.db
            .prepare_cached("DELETE FROM watch_waiting WHERE package = ?1 AND target = ?2")?
            .execute([package, target])?;
        Ok(())
    }
}

/// Whether a job may have this package: one that a job list could not name would be stored and never read again.
fn is_testable(package: &str) -> bool {
    serde_json::from_value::<Job>(serde_json::json!({ "package": package })).is_ok()
}

/// Identifies what a package is tested with.
fn state_of(package: &WatchedPackage) -> String {
    let lines = package.tested_with.iter().map(|(name, version)| format!("{name} {version}\n"));
    let text = lines.fold(format!("{}\n", package.version), |text, line| text + &line);
    Digest::of(&text).to_string()
}

/// The first difference, and how many there are.
fn changes(before: &Versions, after: &Versions) -> String {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let version = |list: &Versions, name: &String| list.get(name).cloned().unwrap_or_else(|| "none".to_owned());
    let mut differences = names.into_iter().filter(|&name| before.get(name) != after.get(name));
    let Some(first) = differences.next() else { return "it was tested before this was noted".to_owned() };
    let more = match differences.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{first} {} -> {}{more}", version(before, first), version(after, first))
}

/// The targets on which a package is tested, and whether a real GPU has it. Without a GPU any machine will do.
fn targets_of(need: &GpuNeed, targets: &Targets) -> Vec<(String, bool)> {
    let fits = |target: &Target| match need {
        GpuNeed::None => false,
        GpuNeed::Any | GpuNeed::IfThere => true,
        GpuNeed::Targets(wanted) => wanted.iter().any(|wanted| target.satisfies(wanted)),
    };
    if *need == GpuNeed::None {
        return vec![(NO_GPU.to_owned(), true)];
    }
    let found = targets.iter().filter(|(target, _)| fits(target));
    found.map(|(target, is_real)| (target.to_string(), *is_real)).collect()
}

fn listed(db: &Connection) -> rusqlite::Result<Vec<Listed>> {
    let mut statement = db.prepare_cached("SELECT package, version, need, state FROM watch_packages")?;
    let rows = statement.query_map([], |row| {
        let Json(need) = row.get(2)?;
        Ok(Listed { package: row.get(0)?, version: row.get(1)?, need, state: row.get(3)? })
    })?;
    rows.collect()
}

/// What was tested, or is to be by a job that is queued.
struct Tested {
    state: String,
    job: i64,
    is_queued: bool,
}

fn tested(db: &Connection) -> rusqlite::Result<HashMap<Key, Tested>> {
    let mut statement = db.prepare_cached(
        "SELECT t.package, t.target, t.state, t.job, j.state FROM watch_tested t JOIN jobs j ON j.number = t.job",
    )?;
    let rows = statement.query_map([], |row| {
        let Named(state): Named<JobState> = row.get(4)?;
        let tested = Tested { state: row.get(2)?, job: row.get(3)?, is_queued: state == JobState::Queued };
        Ok(((row.get(0)?, row.get(1)?), tested))
    })?;
    rows.collect()
}

fn waiting_states(db: &Connection) -> rusqlite::Result<HashMap<Key, String>> {
    let mut statement = db.prepare_cached("SELECT package, target, state FROM watch_waiting")?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Versions {
        text.split(' ').filter_map(|item| item.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn differences_have_words() {
        for (before, after, words) in [
            ("a=1 b=1", "a=1 b=2", "b 1 -> 2"),
            ("a=1", "a=1 b=2 c=1", "b none -> 2 and 1 more"),
            ("a=1 b=1", "b=1", "a 1 -> none"),
        ] {
            assert_eq!(changes(&list(before), &list(after)), words);
        }
    }

    #[test]
    fn targets_are_those_that_the_package_is_for() {
        let target = |name: &str| name.parse::<Target>().expect("a target");
        let there = Targets::from([(target("gfx1030"), true), (target("gfx1101"), false)]);
        let of = |need: GpuNeed| targets_of(&need, &there);
        assert_eq!(of(GpuNeed::Any).len(), 2);
        assert_eq!(of(GpuNeed::None), [("none".to_owned(), true)]);
        assert_eq!(of(GpuNeed::Targets(vec![target("gfx11-generic")])), [("gfx1101".to_owned(), false)]);
        assert_eq!(of(GpuNeed::Targets(vec![target("gfx90a")])), []);
    }
}
