//! `cargo xtask book`: the pages of `docs/` for a browser, made by mkdocs as `mkdocs.yml` says.

use std::process::Command;

use anyhow::{Context, Result};

use crate::host;
use crate::run::{run, target_directory, workspace};

/// Builds it; a warning, such as a page that is missing, is an error. Prints where it begins.
pub(crate) fn build() -> Result<()> {
    host::install(&[host::TO_WRITE])?;
    let site = target_directory().join("book");
    let mut mkdocs = Command::new("mkdocs");
    mkdocs.current_dir(workspace()).args(["build", "--strict", "--site-dir"]).arg(&site);
    run(&mut mkdocs).context("help: the lines above name the page; mkdocs.yml lists those that there are")?;
    println!("{}", site.join("index.html").display());
    Ok(())
}
