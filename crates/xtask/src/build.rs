//! Builds the programs: rocbed for this machine, and a static rocbed-init.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::compile::compile;
use crate::run::{cargo, target_directory};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Paths of the built programs.
pub(crate) struct Programs {
    /// The command line.
    pub(crate) rocbed: PathBuf,
    /// PID 1, copied beside rocbed, which looks for it there.
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
    /// The release profile.
    Release,
}

impl Profile {
    /// cargo's profile for rocbed-init. The one that ships takes minutes to optimise across all crates, so images that
    /// only tests boot use another one.
    fn of_appliance(self) -> &'static str {
        match self {
            Self::DevWithTests => "appliance-test",
            Self::Dev | Self::DevToMeasure | Self::Release => "appliance",
        }
    }
}

/// Builds both programs.
pub(crate) fn programs(profile: Profile) -> Result<Programs> {
    eprintln!("building rocbed-init (static)");
    // Only this target gets the flag: build scripts and procedural macros cannot be linked statically.
    let appliance = profile.of_appliance();
    compile(cargo().env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static").args([
        "build",
        "--package",
        "rocbed-init",
        "--profile",
        appliance,
        "--target",
        TARGET,
    ]))?;
    eprintln!("building rocbed");
    let mut build = cargo();
    build.arg("build");
    match profile {
        Profile::Dev => build.args(["--package", "rocbed"]),
        Profile::DevWithTests | Profile::DevToMeasure => build.args(["--bins", "--tests"]),
        Profile::Release => build.args(["--package", "rocbed", "--release"]),
    };
    compile(&mut build)?;
    let directory = target_directory().join(if profile == Profile::Release { "release" } else { "debug" });
    let built = target_directory().join(TARGET).join(appliance).join("rocbed-init");
    let init = directory.join("rocbed-init");
    // Renamed into place: a cargo hard link, or a running copy, must not be written to.
    let fresh = directory.join("rocbed-init.new");
    std::fs::copy(&built, &fresh).with_context(|| format!("copying {} to {}", built.display(), fresh.display()))?;
    std::fs::rename(&fresh, &init).with_context(|| format!("renaming to {}", init.display()))?;
    Ok(Programs { rocbed: directory.join("rocbed"), init })
}
