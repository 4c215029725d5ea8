//! `cargo xtask screenshots`: takes the pictures in `docs/images` from a real machine in QEMU.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::build::{self, Profile};
use crate::host;
use crate::run::{run as execute, workspace};

/// Jobs that end soon, and one that runs until the picture is taken.
const JOBS: &str = r#"
[[job]]
path = "../../tests/fixtures/trees/passes"
as = ["user", "root"]
[[job]]
path = "../../tests/fixtures/trees/skips"
gpu = ["gfx1030"]
[[job]]
path = "../../tests/fixtures/trees/hangs"
timeout = "10m"
"#;

/// Message on the console when the last job has started.
const LAST: &str = "rocbed-init: job hangs";

/// Time limit for everything.
const PATIENCE: Duration = Duration::from_secs(400);

/// Delay between that message and the picture, so that the test is running.
const LATER: Duration = Duration::from_secs(15);

/// A machine that ends when this is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Like Ctrl-C, so that QEMU ends too.
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Takes all pictures.
pub(crate) fn run() -> Result<()> {
    host::install(&[host::TO_BOOT])?;
    let rocbed = build::programs(Profile::DevWithTests)?.rocbed;
    let directory = workspace().join("target/screenshots");
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let (image, results) = (directory.join("image"), directory.join("results"));
    execute(Command::new(&rocbed).args(["--quiet", "build", "smoke", "--locked", "--output"]).arg(&image))?;
    let (jobs, screen) = (directory.join("jobs.toml"), directory.join("screen.png"));
    fs::write(&jobs, JOBS).with_context(|| format!("writing {}", jobs.display()))?;
    let mut boot = Command::new(&rocbed);
    boot.args(["--quiet", "boot", "--gpu", "gfx1030", "--network", "none", "--jobs"]).arg(&jobs);
    boot.arg("--results").arg(&results).arg("--screenshot").arg(&screen).arg(&image);
    let machine = Machine(boot.stdout(Stdio::null()).spawn().context("starting rocbed boot")?);
    let console = results.join("console.log");
    let began = Instant::now();
    // The file does not exist at first.
    while !fs::read_to_string(&console).is_ok_and(|text| text.contains(LAST)) {
        ensure!(began.elapsed() < PATIENCE, "the last job did not begin; {} has all of the console", console.display());
        thread::sleep(Duration::from_millis(200));
    }
    thread::sleep(LATER);
    let picture = workspace().join("docs/images/status-screen.png");
    fs::create_dir_all(picture.with_file_name("")).context("making docs/images")?;
    fs::copy(&screen, &picture).with_context(|| format!("copying {} to {}", screen.display(), picture.display()))?;
    drop(machine);
    println!("{}", picture.display());
    Ok(())
}
