//! `cargo xtask docs`: the pages of `docs/` that are made from the code. A test holds them against it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::run::{output, workspace};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["plan"],
    &["lock"],
    &["build"],
    &["inspect"],
    &["diff"],
    &["flash"],
    &["settings"],
    &["collect"],
    &["netboot"],
    &["boot"],
    &["test"],
    &["hub"],
    &["jobs"],
    &["jobs", "add"],
    &["jobs", "import"],
    &["jobs", "make"],
    &["jobs", "list"],
    &["jobs", "show"],
    &["jobs", "watch"],
    &["jobs", "cancel"],
    &["jobs", "retry"],
    &["results"],
    &["results", "list"],
    &["results", "show"],
    &["results", "fetch"],
    &["results", "junit"],
    &["results", "report"],
    &["recipe"],
    &["cache"],
    &["cache", "list"],
    &["cache", "prune"],
    &["cache", "verify"],
    &["completions"],
    &["man"],
];

/// Writes them all.
pub(crate) fn write() -> Result<()> {
    let rocbed = build::programs(Profile::DevWithTests)?.rocbed;
    let print = |words: &[&str]| output(Command::new(&rocbed).env("COLUMNS", "100").args(words));
    let mut commands = String::from("# Commands\n\nMade from the program by `cargo xtask docs`.\n");
    for words in COMMANDS {
        let help = print(&[words, &["--help"][..]].concat())?;
        let title = ["rocbed"].iter().chain(words.iter()).copied().collect::<Vec<_>>().join(" ");
        commands.extend(["\n## ", &title, "\n\n```text\n", help.trim_end(), "\n```\n"]);
    }
    for (name, text) in [
        ("commands.md", commands),
        ("recipe.md", print(&["recipe", "reference"])?),
        ("recipe.schema.json", print(&["recipe", "schema"])?),
    ] {
        let path = workspace().join("docs/reference").join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
