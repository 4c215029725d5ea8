//! Runs other tools, with which results are compared.

use std::ffi::OsStr;
use std::process::Command;

/// Runs a tool, which must succeed, and returns its output including stderr. A missing tool is a failure that names it,
/// so no test is skipped silently.
pub fn tool<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(name: &str, words: I) -> String {
    let mut command = Command::new(name);
    command.args(words).env("PATH", path()).env("LC_ALL", "C.UTF-8");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("starting {name}: {error}; `cargo xtask test` installs what the tests call"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// `PATH` with the directories of file system tools, which users' paths often lack.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
