//! Runs in testbeds on this machine: `rocbed test`, as its user would call it.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use protocol::Job;
use protocol::JobResult;
use rustix::process::{Pid, Signal, kill_process};

use super::at_hub::{test_of, user_of};
use super::command::{reproduce, words, write_sources};
use super::state::Local;
use super::tester::{Ended, Ran, Stop, Tester, packages};
use crate::cmdline::Bisect;
use crate::context::Context;

/// Interval for checking whether a run has ended.
const POLL: Duration = Duration::from_millis(50);

/// This machine.
pub(super) struct Here<'a> {
    context: &'a Context,
    rocbed: PathBuf,
    local: Local,
}

/// The options that runs have in common.
pub(super) fn local(recipe: &str, options: &Bisect) -> Result<Local> {
    let mut words: Vec<String> = Vec::new();
    if let Some(gpus) = &options.gpu {
        words.push(if gpus.is_empty() { "--gpu".to_owned() } else { format!("--gpu={}", gpus.join(",")) });
    }
    let source = &options.source;
    words.extend(source.mirror.iter().map(|mirror| format!("--mirror={mirror}")));
    words.extend(source.ignore_valid_until.then(|| "--ignore-valid-until".to_owned()));
    words.extend(source.offline.then(|| "--offline".to_owned()));
    if let Some(lock) = &source.lock {
        let lock = std::path::absolute(lock).context("finding the lock")?;
        words.push(format!("--lock={}", lock.display()));
    }
    Ok(Local { recipe: recipe.to_owned(), options: words })
}

impl<'a> Here<'a> {
    pub(super) fn new(context: &'a Context, local: Local) -> Result<Self> {
        Ok(Self { context, rocbed: std::env::current_exe().context("finding this program")?, local })
    }
}

impl Tester for Here<'_> {
    fn begin(&mut self, _: &Job, _: Option<&str>) -> Result<Option<String>> {
        Ok(None)
    }

    fn finish(&mut self, job: &Job, _: Option<&str>, stop: &Stop) -> Result<Ended> {
        let scratch = tempfile::tempdir().context("making a temporary directory")?;
        let sources = write_sources(job, scratch.path())?;
        let mut command = Command::new(&self.rocbed);
        command.args(["--quiet", "--cache"]).arg(self.context.cache_directory()?);
        command.args(words(job, &self.local, &sources));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(if self.context.reporter.is_verbose() { Stdio::inherit() } else { Stdio::piped() });
        let mut child = command.spawn().context("starting `rocbed test`")?;
        // Both pipes are read at once, as a full one would stop it.
        let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            thread::spawn(move || {
                let mut text = String::new();
                pipe.map(|mut pipe| pipe.read_to_string(&mut text));
                text
            })
        };
        let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
        let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
        let status = loop {
            if let Some(status) = child.try_wait().context("waiting for `rocbed test`")? {
                break status;
            }
            if stop.is_asked() {
                terminate(&mut child);
            }
            thread::sleep(POLL);
        };
        let text = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
        let (stdout, stderr) = (text(stdout), text(stderr));
        if stop.is_asked() {
            return Ok(Ended::Stopped);
        }
        let Ok(result) = JobResult::parse(stdout.trim().as_bytes()) else {
            let said = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
            return Ok(Ended::Lost(format!("`rocbed test` ended with {status}: {said}")));
        };
        let lists = result.installed.resolve().unwrap_or_default();
        Ok(Ended::Ran(Box::new(Ran {
            job: None,
            machine: result.machine.name.clone(),
            packages: packages(&result, &test_of(job), user_of(job), &lists),
            reproduce: reproduce(job, &self.local),
            result,
        })))
    }
}

/// Asks the run to end, as Ctrl-C on a terminal does.
fn terminate(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        // It fails only if it has ended just now.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
    }
}
