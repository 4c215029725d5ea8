//! Jobs for a virtual machine: reads the job list, packs source trees, collects results.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use advice::{Advice, AtPath as _, Report};
use anyhow::{Context, Result, bail, ensure};
use protocol::{JobList, JobResult, Machine, Source, Verdict};
use serde::Serialize;

use crate::own_packages;
use crate::report::Reporter;
use crate::virtio_channel::Listener;

/// Reads a job list, and packs the source trees that it names as tar files in a directory.
pub fn read(path: &Path, scratch: &Path) -> Result<(JobList, BTreeMap<String, PathBuf>)> {
    let bytes = fs::read(path).at_path("reading the job list", path)?;
    let mut list =
        JobList::parse_without_hub(&bytes).with_context(|| format!("reading the job list {}", path.display()))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let mut trees = BTreeMap::new();
    for job in &mut list.job {
        own_packages::read_keys(job, base).with_context(|| format!("job {}", job.id))?;
        if let Some(file) = job.packages.first() {
            bail!(Advice::new(
                format!(
                    "job {} tests the package file {}, which the virtual machine does not get",
                    job.id,
                    file.name()
                ),
                "run it with `rocbed test`, or give it to a hub with `rocbed jobs import`"
            ));
        }
        if let Source::Path(tree) = &job.source {
            let packed = pack(&base.join(tree), &scratch.join(format!("{}.tar", job.id)))
                .with_context(|| format!("packing the source tree of job {}", job.id))?;
            trees.insert(job.id.clone(), packed);
        }
    }
    Ok((list, trees))
}

/// Returns a source tree as a tar file: makes one from a directory, or uses `tree` itself if it is one.
fn pack(tree: &Path, to: &Path) -> Result<PathBuf> {
    let metadata = fs::metadata(tree).at_path("examining", tree)?;
    if !metadata.is_dir() {
        let name = tree.file_name().unwrap_or_default().to_string_lossy();
        ensure!(
            name.contains(".tar"),
            Advice::new(
                format!("{} is neither a directory nor a .tar", tree.display()),
                "unpack a .dsc with `dpkg-source --extract` and name the directory"
            )
        );
        return Ok(tree.to_owned());
    }
    ensure!(
        tree.join("debian/control").is_file(),
        "{} is no source tree: there is no debian/control in it",
        tree.display()
    );
    bundle::pack_source(tree, to).with_context(|| format!("packing {} into {}", tree.display(), to.display()))?;
    Ok(to.to_owned())
}

/// Result of a job that has ended.
#[derive(Debug, Serialize)]
pub struct Ended {
    job: String,
    verdict: Verdict,
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<PathBuf>,
}

/// Reports events to the user and collects the results.
pub struct Watcher<'a> {
    reporter: &'a Reporter,
    jobs: Vec<String>,
    /// Whether to report events. Without jobs the printed console is enough.
    tells: bool,
    /// The running jobs, each with the beginning of a line of its log that is not shown yet.
    running: BTreeMap<String, Vec<u8>>,
    begun: usize,
    ended: Vec<Ended>,
    /// Set when the machine is ready.
    is_up: Arc<AtomicBool>,
}

/// Longest line of a log that is kept until its end, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// Lines of a log with the job in front.
fn of_job(job: &str, lines: &[u8]) -> Vec<u8> {
    lines.split_inclusive(|byte| *byte == b'\n').flat_map(|line| [job.as_bytes(), b": ", line].concat()).collect()
}

/// JSON form of a result.
#[derive(Debug, Serialize)]
pub struct WithResult<'a> {
    #[serde(flatten)]
    ended: &'a Ended,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<JobResult>,
}

impl<'a> Watcher<'a> {
    /// Watches the jobs of a list.
    pub fn new(reporter: &'a Reporter, list: &JobList, tells: bool) -> Self {
        let jobs = list.job.iter().map(|job| job.id.clone()).collect();
        Self { reporter, jobs, tells, running: BTreeMap::new(), begun: 0, ended: Vec::new(), is_up: Arc::default() }
    }

    /// Is set when the machine is ready.
    pub fn is_up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_up)
    }

    /// The verdict of each job; a job that did not end counts as a testbed failure.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let lost = self.jobs.len().saturating_sub(self.ended.len());
        self.ended.iter().map(|ended| ended.verdict).chain(std::iter::repeat_n(Verdict::TestbedFailed, lost))
    }

    /// Table with a line for each job.
    pub fn table(&self) -> String {
        let width = self.jobs.iter().map(String::len).max().unwrap_or_default();
        let line = |id: &String| match self.ended.iter().find(|ended| ended.job == *id) {
            Some(ended) => {
                let place = ended.bundle.as_ref().map(|path| format!("  {}", path.display())).unwrap_or_default();
                format!("{id:width$}  {:<14}  {}{place}\n", ended.verdict, ended.summary)
            }
            None => format!("{id:width$}  {:<14}  the machine ended before the job did\n", Verdict::TestbedFailed),
        };
        self.jobs.iter().map(line).collect()
    }

    /// Everything, with the results read from the bundles.
    pub fn results<'b>(&'b self) -> Result<Vec<WithResult<'b>>> {
        let read = |ended: &'b Ended| {
            let result = ended.bundle.as_ref().map(|path| -> Result<JobResult> {
                let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
                let contents = bundle::read(file).with_context(|| format!("reading {}", path.display()))?;
                Ok(contents.result)
            });
            Ok(WithResult { ended, result: result.transpose()? })
        };
        self.ended.iter().map(read).collect()
    }

    fn end(&mut self, job: &str, verdict: Verdict, summary: &str, bundle: Option<&Path>) {
        if let Some(rest) = self.running.remove(job).filter(|rest| !rest.is_empty()) {
            self.reporter.pass_on(&of_job(job, &[&rest[..], b"\n"].concat()));
        }
        self.reporter.say(&format!("job {job}: {verdict}: {summary}"));
        let (job, summary, bundle) = (job.to_owned(), summary.to_owned(), bundle.map(Path::to_owned));
        self.ended.push(Ended { job, verdict, summary, bundle });
    }
}

impl Listener for Watcher<'_> {
    fn ready(&mut self, machine: &Machine, uptime: f64) {
        self.is_up.store(true, Ordering::Relaxed);
        if !self.tells {
            return;
        }
        let gpus: Vec<_> = machine.gpus.gpus.iter().map(|gpu| gpu.target.to_string()).collect();
        let gpus = if gpus.is_empty() { "no GPU".to_owned() } else { gpus.join(", ") };
        let simulated = if machine.gpus.simulated { " (simulated)" } else { "" };
        self.reporter.say(&format!("{} is ready after {uptime:.1} s: {gpus}{simulated}", machine.name));
    }

    fn started(&mut self, job: &str) {
        self.running.insert(job.to_owned(), Vec::new());
        self.begun += 1;
        self.reporter.say(&format!("job {job} ({} of {})", self.begun, self.jobs.len()));
    }

    /// Passes the log of the only running job on as it is. Where several run, it comes in whole lines that begin with the
    /// job.
    fn log(&mut self, job: &str, bytes: &[u8]) {
        let several = self.running.len() > 1;
        let Some(rest) = self.running.get_mut(job).filter(|rest| several || !rest.is_empty()) else {
            return self.reporter.pass_on(bytes);
        };
        rest.extend_from_slice(bytes);
        let end =
            if rest.len() > LONGEST_LINE { Some(rest.len() - 1) } else { rest.iter().rposition(|byte| *byte == b'\n') };
        if let Some(end) = end {
            let lines: Vec<u8> = rest.drain(..=end).collect();
            self.reporter.pass_on(&of_job(job, &lines));
        }
    }

    fn finished(&mut self, job: &str, verdict: Verdict, summary: &str, bundle: &Path) {
        self.end(job, verdict, summary, Some(bundle));
    }

    fn declined(&mut self, job: &str, why: &str) {
        self.end(job, Verdict::Neutral, &format!("not run: {why}"), None);
    }

    fn problem(&mut self, what: &str, advice: &str) {
        let report = Report::from(Advice::new(format!("the appliance says: {what}"), advice.to_owned()));
        self.reporter.say(&report.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verbosity;
    use protocol::exit;

    #[test]
    fn a_source_tree_is_packed_whatever_directory_we_are_in() -> Result<()> {
        let directory = tempfile::tempdir()?;
        fs::create_dir_all(directory.path().join("tree/debian"))?;
        fs::write(directory.path().join("tree/debian/control"), "Source: x\n")?;
        let list = directory.path().join("jobs.toml");
        fs::write(&list, "[[job]]\npath = \"tree\"\n")?;
        let scratch = tempfile::tempdir()?;
        let (_, trees) = read(&list, scratch.path())?;
        let packed = trees.get("tree").context("no tree")?;
        let unpacked = directory.path().join("unpacked");
        fs::create_dir(&unpacked)?;
        bundle::unpack_source(File::open(packed)?, &bundle::source_rules(1 << 20, 100, 1 << 20), &unpacked)?;
        assert!(unpacked.join("source/debian/control").is_file());
        Ok(())
    }

    #[test]
    fn what_is_no_source_tree_is_said_before_anything_starts() -> Result<()> {
        let directory = tempfile::tempdir()?;
        fs::create_dir_all(directory.path().join("empty"))?;
        fs::write(directory.path().join("x.dsc"), "")?;
        let list = directory.path().join("jobs.toml");
        for (path, says) in [("empty", "no debian/control"), ("x.dsc", "dpkg-source"), ("gone", "examining")] {
            fs::write(&list, format!("[[job]]\npath = \"{path}\"\n"))?;
            let error = crate::error::report(&read(&list, directory.path()).err().context("no error")?).to_string();
            assert!(error.contains(says), "{error}");
        }
        Ok(())
    }

    #[test]
    fn jobs_in_parts_are_for_a_hub() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let list = directory.path().join("jobs.toml");
        fs::write(&list, "[[job]]\npackage = \"rocfft\"\nshards = 2\n")?;
        let error = crate::error::report(&read(&list, directory.path()).err().context("no error")?).to_string();
        assert!(error.contains("only a hub splits jobs") && error.contains("`rocbed jobs import`"), "{error}");
        Ok(())
    }

    #[test]
    fn lines_of_several_logs_begin_with_their_jobs() -> Result<()> {
        let reporter = Reporter::new(Verbosity::Quiet, None);
        let list = JobList::parse(b"[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n")?;
        let mut watcher = Watcher::new(&reporter, &list, true);
        watcher.started("gzip");
        watcher.log("gzip", b"alone");
        assert!(watcher.running.values().all(Vec::is_empty));
        watcher.started("sed");
        watcher.log("gzip", b"one\ntw");
        watcher.log("sed", b"o");
        assert_eq!(watcher.running.values().map(Vec::as_slice).collect::<Vec<_>>(), [&b"tw"[..], b"o"]);
        watcher.declined("sed", "no GPU");
        watcher.log("gzip", b"o\n");
        assert_eq!(watcher.running.into_values().collect::<Vec<_>>(), [b""]);
        assert_eq!(of_job("gzip", b"one\ntwo\n"), b"gzip: one\ngzip: two\n");
        Ok(())
    }

    #[test]
    fn a_job_that_was_lost_with_the_machine_is_counted() -> Result<()> {
        let reporter = Reporter::new(Verbosity::Quiet, None);
        let list = JobList::parse(b"[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n")?;
        let mut watcher = Watcher::new(&reporter, &list, true);
        watcher.finished("gzip", Verdict::Pass, "1 passed", Path::new("results/gzip.tar.zst"));
        assert_eq!(Verdict::exit_code_of_all(watcher.verdicts()), exit::TESTBED_FAILED);
        assert_eq!(
            watcher.table(),
            "gzip  pass            1 passed  results/gzip.tar.zst\n\
             sed   testbed-failed  the machine ended before the job did\n"
        );
        Ok(())
    }
}
