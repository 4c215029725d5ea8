//! The tables of kept packages, and which of them jobs and histories need.
//!
//! They are made where they are missing, and are not part of the numbered layout.

use std::collections::BTreeSet;

use protocol::api::{KeptPackage, KeptUse, PackageVersion};
use protocol::{FileContent, InstalledPackage, PackageFile, PackageList};
use rusqlite::{Connection, params};
use sha256::Digest;

use super::ArchiveFile;
use crate::store::columns::Hex;

pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS kept_packages (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    source TEXT NOT NULL,
    source_version TEXT NOT NULL,
    file TEXT NOT NULL,             -- name of the file in the archive
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL,          -- when a run last had it, in milliseconds since 1970
    gone INTEGER NOT NULL DEFAULT 0,        -- the archive has it no more
    PRIMARY KEY (name, version, architecture)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kept_packages_sha256 ON kept_packages (sha256);

-- The last package list that was looked at; lists are numbered in the order in which they came.
CREATE TABLE IF NOT EXISTS kept_lists (
    list INTEGER PRIMARY KEY
);

-- Earlier lists that runs have had again since then.
CREATE TABLE IF NOT EXISTS kept_again (
    list INTEGER PRIMARY KEY
);

-- Lists of which something could not be fetched.
CREATE TABLE IF NOT EXISTS kept_later (
    list INTEGER PRIMARY KEY
);
";

/// A package list that is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Its number.
    pub(crate) list: i64,
    /// Whether a run has had it since it was looked at. Otherwise something of it could not be fetched, which says nothing of
    /// when its packages were used.
    pub(crate) is_used: bool,
}

/// A kept package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) package: InstalledPackage,
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
}

/// A package list in the database that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// It cannot be unpacked.
    #[error("unpacking a list of packages: {0}")]
    Unpack(#[from] std::io::Error),
    /// It is not text.
    #[error("a list of packages is not UTF-8: {0}")]
    Text(#[from] std::string::FromUtf8Error),
    /// It is not a list.
    #[error("reading a list of packages: {0}")]
    List(#[from] protocol::InstalledError),
}

/// The package lists that were not looked at since a run last had them, or of which something could not be fetched.
pub(crate) fn pending(db: &Connection) -> rusqlite::Result<Vec<Pending>> {
    let mut statement = db.prepare_cached(
        "SELECT id, is_used FROM (
             SELECT id, id > (SELECT ifnull(max(list), 0) FROM kept_lists)
                 OR id IN (SELECT list FROM kept_again) AS is_used
             FROM package_lists)
         WHERE is_used OR id IN (SELECT list FROM kept_later)
         ORDER BY id",
    )?;
    statement.query_map([], |row| Ok(Pending { list: row.get(0)?, is_used: row.get(1)? }))?.collect()
}

/// The packages of a list.
pub(crate) fn list(db: &Connection, list: i64) -> rusqlite::Result<Result<PackageList, ListError>> {
    let mut statement = db.prepare_cached("SELECT packages FROM package_lists WHERE id = ?1")?;
    statement.query_row([list], |row| Ok(unpacked(&row.get::<_, Vec<u8>>(0)?)))
}

/// A list as it is stored.
fn unpacked(packed: &[u8]) -> Result<PackageList, ListError> {
    Ok(PackageList::parse(&String::from_utf8(zstd::decode_all(packed)?)?)?)
}

/// Forgets that another run has had a list ([`list_again`]), as its use is noted. Not for a list that is looked at only because
/// something of it was missing: a run may have had it meanwhile, whose use is still to be noted.
pub(crate) fn forget_again(db: &Connection, list: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM kept_again WHERE list = ?1")?.execute([list])?;
    Ok(())
}

/// Notes that a list was looked at, and whether everything of it that the archive has is kept.
pub(crate) fn mark_list(db: &Connection, list: i64, is_whole: bool) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO kept_lists (list) VALUES (?1)")?.execute([list])?;
    db.prepare_cached("DELETE FROM kept_lists WHERE list < (SELECT max(list) FROM kept_lists)")?.execute([])?;
    let later = if is_whole {
        "DELETE FROM kept_later WHERE list = ?1"
    } else {
        "INSERT OR IGNORE INTO kept_later (list) VALUES (?1)"
    };
    db.prepare_cached(later)?.execute([list])?;
    Ok(())
}

/// Notes that another run has had a list.
pub(crate) fn list_again(db: &Connection, list: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO kept_again (list) VALUES (?1)")?.execute([list])?;
    Ok(())
}

/// Notes that runs have had packages that are kept; returns those that are not. A list that is only looked at again says
/// nothing of when packages were used (`used` is `None`).
pub(crate) fn wanted(
    db: &Connection,
    packages: &PackageList,
    used: Option<i64>,
) -> rusqlite::Result<Vec<InstalledPackage>> {
    let mut statement = db.prepare_cached(
        "UPDATE kept_packages SET used = ifnull(?4, used) WHERE name = ?1 AND version = ?2 AND architecture = ?3",
    )?;
    let mut missing = Vec::new();
    for package in packages.packages() {
        if statement.execute(params![package.name, package.version, package.architecture, used])? == 0 {
            missing.push(package.clone());
        }
    }
    Ok(missing)
}

/// Adds a package whose file is here.
pub(crate) fn add(db: &Connection, file: &ArchiveFile, now: i64) -> rusqlite::Result<()> {
    let package = &file.package;
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    db.prepare_cached(
        "INSERT OR REPLACE INTO kept_packages
             (name, version, architecture, source, source_version, file, sha256, size, used)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        package.name,
        package.version,
        package.architecture,
        package.source,
        package.source_version,
        name,
        Hex(file.sha256),
        i64::try_from(file.size).unwrap_or(i64::MAX),
        now
    ])?;
    Ok(())
}

/// Whether a file is that of a kept package.
pub(crate) fn is_kept(db: &Connection, sha256: &Digest) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM kept_packages WHERE sha256 = ?1")?.exists([Hex(*sha256)])
}

/// Bytes of all kept packages.
pub(crate) fn bytes(db: &Connection) -> rusqlite::Result<u64> {
    let sum: i64 =
        db.prepare_cached("SELECT ifnull(sum(size), 0) FROM kept_packages")?.query_row([], |row| row.get(0))?;
    Ok(sum.unsigned_abs())
}

/// All kept packages, the one that was not used for the longest time first.
pub(crate) fn all(db: &Connection) -> rusqlite::Result<Vec<Kept>> {
    let mut statement = db.prepare_cached(
        "SELECT name, version, architecture, source, source_version, sha256, size FROM kept_packages ORDER BY used",
    )?;
    let rows = statement.query_map([], |row| {
        let package = InstalledPackage {
            name: row.get(0)?,
            version: row.get(1)?,
            architecture: row.get(2)?,
            source: row.get(3)?,
            source_version: row.get(4)?,
        };
        let Hex(sha256) = row.get(5)?;
        Ok(Kept { package, sha256, size: row.get::<_, i64>(6)?.unsigned_abs() })
    })?;
    rows.collect()
}

/// The packages of the last good and the first bad run of each test. Lists that cannot be read are passed over and told: the
/// limit has to be kept all the same.
pub(crate) fn needed(db: &Connection) -> rusqlite::Result<BTreeSet<InstalledPackage>> {
    let mut statement = db.prepare_cached(
        "SELECT packages FROM package_lists WHERE id IN (
             SELECT o.packages FROM history_cells c
             JOIN history_outcomes o ON o.cell = c.id AND o.run IN (c.last_good, c.first_bad))",
    )?;
    let rows = statement.query_map([], |row| Ok(unpacked(&row.get::<_, Vec<u8>>(0)?)))?;
    let mut needed = BTreeSet::new();
    for list in rows {
        match list? {
            Ok(list) => needed.extend(list.packages().cloned()),
            Err(error) => tracing::warn!(%error, "packages that a history needs are not known"),
        }
    }
    Ok(needed)
}

/// Forgets a package.
pub(crate) fn remove(db: &Connection, package: &InstalledPackage) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM kept_packages WHERE name = ?1 AND version = ?2 AND architecture = ?3")?
        .execute([&package.name, &package.version, &package.architecture])?;
    Ok(())
}

/// Notes which kept packages the archive has no more.
pub(crate) fn are_gone(db: &Connection, packages: &[(InstalledPackage, bool)]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "UPDATE kept_packages SET gone = ?4 WHERE name = ?1 AND version = ?2 AND architecture = ?3 AND gone <> ?4",
    )?;
    for (package, gone) in packages {
        statement.execute(params![package.name, package.version, package.architecture, gone])?;
    }
    Ok(())
}

/// A version of a package, with its files, and whether jobs that test a source get it from the hub; `None` if it is not kept.
pub(crate) fn find(db: &Connection, package: PackageVersion, tested: &str) -> rusqlite::Result<Option<KeptPackage>> {
    let mut statement = db.prepare_cached(
        "SELECT source = ?3, gone, file, sha256, size FROM kept_packages WHERE name = ?1 AND version = ?2",
    )?;
    let rows = statement.query_map([&package.name, &package.version, tested], |row| {
        let given = match (row.get(0)?, row.get(1)?) {
            (true, _) => KeptUse::OfTestedSource,
            (false, true) => KeptUse::Given,
            (false, false) => KeptUse::InArchive,
        };
        let (Hex(sha256), size) = (row.get(3)?, row.get::<_, i64>(4)?.unsigned_abs());
        Ok((given, PackageFile { path: row.get(2)?, content: Some(FileContent { sha256, size }) }))
    })?;
    // One for each architecture.
    let all = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let given = all.iter().map(|(given, _)| *given);
    let Some(given) = given.clone().find(|given| *given == KeptUse::Given).or(given.clone().next()) else {
        return Ok(None);
    };
    Ok(Some(KeptPackage { package, given, files: all.into_iter().map(|(_, file)| file).collect() }))
}

/// The files of a package in a version that the archive has no more, except those of a source.
pub(crate) fn files_of(
    db: &Connection,
    name: &str,
    version: &str,
    except: &str,
) -> rusqlite::Result<Vec<(PackageFile, Digest, u64)>> {
    let mut statement = db.prepare_cached(
        "SELECT file, sha256, size FROM kept_packages WHERE name = ?1 AND version = ?2 AND gone AND source <> ?3",
    )?;
    let rows = statement.query_map([name, version, except], |row| {
        let Hex(sha256) = row.get(1)?;
        let size = row.get::<_, i64>(2)?.unsigned_abs();
        let content = Some(FileContent { sha256, size });
        Ok((PackageFile { path: row.get(0)?, content }, sha256, size))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_put_off_is_used_when_a_run_has_it() -> rusqlite::Result<()> {
        let db = Connection::open_in_memory()?;
        db.execute_batch(&format!("CREATE TABLE package_lists (id INTEGER PRIMARY KEY); {TABLE}"))?;
        db.execute_batch("INSERT INTO package_lists VALUES (1), (2)")?;
        let told = |db: &Connection| -> rusqlite::Result<Vec<(i64, bool)>> {
            Ok(pending(db)?.iter().map(|one| (one.list, one.is_used)).collect())
        };
        let mark_used = |list: i64, is_whole: bool| {
            forget_again(&db, list)?;
            mark_list(&db, list, is_whole)
        };
        assert_eq!(told(&db)?, [(1, true), (2, true)], "new lists");
        mark_used(1, false)?;
        mark_used(2, true)?;
        assert_eq!(told(&db)?, [(1, false)], "something of it is missing, and no run had it since");
        list_again(&db, 1)?;
        list_again(&db, 2)?;
        assert_eq!(told(&db)?, [(1, true), (2, true)]);
        mark_used(1, false)?;
        mark_used(2, true)?;
        assert_eq!(told(&db)?, [(1, false)]);
        // A run ends while the list is tried again.
        list_again(&db, 1)?;
        mark_list(&db, 1, false)?;
        assert_eq!(told(&db)?, [(1, true)]);
        mark_used(1, true)?;
        assert_eq!(told(&db)?, []);
        // When it is only looked at again, nothing was used.
        let file = ArchiveFile {
            package: InstalledPackage {
                name: "libhip".into(),
                architecture: "amd64".into(),
                version: "1".into(),
                source: "hip".into(),
                source_version: "1".into(),
            },
            path: "pool/libhip_1_amd64.deb".into(),
            sha256: Digest::of(b"libhip"),
            size: 6,
        };
        add(&db, &file, 10)?;
        let list: PackageList = [file.package].into_iter().collect();
        for (used, expected) in [(None, 10), (Some(20), 20), (None, 20)] {
            assert_eq!(wanted(&db, &list, used)?, []);
            assert_eq!(db.query_row("SELECT used FROM kept_packages", [], |row| row.get::<_, i64>(0))?, expected);
        }
        Ok(())
    }

    #[test]
    fn a_list_that_cannot_be_read_is_an_error_and_not_an_empty_list() {
        let packed = |text: &[u8]| zstd::encode_all(text, 1).expect("packed");
        assert_eq!(unpacked(&packed(b"gzip amd64 1.14-1\n")).expect("a list").packages().count(), 1);
        for (bytes, says) in
            [(b"no zstd".to_vec(), "unpacking"), (packed(b"\xff\n"), "not UTF-8"), (packed(b"gzip\n"), "not a line")]
        {
            let error = unpacked(&bytes).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
