//! The test programs that cargo has built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{cargo, workspace};

/// What a test program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Unit and property tests of a package, and the tests in its `tests/`.
    Unit,
    /// A program of the `tests` directory: rocbed itself, and often an archive and virtual machines.
    EndToEnd,
}

/// A program that runs tests and prints their results as Rust's test harness does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// What is printed before its results, such as `hub` or `hub/browser`.
    pub(super) name: String,
    pub(super) kind: Kind,
    start: Start,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    /// As cargo would run it: in its package's directory.
    Program { executable: PathBuf, directory: PathBuf },
    /// The examples in the documentation.
    Documentation,
}

impl Program {
    /// The command that runs it, without arguments for the test harness.
    pub(super) fn command(&self) -> Command {
        match &self.start {
            Start::Program { executable, directory } => {
                let mut command = Command::new(executable);
                command.current_dir(directory).env("CARGO_MANIFEST_DIR", directory);
                command
            }
            Start::Documentation => {
                let mut cargo = cargo();
                cargo.args(["test", "--doc", "--workspace", "--no-fail-fast", "--"]);
                cargo
            }
        }
    }
}

/// All programs of the workspace, which have been built already: this takes the features that `cargo test` takes.
pub(super) fn list() -> Result<Vec<Program>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--workspace", "--tests", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("starting cargo test --no-run")?;
    if !output.status.success() {
        bail!("building the tests failed: {}", output.status);
    }
    let programs: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect();
    if !programs.iter().any(|program| program.kind == Kind::EndToEnd) {
        bail!("cargo built no end-to-end test");
    }
    Ok(programs)
}

/// The examples in the documentation, which cargo itself compiles and runs.
pub(super) fn documentation() -> Program {
    Program { name: "documentation".into(), kind: Kind::Unit, start: Start::Documentation }
}

/// Parses a message of cargo; returns the program if the message is about a test program.
fn parse(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    if !message.pointer("/profile/test")?.as_bool()? {
        return None;
    }
    let executable = message.get("executable")?.as_str()?.into();
    let directory = Path::new(message.get("manifest_path")?.as_str()?).parent()?;
    let target = message.get("target")?;
    let name = target.get("name")?.as_str()?;
    let kinds = target.get("kind")?.as_array()?;
    let is_test = kinds.iter().any(|kind| kind == "test");
    let package = directory.file_name()?.to_string_lossy();
    let (kind, name) = match (is_test, directory == workspace().join("tests")) {
        (true, true) => (Kind::EndToEnd, name.to_owned()),
        (true, false) => (Kind::Unit, format!("{package}/{name}")),
        (false, _) if kinds.iter().any(|kind| kind == "bin") => (Kind::Unit, format!("{package}/{name} (program)")),
        (false, _) => (Kind::Unit, package.into_owned()),
    };
    Some(Program { name, kind, start: Start::Program { executable, directory: directory.into() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cargo says about a target of the package in `directory`.
    fn message(directory: &str, kind: &str, name: &str) -> String {
        serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": workspace().join(directory).join("Cargo.toml"),
            "target": { "kind": [kind], "name": name },
            "profile": { "test": true },
            "executable": format!("/target/debug/deps/{name}-1"),
        })
        .to_string()
    }

    #[test]
    fn finds_the_programs_in_what_cargo_says() {
        for (directory, kind, name, expected) in [
            ("tests", "test", "boot", ("boot", Kind::EndToEnd)),
            ("tests", "lib", "support", ("tests", Kind::Unit)),
            ("crates/vm", "test", "boot", ("vm/boot", Kind::Unit)),
            ("crates/vm", "lib", "vm", ("vm", Kind::Unit)),
            ("crates/testbed", "bin", "server", ("testbed/server (program)", Kind::Unit)),
        ] {
            let program = parse(&message(directory, kind, name)).unwrap();
            assert_eq!((program.name.as_str(), program.kind), expected);
            assert_eq!(program.command().get_current_dir(), Some(workspace().join(directory).as_path()));
        }
    }

    #[test]
    fn other_messages_are_not_about_tests() {
        assert_eq!(parse("warning: text"), None);
        assert_eq!(parse(r#"{"reason": "build-finished", "success": true}"#), None);
        let without_tests = message("crates/vm", "lib", "vm").replace("true", "false");
        assert_eq!(parse(&without_tests), None);
    }

    /// The Rust files below a directory.
    fn sources(directory: &Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let below = directories.iter().flat_map(|directory| sources(directory));
        below.chain(files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"))).collect()
    }

    #[test]
    fn crates_whose_examples_are_not_run_have_none() {
        let mut seen = 0;
        for package in std::fs::read_dir(workspace().join("crates")).unwrap() {
            let package = package.unwrap().path();
            let Ok(manifest) = std::fs::read_to_string(package.join("Cargo.toml")) else { continue };
            if !manifest.contains("doctest = false") {
                continue;
            }
            for file in sources(&package.join("src")) {
                let text = std::fs::read_to_string(&file).unwrap();
                let has_fence = text.lines().map(str::trim_start).any(|line| {
                    let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
                    comment.is_some_and(|comment| comment.trim_start().starts_with("```"))
                });
                assert!(!has_fence, "{}: remove `doctest = false` of its crate", file.display());
            }
            seen += 1;
        }
        assert!(seen > 0);
    }
}
