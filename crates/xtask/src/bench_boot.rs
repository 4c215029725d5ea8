//! `cargo xtask bench-boot`: measures how long the appliance takes until its agent is ready, compared with the time
//! that the same kernel takes on the same virtual machine to start an /init that does nothing.
//!
//! The guests report both times, in seconds since their kernels started. They run in turn; the figure to quote is the
//! difference.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{self, Profile};
use crate::host;
use crate::run::run as execute;

const EMPTY_INIT: &str = include_str!("bench_boot/empty_init.rs");

/// How to measure.
#[derive(Args)]
pub(crate) struct BenchBootOptions {
    /// Runs of each side
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Where the images go
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

/// Runs both in turn and prints a table on stdout.
pub(crate) fn run(options: &BenchBootOptions) -> Result<()> {
    host::install(&[host::TO_TEST, host::TO_BOOT])?;
    let programs = build::programs(Profile::DevToMeasure)?;
    fs::create_dir_all(&options.directory).with_context(|| format!("making {}", options.directory.display()))?;
    let directory = options.directory.canonicalize().context("finding the benchmark's directory")?;
    let image = directory.join("image");
    execute(Command::new(&programs.rocbed).args(["--quiet", "build", "smoke", "--locked", "--output"]).arg(&image))?;
    let empty = empty_image(&image, &directory)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for number in 1..=options.runs {
        without.push(boot(&programs.rocbed, &empty, "empty init at ")?);
        with.push(boot(&programs.rocbed, &image, "rocbed-init: ready at ")?);
        eprintln!("run {number}: {:.2} s and {:.2} s", without[without.len() - 1], with[with.len() - 1]);
    }
    let (without, with) = (median(&mut without), median(&mut with));
    println!("| from the kernel's start to | median of {}, s |\n|---|---:|", options.runs);
    println!("| an /init that does nothing | {without:.2} |\n| the agent, ready | {with:.2} |");
    println!("| difference | {:.2} |", with - without);
    Ok(())
}

/// Makes the same image with another initramfs, which contains only an /init.
fn empty_image(image: &Path, directory: &Path) -> Result<PathBuf> {
    let (empty, tree) = (directory.join("empty"), directory.join("empty-initramfs"));
    for directory in [&empty, &tree] {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("removing {}", directory.display()))?;
        }
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    for name in ["vmlinuz", "root.img", "cmdline", "SHA256SUMS"] {
        symlink(image.join(name), empty.join(name)).with_context(|| format!("linking {name}"))?;
    }
    let source = directory.join("empty_init.rs");
    fs::write(&source, EMPTY_INIT).context("writing the empty init's source")?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let flags = ["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"];
    execute(Command::new(rustc).args(flags).arg(tree.join("init")).arg(&source))?;
    let archive = empty.join("initrd.img");
    let file = File::create(&archive).with_context(|| format!("making {}", archive.display()))?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--quiet"]).current_dir(&tree).stdin(Stdio::piped()).stdout(file);
    let mut child = cpio.spawn().context("starting cpio")?;
    if let Some(mut names) = child.stdin.take() {
        std::io::Write::write_all(&mut names, b"init\n").context("telling cpio what to pack")?;
    }
    ensure!(child.wait().context("waiting for cpio")?.success(), "cpio failed");
    Ok(empty)
}

/// Boots an image; returns the seconds that its console reports after these words.
fn boot(rocbed: &Path, image: &Path, words: &str) -> Result<f64> {
    let output = Command::new(rocbed).args(["--quiet", "boot"]).arg(image).output().context("starting rocbed")?;
    let console = String::from_utf8_lossy(&output.stdout);
    let rest = console.lines().find_map(|line| Some(line.split_once(words)?.1));
    let seconds = rest.and_then(|rest| rest.split(' ').next()?.parse().ok());
    seconds.with_context(|| {
        format!("{} did not say {words:?}:\n{console}\n{}", image.display(), String::from_utf8_lossy(&output.stderr))
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
