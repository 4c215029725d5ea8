//! Makes what a release consists of: Debian packages (`cargo xtask deb`), container images (`cargo xtask oci`), and with them a
//! tarball, the sources and digests (`cargo xtask release`).

mod deb;
mod files;
mod oci;
mod release;
mod release_directory;
mod tarball;
mod version;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tempfile::TempDir;

use crate::build::{self, Profile};
use crate::host;
use crate::run::target_directory;
use files::Files;

pub(crate) use oci::{OciOptions, run_oci};
pub(crate) use release::{ReleaseOptions, run_release};

/// What to package.
#[derive(Args)]
pub(crate) struct DebOptions {
    /// Package the programs in this directory instead of compiling them: rocbed, rocbed-init, autopkgtest-virt-rocbed
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Compress them less: for tests
    #[arg(long)]
    quick: bool,
    /// Where the packages go [default: target/deb]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// `cargo xtask deb`: builds the packages, and prints their paths.
pub(crate) fn deb(options: &DebOptions) -> Result<()> {
    host::install(&[host::TO_PACKAGE])?;
    let programs = programs(options.programs.as_deref())?;
    let version = version::Version::of_checkout()?;
    let own = target_directory().join("deb");
    let output = options.output.as_ref().unwrap_or(&own);
    let built = deb::build(&programs, &version, Files::Checkout, options.quick)?;
    fs::create_dir_all(output).with_context(|| format!("making {}", output.display()))?;
    let output = output.canonicalize().with_context(|| format!("finding {}", output.display()))?;
    // Documentation says `rocbed_*.deb`. Elsewhere, earlier packages are the user's.
    if options.output.is_none() {
        remove_earlier(&output, is_package)?;
    }
    for record in &built.records {
        copy_into(record, &output)?;
    }
    for package in &built.packages {
        println!("{}", copy_into(package, &output)?.display());
    }
    Ok(())
}

/// Removes the files of a directory that earlier commits had, by their names; there may be no such directory.
fn remove_earlier(directory: &Path, is_ours: fn(&Path) -> bool) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let listing = || format!("listing {}", directory.display());
    for entry in fs::read_dir(directory).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if is_ours(&path) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether a file has the name of a package of ours, or of the record of its build.
fn is_package(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str());
    let package = path.file_name().and_then(|name| name.to_str()?.split_once('_')).map(|(package, _)| package);
    matches!(end, Some("deb" | "buildinfo" | "changes"))
        && matches!(package, Some("rocbed" | "rocbed-hub" | "autopkgtest-virt-rocbed"))
}

/// Copies a file into a directory, which may be on another file system; returns its new path.
fn copy_into(file: &Path, directory: &Path) -> Result<PathBuf> {
    let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
    let to = directory.join(name);
    fs::copy(file, &to).with_context(|| format!("copying {} to {}", file.display(), to.display()))?;
    Ok(to)
}

/// A directory of one run alone: below cargo's target directory, or the system's one for temporary files if debhelper could
/// not work there.
fn scratch() -> Result<TempDir> {
    let target = target_directory();
    fs::create_dir_all(&target).with_context(|| format!("making {}", target.display()))?;
    let target = target.canonicalize().with_context(|| format!("finding {}", target.display()))?;
    let parent = if is_a_word(&target) { target } else { std::env::temp_dir() };
    tempfile::Builder::new()
        .prefix("package-")
        .tempdir_in(&parent)
        .with_context(|| format!("making a directory in {}", parent.display()))
}

/// Whether a shell takes the path for one word without quotes: debhelper 13 has commands in which it is not quoted.
fn is_a_word(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.chars().all(|char| char.is_alphanumeric() || "/._-+~@%:,=".contains(char)))
}

/// The directory with the programs: the given one, or that of the programs as they are released, which are compiled.
fn programs(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(directory) = given {
        return Ok(directory.to_owned());
    }
    let rocbed = build::programs(Profile::Release)?.rocbed;
    Ok(rocbed.parent().unwrap_or(Path::new("/")).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debhelper_does_not_get_paths_that_a_shell_would_split() {
        assert!(is_a_word(Path::new("/home/me/rocbed-0.1/target")));
        for path in ["/home/me/my projects/rocbed", "/home/me/$x", "/home/me/a;b", "/home/me/it's"] {
            assert!(!is_a_word(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn only_packages_of_ours_are_removed() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let kept = ["gzip_1.13-1_amd64.deb", "rocbed-x86_64.tar.xz", "rocbed.deb", "rocbed_notes"];
        let removed = [
            "rocbed_0.1.0~git20261129.150301.6312b35-1_amd64.deb",
            "rocbed_0.1.0-1_amd64.changes",
            "rocbed_0.1.0-1_amd64.buildinfo",
            "rocbed-hub_0.1.0-1_amd64.deb",
            "autopkgtest-virt-rocbed_0.1.0-1_amd64.deb",
        ];
        for name in kept.iter().chain(&removed) {
            fs::write(directory.path().join(name), "")?;
        }
        remove_earlier(directory.path(), is_package)?;
        for name in kept {
            assert!(directory.path().join(name).exists(), "{name}");
        }
        assert_eq!(fs::read_dir(directory.path())?.count(), kept.len());
        Ok(())
    }
}
