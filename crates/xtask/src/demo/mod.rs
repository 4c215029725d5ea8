//! `cargo xtask demo`: runs a real package's tests in a booted appliance, with a hub; it needs only a Rust toolchain.

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

/// Output directory, relative to the workspace.
const DIRECTORY: &str = "results/demo";

/// Interval for checking whether the machine is still running.
const LOOK: Duration = Duration::from_millis(200);

/// Runs a rocbed command, under a heading that shows it as a user would type it.
fn stage(shown: &str, command: &mut Command) -> Result<()> {
    eprintln!("\n== {shown}");
    run(command)
}

/// Builds the programs and an image, starts a hub, adds a job, boots the image as a worker, shows the result, and ends
/// everything that it started.
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
    // The machine powers off once the hub has no more jobs; a machine that can no longer be watched is ended.
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

/// Boots the image as a worker of the hub, with its console in a file.
fn boot(hub: &Hub, console: &std::path::Path) -> Result<Child> {
    let file = File::create(console).with_context(|| format!("making {}", console.display()))?;
    let mut command = hub.rocbed();
    command.args(["boot", "images/smoke", "--hub", hub.address(), "--gpu", "gfx1030", "--memory", "2GiB"]);
    // The Release file of a mirror that is a copy may have expired; signatures are still checked.
    command.args(["--when-done", "power-off", "--ignore-valid-until"]);
    command.stdin(Stdio::null()).stdout(file).spawn().context("starting rocbed boot")
}

/// Shows the job's log as it arrives. Fails if the machine ends before the job does.
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
            // The machine's last delivery may not be visible yet.
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
