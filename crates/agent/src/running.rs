//! Records the running jobs on disk, so that a machine that died during jobs knows about them after the restart.
//!
//! If several ran, nobody knows which of them it died of. One that it happened to twice runs alone after that; only a loss
//! while it was alone is certainly its own.

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
    /// How often the job has ended like this on this machine, including this time.
    pub losses: Losses,
    /// How many other jobs ran at the time.
    pub others: usize,
    /// Whether the machine was restarted since; if not, only the agent was.
    pub rebooted: bool,
}

impl InterruptedJob {
    /// Describes what happened, for people.
    pub fn describe(&self) -> String {
        let what = if self.rebooted { "the machine stopped or hung" } else { "the agent was killed" };
        let all = self.losses.all();
        let times = if all > 1 { format!(", for the {all}. time") } else { String::new() };
        let gpus = if self.record.gpus.is_empty() {
            String::new()
        } else {
            format!(" (with {})", self.record.gpus.join(", "))
        };
        let beside = match self.others {
            0 => String::new(),
            1 => " beside another one".to_owned(),
            others => format!(" beside {others} others"),
        };
        format!("{what} while job {} ran{gpus}{beside}{times}; there is no result of it", self.record.job)
    }
}

/// How often a job did not finish on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// While it ran alone.
    pub alone: u32,
    /// While others ran too.
    pub beside: u32,
}

impl Losses {
    /// All of them.
    pub fn all(self) -> u32 {
        self.alone.saturating_add(self.beside)
    }

    /// Whether the job is refused on this machine: it was lost too often, and once at least it was the only one.
    pub fn is_killer(self) -> bool {
        self.alone > 0 && self.all() >= MAX_LOSSES_PER_MACHINE
    }

    /// Whether the job has to run alone, so that it shows whether the machine dies of it.
    pub fn is_suspect(self) -> bool {
        self.beside >= MAX_LOSSES_PER_MACHINE
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    /// The one running job, as versions wrote it that ran one at a time.
    #[serde(default, skip_serializing)]
    running: Option<RunningJob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    jobs: Vec<RunningJob>,
    /// Jobs that did not finish while they ran alone, and how often that happened.
    #[serde(default)]
    lost: BTreeMap<String, u32>,
    /// The same while others ran.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lost_beside: BTreeMap<String, u32>,
}

/// The record of the running jobs on disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    boot: String,
    contents: Contents,
    /// How many of the running jobs are those of before.
    before: usize,
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
        let mut contents: Contents = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        contents.jobs.extend(contents.running.take());
        let before = contents.jobs.len();
        Ok(Self { path, boot, contents, before })
    }

    /// The jobs that were running when the agent ended; returned until [`Journal::settle`] is called.
    pub fn interrupted(&self) -> Vec<InterruptedJob> {
        let others = self.before.saturating_sub(1);
        let interrupted = |record: &RunningJob| {
            let mut losses = self.losses(&record.job);
            let count = if others == 0 { &mut losses.alone } else { &mut losses.beside };
            *count = count.saturating_add(1);
            let rebooted = record.boot != self.boot;
            InterruptedJob { record: record.clone(), losses, others, rebooted }
        };
        self.contents.jobs.iter().take(self.before).map(interrupted).collect()
    }

    /// How often the job did not finish on this machine.
    pub fn losses(&self, job: &str) -> Losses {
        let count = |lost: &BTreeMap<String, u32>| lost.get(job).copied().unwrap_or(0);
        Losses { alone: count(&self.contents.lost), beside: count(&self.contents.lost_beside) }
    }

    /// Forgets the interrupted jobs after they were reported.
    ///
    /// # Errors
    /// If the record cannot be written; the same holds for the other methods.
    pub fn settle(&mut self) -> io::Result<()> {
        let interrupted = self.interrupted();
        if interrupted.is_empty() {
            return Ok(());
        }
        for InterruptedJob { record, losses, others, .. } in interrupted {
            let (lost, count) = if others == 0 {
                (&mut self.contents.lost, losses.alone)
            } else {
                (&mut self.contents.lost_beside, losses.beside)
            };
            if lost.len() >= REMEMBERED {
                lost.pop_first();
            }
            lost.insert(record.job, count);
        }
        self.contents.jobs.drain(..self.before);
        self.before = 0;
        self.write()
    }

    /// Records that a job begins.
    pub fn begin(&mut self, mut record: RunningJob) -> io::Result<()> {
        record.boot.clone_from(&self.boot);
        self.contents.jobs.push(record);
        self.write()
    }

    /// Records that a job has ended. Its earlier losses are forgotten if there is a result.
    pub fn end(&mut self, job: &str, lease: Option<&str>, has_result: bool) -> io::Result<()> {
        let before = self.contents.jobs.len();
        // A job whose lease ran out may have come here again.
        self.contents.jobs.retain(|record| record.job != job || record.lease.as_deref() != lease);
        if has_result {
            self.contents.lost.remove(job);
            self.contents.lost_beside.remove(job);
        }
        if self.contents.jobs.len() == before && !has_result {
            return Ok(());
        }
        self.write()
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
            let interrupted = journal.interrupted().pop().ok_or(io::ErrorKind::NotFound)?;
            assert_eq!((interrupted.losses.all(), interrupted.rebooted), (times, true));
            assert!(
                interrupted.describe().starts_with("the machine stopped or hung while job rocfft ran"),
                "{interrupted:?}"
            );
            // It was not reported yet, so it is returned again.
            let again = Journal::open_in_boot(data.path(), "x".into())?.interrupted();
            assert_eq!(again.iter().map(|interrupted| interrupted.losses.all()).collect::<Vec<_>>(), [times]);
            journal.settle()?;
            assert_eq!((journal.interrupted(), journal.losses("rocfft").all()), (Vec::new(), times));
        }
        let losses = Journal::open_in_boot(data.path(), "x".into())?.losses("rocfft");
        assert!(losses.is_killer() && losses.all() == MAX_LOSSES_PER_MACHINE);
        Ok(())
    }

    #[test]
    fn a_job_that_ends_leaves_nothing() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let mut journal = Journal::open_in_boot(data.path(), "one".into())?;
        for job in ["gzip", "sed"] {
            journal.begin(record(job))?;
        }
        assert!(journal.interrupted().is_empty(), "they run");
        let same_boot = Journal::open_in_boot(data.path(), "one".into())?.interrupted();
        assert_eq!(same_boot.iter().map(|interrupted| interrupted.rebooted).collect::<Vec<_>>(), [false; 2]);
        journal.end("gzip", Some("l1"), true)?;
        assert_eq!(Journal::open_in_boot(data.path(), "two".into())?.interrupted()[0].record.job, "sed");
        journal.end("sed", Some("l1"), true)?;
        assert!(Journal::open_in_boot(data.path(), "two".into())?.interrupted().is_empty());
        fs::write(data.path().join(FILE), "half a fi")?;
        assert!(Journal::open_in_boot(data.path(), "two".into())?.interrupted().is_empty());
        Ok(())
    }

    #[test]
    fn of_jobs_that_ran_together_none_is_refused_before_it_was_alone() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let die_with = |jobs: &[&str], boot: &str| -> io::Result<Journal> {
            let mut journal = Journal::open_in_boot(data.path(), boot.into())?;
            jobs.iter().try_for_each(|job| journal.begin(record(job)))?;
            let mut journal = Journal::open_in_boot(data.path(), format!("after {boot}"))?;
            let told = journal.interrupted();
            assert_eq!(told.len(), jobs.len());
            assert_eq!(told[0].describe().contains(" beside another one"), jobs.len() > 1);
            journal.settle()?;
            Ok(journal)
        };
        die_with(&["good", "bad"], "1")?;
        let journal = die_with(&["good", "bad"], "2")?;
        for job in ["good", "bad"] {
            let losses = journal.losses(job);
            assert!(losses.is_suspect() && !losses.is_killer(), "{job}: {losses:?}");
        }
        let mut journal = die_with(&["bad"], "3")?;
        assert!(journal.losses("bad").is_killer());
        journal.end("good", Some("l1"), true)?;
        assert_eq!(Journal::open_in_boot(data.path(), "4".into())?.losses("good"), Losses::default());
        Ok(())
    }

    #[test]
    fn the_record_of_a_version_that_ran_one_at_a_time_is_understood() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let old = r#"{"running": {"job": "gzip", "source": "hub", "boot": "one"}, "lost": {"gzip": 1}}"#;
        fs::write(data.path().join(FILE), old)?;
        let interrupted = Journal::open_in_boot(data.path(), "two".into())?.interrupted();
        assert_eq!((interrupted[0].record.job.as_str(), interrupted[0].losses.alone), ("gzip", 2));
        Ok(())
    }
}
