//! `cargo xtask docs`: writes the pages of `docs/reference/`, which are generated from the program. A test compares
//! them with it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::run::{output, workspace};

/// Writes all pages.
pub(crate) fn write() -> Result<()> {
    let rocbed = build::programs(Profile::DevWithTests)?.rocbed;
    let print = |words: &[&str]| output(Command::new(&rocbed).arg("reference").args(words));
    for name in print(&[])?.lines() {
        let path = workspace().join("docs/reference").join(name);
        fs::write(&path, print(&[name])?).with_context(|| format!("writing {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
