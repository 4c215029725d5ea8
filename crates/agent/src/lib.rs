//! The agent: takes jobs, has them run and delivers their results. It runs as `rocbed-init agent`, a child of PID 1.
//!
//! A [`JobSource`] gives out jobs and takes their results; a [`RunJob`] runs a job. The agent tells PID 1 what it is doing
//! by writing [`Report`]s to its standard output.

mod agent_loop;
mod allocation;
mod apt;
mod backlog;
mod bundle_place;
mod choose;
pub mod debci;
mod discover;
mod fitness;
mod hub;
mod identity;
mod interrupt;
mod job_source;
mod kernel;
mod limits;
mod lists;
mod machine;
mod outbox;
mod rate_limit;
mod results;
mod rules;
mod run;
mod running;
mod stick;
mod storage;
mod suspend;
mod timeouts;
mod uploader;
mod url_list;
mod virtio_channel;
mod web;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use advice::Advice;
use gpu::Inventory;
use signal_hook::consts::SIGTERM;

pub use agent_loop::{AgentLoop, AtOnce, Schedule};
pub use allocation::{Allocation, Fit, Offer, Share, Unsuitable};
pub use bundle_place::BundlePlace;
pub use choose::{ChooseError, ChosenSource, choose};
pub use fitness::{AlwaysFit, Defect, Fitness, Probe, ThisMachine, Worker};
pub use hub::Hub;
pub use interrupt::Interrupt;
pub use job_source::{Assignment, Claim, Delivery, End, JobSource, Progress, Room, TestbedOptions};
pub use outbox::{Outbox, PendingResult, Waiting};
pub use run::{Outcome, RunError, RunJob};
pub use running::{InterruptedJob, Journal, Losses, RunningJob};
pub use storage::{StorageOptions, WithStorage};
pub use timeouts::Timeouts;
pub use uploader::{Tell, Transport, UploadOutcome, Uploader};

use appliance::cmdline::CommandLine;
use appliance::detect;
use appliance::paths::IMAGE;
use appliance::report::Report;
use appliance::settings::{Settings, WhenDone};

/// The directory for everything that has to survive a restart. PID 1 mounts the stick's data partition there before
/// the agent starts; without a data partition it is in memory like the rest of the root.
pub const DATA: &str = appliance::paths::DATA;

/// How long a machine whose job source cannot be used waits before it looks again: a person may have to do something,
/// but a network or a disk may also come back by itself.
const PAUSE_WITHOUT_SOURCE: Duration = Duration::from_secs(60);

/// Sends a report to PID 1.
pub(crate) fn tell(report: &Report) {
    // PID 1 never closes its end; if it did, the kernel would have ended.
    let _ = std::io::stdout().lock().write_all(report.line().as_bytes());
}

/// Runs the agent until there is nothing left to do, or PID 1 asks it to stop.
pub fn main() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(SIGTERM, Arc::clone(&stop)) {
        eprintln!("agent: listening for SIGTERM: {error}");
    }
    // PID 1 has already reported errors in the settings.
    let (mut settings, _) = Settings::of_this_machine(CommandLine::of_kernel());
    let record = open_record();
    let describe = |settings: &Settings| {
        let mut inventory = look(settings);
        record.leave_out(&mut inventory, &settings.leave_out);
        machine::describe(settings, inventory)
    };
    let chosen = match choose(&mut settings, &stop) {
        Err(ChooseError::Source(error)) => {
            let gpus = machine::gpu_lines(&describe(&settings).gpus);
            tell(&Report::Ready { gpus, source: "nowhere".into(), hub: None });
            match insist(&error, &mut settings, &stop) {
                Some(chosen) => chosen,
                None => return ExitCode::SUCCESS,
            }
        }
        chosen => chosen,
    };
    let machine = describe(&settings);
    let gpus = machine::gpu_lines(&machine.gpus);
    let ChosenSource { mut source, is_worker } = match chosen {
        Ok(Some(chosen)) => chosen,
        Ok(None) => {
            tell(&Report::Ready { gpus, source: "nowhere".into(), hub: None });
            return wait_for_nothing(&settings, &stop);
        }
        Err(error) => {
            tell(&Report::Problem(error.into_advice()));
            return ExitCode::FAILURE;
        }
    };
    tell(&Report::Ready { gpus, source: source.name(), hub: source.hub() });
    let runner = run::Autopkgtest::new(&settings, &machine, Arc::clone(&stop));
    let mut journal = if is_worker { open_journal() } else { None };
    let mut fitness: Box<dyn Fitness> =
        if is_worker { Box::new(worker(record, &machine.gpus, &stop)) } else { Box::new(AlwaysFit) };
    let ended = AgentLoop {
        source: source.as_mut(),
        runner: &runner,
        fitness: fitness.as_mut(),
        journal: journal.as_mut(),
        machine: &machine,
        at_once: AtOnce { most: settings.jobs_at_once, ..AtOnce::default() },
        when_done: settings.when_done,
        // The program that runs a virtual machine waits for its jobs.
        schedule: if is_worker { Schedule::new(&settings) } else { Schedule::default() },
        stop: &stop,
        tell: &tell,
    }
    .run();
    match ended {
        Ok(End::Done(why)) => tell(&Report::PowerOff { why }),
        Ok(End::Stopped) => tell(&Report::PowerOff { why: "told to stop".into() }),
        Ok(End::Restart(why)) => tell(&Report::Restart { why }),
        Err(error) => {
            tell(&Report::Problem(error));
            // The program at the other end is gone, and no other one will give this machine jobs.
            tell(&Report::PowerOff { why: "the other end is gone".into() });
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn open_journal() -> Option<Journal> {
    let opened = Journal::open(Path::new(DATA));
    let failed = |error| {
        let what = format!("reading in {DATA} what ran before: {error}");
        tell(&Report::problem(what, "a crash would not be known after the restart: look at the stick"));
    };
    opened.map_err(failed).ok()
}

fn open_record() -> fitness::RestartRecord {
    let data = Path::new(DATA);
    fitness::RestartRecord::open(data).unwrap_or_else(|error| {
        let what = format!("reading in {DATA} why the machine was restarted: {error}");
        tell(&Report::problem(what, "it may be restarted more often than it should: look at the stick"));
        fitness::RestartRecord::empty(data)
    })
}

fn worker(record: fitness::RestartRecord, gpus: &Inventory, stop: &Arc<AtomicBool>) -> Worker<ThisMachine> {
    let data = Path::new(DATA);
    Worker::new(ThisMachine::new(data, Path::new(IMAGE), Arc::clone(stop)), record, gpus)
}

fn look(settings: &Settings) -> Inventory {
    detect::of_this_machine(settings.gpu.as_deref()).unwrap_or_else(|error| {
        let advice = "name targets such as gfx1030; no GPU is used until then";
        tell(&Report::problem(format!("gpu: {error}"), advice));
        // Not the real ones: the settings asked for simulated GPUs.
        Inventory { simulated: true, ..Inventory::default() }
    })
}

/// Shows why no jobs are taken, and tries again from time to time; `None` once the machine is to stop. A machine that
/// powers off when it is done stays on: nobody would see what is wrong with it.
fn insist(
    error: &Advice,
    settings: &mut Settings,
    stop: &Arc<AtomicBool>,
) -> Option<Result<Option<ChosenSource>, ChooseError>> {
    let show = |why: &str| tell(&Report::condition("jobs", format!("none are taken: {why}")));
    let mut why = error.in_one_line();
    show(&why);
    tell(&Report::Idle { why: "no jobs are taken until that is put right; then start the machine again".into() });
    loop {
        let began = Instant::now();
        while began.elapsed() < PAUSE_WITHOUT_SOURCE {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        match choose(settings, stop) {
            // The same is not told again.
            Err(ChooseError::Source(error)) if error.in_one_line() == why => {}
            Err(ChooseError::Source(error)) => {
                why = error.in_one_line();
                show(&why);
            }
            chosen => {
                tell(&Report::condition("jobs", String::new()));
                return Some(chosen);
            }
        }
    }
}

/// Waits until it is told to stop: the appliance has no job source.
fn wait_for_nothing(settings: &Settings, stop: &AtomicBool) -> ExitCode {
    if settings.when_done == WhenDone::PowerOff {
        tell(&Report::PowerOff { why: "there is no place to take jobs from, and when-done=power-off".into() });
        return ExitCode::SUCCESS;
    }
    tell(&Report::Idle { why: "no jobs: put jobs.toml on the stick, set hub= (or debci=, or jobs= and results=) in its rocbed.toml, or only join-token= to use a hub found on the network".into() });
    while !stop.load(Ordering::Relaxed) {
        // The signal does not interrupt this sleep; it sets the flag.
        std::thread::sleep(Duration::from_millis(200));
    }
    ExitCode::SUCCESS
}
