//! `cargo xtask bench`: compares rocbed with mmdebstrap and mkfs.ext4 on this machine, in turn.
//!
//! All sides read their .debs from the disk. Runs of the sides alternate, so that changes in the machine's speed affect
//! all alike; the figure to quote is the ratio. The peer runs twice: with exactly the same packages, and as it is
//! usually used, with Debian's kernel package and so with an initramfs generator. rocbed makes an initramfs in both
//! cases.

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
pub(crate) struct BenchOptions {
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
pub(crate) fn run(options: &BenchOptions) -> Result<()> {
    host::install(&[host::TO_TEST])?;
    let programs = build::programs(if options.dev { Profile::DevToMeasure } else { Profile::Release })?;
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
    let plan = output(
        Command::new(&programs.rocbed).args(["plan", &options.recipe, "--locked", "--json"]).stderr(Stdio::inherit()),
    )?;
    let plan: serde_json::Value = serde_json::from_str(&plan).context("reading rocbed's plan")?;
    let debs = debs(&plan)?;
    let same = archive(&directory.join("archive"), &debs)?;
    let mut with_kernel: Vec<&str> = debs.iter().map(|deb| deb.name.as_str()).collect();
    with_kernel.push(KERNEL);
    let mirror = plan["mirror"].as_str().context("the plan names no mirror")?;
    let downloaded = download(&directory.join("apt"), mirror, &with_kernel)?;
    let usual = archive(&directory.join("archive-with-kernel"), &downloaded)?;
    let names: Vec<&str> = debs.iter().map(|deb| deb.name.as_str()).collect();
    let setting = Setting { recipe: directory.join("setting.toml"), parent: &options.recipe };
    let lock = Path::new(plan["lock"].as_str().context("the plan names no lock")?);
    let change = |name: &str| -> Result<Command> {
        setting.set(name)?;
        let mut command = Command::new(&programs.rocbed);
        command.args(["--quiet", "build", "--locked", "--lock"]).arg(lock).arg("--output");
        command.arg(directory.join("setting")).arg(&setting.recipe);
        Ok(command)
    };
    execute(&mut change("before")?)?;

    let (mut ours, mut theirs, mut usuals, mut changes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.runs {
        eprintln!("round {round} of {}", options.runs);
        fs::remove_dir_all(&image).with_context(|| format!("removing {}", image.display()))?;
        ours.push(time(&mut rocbed(&["--fresh"]))?);
        theirs.push(mmdebstrap(&same, &names, &directory)?);
        usuals.push(mmdebstrap(&usual, &with_kernel, &directory)?);
        changes.push(time(&mut change(&format!("round-{round}"))?)?);
    }
    let (fresh, same, usual) = (median(&mut ours), median(&mut theirs), median(&mut usuals));
    let profile = if options.dev { "dev" } else { "release" };
    let (recipe, peer) = (&options.recipe, "mmdebstrap + mkfs.ext4 -d");
    let seconds = |time: Duration| time.as_secs_f64();
    println!("| what | median of {} | best |", options.runs);
    println!("|---|---|---|");
    let row = |what: &str, times: &[Duration]| {
        let best = times.first().copied().unwrap_or_default();
        println!("| {what} | {:.1} s | {:.1} s |", seconds(middle(times)), seconds(best));
    };
    row(&format!("rocbed build {recipe} --fresh ({profile} profile)"), &ours);
    row(&format!("{peer}: the same packages, no initramfs"), &theirs);
    println!("| ratio | {:.1}x | |", seconds(same) / seconds(fresh));
    row(&format!("{peer}: these and {KERNEL}, so with an initramfs"), &usuals);
    println!("| ratio | {:.1}x | |", seconds(usual) / seconds(fresh));
    let (change, best) = (median(&mut changes), changes.first().copied().unwrap_or_default());
    println!("| rocbed build with another setting | {:.2} s | {:.2} s |", seconds(change), seconds(best));
    Ok(())
}

/// Debian's kernel package: it depends on a generator, which makes an initramfs when the kernel is configured.
const KERNEL: &str = "linux-image-amd64";

/// A recipe with a changed setting.
struct Setting<'a> {
    recipe: PathBuf,
    parent: &'a str,
}

impl Setting<'_> {
    fn set(&self, name: &str) -> Result<()> {
        let text = format!("inherits = {:?}\n[settings]\nname = {name:?}\n", self.parent);
        fs::write(&self.recipe, text).with_context(|| format!("writing {}", self.recipe.display()))
    }
}

fn time(command: &mut Command) -> Result<Duration> {
    let began = Instant::now();
    execute(command)?;
    Ok(began.elapsed())
}

/// Sorts the times and returns the median.
fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    middle(times)
}

fn middle(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// A package's file.
struct Deb {
    name: String,
    /// File name in an archive.
    file: String,
    path: PathBuf,
}

/// The packages in the output of `rocbed plan --json`, which are the locked ones in the store.
fn debs(plan: &serde_json::Value) -> Result<Vec<Deb>> {
    let packages = plan["packages"].as_array().context("the plan has no packages")?;
    packages
        .iter()
        .filter(|package| package["role"].is_null())
        .map(|package| {
            let text = |key: &str| package[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
            let name = text("name")?;
            let file = format!("{name}_{}.deb", text("version")?.replace(':', "%3a"));
            Ok(Deb { name, file, path: text("cached")?.into() })
        })
        .collect()
}

/// Downloads from the mirror what apt would install for these packages, with all dependencies. The host's own apt is
/// not changed.
fn download(directory: &Path, mirror: &str, names: &[&str]) -> Result<Vec<Deb>> {
    for below in
        ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"]
    {
        let path = directory.join(below);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    }
    fs::write(directory.join("status"), "").context("writing an empty list of packages")?;
    fs::write(directory.join("etc/apt/sources.list"), format!("deb [trusted=yes] {mirror} sid main\n"))
        .context("writing apt's sources")?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("-qq").args(["-o", &format!("Dir={}", directory.display())]);
        command.args(["-o", &format!("Dir::State::status={}", directory.join("status").display())]);
        for option in ["Acquire::Check-Valid-Until=false", "APT::Install-Recommends=false", "APT::Sandbox::User=root"] {
            command.args(["-o", option]);
        }
        command.args(words).stdout(Stdio::null());
        command
    };
    execute(&mut apt(&["update"]))?;
    execute(&mut apt(&[&["install", "--yes", "--download-only"], names].concat()))?;
    let archives = directory.join("var/cache/apt/archives");
    let mut debs = Vec::new();
    for entry in fs::read_dir(&archives).with_context(|| format!("reading {}", archives.display()))? {
        let path = entry.with_context(|| format!("reading {}", archives.display()))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let (true, Some((name, _))) = (path.extension().is_some_and(|end| end == "deb"), file.split_once('_')) {
            debs.push(Deb { name: name.to_owned(), file: file.clone(), path });
        }
    }
    Ok(debs)
}

/// Makes a small apt archive of these packages for mmdebstrap: the same bytes, no network.
fn archive(directory: &Path, debs: &[Deb]) -> Result<PathBuf> {
    let pool = directory.join("pool");
    fs::create_dir_all(&pool).with_context(|| format!("making {}", pool.display()))?;
    for deb in debs {
        let link = pool.join(&deb.file);
        if !link.exists() {
            std::os::unix::fs::symlink(&deb.path, &link).with_context(|| format!("linking {}", link.display()))?;
        }
    }
    let index = output(Command::new("dpkg-scanpackages").args(["--multiversion", "pool"]).current_dir(directory))?;
    fs::write(directory.join("Packages"), index).context("writing the index")?;
    Ok(directory.to_owned())
}

/// One run of the peer: makes a root directory from packages of the archive, then a file system from it.
fn mmdebstrap(archive: &Path, names: &[&str], directory: &Path) -> Result<Duration> {
    let root = directory.join("mmdebstrap-root");
    let image = directory.join("mmdebstrap.img");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
    }
    let began = Instant::now();
    execute(
        Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=custom"])
            .arg(format!("--include={}", names.join(",")))
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
