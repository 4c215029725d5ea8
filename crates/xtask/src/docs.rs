//! `cargo xtask docs`: the pages of `docs/reference/`, as the program makes them. A test holds them against it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::run::{output, workspace};

/// Writes them all.
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
