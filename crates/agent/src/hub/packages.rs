//! Fetches the package files of a job from the hub: under the job's lease, and only with the right digests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::ClientError;
use protocol::api::GiveBackReason;
use protocol::{FileContent, Job, PackageFile};
use sha256::Digest;

use super::link::Link;
use crate::timeouts::Timeouts;

/// Free bytes that package files leave on the file system.
const RESERVE: u64 = 64 << 20;

/// The package files of a job on this machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The `.deb` files, in the job's order.
    pub(super) packages: Vec<PathBuf>,
    /// The source of the tests, if the job brings it along.
    pub(super) source: Option<PathBuf>,
}

/// Why the files are not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FetchFailure {
    /// The job or the machine is to stop.
    Stopped,
    /// The job has to be given back, for this reason.
    GiveBack(GiveBackReason, String),
}

/// Fetches the files into a directory, which has nothing else afterwards. Interruptions of the network are waited out for as
/// long as `goes_on` says so.
pub(super) fn fetch(
    link: &Link,
    lease: &str,
    job: &Job,
    directory: &Path,
    timeouts: &Timeouts,
    goes_on: &dyn Fn() -> bool,
) -> Result<Fetched, FetchFailure> {
    let here = |error: io::Error| {
        let message = format!("keeping its package files in {}: {error}", directory.display());
        FetchFailure::GiveBack(GiveBackReason::CannotRun, message)
    };
    remove(directory).map_err(here)?;
    if job.packages.is_empty() {
        return Ok(Fetched::default());
    }
    fs::create_dir_all(directory).map_err(here)?;
    let needed = job.packages.iter().filter_map(|file| file.content).map(|content| content.size);
    let needed = needed.fold(RESERVE, u64::saturating_add);
    let free = rustix::fs::statvfs(directory).map(|about| about.f_bavail.saturating_mul(about.f_frsize));
    if let Some(free) = free.ok().filter(|free| *free < needed) {
        let message = format!("its package files need {} MiB, and {} MiB are free", needed >> 20, free >> 20);
        return Err(FetchFailure::GiveBack(GiveBackReason::CannotRun, message));
    }
    let mut fetched = Fetched::default();
    for file in &job.packages {
        let content = file.check().map_err(|error| cannot_run(error.to_string()))?;
        let path = directory.join(file.name());
        let download = Download { link, lease, file, content, path: &path };
        download.run(timeouts, goes_on)?;
        if file.is_binary() {
            fetched.packages.push(path.clone());
        }
        if job.own_source() == Some(file) {
            fetched.source = Some(path);
        }
    }
    Ok(fetched)
}

/// Removes the files of an earlier job.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn cannot_run(message: String) -> FetchFailure {
    FetchFailure::GiveBack(GiveBackReason::CannotRun, message)
}

/// A file that is being fetched.
struct Download<'a> {
    link: &'a Link,
    lease: &'a str,
    file: &'a PackageFile,
    content: FileContent,
    path: &'a Path,
}

impl Download<'_> {
    fn run(&self, timeouts: &Timeouts, goes_on: &dyn Fn() -> bool) -> Result<(), FetchFailure> {
        let what = || format!("fetching its package file {}", self.file.name());
        let here = |error: io::Error| cannot_run(format!("{}: {error}", what()));
        let to = OpenOptions::new().create_new(true).append(true).open(self.path).map_err(here)?;
        let mut backoff = timeouts.backoff();
        loop {
            if !goes_on() {
                return Err(FetchFailure::Stopped);
            }
            let from = to.metadata().map_err(here)?.len();
            let call = |client: &client::Client| {
                let mut limited = Limited { file: &to, left: self.content.size.saturating_sub(from) };
                client.package(self.lease, &self.content.sha256, from, &mut limited)
            };
            match self.link.call(call) {
                Ok(_) => break,
                Err(ClientError::Write(error)) => return Err(here(error)),
                Err(error) if error.is_passing() => wait(backoff.next_pause(), goes_on),
                Err(error) => {
                    return Err(FetchFailure::GiveBack(GiveBackReason::Other, format!("{}: {error}", what())));
                }
            }
        }
        let (sha256, size) = File::open(self.path).and_then(Digest::of_reader).map_err(here)?;
        if (FileContent { sha256, size }) != self.content {
            let message = format!("{}: the hub sent something else, with SHA-256 {sha256}", what());
            return Err(FetchFailure::GiveBack(GiveBackReason::Other, message));
        }
        Ok(())
    }
}

/// Waits, but no longer than the job goes on.
fn wait(time: Duration, goes_on: &dyn Fn() -> bool) {
    let end = std::time::Instant::now() + time;
    while goes_on() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20).min(time));
    }
}

/// Writes to a file what belongs to it, and refuses more.
struct Limited<'a> {
    file: &'a File,
    left: u64,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("the hub sends more than the file has"));
        }
        let written = self.file.write(bytes)?;
        self.left = self.left.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
