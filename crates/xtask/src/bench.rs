//! `cargo xtask bench`: rocbed against what people use today, on this machine, in turn.
//!
//! Both sides get the same .debs, already on disk. A run of one is followed by a run of the other, so that a machine
//! whose speed drifts treats both alike; the figure to quote is the ratio.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, Profile};
use crate::host;
use crate::run::{output, run as execute};

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs of each side
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Measure the dev profile, which is built faster and runs slower than the release
    #[arg(long)]
    dev: bool,
    /// Which recipe
    #[arg(long, default_value = "smoke")]
    recipe: String,
    /// Where the builds go
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

/// Runs the comparison and prints a table on stdout.
pub(crate) fn run(options: &Options) -> Result<()> {
    host::install(&[host::TO_TEST])?;
    let programs = build::programs(if options.dev { Profile::DevWithTests } else { Profile::Release })?;
    let directory = &options.directory;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let directory = directory.canonicalize().context("finding the benchmark's directory")?;
    let image = directory.join("image");
    let rocbed = |words: &[&str]| {
        let mut command = Command::new(&programs.rocbed);
        command.args(["--quiet", "build", &options.recipe, "--locked", "--output"]).arg(&image).args(words);
        command
    };
    eprintln!("warming up: downloading the packages");
    execute(&mut rocbed(&[]))?;
    let packages = output(
        Command::new(&programs.rocbed).args(["plan", &options.recipe, "--locked", "--json"]).stderr(Stdio::inherit()),
    )?;
    let debs = debs(&packages)?;
    let archive = archive(&directory.join("archive"), &debs)?;

    let (mut ours, mut theirs, mut rebuilds) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.runs {
        eprintln!("round {round} of {}", options.runs);
        fs::remove_dir_all(&image).with_context(|| format!("removing {}", image.display()))?;
        ours.push(time(&mut rocbed(&["--fresh"]))?);
        theirs.push(mmdebstrap(&archive, &debs, &directory)?);
        rebuilds.push(time(&mut rocbed(&[]))?);
    }
    let (fast, slow) = (median(&mut ours), median(&mut theirs));
    println!("| what | median of {} |", options.runs);
    println!("|---|---|");
    println!("| rocbed build {} --fresh | {:.1} s |", options.recipe, fast.as_secs_f64());
    println!("| mmdebstrap + mkfs.ext4 -d | {:.1} s |", slow.as_secs_f64());
    println!("| ratio | {:.1}x |", slow.as_secs_f64() / fast.as_secs_f64());
    println!("| rocbed build again, nothing changed | {:.2} s |", median(&mut rebuilds).as_secs_f64());
    Ok(())
}

fn time(command: &mut Command) -> Result<Duration> {
    let began = Instant::now();
    execute(command)?;
    Ok(began.elapsed())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A locked package's .deb in the store.
struct Deb {
    name: String,
    version: String,
    path: PathBuf,
}

/// Reads what `rocbed plan --json` says of the packages.
fn debs(plan: &str) -> Result<Vec<Deb>> {
    let plan: serde_json::Value = serde_json::from_str(plan).context("reading rocbed's plan")?;
    let packages = plan["packages"].as_array().context("the plan has no packages")?;
    packages
        .iter()
        .filter(|package| package["role"] != "build")
        .map(|package| {
            let text = |key: &str| package[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
            Ok(Deb { name: text("name")?, version: text("version")?, path: text("cached")?.into() })
        })
        .collect()
}

/// A small archive of these packages, as apt wants it, for mmdebstrap: the same bytes, no network.
fn archive(directory: &Path, debs: &[Deb]) -> Result<PathBuf> {
    let pool = directory.join("pool");
    fs::create_dir_all(&pool).with_context(|| format!("making {}", pool.display()))?;
    for deb in debs {
        let link = pool.join(format!("{}_{}.deb", deb.name, deb.version.replace(':', "%3a")));
        if !link.exists() {
            std::os::unix::fs::symlink(&deb.path, &link).with_context(|| format!("linking {}", link.display()))?;
        }
    }
    let index = output(Command::new("dpkg-scanpackages").args(["--multiversion", "pool"]).current_dir(directory))?;
    fs::write(directory.join("Packages"), index).context("writing the index")?;
    Ok(directory.to_owned())
}

/// One run of the peer: a root from the same packages, then a file system from that root.
fn mmdebstrap(archive: &Path, debs: &[Deb], directory: &Path) -> Result<Duration> {
    let root = directory.join("mmdebstrap-root");
    let image = directory.join("mmdebstrap.img");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
    }
    let include: Vec<&str> = debs.iter().map(|deb| deb.name.as_str()).collect();
    let began = Instant::now();
    execute(
        Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=custom"])
            .arg(format!("--include={}", include.join(",")))
            .args(["sid", &root.to_string_lossy()])
            .arg(format!("deb [trusted=yes] copy:{} ./", archive.display())),
    )?;
    if image.exists() {
        fs::remove_file(&image).with_context(|| format!("removing {}", image.display()))?;
    }
    fs::File::create(&image)
        .and_then(|file| file.set_len(4 << 30))
        .with_context(|| format!("making {}", image.display()))?;
    execute(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&root).arg(&image))?;
    Ok(began.elapsed())
}
