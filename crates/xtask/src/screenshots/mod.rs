//! `cargo xtask screenshots`: takes the pictures in `docs/images` of a real hub, whose workers are machines in QEMU.
//!
//! One machine with three simulated GPUs fills the matrix. Another one starts from a stick that is written as a user would,
//! and shows what its display and the hub's pages look like on the way to a result.

mod browser;
mod hub;
mod machine;
mod year;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::browser::{Browser, Colours, Size};
use self::hub::Hub;
use self::machine::Machine;
use crate::build::{self, Profile};
use crate::host;
use crate::run::{run as execute, target_directory, workspace};

/// Packages of Debian whose tests are small.
const PACKAGES: &[&str] = &["debianutils", "figlet", "file", "gzip", "mawk", "sed"];

/// Targets of the first machine's GPUs.
const RACK: &str = "gfx1030,gfx90a,gfx942";

/// Target of the GPU of the machine that starts from a stick.
const STICK: &str = "gfx1100";

/// The package whose run is seen on the display and on its page: it takes long enough.
const SEEN: &str = "gzip";

/// Time limit for the jobs of a machine, which QEMU may have to translate.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Interval for asking the hub.
const POLL: Duration = Duration::from_millis(500);

/// Delay between a change and a picture of the display, which is renewed every second.
const LATER: Duration = Duration::from_secs(4);

/// A desktop's window for pages of this height. All pictures have the width of a page of text.
const fn desktop(height: u32) -> Size {
    Size { width: 1080, height }
}

/// A telephone's window.
const PHONE: Size = Size { width: 412, height: 760 };

/// `cargo xtask screenshots`
#[derive(Debug, Args)]
pub(crate) struct ScreenshotsOptions {
    /// Use the rocbed and the static rocbed-init in this directory instead of compiling them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Only the pages of histories, of the hub with a year of results that the example `year` of the hub has made in this
    /// directory
    #[arg(long, value_name = "DIR")]
    year: Option<PathBuf>,
}

/// Takes all pictures.
pub(crate) fn run(options: &ScreenshotsOptions) -> Result<()> {
    // The pages of histories need no machine.
    let needed: &[_] = if options.year.is_some() { &[host::TO_PICTURE] } else { &[host::TO_BOOT, host::TO_PICTURE] };
    host::install(needed)?;
    let rocbed = match &options.programs {
        Some(directory) => fs::canonicalize(directory.join("rocbed")).context("looking for rocbed in --programs")?,
        None => build::programs(Profile::DevWithTests)?.rocbed,
    };
    let directory = target_directory().join("screenshots");
    let pictures = workspace().join("docs/images");
    fs::create_dir_all(&pictures).with_context(|| format!("making {}", pictures.display()))?;
    if let Some(year) = &options.year {
        return year::take(&rocbed, year, &fresh(&directory.join("browser"))?, &pictures);
    }
    let hub = Hub::start(&rocbed, &fresh(&directory.join("hub"))?)?;
    let image = directory.join("image");
    execute(hub.rocbed().args(["--quiet", "build", "smoke", "--locked", "--output"]).arg(&image))?;

    let add = |packages: &[&str], gpu: &str| {
        let words = ["--quiet", "jobs", "add", "--each-target", "--gpu", gpu];
        execute(hub.rocbed().args(words).args(packages).stdout(std::process::Stdio::null()))
    };
    let browser = Browser::new(directory.join("browser"), hub.address());
    eprintln!("starting a machine with {RACK}, and another one from a stick");
    add(PACKAGES, RACK)?;
    let (small, large) = (directory.join("rack.png"), directory.join("stick.png"));
    let rack = Machine::of_rack(&hub, &image, RACK, &directory, &small)?;
    let stick = write_stick(&hub, &image, &directory)?;
    let machine = Machine::of_stick(&hub, &stick, &directory, &large)?;
    until("the machine registers", || hub.is_ready(machine::OF_STICK))?;
    thread::sleep(LATER);
    keep(&large, &pictures.join("display-ready.png"))?;
    browser.take("/workers", desktop(320), Colours::Light, &pictures.join("hub-workers.png"))?;
    // The last one has results above it on the display.
    let others: Vec<&str> = PACKAGES.iter().copied().filter(|package| *package != SEEN).collect();
    add(&others, STICK)?;
    add(&[SEEN], STICK)?;

    until("a test of the rack runs", || Ok(hub.tested(None, RACK)?.is_some()))?;
    thread::sleep(LATER);
    keep(&small, &pictures.join("display-small.png"))?;
    let job = until_some("a test of the machine runs", || hub.tested(Some(SEEN), STICK))?;
    thread::sleep(LATER);
    keep(&large, &pictures.join("display-running.png"))?;
    let page = format!("/jobs/{job}");
    browser.take(&page, desktop(760), Colours::Light, &pictures.join("hub-job-running.png"))?;

    until("all jobs end", || Ok(hub.unfinished()? == 0))?;
    drop((rack, machine));
    browser.take(&page, desktop(760), Colours::Light, &pictures.join("hub-job.png"))?;
    for (colours, name) in [(Colours::Light, "matrix.png"), (Colours::Dark, "matrix-dark.png")] {
        browser.take("/", desktop(500), colours, &pictures.join(name))?;
    }
    // The same package on another GPU is something to compare with.
    let other = hub.finished(SEEN)?.into_iter().find(|other| *other != job);
    let other = other.with_context(|| format!("looking for another result of {SEEN}"))?;
    for (page, height, name) in [
        (format!("/jobs/{job}/files"), 560, "hub-files.png"),
        (format!("/compare?before={other}&after={job}"), 760, "hub-compare.png"),
        ("/regressions".to_owned(), 400, "hub-regressions.png"),
        ("/flaky".to_owned(), 400, "hub-flaky.png"),
        ("/archive".to_owned(), 320, "hub-archive.png"),
        ("/webhooks".to_owned(), 320, "hub-webhooks.png"),
        (format!("/login?next={page}"), 320, "hub-login.png"),
    ] {
        browser.take(&page, desktop(height), Colours::Light, &pictures.join(name))?;
    }
    println!("{}", pictures.display());
    Ok(())
}

/// An empty directory.
fn fresh(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    Ok(path.to_owned())
}

/// Writes a stick with the hub's address and a simulated GPU; returns its file.
fn write_stick(hub: &Hub, image: &Path, directory: &Path) -> Result<PathBuf> {
    let stick = directory.join("stick.img");
    if stick.exists() {
        fs::remove_file(&stick).with_context(|| format!("removing {}", stick.display()))?;
    }
    let settings = hub.settings(machine::OF_STICK, STICK)?;
    let mut flash = hub.rocbed();
    flash.args(["--quiet", "flash", "--file", "--yes", "--no-verify", "--size", "4GiB"]).arg(image).arg(&stick);
    execute(flash.args(settings.iter().flat_map(|setting| ["--set", setting])))?;
    Ok(stick)
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    until_some(what, || Ok(is_so()?.then_some(())))
}

/// Waits until there is something.
fn until_some<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(began.elapsed() < PATIENCE, "waited in vain for an hour: {what}; the console is in target/screenshots");
        thread::sleep(POLL);
    }
}

/// Copies a picture of a display.
fn keep(screen: &Path, picture: &Path) -> Result<()> {
    fs::copy(screen, picture)
        .with_context(|| format!("copying {} to {}", screen.display(), picture.display()))
        .map(drop)
}

/// A command that prints nothing.
fn silent(command: &mut Command) -> &mut Command {
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null())
}
