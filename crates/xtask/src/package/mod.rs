//! What is handed out: Debian packages (`cargo xtask deb`), and with them a tarball, the sources and digests
//! (`cargo xtask release`).

mod deb;
mod release;
mod tarball;
mod version;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::build::{self, Profile};
use crate::host;
use crate::run::target_directory;

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
    for package in deb::build(&programs, &version, options.quick, &output)?.packages {
        println!("{}", package.display());
    }
    Ok(())
}

/// Compiles the programs as they are released; returns their directory.
fn compiled() -> Result<PathBuf> {
    let rocbed = build::programs(Profile::Release)?.rocbed;
    Ok(rocbed.parent().unwrap_or(Path::new("/")).to_owned())
}
