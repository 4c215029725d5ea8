//! `rocbed demo`: a real package's tests in a booted worker with a simulated GPU, handed out by a hub.

mod commands;
mod directory;
mod hub;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail};
use vm::Accelerator;

use self::commands::{Commands, terminate};
use self::hub::Hub;
use super::bytes;
use crate::cmdline::{Demo, Global};
use crate::context::Context;
use crate::lock::Lock;
use crate::recipe;

/// Interval for checking whether the machine is still running.
const POLL: Duration = Duration::from_millis(200);

/// Time for the hub to show the last delivery of a machine that has ended.
const LAST_DELIVERY: Duration = Duration::from_secs(10);

/// The job list, also in the source tree as an example.
const JOBS: &str = include_str!("../../../../examples/demo.toml");

/// Builds an image, starts a hub, adds a job, boots the image as the hub's worker, shows the result, and ends everything
/// that it started.
pub fn run(context: &Context, global: &Global, options: &Demo) -> Result<()> {
    let began = Instant::now();
    let choice = Accelerator::probe(context.cache_directory().ok().as_deref())
        .context("the demo boots a machine in QEMU")
        .help("sudo apt-get install qemu-system-x86 && rocbed demo")?;
    let directory = std::path::absolute(&options.output).context("finding the demo's directory")?;
    introduce(context, choice.accelerator, &options.output)?;
    let _held = directory::prepare(&directory, &context.reporter)?;
    let commands = Commands::new(directory.clone(), global)?;
    let title = |shown: &str| context.reporter.say(&format!("\n== {shown}"));

    let mut build = commands.rocbed();
    build.args(["build", "smoke"]);
    if let Some(mirror) = &options.mirror {
        build.args(["--mirror", mirror]);
    }
    title("rocbed build smoke");
    commands.run("rocbed build", &mut build)?;

    title("rocbed hub --listen 127.0.0.1:0 --data hub");
    let hub = Hub::start(&commands, &directory.join("hub"))?;
    context.reporter.say(&format!("its pages: {}", hub.address()));

    fs::write(directory.join("demo.toml"), JOBS).context("writing demo.toml")?;
    title("rocbed jobs import demo.toml");
    commands.run("rocbed jobs import", hub.rocbed().args(["jobs", "import", "demo.toml"]))?;
    let job = hub.job()?;

    title(&format!("rocbed boot images/smoke --hub {} --gpu gfx1030 --when-done power-off", hub.address()));
    let console = directory.join("console.log");
    let mut machine = boot(&hub, &console)?;
    title(&format!("rocbed jobs watch {job}"));
    let watched = watch(&commands, &hub, &job, &mut machine);
    if watched.is_err() {
        terminate(&mut machine);
    }
    // The machine powers off by itself once the hub has no more jobs.
    let ended = commands.wait(&mut machine);
    let see = || format!("the worker's console is in {}", console.display());
    watched.with_help(see)?;
    let ended = ended.with_help(see)?;
    if !ended.success() {
        bail!(Advice::new(format!("the machine did not end well: {ended}"), see()));
    }

    title("rocbed results list");
    commands.run("rocbed results list", hub.rocbed().args(["results", "list"]))?;
    title(&format!("rocbed results show {job}"));
    commands.run("rocbed results show", hub.rocbed().args(["results", "show", &job]))?;
    title(&format!("rocbed results report {job} -o report.html"));
    let page = directory.join("report.html");
    commands.run("rocbed results report", hub.rocbed().args(["results", "report", &job, "-o"]).arg(&page))?;
    let address = hub.end()?;
    context.reporter.say(&format!(
        "\nThe demo took {:.0} s. Nothing is left running.\n\
         The result's page:     {}\n\
         The machine's console: {}\n\
         All pages again:       rocbed hub --data {} --listen {address}\n\
         To remove it all:      rm -r {}; rocbed cache prune --all",
        began.elapsed().as_secs_f64(),
        page.display(),
        console.display(),
        options.output.join("hub").display(),
        options.output.display(),
    ));
    Ok(())
}

/// Says what the demo does, how long it takes, and what it needs.
fn introduce(context: &Context, accelerator: Accelerator, directory: &Path) -> Result<()> {
    let lock = recipe::shipped_lock("smoke").context("the smoke recipe has no lock")?;
    let lock = Lock::parse(lock, "smoke (shipped)")?;
    let packages = lock.packages.iter().map(|package| package.size).sum();
    // Measured with a mirror nearby on a machine with two processors.
    let (how, minutes) = match accelerator {
        Accelerator::Kvm => ("KVM", "one to two minutes"),
        Accelerator::Tcg => ("translation, as KVM does not work here", "two to four minutes"),
    };
    context.reporter.say(&format!(
        "rocbed demo runs a package's tests on a worker, all of it on this machine and without a GPU:\n  \
         1. builds the smoke image: fetches {} of packages from Debian's archive, once\n  \
         2. starts a hub that only this machine reaches, with one job: the tests of gzip\n  \
         3. boots the image as the hub's worker, in QEMU ({how}), with a simulated GPU\n  \
         4. shows the result, as a table and as a page\n\
         It usually takes {minutes}, 2 GiB of memory, and 2 GiB of disk for {} and the cache. Ctrl-C ends it.",
        bytes(packages),
        directory.display(),
    ));
    Ok(())
}

/// Boots the image as a worker of the hub, with its console in a file.
fn boot(hub: &Hub, console: &Path) -> Result<Child> {
    let file = File::create(console).with_context(|| format!("making {}", console.display()))?;
    let mut command = hub.rocbed();
    command.args(["boot", "images/smoke", "--hub", hub.address(), "--gpu", "gfx1030", "--memory", "2GiB"]);
    // The Release file of a mirror that is a copy may have expired; signatures are still checked.
    command.args(["--when-done", "power-off", "--ignore-valid-until"]);
    command.stdin(Stdio::null()).stdout(file).spawn().context("starting rocbed boot")
}

/// Shows the job's log as it arrives. Fails if the machine ends before the job does.
fn watch(commands: &Commands, hub: &Hub, job: &str, machine: &mut Child) -> Result<()> {
    let mut watching = hub.rocbed().args(["jobs", "watch", job]).spawn().context("starting rocbed jobs watch")?;
    let mut gone = None;
    loop {
        if let Some(status) = watching.try_wait().context("waiting for rocbed jobs watch")? {
            commands.check()?;
            if !status.success() {
                bail!("the job did not pass: {status}");
            }
            return Ok(());
        }
        let mut is_over = || -> Result<bool> {
            commands.check()?;
            if machine.try_wait().context("waiting for the machine")?.is_none() {
                return Ok(false);
            }
            Ok(gone.get_or_insert_with(Instant::now).elapsed() > LAST_DELIVERY)
        };
        let ended = match is_over() {
            Ok(false) => None,
            Ok(true) => Some(anyhow::anyhow!("the machine ended before the job did")),
            Err(error) => Some(error),
        };
        if let Some(error) = ended {
            // It may have ended just now; the error below is the one to report.
            let _ = watching.kill();
            let _ = watching.wait();
            return Err(error);
        }
        thread::sleep(POLL);
    }
}
