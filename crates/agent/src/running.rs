//! Records the running job on disk, so that a machine that died during a job knows about it after the restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name in the data directory.
const FILE: &str = "running.json";

/// The kernel's name for the time since it started (`proc_sys_kernel(5)`, `random/boot_id`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// After this many losses on one machine the job is refused there.
pub const MAX_LOSSES_PER_MACHINE: u32 = 2;

/// The number of jobs whose losses are remembered.
const REMEMBERED: usize = 200;

/// A job that is running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningJob {
    /// The job's id.
    pub job: String,
    /// The lease on it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// The job source, as [`super::JobSource::name`] says.
    pub source: String,
    /// Ids of the GPUs that it may use.
    #[serde(default)]
    pub gpus: Vec<String>,
    /// The kernel's boot id at the time.
    #[serde(default)]
    pub boot: String,
}

/// A job that was running when the agent ended unexpectedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterruptedJob {
    /// The job, as it was recorded.
    pub record: RunningJob,
    /// How many times the job has ended like this on this machine, including this time.
    pub times: u32,
    /// Whether the machine was restarted since; if not, only the agent was.
    pub rebooted: bool,
}

impl InterruptedJob {
    /// Describes what happened, for people.
    pub fn describe(&self) -> String {
        let what = if self.rebooted { "the machine stopped or hung" } else { "the agent was killed" };
        let times = if self.times > 1 { format!(", for the {}. time", self.times) } else { String::new() };
        let gpus = if self.record.gpus.is_empty() {
            String::new()
        } else {
            format!(" (with {})", self.record.gpus.join(", "))
        };
        format!("{what} while job {} ran{gpus}{times}; there is no result of it", self.record.job)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running: Option<RunningJob>,
    /// Jobs that did not finish, and how often that happened.
    #[serde(default)]
    lost: BTreeMap<String, u32>,
}

/// The record of the running job on disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    boot: String,
    contents: Contents,
}

impl Journal {
    /// Reads the record. A file that cannot be parsed counts as missing, because it has nothing that could be used.
    ///
    /// # Errors
    /// If the file exists and cannot be read.
    pub fn open(data: &Path) -> io::Result<Self> {
        let boot = fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default();
        Self::open_in_boot(data, boot)
    }

    pub(crate) fn open_in_boot(data: &Path, boot: String) -> io::Result<Self> {
        let path = data.join(FILE);
        let contents = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, boot, contents })
    }

    /// The job that was running when the agent ended; returned until [`Journal::settle`] is called.
    pub fn interrupted(&self) -> Option<InterruptedJob> {
        let record = self.contents.running.clone()?;
        let times = self.times(&record.job).saturating_add(1);
        let rebooted = record.boot != self.boot;
        Some(InterruptedJob { record, times, rebooted })
    }

    /// How often the job did not finish on this machine.
    pub fn times(&self, job: &str) -> u32 {
        self.contents.lost.get(job).copied().unwrap_or(0)
    }

    /// Forgets the interrupted job after it was reported.
    ///
    /// # Errors
    /// If the record cannot be written; the same holds for the other methods.
    pub fn settle(&mut self) -> io::Result<()> {
        if let Some(interrupted) = self.interrupted() {
            if self.contents.lost.len() >= REMEMBERED {
                self.contents.lost.pop_first();
            }
            self.contents.lost.insert(interrupted.record.job, interrupted.times);
            self.contents.running = None;
            self.write()?;
        }
        Ok(())
    }

    /// Records that a job begins.
    pub fn begin(&mut self, mut record: RunningJob) -> io::Result<()> {
        record.boot.clone_from(&self.boot);
        self.contents.running = Some(record);
        self.write()
    }

    /// Records that the job has ended. Its earlier losses are forgotten if there is a result.
    pub fn end(&mut self, has_result: bool) -> io::Result<()> {
        if let Some(record) = self.contents.running.take() {
            if has_result {
                self.contents.lost.remove(&record.job);
            }
            self.write()?;
        }
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        durable::replace(&self.path, &serde_json::to_vec(&self.contents)?, durable::Readers::Owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(job: &str) -> RunningJob {
        RunningJob {
            job: job.into(),
            lease: Some("l1".into()),
            source: "hub".into(),
            gpus: vec![],
            boot: String::new(),
        }
    }

    #[test]
    fn a_machine_that_dies_of_a_job_knows_it() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        for (boot, times) in [("one", 1), ("two", 2)] {
            Journal::open_in_boot(data.path(), boot.into())?.begin(record("rocfft"))?;
            // Here the machine dies.
            let mut journal = Journal::open_in_boot(data.path(), format!("{boot}, later"))?;
            let interrupted = journal.interrupted().ok_or(io::ErrorKind::NotFound)?;
            assert_eq!((interrupted.times, interrupted.rebooted), (times, true));
            assert!(
                interrupted.describe().starts_with("the machine stopped or hung while job rocfft ran"),
                "{interrupted:?}"
            );
            // It was not reported yet, so it is returned again.
            assert_eq!(
                Journal::open_in_boot(data.path(), "x".into())?.interrupted().map(|interrupted| interrupted.times),
                Some(times)
            );
            journal.settle()?;
            assert_eq!((journal.interrupted(), journal.times("rocfft")), (None, times));
        }
        assert_eq!(Journal::open_in_boot(data.path(), "x".into())?.times("rocfft"), MAX_LOSSES_PER_MACHINE);
        Ok(())
    }

    #[test]
    fn a_job_that_ends_leaves_nothing() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let mut journal = Journal::open_in_boot(data.path(), "one".into())?;
        journal.begin(record("gzip"))?;
        assert_eq!(journal.interrupted().map(|interrupted| interrupted.rebooted), Some(false));
        journal.end(true)?;
        assert_eq!(Journal::open_in_boot(data.path(), "two".into())?.interrupted(), None);
        fs::write(data.path().join(FILE), "half a fi")?;
        assert_eq!(Journal::open_in_boot(data.path(), "two".into())?.interrupted(), None);
        Ok(())
    }
}
