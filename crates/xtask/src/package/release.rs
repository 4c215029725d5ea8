//! `cargo xtask release`: everything that is handed out, in one directory with the digests of all files.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use super::version::Version;
use super::{compiled, deb, tarball};
use crate::host;
use crate::run::{output, run, target_directory, workspace};

/// What to make.
#[derive(Args)]
pub(crate) struct Options {
    /// Package the programs in this directory instead of compiling them: rocbed, rocbed-init, autopkgtest-virt-rocbed
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where it goes [default: target/release-files]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Makes the packages, the tarball, the source and `SHA256SUMS`; prints the directory.
pub(crate) fn run_release(options: &Options) -> Result<()> {
    host::install(&[host::TO_PACKAGE, host::TO_RELEASE])?;
    let programs = match &options.programs {
        Some(directory) => directory.clone(),
        None => compiled()?,
    };
    let version = Version::of_checkout()?;
    let directory = options.output.clone().unwrap_or_else(|| target_directory().join("release-files"));
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("removing {}", directory.display()))?;
    }
    let built = deb::build(&programs, &version, false, &directory)?;
    let directory = directory.canonicalize().context("finding the release's directory")?;
    tarball::write(&built.tree, &version, &directory)?;
    source(&version, &directory)?;
    // These say when and where dpkg-buildpackage ran, and are for uploads to an archive.
    let records = "cd \"$1\"; rm -- *.buildinfo *.changes";
    run(Command::new("sh").args(["-euc", records, "sh"]).arg(&directory))?;
    fs::remove_dir_all(directory.join("build")).context("removing the packages' build directory")?;
    fs::copy(workspace().join("CHANGELOG.md"), directory.join("CHANGELOG.md")).context("copying CHANGELOG.md")?;
    let sums = "cd \"$1\"; LC_ALL=C; export LC_ALL; sha256sum -- *";
    let sums = output(Command::new("sh").args(["-euc", sums, "sh"]).arg(&directory))?;
    fs::write(directory.join("SHA256SUMS"), sums).context("writing SHA256SUMS")?;
    println!("{}", directory.display());
    Ok(())
}

/// The sources of the last commit.
fn source(version: &Version, directory: &std::path::Path) -> Result<()> {
    let name = format!("rocbed-{}", version.upstream());
    let mut git = Command::new("git");
    git.current_dir(workspace()).args(["archive", "--format=tar.gz", "--prefix"]).arg(format!("{name}/"));
    run(git.arg("--output").arg(directory.join(format!("{name}.tar.gz"))).arg("HEAD"))
}
