//! `rocbed boot`: starts an image in QEMU; with `--jobs` or `--hub` the machine runs tests.

mod jobs;
mod joining;
mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use advice::Advice;
use anyhow::{Context as _, Result, ensure};
use progress::Progress as _;
use protocol::{Verdict, exit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vm::{Accelerator, End, Exit, Machine, Network as VmNetwork};

use super::{own_error, print, print_json};
use crate::cmdline::{Boot, Network};
use crate::context::Context;
use crate::image::publish::SUMS;
use crate::mirror::{self, Mirror};
use crate::virtio_channel::{Handover, Work};
use jobs::Watcher;
use machine::Console;

/// Time limit for starting and ending the machine, in addition to its jobs.
const START_AND_END: Duration = Duration::from_secs(600);

/// Time limit for a machine without jobs.
const NO_JOBS: Duration = Duration::from_secs(180);

/// Number of console lines that are shown if the machine fails.
const LAST_LINES: usize = 15;

/// Outcome of a machine's run.
struct Session {
    exit: Exit,
    done: bool,
}

/// Runs the command; returns the exit code. With jobs that is autopkgtest's, or 20 if rocbed itself failed.
pub fn run(context: &Context, options: &Boot) -> Result<u8> {
    match boot(context, options) {
        Err(error) if options.jobs.is_some() => Ok(own_error(context, &error)),
        other => other,
    }
}

fn boot(context: &Context, options: &Boot) -> Result<u8> {
    let image = &options.image;
    ensure!(
        image.join(SUMS).is_file() || (machine::is_disk(options) && !options.netboot),
        Advice::new(
            format!("{} holds no complete image: there is no {SUMS} in it", image.display()),
            "`rocbed build` makes one; give the directory, such as images/smoke"
        )
    );
    machine::firmware(options)?;
    let scratch = tempfile::Builder::new().prefix("rocbed-boot.").tempdir().context("making a directory")?;
    let (list, trees) = match &options.jobs {
        Some(path) => jobs::read(path, scratch.path())?,
        None => Default::default(),
    };
    let work = Work { list, trees, settings: settings(options)? };
    let words = joining::words(options, &work.settings)?;
    if let Some(hub) = &options.hub {
        context.reporter.say(&format!("the machine takes its jobs from {hub}"));
    }
    let results = match &options.jobs {
        Some(_) => {
            fs::create_dir_all(&options.results).with_context(|| format!("making {}", options.results.display()))?;
            options.results.clone()
        }
        None => scratch.path().to_owned(),
    };
    let cache = context.cache_directory()?;
    let choice = Accelerator::probe(Some(&cache)).context("looking for a way to run QEMU")?;
    let name = match choice.accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG",
    };
    context.reporter.say(&format!("accelerator: {name} ({})", choice.reason));
    let console = Console::new(options.jobs.is_some().then(|| results.join("console.log")))?;
    let interrupted = interruption()?;
    let wanted =
        StartParameters { options, words: &words, work: &work, results: &results, console: &console, interrupted };
    let mut watcher = Watcher::new(&context.reporter, &work.list, options.jobs.is_some());
    let mut session = start(choice.accelerator, &wanted, &mut watcher)?;
    if matches!(session.exit.end, End::KvmFailed) {
        context.reporter.say("KVM gave up on this machine; starting it again with TCG");
        session = start(Accelerator::Tcg, &wanted, &mut watcher)?;
    }
    // Nothing is asked of a machine that is left alone but to end in order.
    let left_alone = (options.keep || options.debug) && ended_in_order(&session.exit, &console);
    if !session.done && !left_alone {
        complain(context, options, &session.exit, &console, watcher.is_up().load(Ordering::Relaxed));
    }
    if options.jobs.is_none() {
        context.reporter.say(&format!("the machine ended after {:.1} s", session.exit.elapsed.as_secs_f64()));
        return Ok(if session.done || left_alone { 0 } else { exit::TESTBED_FAILED });
    }
    if options.json {
        print_json(&watcher.results()?)?;
    } else {
        print(&watcher.table())?;
    }
    let code = Verdict::exit_code_of_all(watcher.verdicts());
    Ok(if session.done { code } else { code.max(exit::TESTBED_FAILED) })
}

/// Address of the host in QEMU's user network.
const HOST_OF_USER_NETWORK: &str = "10.0.2.2";

/// Settings for the appliance, besides its jobs. It shares this machine's network, so this machine's mirror is the
/// best one.
fn settings(options: &Boot) -> Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(settings.insert(name.to_owned(), value));
    if !options.gpu.is_empty() {
        let gpus = options.gpu.join(",");
        // Checked here, where the command line is still in view, rather than minutes later on a console.
        gpu::simulate(&gpus).map_err(|error| anyhow::anyhow!("--gpu: {error}"))?;
        set("gpu", gpus);
    }
    let mirror = options.mirror.clone().unwrap_or_else(|| Mirror::of_this_machine("sid").url);
    // The appliance cannot read files of this machine.
    if options.mirror.is_some() || !mirror.starts_with("file:") {
        if let Some(chosen) = mirror::proxies().proxies.for_url(&mirror)? {
            let local = chosen.proxy.is_local() && options.network == Network::User;
            let proxy = if local { chosen.proxy.at(HOST_OF_USER_NETWORK) } else { chosen.proxy.clone() };
            set("proxy", proxy.url_with_password());
        }
        set("mirror", mirror);
    }
    if options.ignore_valid_until {
        set("check-valid-until", "no".into());
    }
    Ok(settings)
}

/// Flag set by SIGINT, SIGTERM and SIGHUP, so that QEMU ends with this program. A second signal ends it at once.
fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, exit::OWN_ERROR.into(), Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .context("listening for signals")?;
    }
    Ok(flag)
}

/// Parameters of a run: used again if KVM fails.
struct StartParameters<'a> {
    options: &'a Boot,
    words: &'a [String],
    work: &'a Work,
    results: &'a Path,
    console: &'a Console,
    interrupted: Arc<AtomicBool>,
}

/// Starts the machine, serves its virtio port, and waits for its end.
fn start(accelerator: Accelerator, wanted: &StartParameters<'_>, watcher: &mut Watcher) -> Result<Session> {
    let StartParameters { options, words, work, results, console, interrupted } = wanted;
    let memory = u32::try_from(options.memory >> 20).context("the machine cannot have that much memory")?;
    let machine = Machine::new(accelerator)
        .memory_mib(memory)
        .cpus(options.smp.unwrap_or_else(|| default_cpus(accelerator)))
        .network(match options.network {
            Network::User => VmNetwork::User,
            Network::Isolated => VmNetwork::Isolated,
            Network::None => VmNetwork::None,
        })
        .until(Arc::clone(interrupted))
        .deadline(deadline(options, work));
    // A kernel that hangs does not take all the time that its jobs have.
    let machine =
        if has_start_limit(options) { machine.start_deadline(START_AND_END, watcher.is_up()) } else { machine };
    let machine = options.screenshot.iter().fold(machine, Machine::picture);
    // The server runs as long as the machine does.
    let (machine, _served) = if options.netboot {
        let (machine, served) = machine::attach_network(machine, options, words)?;
        (machine, Some(served))
    } else {
        (machine::attach(machine, options, words)?, None)
    };
    if options.debug {
        // QEMU has the terminal, and says itself how to leave it.
        let exit = machine.interactive().start(|_| ControlFlow::Continue(()))?.wait()?;
        let done = matches!(exit.end, End::Exited(0));
        return Ok(Session { exit, done });
    }
    if options.keep || options.hub.is_some() {
        let exit = machine.start(console.printer())?.wait()?;
        // A worker of a hub is done when the machine powers off.
        let done = options.hub.is_some() && matches!(exit.end, End::Exited(0));
        return Ok(Session { exit, done });
    }
    let port = Handover::open()?;
    let running = machine.port(protocol::PORT_NAME, port.socket()).start(console.printer())?;
    let ended = port.ended();
    // Both have to be watched at the same time: the machine's end, and its port.
    let waiting = std::thread::spawn(move || {
        let exit = running.wait();
        ended.store(true, Ordering::Relaxed);
        exit
    });
    let served = port.serve(work, results, watcher);
    // If the port failed, the machine would wait for ever: closing the port ends it.
    drop(port);
    let exit = waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Session { exit, done: served? })
}

fn deadline(options: &Boot, work: &Work) -> Duration {
    if let Some(seconds) = options.timeout {
        return Duration::from_secs(seconds);
    }
    if options.keep || options.debug || options.hub.is_some() {
        return Duration::from_secs(u32::MAX.into());
    }
    let jobs: Duration = work.list.job.iter().map(|job| job.timeout.0).sum();
    if work.list.job.is_empty() { NO_JOBS } else { START_AND_END + jobs }
}

/// Whether a machine has to be ready for its jobs after [`START_AND_END`], and not only done after the whole time.
fn has_start_limit(options: &Boot) -> bool {
    options.jobs.is_some() && options.timeout.is_none()
}

/// Default number of processors: one without KVM. When the kernel patches its own code for several processors, QEMU's
/// translation can show one of them a half-patched instruction, and booting then ends in a kernel panic ("Oops:
/// int3").
fn default_cpus(accelerator: Accelerator) -> u32 {
    match accelerator {
        Accelerator::Kvm => 2,
        Accelerator::Tcg => 1,
    }
}

/// What Linux says last when it cannot go on (`kernel/panic.c`). QEMU itself ends as after any restart then.
const PANIC: &str = "Kernel panic - not syncing";

/// Whether a machine was switched off, restarted, or ended by this program's user.
fn ended_in_order(exit: &Exit, console: &Console) -> bool {
    let has_panicked = || console.last(LAST_LINES).iter().any(|line| line.contains(PANIC));
    match exit.end {
        End::Exited(0) => !has_panicked(),
        End::Stopped => true,
        End::Exited(_) | End::Signal(_) | End::Deadline | End::KvmFailed => false,
    }
}

/// Reports how the machine ended without being done.
fn complain(context: &Context, options: &Boot, exit: &Exit, console: &Console, was_up: bool) {
    let seconds = exit.elapsed.as_secs();
    let how = match exit.end {
        End::Exited(0) if !ended_in_order(exit, console) => {
            format!("the machine's kernel panicked, and it ended after {seconds} s")
        }
        End::Exited(0) => format!("the machine ended after {seconds} s without having done its work"),
        End::Deadline if options.jobs.is_some() && !was_up => {
            format!("the machine was not ready for its jobs after {seconds} s and was ended")
        }
        End::Deadline => {
            format!("the machine was still running after {seconds} s and was ended")
        }
        End::Exited(code) => format!("QEMU ended with exit code {code}\n{}", exit.messages.trim()),
        End::Signal(signal) => format!("QEMU was killed by signal {signal}\n{}", exit.messages.trim()),
        End::Stopped => format!("the machine was ended after {seconds} s, by a signal to this program"),
        End::KvmFailed => "QEMU was stopped".to_owned(),
    };
    let help = matches!(exit.end, End::Deadline).then_some("--timeout gives it longer");
    context.reporter.warn_of(&Advice::new(how, help).into());
    // Without jobs the console was already printed.
    if options.jobs.is_some() {
        let lines: Vec<_> = console.last(LAST_LINES).into_iter().map(|line| format!("  {line}\n")).collect();
        let whole: PathBuf = options.results.join("console.log");
        context.reporter.warn(&format!(
            "the end of its console:\n{}all of it is in {}",
            lines.concat(),
            whole.display()
        ));
    }
}
