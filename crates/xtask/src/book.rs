//! `cargo xtask book`: converts the pages of `docs/` to HTML with mkdocs, as configured in `mkdocs.yml`.

use std::process::Command;

use advice::WithHelp as _;
use anyhow::Result;

use crate::host;
use crate::run::{run, target_directory, workspace};

/// Builds the book and prints the path of its first page. A warning, such as a missing page, is an error.
pub(crate) fn build() -> Result<()> {
    host::install(&[host::TO_WRITE])?;
    let site = target_directory().join("book");
    let mut mkdocs = Command::new("mkdocs");
    mkdocs.current_dir(workspace()).args(["build", "--strict", "--site-dir"]).arg(&site);
    run(&mut mkdocs).help("the lines above name the page; mkdocs.yml lists those that there are")?;
    println!("{}", site.join("index.html").display());
    Ok(())
}
