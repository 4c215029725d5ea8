//! One run of autopkgtest, from its start to its certain end.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use protocol::TestOutcome;
use rustix::process::Signal;

use crate::bounded::BoundedLog;
use crate::kernel_log::Watch;
use crate::log::{Line, Reader};
use crate::process::Process;
use crate::summary::Summary;
use crate::{Cancel, Error, Event, Limits, Observer, apt};

/// How long to wait for output before looking at the clock.
const TICK: Duration = Duration::from_millis(100);

/// More of what autopkgtest says before it has made its output directory is not in its own log.
const EARLY: usize = 1 << 20;
/// Names a file that the virtualisation server appends a line to for each thing that it did not copy out of a testbed.
const COPY_NOTES: &str = "ROCBED_COPY_NOTES";
/// More of these is not read, in bytes.
const LONGEST_NOTES: u64 = 64 << 10;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// autopkgtest came to its end.
    Itself,
    /// The job's deadline came first.
    Deadline,
    /// A fault left the GPU not as it was.
    GpuFault,
    /// Somebody cancelled the job.
    Cancelled,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) how: How,
    /// autopkgtest's exit status, where it ended by itself.
    pub(crate) status: Option<i32>,
    /// It could not even be killed: only a restart of the machine helps.
    pub(crate) stuck: bool,
    /// Somebody else took the exit status.
    pub(crate) status_lost: bool,
    /// How many of the log's tests had begun, or were about to, when it was to end.
    pub(crate) begun: usize,
    /// What the virtualisation server did not copy out of testbeds.
    pub(crate) left_out: Vec<String>,
}

/// autopkgtest's own log, in its output directory: it is given none to write, for it knows no limit.
struct OwnLog<'a> {
    directory: &'a Path,
    limit: u64,
    log: Option<BoundedLog>,
    /// What came before there was a directory.
    early: Vec<u8>,
}

impl<'a> OwnLog<'a> {
    fn new(directory: &'a Path, limit: u64) -> Self {
        Self { directory, limit, log: None, early: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        // autopkgtest makes the directory, which has to be empty then, before it says anything.
        if self.log.is_none() && self.directory.is_dir() {
            let file = File::create_new(self.directory.join("log"));
            self.log = file.ok().map(|file| BoundedLog::new(file, self.limit));
            if let Some(log) = &mut self.log {
                log.write(&std::mem::take(&mut self.early));
            }
        }
        match &mut self.log {
            Some(log) => log.write(bytes),
            None if self.early.len() < EARLY => self.early.extend_from_slice(bytes),
            None => {}
        }
    }

    fn finish(mut self) {
        self.write(b"");
        if let Some(log) = &mut self.log {
            log.finish();
        }
    }
}

/// What a run needs besides its command line.
pub(crate) struct Surroundings<'a, 'k> {
    pub(crate) program: &'a [OsString],
    pub(crate) temporary: &'a Path,
    pub(crate) output: &'a Path,
    pub(crate) limits: &'a Limits,
    /// When what there is begins to be collected, and when autopkgtest is ended.
    pub(crate) deadlines: (Instant, Instant),
    pub(crate) log: &'a mut BoundedLog,
    pub(crate) kernel: &'a mut Watch<'k>,
    pub(crate) apt: &'a mut apt::Errors,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) cancel: &'a Cancel,
}

/// The way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Its test was ended; it has until then to collect what the test left.
    Collecting(Instant),
    /// It was asked to end, and has until then.
    Terminating(Instant),
    /// It was killed, and has until then to go.
    Killed(Instant),
}

/// Runs autopkgtest.
pub(crate) fn run(
    arguments: &[OsString],
    around: &mut Surroundings<'_, '_>,
    reader: &mut Reader,
) -> Result<Ending, Error> {
    let Some((program, first)) = around.program.split_first() else {
        return Err(Error::Job("there is no autopkgtest to be run".into()));
    };
    let mut command = Command::new(program);
    command.args(first).args(arguments).env("LC_ALL", "C.UTF-8").env("TMPDIR", around.temporary);
    let notes = around.temporary.join("copy-notes");
    command.env(COPY_NOTES, &notes);
    let mut own = OwnLog::new(around.output, around.limits.log);
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    }
    let mut process = Process::start(&mut command).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NoAutopkgtest(program.into()),
        _ => Error::step(format!("starting {}", program.display()))(error),
    })?;
    let (mut phase, mut how, mut begun, mut stuck) = (Phase::Running, How::Itself, None, false);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = process.output(&mut buffer, TICK).map_err(Error::step("reading what autopkgtest says"))?;
        let lines = take(buffer.get(..length).unwrap_or_default(), around, &mut own, reader);
        around.kernel.poll();
        if process.has_ended() {
            break;
        }
        let now = Instant::now();
        let next = match phase {
            Phase::Running | Phase::Collecting(_) if around.cancel.is_cancelled() => {
                how = How::Cancelled;
                begun.get_or_insert(reader.order.len());
                Some(Phase::Terminating(now + around.limits.terminate))
            }
            Phase::Running if around.kernel.fatal.is_some() => {
                how = How::GpuFault;
                begun.get_or_insert(reader.order.len());
                if let Some(fault) = &around.kernel.fatal {
                    around.observer.event(Event::GpuFault(&fault.line));
                }
                process.signal(Signal::ALARM);
                Some(Phase::Collecting(around.deadlines.1.min(now + around.limits.after_fault)))
            }
            Phase::Running if now >= around.deadlines.0 => {
                how = How::Deadline;
                begun.get_or_insert(reader.order.len());
                around.observer.event(Event::Deadline);
                // What its own timeouts wait for: it ends the test, and fetches what the test wrote.
                process.signal(Signal::ALARM);
                Some(Phase::Collecting(around.deadlines.1))
            }
            Phase::Collecting(end)
                if now >= end || lines.iter().any(|line| matches!(line, Line::Preparing(_) | Line::Summary)) =>
            {
                Some(Phase::Terminating(now + around.limits.terminate))
            }
            Phase::Terminating(end) if now >= end => Some(Phase::Killed(now + around.limits.kill)),
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
    // Nothing of it is left behind: what it started is of its group, and its testbed ends with the server.
    process.kill_all();
    process.rest(&mut |bytes| {
        take(bytes, around, &mut own, reader);
    });
    own.finish();
    around.kernel.poll();
    let (status, status_lost) = if ended {
        match process.reap() {
            Ok(status) => (status, false),
            Err(_) => (None, true),
        }
    } else {
        (None, false)
    };
    let status = if how == How::Itself { status } else { None };
    let begun = begun.unwrap_or(reader.order.len());
    Ok(Ending { how, status, stuck, status_lost, begun, left_out: read_notes(&notes) })
}

/// Passes output on; returns what its lines say.
fn take(bytes: &[u8], around: &mut Surroundings<'_, '_>, own: &mut OwnLog<'_>, reader: &mut Reader) -> Vec<Line> {
    if bytes.is_empty() {
        return Vec::new();
    }
    around.log.write(bytes);
    own.write(bytes);
    around.apt.push(bytes);
    around.observer.log(bytes);
    let lines = reader.push(bytes);
    for line in &lines {
        match line {
            Line::Preparing(name) => around.observer.event(Event::Preparing(name)),
            Line::Begins(name) => around.observer.event(Event::TestStarted(name)),
            Line::Ends(_) | Line::Summary => {}
        }
        // A test's outcome is in the summary by the time that the next line of these comes.
        if let Some(name) = ended_before(line, reader) {
            let outcome = outcome(around.output, &name);
            around.observer.event(Event::TestEnded(&name, outcome.unwrap_or(TestOutcome::Unfinished)));
        }
    }
    lines
}

/// Reads and removes the notes of a virtualisation server; one that has left nothing out writes none.
fn read_notes(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_NOTES).read_to_string(&mut text));
    if read.is_ok() {
        std::fs::remove_file(path).unwrap_or_default();
    }
    text.lines().map(str::to_owned).collect()
}

/// The test that a line says is over.
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
