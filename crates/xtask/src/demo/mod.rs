//! `cargo xtask demo`: from nothing but a Rust toolchain to a real package's tests in a booted appliance, by way of a hub.

mod hub;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::hub::Hub;
use crate::build::{self, Profile};
use crate::host;
use crate::run::{run, workspace};

/// Where everything goes, below the workspace.
const DIRECTORY: &str = "results/demo";

/// How often we look whether the machine is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Runs a command of rocbed's, under a heading that shows it as one would type it.
fn stage(shown: &str, command: &mut Command) -> Result<()> {
    eprintln!("\n== {shown}");
    run(command)
}

/// Builds programs and image, starts a hub, gives it a job, boots the image as its worker, shows what comes of it, and
/// ends everything that it started.
pub(crate) fn run_demo() -> Result<()> {
    let began = Instant::now();
    eprintln!("== programs");
    host::install(&[host::TO_BOOT, host::to_build()])?;
    let programs = build::programs(Profile::Dev)?;
    let compiled = began.elapsed();
    let directory = workspace().join(DIRECTORY);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing what an earlier demo left in {DIRECTORY}"));
        }
        _ => {}
    }
    fs::create_dir_all(&directory).with_context(|| format!("making {DIRECTORY}"))?;

    let mut rocbed = Command::new(&programs.rocbed);
    rocbed.current_dir(workspace());
    stage("rocbed build smoke", rocbed.args(["build", "smoke"]))?;

    eprintln!("\n== rocbed hub --listen 127.0.0.1:0 --data {DIRECTORY}/hub");
    let hub = Hub::start(&programs.rocbed, &directory.join("hub"))?;
    eprintln!("its pages: {}", hub.address());

    stage("rocbed jobs import examples/demo.toml", hub.rocbed().args(["jobs", "import", "examples/demo.toml"]))?;
    let job = hub.newest_job()?;

    eprintln!("\n== rocbed boot images/smoke --hub {} --gpu gfx1030 --when-done power-off", hub.address());
    let console = directory.join("console.log");
    let mut machine = boot(&hub, &console)?;
    eprintln!("== rocbed jobs watch {job}");
    let watched = watch(&hub, &job, &mut machine);
    // The machine switches itself off once the hub has no more jobs; one that cannot be watched any more has no use.
    if watched.is_err() {
        drop(machine.kill());
    }
    let ended = machine.wait().context("waiting for the machine's end")?;
    watched.with_context(|| format!("help: its console is in {}", console.display()))?;
    if !ended.success() {
        bail!("the machine did not come to a good end: {ended}\n  help: its console is in {}", console.display());
    }

    stage("rocbed results list", hub.rocbed().args(["results", "list"]))?;
    stage(&format!("rocbed results show {job}"), hub.rocbed().args(["results", "show", &job]))?;
    let page = directory.join("report.html");
    stage(
        &format!("rocbed results report {job} -o {DIRECTORY}/report.html"),
        hub.rocbed().args(["results", "report", &job, "-o"]).arg(&page),
    )?;
    let address = hub.end()?;
    eprintln!(
        "\nThe demo took {:.0} s, {:.0} s of them for compiling. Nothing is left running.\n\
         The result's page:    {}\n\
         The machine's console: {}\n\
         All pages again:      rocbed hub --data {DIRECTORY}/hub --listen {address}",
        began.elapsed().as_secs_f64(),
        compiled.as_secs_f64(),
        page.display(),
        console.display(),
    );
    Ok(())
}

/// Boots the image as a worker of the hub, its console in a file.
fn boot(hub: &Hub, console: &std::path::Path) -> Result<Child> {
    let file = File::create(console).with_context(|| format!("making {}", console.display()))?;
    let mut command = hub.rocbed();
    command.args(["boot", "images/smoke", "--hub", hub.address(), "--gpu", "gfx1030", "--memory", "2GiB"]);
    // A mirror that is a copy may be older than its Release file says; signatures are checked all the same.
    command.args(["--when-done", "power-off", "--ignore-valid-until"]);
    command.stdin(Stdio::null()).stdout(file).spawn().context("starting rocbed boot")
}

/// Shows the job's log as it comes. Fails if the machine ends before the job does.
fn watch(hub: &Hub, job: &str, machine: &mut Child) -> Result<()> {
    let mut watching = hub.rocbed().args(["jobs", "watch", job]).spawn().context("starting rocbed jobs watch")?;
    let mut gone = None;
    loop {
        if let Some(status) = watching.try_wait().context("waiting for rocbed jobs watch")? {
            if !status.success() {
                bail!("the job did not pass: {status}");
            }
            return Ok(());
        }
        if machine.try_wait().context("waiting for the machine")?.is_some() {
            // What it delivered last may still be on its way to the one who watches.
            let since = *gone.get_or_insert_with(Instant::now);
            if since.elapsed() > Duration::from_secs(10) {
                drop(watching.kill());
                drop(watching.wait());
                bail!("the machine ended before the job did");
            }
        }
        thread::sleep(LOOK);
    }
}
