//! `cargo xtask release`: everything that is handed out, in one directory with the digests of all files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use super::files::{Files, ensure_committed};
use super::oci::Images;
use super::release_directory::{ReleaseDirectory, SUMS};
use super::version::Version;
use super::{copy_into, deb, programs, tarball};
use crate::host;
use crate::run::{output, run, target_directory, workspace};

/// What to make.
#[derive(Args)]
pub(crate) struct ReleaseOptions {
    /// Package the programs in this directory instead of compiling them: rocbed, rocbed-init, autopkgtest-virt-rocbed
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where it goes: an empty directory, or one of an earlier release, which is replaced [default: target/release-files]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Makes the packages, the container images, the tarball, the source and `SHA256SUMS`; prints what it has made, and the directory.
pub(crate) fn run_release(options: &ReleaseOptions) -> Result<()> {
    host::install(&[host::TO_PACKAGE, host::TO_RELEASE, host::to_build()])?;
    ensure_committed(&workspace())?;
    let directory = options.output.clone().unwrap_or_else(|| target_directory().join("release-files"));
    let directory = ReleaseDirectory::open(directory)?;
    let programs = programs(options.programs.as_deref())?;
    let version = Version::of_checkout()?;
    let built = deb::build(&programs, &version, Files::Commit, false)?;
    let staged = built.scratch.path().join("release");
    fs::create_dir(&staged).with_context(|| format!("making {}", staged.display()))?;
    for package in &built.packages {
        copy_into(package, &staged)?;
    }
    tarball::write(&built.tree, &version, &staged)?;
    // As they are in the package: without symbols.
    let installed = built.tree.join("debian/rocbed/usr");
    let images = Images {
        rocbed: &installed.join("bin/rocbed"),
        init: &installed.join("lib/rocbed/rocbed-init"),
        version: &version,
        quick: false,
    };
    images.write(built.scratch.path(), &staged)?;
    source(&version, &staged)?;
    copy_into(&workspace().join("CHANGELOG.md"), &staged)?;
    let sums = "cd \"$1\"; LC_ALL=C; export LC_ALL; sha256sum -- *";
    let sums = output(Command::new("sh").args(["-euc", sums, "sh"]).arg(&staged))?;
    fs::write(staged.join(SUMS), sums).with_context(|| format!("writing {SUMS}"))?;
    let directory = directory.replace(&staged)?;
    eprint!("{}", contents(&directory)?);
    println!("{}", directory.display());
    Ok(())
}

/// The files of a release with their sizes and digests, a line each.
fn contents(directory: &Path) -> Result<String> {
    let sums = directory.join(SUMS);
    let sums = fs::read_to_string(&sums).with_context(|| format!("reading {}", sums.display()))?;
    let mut text = format!("{:>12}  {:<64}  file\n", "bytes", "SHA-256");
    for (digest, name) in sums.lines().filter_map(|line| line.split_once("  ")) {
        let path = directory.join(name);
        let size = path.metadata().with_context(|| format!("looking at {}", path.display()))?.len();
        text += &format!("{size:>12}  {digest}  {name}\n");
    }
    Ok(text)
}

/// The sources of the last commit.
fn source(version: &Version, directory: &Path) -> Result<()> {
    let name = format!("rocbed-{}", version.upstream());
    let mut git = Command::new("git");
    git.current_dir(workspace()).args(["archive", "--format=tar.gz", "--prefix"]).arg(format!("{name}/"));
    run(git.arg("--output").arg(directory.join(format!("{name}.tar.gz"))).arg("HEAD"))
}
