//! Builds the programs: rocbed and autopkgtest-virt-rocbed for this machine, and a static rocbed-init.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::compile::compile;
use crate::run::{cargo, target_directory, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Variable with rustc's options for `TARGET` only: build scripts and procedural macros cannot be linked statically.
const TARGET_FLAGS: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS";

/// Option of rustc for a static program.
const STATIC: &str = "-C target-feature=+crt-static";

/// Paths of the built programs.
pub(crate) struct Programs {
    /// The command line.
    pub(crate) rocbed: PathBuf,
    /// PID 1, beside rocbed, which looks for it there.
    pub(crate) init: PathBuf,
}

/// Cargo profile of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// The dev profile: it optimises dependencies, so its rocbed is nearly as fast as the release one.
    Dev,
    /// The dev profile, together with the unit tests: cargo then chooses the dependencies' features as `cargo test`
    /// does, and nothing is compiled twice.
    DevWithTests,
    /// Like `DevWithTests`, but with the rocbed-init that ships, for measuring.
    DevToMeasure,
    /// As fast to compile as it gets: for the demo.
    Demo,
    /// The release profile, with nothing in the programs that tells where they were compiled.
    Release,
}

impl Profile {
    /// cargo's profile for rocbed-init. The one that ships takes minutes to optimise across all crates, so images that
    /// only tests boot use another one.
    fn of_appliance(self) -> &'static str {
        match self {
            Self::DevWithTests => "appliance-test",
            Self::Demo => "demo",
            Self::Dev | Self::DevToMeasure | Self::Release => "appliance",
        }
    }
}

/// Builds all programs.
pub(crate) fn programs(profile: Profile) -> Result<Programs> {
    if profile == Profile::Demo {
        return for_demo();
    }
    let built = init(profile)?;
    let remapped = remapped_paths(profile)?;
    eprintln!("building rocbed");
    let mut build = cargo();
    build.arg("build");
    match profile {
        Profile::DevWithTests | Profile::DevToMeasure => build.args(["--bins", "--tests"]),
        _ => build.args(["--package", "rocbed", "--package", "testbed", "--bins"]),
    };
    if profile == Profile::Release {
        build.arg("--release").env("RUSTFLAGS", remapped.join(" "));
        with_c_paths(&mut build, &remapped);
    }
    compile(&mut build)?;
    let directory = target_directory().join(if profile == Profile::Release { "release" } else { "debug" });
    let init = directory.join("rocbed-init");
    // Renamed into place: a cargo hard link, or a running copy, must not be written to.
    let fresh = directory.join("rocbed-init.new");
    std::fs::copy(&built, &fresh).with_context(|| format!("copying {} to {}", built.display(), fresh.display()))?;
    std::fs::rename(&fresh, &init).with_context(|| format!("renaming to {}", init.display()))?;
    Ok(Programs { rocbed: directory.join("rocbed"), init })
}

/// Builds the static rocbed-init; returns its path in cargo's directories. It has a directory of its own there, so other
/// builds and tests may run meanwhile.
pub(crate) fn init(profile: Profile) -> Result<PathBuf> {
    let remapped = remapped_paths(profile)?;
    eprintln!("building rocbed-init (static)");
    let appliance = profile.of_appliance();
    let mut init = cargo();
    init.env(TARGET_FLAGS, [&[STATIC.to_owned()], &remapped[..]].concat().join(" "));
    init.args(["build", "--package", "rocbed-init", "--profile", appliance, "--target", TARGET]);
    with_c_paths(&mut init, &remapped);
    compile(&mut init)?;
    Ok(target_directory().join(TARGET).join(appliance).join("rocbed-init"))
}

/// Builds both programs at once, both static: so they share their dependencies, half of what there is to compile.
fn for_demo() -> Result<Programs> {
    let mut build = cargo();
    build.env(TARGET_FLAGS, STATIC);
    let profile = Profile::Demo.of_appliance();
    build.args(["build", "--package", "rocbed", "--package", "rocbed-init", "--profile", profile, "--target", TARGET]);
    compile(&mut build)?;
    let directory = target_directory().join(TARGET).join(profile);
    Ok(Programs { rocbed: directory.join("rocbed"), init: directory.join("rocbed-init") })
}

/// Options of rustc that replace this machine's paths in messages of panics, for releases: the same bytes wherever they
/// are compiled.
fn remapped_paths(profile: Profile) -> Result<Vec<String>> {
    if profile != Profile::Release {
        return Ok(Vec::new());
    }
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    let map = |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![map(home, "/usr/share/cargo"), map(workspace(), "/usr/src/rocbed")])
}

/// The same for the C sources of dependencies, which have file names in assertions.
fn with_c_paths(build: &mut Command, remapped: &[String]) {
    let flags = remapped.iter().map(|flag| flag.replace("--remap-path-prefix", "-ffile-prefix-map"));
    let flags: Vec<String> = flags.collect();
    if !flags.is_empty() {
        build.env("CFLAGS", OsString::from(flags.join(" ")));
    }
}
