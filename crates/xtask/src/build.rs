//! Building the programs: rocbed for this machine, rocbed-init static for any.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::run::{cargo, run, target_directory};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where the programs are once built.
pub(crate) struct Programs {
    /// The command line.
    pub(crate) rocbed: PathBuf,
    /// PID 1, copied beside it, where rocbed looks for it.
    pub(crate) init: PathBuf,
}

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// The dev profile: it optimises dependencies, so its rocbed is nearly as fast as the release one.
    Dev,
    /// The dev profile, together with the unit tests: cargo then chooses the dependencies' features as `cargo test`
    /// does, and nothing is compiled twice.
    DevWithTests,
    /// The release profile.
    Release,
}

/// Builds both.
pub(crate) fn programs(profile: Profile) -> Result<Programs> {
    eprintln!("building rocbed-init (static)");
    // Only this target gets the flag: build scripts and procedural macros cannot be linked statically.
    run(cargo().env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static").args([
        "build",
        "--quiet",
        "--package",
        "rocbed-init",
        "--profile",
        "appliance",
        "--target",
        TARGET,
    ]))?;
    eprintln!("building rocbed");
    let mut build = cargo();
    build.args(["build", "--quiet"]);
    match profile {
        Profile::Dev => build.args(["--package", "rocbed"]),
        Profile::DevWithTests => build.args(["--bins", "--tests"]),
        Profile::Release => build.args(["--package", "rocbed", "--release"]),
    };
    run(&mut build)?;
    let directory = target_directory().join(if profile == Profile::Release { "release" } else { "debug" });
    let built = target_directory().join(TARGET).join("appliance/rocbed-init");
    let init = directory.join("rocbed-init");
    // By way of another name: a cargo hard link or a running copy under this name must not be written into.
    let fresh = directory.join("rocbed-init.new");
    std::fs::copy(&built, &fresh).with_context(|| format!("copying {} to {}", built.display(), fresh.display()))?;
    std::fs::rename(&fresh, &init).with_context(|| format!("renaming to {}", init.display()))?;
    Ok(Programs { rocbed: directory.join("rocbed"), init })
}
