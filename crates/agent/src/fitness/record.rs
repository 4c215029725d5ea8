//! [`RestartRecord`]: the reasons for restarts, kept on disk, so that the machine does not restart for ever.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gpu::Inventory;
use serde::{Deserialize, Serialize};

use super::quarantine::Quarantine;
/// The file's name in the data directory.
pub(crate) const FILE: &str = "fitness.json";

/// The reason why a machine restarts itself after a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// The kernel reported a fault of a GPU that a job had.
    GpuFault,
    /// A test's process could not be killed.
    Stuck,
    /// A GPU that was there is gone.
    GpuGone,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Contents {
    /// Ids of GPUs that had gone missing before the last restart.
    #[serde(default)]
    missing: BTreeSet<String>,
    /// The reason for the last restart.
    #[serde(default)]
    reason: Option<Reason>,
    /// The number of restarts in a row for it.
    #[serde(default)]
    times: u32,
    /// GPUs that had faults.
    #[serde(default)]
    gpus: Quarantine,
}

/// The record. In memory it has every change, even one that could not be written to disk.
#[derive(Debug)]
pub struct RestartRecord {
    path: PathBuf,
    contents: Contents,
    /// Whether the file differs from the contents.
    unwritten: bool,
}

impl RestartRecord {
    /// An empty record in this data directory.
    pub fn empty(data: &Path) -> Self {
        Self { path: data.join(FILE), contents: Contents::default(), unwritten: false }
    }

    /// Reads the record. A file that cannot be parsed counts as missing, because it has nothing that could be used.
    ///
    /// # Errors
    /// If the file exists and cannot be read.
    pub fn open(data: &Path) -> io::Result<Self> {
        let empty = Self::empty(data);
        match fs::read(&empty.path) {
            Ok(bytes) => Ok(Self { contents: serde_json::from_slice(&bytes).unwrap_or_default(), ..empty }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(empty),
            Err(error) => Err(error),
        }
    }

    /// Ids of GPUs that have not come back.
    pub(crate) fn missing(&self) -> &BTreeSet<String> {
        &self.contents.missing
    }

    /// The number of restarts in a row for this reason.
    pub(crate) fn times(&self, reason: Reason) -> u32 {
        if self.contents.reason == Some(reason) { self.contents.times } else { 0 }
    }

    /// Records that these GPUs are missing.
    ///
    /// # Errors
    /// If the record cannot be written; the same holds for the other methods.
    pub(crate) fn set_missing(&mut self, missing: BTreeSet<String>) -> io::Result<()> {
        self.change(|contents| contents.missing = missing)
    }

    /// Records that the machine is about to be restarted.
    pub(crate) fn restart(&mut self, reason: Reason) -> io::Result<()> {
        let times = self.times(reason).saturating_add(1);
        self.change(|contents| (contents.reason, contents.times) = (Some(reason), times))
    }

    /// Records that a job ended well, which resets the count of restarts.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        self.change(|contents| (contents.reason, contents.times) = (None, 0))
    }

    /// GPUs that had faults.
    pub(crate) fn gpus(&self) -> &Quarantine {
        &self.contents.gpus
    }

    /// Changes the faults of GPUs.
    ///
    /// # Errors
    /// As [`Self::set_missing`].
    pub(crate) fn change_gpus<R>(&mut self, change: impl FnOnce(&mut Quarantine) -> R) -> (R, io::Result<()>) {
        let mut gpus = self.contents.gpus.clone();
        let result = change(&mut gpus);
        (result, self.change(|contents| contents.gpus = gpus))
    }

    /// Takes GPUs out of an inventory that get no jobs: those with too many faults, and those in `by_hand`.
    pub fn leave_out(&self, inventory: &mut Inventory, by_hand: &[String]) {
        self.contents.gpus.apply(inventory, by_hand, &self.contents.missing);
    }

    fn change(&mut self, change: impl FnOnce(&mut Contents)) -> io::Result<()> {
        let before = self.contents.clone();
        change(&mut self.contents);
        if before == self.contents && !self.unwritten {
            return Ok(());
        }
        let written = durable::replace(&self.path, &serde_json::to_vec(&self.contents)?, durable::Readers::Owner);
        self.unwritten = written.is_err();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_in_a_row_are_counted_over_restarts() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        for times in 1..=2 {
            RestartRecord::open(data.path())?.restart(Reason::Stuck)?;
            assert_eq!(RestartRecord::open(data.path())?.times(Reason::Stuck), times);
        }
        let mut record = RestartRecord::open(data.path())?;
        assert_eq!(record.times(Reason::GpuFault), 0);
        record.restart(Reason::GpuFault)?;
        assert_eq!((record.times(Reason::Stuck), record.times(Reason::GpuFault)), (0, 1));
        record.settle()?;
        assert_eq!(RestartRecord::open(data.path())?.times(Reason::GpuFault), 0);
        Ok(())
    }

    #[test]
    fn missing_gpus_are_remembered_and_nonsense_is_not() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let missing = BTreeSet::from(["0000:03:00.0".to_owned()]);
        RestartRecord::open(data.path())?.set_missing(missing.clone())?;
        assert_eq!(*RestartRecord::open(data.path())?.missing(), missing);
        fs::write(data.path().join(FILE), "{\"missing\": [\"00")?;
        assert!(RestartRecord::open(data.path())?.missing().is_empty());
        Ok(())
    }
}
