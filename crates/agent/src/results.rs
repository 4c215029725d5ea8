//! [`Results`]: the results of a job list, on the data partition, for the person who takes the stick.

use std::io;
use std::path::{Path, PathBuf};

use protocol::{Listed, ResultList};
use sha256::Digest;

use super::job_source::{Assignment, Delivery};
use super::running::InterruptedJob;

/// The directory's name in the data directory.
pub const DIRECTORY: &str = "results";

/// The file with the results of all jobs of a list.
const SUMMARY: &str = "results.json";

/// The number of digits of a list's digest in the name of its directory.
const DIGITS: usize = 12;

/// The results of one job list, in a directory of its own, so that another list never overwrites them.
#[derive(Debug)]
pub struct Results {
    directory: PathBuf,
    list: ResultList,
}

impl Results {
    /// Opens the results of a list, identified by its SHA-256.
    ///
    /// # Errors
    /// If earlier results cannot be read, so that they are never overwritten, or the directory cannot be made.
    pub fn open(data: &Path, sha256: Digest) -> io::Result<Self> {
        let directory = data.join(DIRECTORY).join(sha256.prefix(DIGITS));
        std::fs::create_dir_all(&directory)?;
        let list = match std::fs::read(directory.join(SUMMARY)) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => ResultList::of(sha256),
            Err(error) => return Err(error),
        };
        Ok(Self { directory, list })
    }

    /// The directory with the results.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The entry of each job that has ended, in the order in which they ended.
    pub fn all(&self) -> &[Listed] {
        &self.list.jobs
    }

    /// Whether the job has a result and need not run again.
    pub fn has(&self, job: &str) -> bool {
        self.list.jobs.iter().any(|listed| listed.job == job && listed.bundle.is_some())
    }

    /// Stores a bundle, and only then its entry: a job whose result is incomplete is run again.
    pub fn keep(&mut self, assignment: &Assignment, delivery: &Delivery) -> io::Result<()> {
        let name = format!("{}.tar.zst", assignment.job.id);
        durable::take(&delivery.bundle, &self.directory.join(&name))?;
        let known = self.entry(&delivery.job);
        self.put(Listed {
            verdict: Some(delivery.verdict),
            summary: delivery.summary.clone(),
            bundle: Some(name),
            size: delivery.size,
            sha256: Some(delivery.sha256),
            ..known
        })
    }

    /// Records that the machine does not run a job, and why.
    pub fn decline(&mut self, job: &str, why: &str) -> io::Result<()> {
        let known = self.entry(job);
        self.put(Listed { summary: why.to_owned(), ..known })
    }

    /// Records that the machine or the agent ended while the job ran.
    pub fn lost(&mut self, interrupted: &InterruptedJob) -> io::Result<()> {
        let mut known = self.entry(&interrupted.record.job);
        known.interruptions.push(interrupted.describe());
        self.put(known)
    }

    fn entry(&self, job: &str) -> Listed {
        let known = self.list.jobs.iter().find(|listed| listed.job == job);
        known.cloned().unwrap_or_else(|| Listed::of(job))
    }

    fn put(&mut self, listed: Listed) -> io::Result<()> {
        self.list.jobs.retain(|other| other.job != listed.job);
        self.list.jobs.push(listed);
        let mut text = serde_json::to_vec_pretty(&self.list)?;
        text.push(b'\n');
        durable::replace(&self.directory.join(SUMMARY), &text, durable::Readers::Owner)
    }
}
