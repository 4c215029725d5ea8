//! Takes jobs from `jobs.toml` on the stick that the machine was started from, and puts results on its data
//! partition. Needs no network.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::{Advice, Advise as _};
use protocol::api::GiveBackReason;
use protocol::{Job, JobList, Machine, SignedBy, Source};
use sha256::Digest;

use super::backlog::Backlog;
use super::job_source::{Assignment, Claim, Delivery, End, JobSource, Progress, Room};
use super::results::Results;
use super::running::InterruptedJob;
use super::tell;
use appliance::paths::JOB_LIST;
use appliance::report::Report;
use appliance::settings::WhenDone;

/// How often an idle machine checks whether it is to stop.
const PAUSE: Duration = Duration::from_secs(1);

/// The directories to use; tests use others.
#[derive(Debug, Clone, Copy)]
pub struct StickPaths<'a> {
    /// The mount point of the partition with the list.
    pub esp: &'a Path,
    /// The data directory.
    pub data: &'a Path,
}

/// The job list and its results.
#[derive(Debug)]
pub struct Stick {
    esp: PathBuf,
    results: Results,
    jobs: Backlog,
    count: usize,
    lasting: bool,
    when_done: WhenDone,
    stop: Arc<AtomicBool>,
    is_idle: bool,
}

impl Stick {
    /// Reads the list, if there is one, and its results so far. `lasting` says whether the data directory survives a
    /// restart.
    ///
    /// # Errors
    /// If the list is not valid, a source tree is missing, or earlier results cannot be read.
    pub fn open(
        paths: &StickPaths<'_>,
        lasting: bool,
        when_done: WhenDone,
        stop: &Arc<AtomicBool>,
    ) -> Result<Option<Self>, Advice> {
        let path = paths.esp.join(JOB_LIST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(list_error(format!("reading {JOB_LIST} on the stick: {error}"))),
        };
        let mut list = JobList::parse_without_hub(&bytes)
            .map_err(|error| list_error(format!("{JOB_LIST} on the stick: {error}")).and(error.help()))?;
        for job in &mut list.job {
            read_keys(paths.esp, job)?;
            tree(paths.esp, job)?;
            packages(paths.esp, job)?;
        }
        let results = Results::open(paths.data, Digest::of(&bytes));
        let results = results.map_err(|error| data_error("opening the results", &error))?;
        let count = list.job.len();
        let jobs = list.job.into_iter().filter(|job| !results.has(&job.id)).collect();
        let (esp, stop) = (paths.esp.to_owned(), Arc::clone(stop));
        Ok(Some(Self { esp, results, jobs, count, lasting, when_done, stop, is_idle: false }))
    }

    /// Nothing is left to do: waits for the stick to be taken, or ends the machine.
    fn rest(&mut self) -> Claim {
        let done = self.results.all().iter().filter(|listed| listed.bundle.is_some()).count();
        let all = format!("{done} of {} jobs of {JOB_LIST} are done", self.count);
        if self.when_done == WhenDone::PowerOff && self.lasting {
            return Claim::End(format!("{all}, their results are on the stick"));
        }
        if !self.is_idle {
            self.is_idle = true;
            let what_next = if self.lasting {
                "switch the machine off and take the stick out: the results are on it"
            } else {
                "their results are in this machine's memory only, and are gone when it is switched off"
            };
            tell(&Report::Idle { why: format!("{all}; {what_next}") });
        }
        self.pause(&|| false)
    }

    fn pause(&self, enough: &dyn Fn() -> bool) -> Claim {
        let began = Instant::now();
        while began.elapsed() < PAUSE && !self.stop.load(Ordering::Relaxed) && !enough() {
            thread::sleep(Duration::from_millis(20));
        }
        Claim::Nothing
    }
}

impl JobSource for Stick {
    /// The same after every restart, because it identifies the running job in the journal.
    fn name(&self) -> String {
        format!("{JOB_LIST} on the stick")
    }

    fn ready(&mut self, _: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice> {
        for listed in self.results.all() {
            if let (Some(verdict), Some(_)) = (listed.verdict, &listed.bundle) {
                let (id, summary) = (listed.job.clone(), format!("{} (before the restart)", listed.summary));
                tell(&Report::Finished { id, verdict, summary });
            }
        }
        if !self.lasting {
            let what = "results do not survive a restart: there is no data partition".to_owned();
            tell(&Report::problem(what, "start from a stick that was written whole"));
        }
        let name = self.name();
        for job in interrupted.iter().filter(|interrupted| interrupted.record.source == name) {
            // The result may have been stored before the machine ended: then there is nothing to report.
            if !self.results.has(&job.record.job) {
                self.results.lost(job).map_err(|error| data_error("noting what ran", &error))?;
            }
        }
        Ok(())
    }

    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice> {
        let Some(job) = self.jobs.take_first(room) else {
            // What is left waits for what runs, or that may come back.
            return Ok(if room.is_idle() { self.rest() } else { self.pause(&|| room.is_over()) });
        };
        let (tree, packages) = (tree(&self.esp, &job)?, packages(&self.esp, &job)?);
        let position = Some((self.count - self.jobs.len(), self.count));
        Ok(Claim::Job(Box::new(Assignment { tree, packages, position, ..Assignment::new(job) })))
    }

    fn started(&mut self, _: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        Ok(Box::new(())) // the log is in the bundle
    }

    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        let what = format!("keeping the result of {} in {}", delivery.job, self.results.directory().display());
        self.results.keep(assignment, delivery).map_err(|error| data_error(&what, &error))
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        match reason {
            GiveBackReason::CannotRun | GiveBackReason::MachineKiller => {
                let noted = self.results.decline(&assignment.job.id, message);
                noted.map_err(|error| data_error("noting that a job is not run", &error))
            }
            GiveBackReason::ShuttingDown => Ok(()), // it is run after the restart
            _ => {
                self.jobs.push_back(assignment.job.clone());
                Ok(())
            }
        }
    }

    fn end(&mut self, _: &End) -> Result<(), Advice> {
        Ok(())
    }
}

/// The path of a job's source tree, which is on the partition beside the list.
fn tree(esp: &Path, job: &Job) -> Result<Option<PathBuf>, Advice> {
    let Source::Path(path) = &job.source else { return Ok(None) };
    beside(esp, &job.id, path, "the source tree").map(Some)
}

/// The paths of a job's own `.deb` files, which are on the partition beside the list.
fn packages(esp: &Path, job: &Job) -> Result<Vec<PathBuf>, Advice> {
    let binaries = job.packages.iter().filter(|file| file.is_binary());
    binaries.map(|file| beside(esp, &job.id, &file.path, "the package file")).collect()
}

/// Reads the keys of a job's apt sources, which are in files beside the list.
fn read_keys(esp: &Path, job: &mut Job) -> Result<(), Advice> {
    let id = job.id.clone();
    for source in &mut job.apt_sources {
        let SignedBy::KeyFile(path) = &source.signed_by else { continue };
        let file = beside(esp, &id, path, "the key")?;
        let text =
            fs::read_to_string(&file).map_err(|error| list_error(format!("job {id}: reading {path}: {error}")))?;
        match text.parse() {
            Ok(key @ SignedBy::Key(_)) => source.signed_by = key,
            Ok(_) => return Err(list_error(format!("job {id}: {path} has no key in ASCII armour"))),
            Err(error) => return Err(list_error(format!("job {id}: {path}: {error}"))),
        }
    }
    Ok(())
}

/// The path of what a job names, on the partition beside the list.
fn beside(esp: &Path, job: &str, path: &str, what: &str) -> Result<PathBuf, Advice> {
    let relative = Path::new(path);
    // Neither `..` nor an absolute path to the machine's own files.
    if !relative.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        let wrong = format!("job {job}: {path} does not lie below {JOB_LIST}");
        return Err(Advice::new(wrong, format!("put {what} beside the list, and write its path so")));
    }
    let there = esp.join(relative);
    if !there.exists() {
        let wrong = format!("job {job}: {path} is not on the stick");
        return Err(Advice::new(wrong, format!("copy it to the partition with {JOB_LIST}")));
    }
    Ok(there)
}

fn list_error(what: String) -> Advice {
    Advice::new(what, format!("mend {JOB_LIST} on the stick's first partition, and start again"))
}

fn data_error(what: &str, error: &io::Error) -> Advice {
    Advice::new(
        format!("{what}: {error}"),
        ["make room on the data partition", "look after the data partition with `e2fsck -f` on another machine"],
    )
}

#[cfg(test)]
mod tests;
