//! What is handed out: Debian packages (`cargo xtask deb`), and with them a tarball, the sources and digests
//! (`cargo xtask release`).

mod deb;
mod files;
mod release;
mod release_directory;
mod tarball;
mod version;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, Profile};
use crate::host;
use crate::run::target_directory;
use files::Files;

pub(crate) use release::{Options as ReleaseOptions, run_release};

/// What to package.
#[derive(Args)]
pub(crate) struct Options {
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
pub(crate) fn deb(options: &Options) -> Result<()> {
    host::install(&[host::TO_PACKAGE])?;
    let programs = match &options.programs {
        Some(directory) => directory.clone(),
        None => compiled()?,
    };
    let version = version::Version::of_checkout()?;
    let output = options.output.clone().unwrap_or_else(|| target_directory().join("deb"));
    let built = deb::build(&programs, &version, Files::Checkout, options.quick)?;
    fs::create_dir_all(&output).with_context(|| format!("making {}", output.display()))?;
    let output = output.canonicalize().with_context(|| format!("finding {}", output.display()))?;
    for record in &built.records {
        copy_into(record, &output)?;
    }
    for package in &built.packages {
        println!("{}", copy_into(package, &output)?.display());
    }
    Ok(())
}

/// Copies a file into a directory, which may be on another file system; returns its new path.
fn copy_into(file: &Path, directory: &Path) -> Result<PathBuf> {
    let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
    let to = directory.join(name);
    fs::copy(file, &to).with_context(|| format!("copying {} to {}", file.display(), to.display()))?;
    Ok(to)
}

/// Compiles the programs as they are released; returns their directory.
fn compiled() -> Result<PathBuf> {
    let rocbed = build::programs(Profile::Release)?.rocbed;
    Ok(rocbed.parent().unwrap_or(Path::new("/")).to_owned())
}
