//! One run of autopkgtest, from its start to its guaranteed end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use protocol::TestOutcome;
use rustix::process::Signal;

use crate::bounded::BoundedLog;
use crate::kernel_log::Watch;
use crate::log::{Line, Reader};
use crate::process::Process;
use crate::reached::{self, LimitNote};
use crate::summary::Summary;
use crate::{Cancel, Error, Limits, Observer, RunEvent, apt};

/// Longest wait for output before the deadlines are checked.
const TICK: Duration = Duration::from_millis(100);

/// Most bytes of output, before autopkgtest has created its output directory, that go to its own log.
const EARLY: usize = 1 << 20;
/// Environment variable with the path of a file to which the virtualisation server appends a line for each file that it
/// did not copy out of a testbed.
const COPY_NOTES: &str = "ROCBED_COPY_NOTES";
/// Environment variable with the path of a directory in which the virtualisation server records what is installed
/// after each test.
const PACKAGE_RECORDS: &str = "ROCBED_PACKAGE_RECORDS";
/// Name of that directory.
pub(crate) const RECORDS: &str = "package-records";
/// Most bytes read of these notes.
const LONGEST_NOTES: u64 = 64 << 10;

/// Reason why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// autopkgtest ended by itself.
    Completed,
    /// The job's deadline passed.
    Deadline,
    /// A GPU had a serious fault.
    GpuFault,
    /// The job was cancelled.
    Cancelled,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct RunEnd {
    pub(crate) reason: EndReason,
    /// autopkgtest's exit status, if it ended by itself.
    pub(crate) status: Option<i32>,
    /// It could not be killed; the machine has to be restarted.
    pub(crate) stuck: bool,
    /// Another process took the exit status.
    pub(crate) status_lost: bool,
    /// Number of tests in the log that had started, or were being prepared, when the run was to end.
    pub(crate) begun: usize,
    /// Notes about files that the virtualisation server did not copy out of testbeds, and about autopkgtest's log if it is
    /// not whole.
    pub(crate) left_out: Vec<String>,
    /// Limits that testbeds reached.
    pub(crate) limits: Vec<LimitNote>,
    /// How far tests came on simulated GPUs: the test's name and what the virtualisation server said.
    pub(crate) simulated: Vec<(String, String)>,
}

/// autopkgtest's own log, in its output directory. The runner writes it, as autopkgtest has no size limit.
struct OwnLog<'a> {
    directory: &'a Path,
    limit: u64,
    log: Option<BoundedLog>,
    /// The error of creating it.
    failed: Option<io::Error>,
    /// Output before the directory exists.
    early: Vec<u8>,
}

impl<'a> OwnLog<'a> {
    fn new(directory: &'a Path, limit: u64) -> Self {
        Self { directory, limit, log: None, failed: None, early: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        // autopkgtest creates the directory before its first output, and requires it to be empty then.
        if self.log.is_none() && self.directory.is_dir() {
            match File::create_new(self.directory.join("log")) {
                Ok(file) => {
                    let log = self.log.insert(BoundedLog::new(file, self.limit));
                    log.write(&std::mem::take(&mut self.early));
                }
                Err(error) => self.failed = Some(error),
            }
        }
        match &mut self.log {
            Some(log) => log.write(bytes),
            None if self.early.len() < EARLY => self.early.extend_from_slice(bytes),
            None => {}
        }
    }

    /// Ends the log. There is none if autopkgtest has made no directory.
    fn finish(mut self) -> io::Result<()> {
        self.write(b"");
        match self.log {
            Some(mut log) => log.finish(),
            None => self.failed.map_or(Ok(()), Err),
        }
    }
}

/// Context of a run, besides its command line.
pub(crate) struct RunContext<'a, 'k> {
    pub(crate) program: &'a [OsString],
    pub(crate) temporary: &'a Path,
    pub(crate) output: &'a Path,
    /// File to which the virtualisation server adds a line for each command that ran with simulated GPUs.
    pub(crate) simulation: &'a Path,
    pub(crate) limits: &'a Limits,
    /// When collecting the output starts, and when autopkgtest is terminated.
    pub(crate) deadlines: (Instant, Instant),
    pub(crate) log: &'a mut BoundedLog,
    pub(crate) kernel: &'a mut Watch<'k>,
    pub(crate) apt: &'a mut apt::Errors,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) cancel: &'a Cancel,
}

/// Phase of ending a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Its test was ended; autopkgtest collects the test's output until this time.
    Collecting(Instant),
    /// It was terminated, and has until this time to end.
    Terminating(Instant),
    /// It was killed, and has until this time to disappear.
    Killed(Instant),
}

/// Runs autopkgtest.
pub(crate) fn run(
    arguments: &[OsString],
    context: &mut RunContext<'_, '_>,
    reader: &mut Reader,
) -> Result<RunEnd, Error> {
    let Some((program, first)) = context.program.split_first() else {
        return Err(Error::Job("there is no autopkgtest to be run".into()));
    };
    let mut command = Command::new(program);
    command.args(first).args(arguments).env("LC_ALL", "C.UTF-8").env("TMPDIR", context.temporary);
    let notes = context.temporary.join("copy-notes");
    command.env(COPY_NOTES, &notes);
    let limit_notes = context.temporary.join("limit-notes");
    command.env(reached::NOTES, &limit_notes);
    let records = context.temporary.join(RECORDS);
    // Those of the run as another user. If they stay, the next line fails.
    let _ = std::fs::remove_dir_all(&records);
    std::fs::create_dir(&records).map_err(Error::step(format!("making {}", records.display())))?;
    command.env(PACKAGE_RECORDS, &records);
    let mut own = OwnLog::new(context.output, context.limits.log);
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    }
    let mut process = Process::start(&mut command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoAutopkgtest(program.into()),
        _ => Error::step(format!("starting {}", program.display()))(error),
    })?;
    let (mut phase, mut reason, mut begun, mut stuck) = (Phase::Running, EndReason::Completed, None, false);
    let mut buffer = vec![0; 1 << 16];
    let mut simulated = Vec::new();
    loop {
        let length = process.output(&mut buffer, TICK).map_err(Error::step("reading what autopkgtest says"))?;
        let lines = take(buffer.get(..length).unwrap_or_default(), context, &mut own, reader);
        simulated.extend(simulation(&lines, context.simulation));
        context.kernel.poll();
        if process.has_ended() {
            break;
        }
        let now = Instant::now();
        let next = match phase {
            Phase::Running | Phase::Collecting(_) if context.cancel.is_cancelled() => {
                reason = EndReason::Cancelled;
                begun.get_or_insert(reader.order.len());
                Some(Phase::Terminating(now + context.limits.terminate))
            }
            Phase::Running if context.kernel.fatal.is_some() => {
                reason = EndReason::GpuFault;
                begun.get_or_insert(reader.order.len());
                if let Some(fault) = &context.kernel.fatal {
                    context.observer.event(RunEvent::GpuFault(&fault.line));
                }
                process.signal(Signal::ALARM);
                Some(Phase::Collecting(context.deadlines.1.min(now + context.limits.after_fault)))
            }
            Phase::Running if now >= context.deadlines.0 => {
                reason = EndReason::Deadline;
                begun.get_or_insert(reader.order.len());
                context.observer.event(RunEvent::Deadline);
                // Triggers autopkgtest's own timeout: it ends the test, and fetches the test's output.
                process.signal(Signal::ALARM);
                Some(Phase::Collecting(context.deadlines.1))
            }
            Phase::Collecting(end)
                if now >= end || lines.iter().any(|line| matches!(line, Line::Preparing(_) | Line::Summary)) =>
            {
                Some(Phase::Terminating(now + context.limits.terminate))
            }
            Phase::Terminating(end) if now >= end => Some(Phase::Killed(now + context.limits.kill)),
            Phase::Killed(end) if now >= end => {
                stuck = true;
                break;
            }
            _ => None,
        };
        if let Some(next) = next {
            match next {
                Phase::Terminating(_) => process.signal(Signal::TERM),
                Phase::Killed(_) => process.kill_all(),
                Phase::Running | Phase::Collecting(_) => {}
            }
            phase = next;
        }
    }
    let ended = process.has_ended();
    // Kills what it left running: its processes are in its group, and the testbed ends with the server.
    process.kill_all();
    process.rest(&mut |bytes| {
        let lines = take(bytes, context, &mut own, reader);
        simulated.extend(simulation(&lines, context.simulation));
    });
    // What commands after the last test said is about none, and must not be taken for the next run's.
    read_notes(context.simulation);
    let written = own.finish();
    context.kernel.poll();
    let (status, status_lost) = if ended {
        match process.reap() {
            Ok(status) => (status, false),
            Err(_) => (None, true),
        }
    } else {
        (None, false)
    };
    let status = if reason == EndReason::Completed { status } else { None };
    let begun = begun.unwrap_or(reader.order.len());
    let limits = read_notes(&limit_notes).iter().filter_map(|line| LimitNote::parse(line)).collect();
    let mut left_out = read_notes(&notes);
    left_out.extend(written.err().map(|error| format!("autopkgtest's log is not whole: {error}")));
    Ok(RunEnd { reason, status, stuck, status_lost, begun, left_out, limits, simulated })
}

/// Passes output on; returns the events of its lines.
fn take(bytes: &[u8], context: &mut RunContext<'_, '_>, own: &mut OwnLog<'_>, reader: &mut Reader) -> Vec<Line> {
    if bytes.is_empty() {
        return Vec::new();
    }
    context.log.write(bytes);
    own.write(bytes);
    context.apt.push(bytes);
    context.observer.log(bytes);
    let lines = reader.push(bytes);
    for line in &lines {
        match line {
            Line::Preparing(name) => context.observer.event(RunEvent::Preparing(name)),
            Line::Begins(name) => context.observer.event(RunEvent::TestStarted(name)),
            Line::Ends(_) | Line::Summary => {}
        }
        // The summary has a test's outcome by the time of the next such line.
        if let Some(name) = ended_before(line, reader) {
            let outcome = outcome(context.output, &name);
            context.observer.event(RunEvent::TestEnded(&name, outcome.unwrap_or(TestOutcome::Unfinished)));
        }
    }
    lines
}

/// Reads and removes the notes of a virtualisation server; there is no file if nothing was left out.
fn read_notes(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_NOTES).read_to_string(&mut text));
    if read.is_ok() {
        // It is in our own directory, where only a failing disk could keep it; then its notes are only told once more.
        let _ = std::fs::remove_file(path);
    }
    text.lines().map(str::to_owned).collect()
}

/// How far the test that has ended came on simulated GPUs, if it used them: what the server said since the last one about
/// commands. It says so before autopkgtest tells that the test has ended; of what prepares a test, nothing uses GPUs.
fn simulation(lines: &[Line], path: &Path) -> Vec<(String, String)> {
    let ended = lines.iter().filter_map(|line| if let Line::Ends(name) = line { Some(name) } else { None });
    let mut said = Vec::new();
    for name in ended {
        let used = read_notes(path).into_iter().filter(|line| !line.starts_with("did not use"));
        said.extend(used.map(|line| (name.clone(), line)));
    }
    said
}

/// The test that has ended according to a line.
fn ended_before(line: &Line, reader: &Reader) -> Option<String> {
    match line {
        Line::Preparing(name) => {
            let place = reader.order.iter().position(|other| other == name)?;
            reader.order.get(place.checked_sub(1)?).cloned()
        }
        Line::Summary => reader.order.last().cloned(),
        Line::Begins(_) | Line::Ends(_) => None,
    }
}

fn outcome(output: &Path, name: &str) -> Option<TestOutcome> {
    let bytes = std::fs::read(output.join("summary")).ok()?;
    Summary::parse(&bytes).tests.into_iter().find(|test| test.name == name).map(|test| test.outcome)
}
