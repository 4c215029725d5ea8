//! Builds the programs: rocbed and autopkgtest-virt-rocbed for this machine, and a static rocbed-init.
//!
//! `.cargo/rustc-wrapper` links rocbed-init statically in every profile. cargo puts the wrapper's path into the symbols of the
//! workspace's crates, and with them into their order; so programs that are handed out are built without it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::compile::compile;
use crate::run::{cargo, target_directory, workspace};

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
    /// cargo's profile for a rocbed-init of its own: the one that ships takes minutes to optimise across all crates.
    /// Images that only tests and the demo boot have one that shares its compiled crates with rocbed.
    fn of_appliance(self) -> Option<&'static str> {
        match self {
            Self::DevWithTests | Self::Demo => None,
            Self::Dev | Self::DevToMeasure | Self::Release => Some("appliance"),
        }
    }

    /// cargo's profile for rocbed, and its name in the target directory.
    fn of_rocbed(self) -> (&'static str, &'static str) {
        match self {
            Self::Dev | Self::DevWithTests | Self::DevToMeasure => ("dev", "debug"),
            Self::Demo => ("demo", "demo"),
            Self::Release => ("release", "release"),
        }
    }
}

/// Builds all programs.
pub(crate) fn programs(profile: Profile) -> Result<Programs> {
    let own_init = profile.of_appliance().map(|appliance| init(profile, appliance)).transpose()?;
    let (cargo_profile, directory) = profile.of_rocbed();
    let mut build = build("build", profile, cargo_profile)?;
    match profile {
        Profile::DevWithTests | Profile::DevToMeasure => build.args(["--bins", "--tests"]),
        Profile::Demo => build.args(["--package", "rocbed", "--package", "rocbed-init"]),
        Profile::Dev | Profile::Release => build.args(["--package", "rocbed", "--package", "testbed", "--bins"]),
    };
    eprintln!("building rocbed");
    compile(&mut build)?;
    let directory = target_directory().join(directory);
    let init = directory.join("rocbed-init");
    if let Some(built) = own_init {
        // Renamed into place: a cargo hard link, or a running copy, must not be written to.
        let fresh = directory.join("rocbed-init.new");
        std::fs::copy(&built, &fresh).with_context(|| format!("copying {} to {}", built.display(), fresh.display()))?;
        std::fs::rename(&fresh, &init).with_context(|| format!("renaming to {}", init.display()))?;
    }
    Ok(Programs { rocbed: directory.join("rocbed"), init })
}

/// Options of rustc for rocbed-init, as `.cargo/rustc-wrapper` has them for optimised profiles.
const OF_INIT: [&str; 4] = ["-C", "target-feature=+crt-static", "-C", "strip=symbols"];

/// Builds a rocbed-init of its own; returns its path.
fn init(profile: Profile, appliance: &str) -> Result<PathBuf> {
    eprintln!("building rocbed-init");
    let mut build = build("rustc", profile, appliance)?;
    build.env(WRAPPER, "");
    compile(build.args(["--package", "rocbed-init", "--bin", "rocbed-init", "--"]).args(OF_INIT))?;
    Ok(target_directory().join(appliance).join("rocbed-init"))
}

/// The variable that cargo reads before the wrapper in `.cargo/config.toml`; if it is empty, there is no wrapper.
const WRAPPER: &str = "RUSTC_WORKSPACE_WRAPPER";

/// `cargo build` or `cargo rustc` with this profile of cargo.
fn build(subcommand: &str, profile: Profile, cargo_profile: &str) -> Result<Command> {
    let mut build = cargo();
    build.args([subcommand, "--profile", cargo_profile]);
    if profile == Profile::Release {
        build.env(WRAPPER, "");
        let remapped = remapped_paths()?;
        build.env("RUSTFLAGS", remapped.join(" "));
        // The C sources of dependencies have file names in assertions.
        build.env("CFLAGS", remapped.join(" ").replace("--remap-path-prefix", "-ffile-prefix-map"));
    }
    Ok(build)
}

/// Options of rustc that replace this machine's paths in messages of panics, for releases: the same bytes wherever they
/// are compiled.
fn remapped_paths() -> Result<Vec<String>> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    let map = |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![map(home, "/usr/share/cargo"), map(workspace(), "/usr/src/rocbed")])
}
