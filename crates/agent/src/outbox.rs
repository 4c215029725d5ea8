//! [`Outbox`]: results that are not delivered yet. They survive restarts if the data directory does.
//!
//! A bundle is stored under its lease's or job's name, with a JSON file (its label) beside it that makes it part of
//! the outbox. Both are on disk before the result is announced, and are removed only when the recipient has it or
//! does not want it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use protocol::Verdict;
use protocol::api::check_id;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use super::job_source::Delivery;

/// The directory's name in the data directory.
const DIRECTORY: &str = "outbox";

/// Directory in the data directory with an outbox of its own, for bundles that are not in the storage yet.
pub(super) const STORAGE: &str = "storage";
const BUNDLE: &str = ".tar.zst";
const LABEL: &str = ".json";

/// The label: what is written beside a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingResult {
    /// The recipient: a hub's address, or the name of another job source.
    pub to: String,
    /// The lease that it completes, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// The job's id.
    pub job: String,
    /// The result's verdict.
    pub verdict: Verdict,
    /// The result in a few words.
    pub summary: String,
    /// The bundle's length in bytes.
    pub size: u64,
    /// The bundle's SHA-256, in hexadecimal digits.
    pub sha256: Digest,
    /// Where the bundle is kept besides, for recipients that get less than all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<String>,
    /// The reason why the recipient will never take it. It stays until a person deals with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A result and where it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its label.
    pub result: PendingResult,
    /// Path of the bundle.
    pub bundle: PathBuf,
    label: PathBuf,
}

/// The fill level of an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Number of results.
    pub results: usize,
    /// Total size of all files, in bytes.
    pub bytes: u64,
}

/// Returns the fill level of the outboxes in a data directory, including results that will never be taken: that of the job
/// source, and that of the storage.
///
/// # Errors
/// If one cannot be read. A missing outbox counts as empty.
pub fn load(data: &Path) -> io::Result<Load> {
    let mut load = Load::default();
    for outbox in [data.join(DIRECTORY), data.join(STORAGE).join(DIRECTORY)] {
        let entries = match fs::read_dir(outbox) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            // A file that was delivered in the meantime is gone.
            let Ok(metadata) = entry.metadata() else { continue };
            load.bytes = load.bytes.saturating_add(metadata.len());
            load.results += usize::from(entry.file_name().to_string_lossy().ends_with(LABEL));
        }
    }
    Ok(load)
}

/// Results that are not delivered yet.
#[derive(Debug, Clone)]
pub struct Outbox {
    directory: PathBuf,
}

impl Outbox {
    /// Opens the outbox of a data directory, and removes bundles that were only half stored when the machine stopped.
    ///
    /// # Errors
    /// If it cannot be read or written; the same holds for all methods.
    pub fn open(data: &Path) -> io::Result<Self> {
        let directory = data.join(DIRECTORY);
        fs::create_dir_all(&directory)?;
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A bundle without a label was not in the outbox yet: its job is still recorded as running.
            let label = name.strip_suffix(BUNDLE).map(|stem| path.with_file_name(format!("{stem}{LABEL}")));
            if name.ends_with(durable::PARTIAL) || label.is_some_and(|label| !label.exists()) {
                durable::remove(&path)?;
            }
        }
        Ok(Self { directory })
    }

    /// Moves a bundle into the outbox. When this returns the result is durable.
    pub fn put(&self, to: &str, lease: Option<&str>, delivery: &Delivery) -> io::Result<PendingResult> {
        self.put_stored(to, lease, delivery, None)
    }

    /// As [`Outbox::put`], for a bundle that is kept somewhere else besides, at this address.
    pub fn put_stored(
        &self,
        to: &str,
        lease: Option<&str>,
        delivery: &Delivery,
        stored_at: Option<String>,
    ) -> io::Result<PendingResult> {
        let name = lease.unwrap_or(&delivery.job);
        // The name comes from outside and becomes the name of a file.
        check_id("lease", name).map_err(io::Error::other)?;
        durable::take(&delivery.bundle, &self.directory.join(format!("{name}{BUNDLE}")))?;
        let result = PendingResult {
            to: to.to_owned(),
            lease: lease.map(str::to_owned),
            job: delivery.job.clone(),
            verdict: delivery.verdict,
            summary: delivery.summary.clone(),
            size: delivery.size,
            sha256: delivery.sha256,
            stored_at,
            refused: None,
        };
        durable::replace(
            &self.directory.join(format!("{name}{LABEL}")),
            &serde_json::to_vec_pretty(&result)?,
            durable::Readers::Owner,
        )?;
        Ok(result)
    }

    /// The waiting results, oldest first. Labels that cannot be read are skipped.
    pub fn waiting(&self) -> io::Result<Vec<Waiting>> {
        let mut found: Vec<(SystemTime, Waiting)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(LABEL) else { continue };
            let Ok(result) = serde_json::from_slice(&fs::read(entry.path())?) else { continue };
            let bundle = self.directory.join(format!("{stem}{BUNDLE}"));
            let time = entry.metadata()?.modified()?;
            found.push((time, Waiting { result, bundle, label: entry.path() }));
        }
        found.sort_by(|one, other| (one.0, &one.1.label).cmp(&(other.0, &other.1.label)));
        Ok(found.into_iter().map(|(_, waiting)| waiting).collect())
    }

    /// Removes a result that was delivered or is not wanted. The label goes first: without it the bundle is ignored.
    pub fn remove(&self, waiting: &Waiting) -> io::Result<()> {
        durable::remove(&waiting.label)?;
        durable::remove(&waiting.bundle)
    }

    /// Records that the recipient will never take it.
    pub fn refuse(&self, waiting: &Waiting, why: &str) -> io::Result<()> {
        let result = PendingResult { refused: Some(why.to_owned()), ..waiting.result.clone() };
        durable::replace(&waiting.label, &serde_json::to_vec_pretty(&result)?, durable::Readers::Owner)
    }

    /// Whether the contents survive a restart, that is, are not in memory.
    pub fn is_lasting(&self) -> bool {
        /// Kinds of file systems (statfs(2)): tmpfs, ramfs, and the overlay of the appliance's root.
        const IN_MEMORY: [u64; 3] = [0x0102_1994, 0x8584_58f6, 0x794c_7630];
        let kind = File::open(&self.directory).and_then(|file| Ok(rustix::fs::fstatfs(file)?.f_type));
        // If this is unknown, it is better to wait than to lose a result.
        kind.is_ok_and(|kind| u64::try_from(kind).is_ok_and(|kind| !IN_MEMORY.contains(&kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(directory: &Path, job: &str) -> io::Result<Delivery> {
        let bundle = directory.join(format!("made-{job}"));
        fs::write(&bundle, format!("bundle of {job}"))?;
        let (verdict, summary) = (Verdict::Pass, "1 passed".to_owned());
        Ok(Delivery { job: job.into(), verdict, summary, bundle, size: 1, sha256: Digest::of("") })
    }

    #[test]
    fn what_is_put_in_waits_until_it_is_removed() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let outbox = Outbox::open(data.path())?;
        outbox.put("http://hub", Some("l1"), &delivery(data.path(), "gzip")?)?;
        outbox.put("stick", None, &delivery(data.path(), "sed")?)?;
        // After a restart.
        let outbox = Outbox::open(data.path())?;
        let waiting = outbox.waiting()?;
        let whose: Vec<_> = waiting.iter().map(|waiting| (&*waiting.result.job, &*waiting.result.to)).collect();
        assert_eq!(whose, [("gzip", "http://hub"), ("sed", "stick")]);
        assert_eq!(fs::read_to_string(&waiting[0].bundle)?, "bundle of gzip");
        outbox.remove(&waiting[0])?;
        outbox.refuse(&waiting[1], "it is too large")?;
        let waiting = outbox.waiting()?;
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].result.refused.as_deref(), Some("it is too large"));
        assert_eq!(fs::read_dir(data.path().join(DIRECTORY))?.count(), 2);
        Ok(())
    }

    #[test]
    fn what_was_half_put_in_or_half_removed_is_nothing() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let outbox = Outbox::open(data.path())?;
        let path = |name: &str| data.path().join(DIRECTORY).join(name);
        fs::write(path("l1.tar.zst"), "no label yet")?;
        fs::write(path("l2.json.part"), "{\"to")?;
        fs::write(path("l3.json"), "{\"to")?;
        assert!(outbox.waiting()?.is_empty());
        Outbox::open(data.path())?;
        assert!(!path("l1.tar.zst").exists() && !path("l2.json.part").exists());
        Ok(())
    }

    #[test]
    fn a_lease_that_leads_out_of_the_outbox_is_refused() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let outbox = Outbox::open(data.path())?;
        let delivery = delivery(data.path(), "gzip")?;
        assert!(outbox.put("hub", Some("../../etc/x"), &delivery).is_err());
        assert!(delivery.bundle.exists());
        Ok(())
    }
}
