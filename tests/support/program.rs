//! Running the program under test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The `rocbed` that `cargo xtask test` built.
pub fn rocbed_path() -> PathBuf {
    std::env::var_os("ROCBED_BIN")
        .map(PathBuf::from)
        .expect("ROCBED_BIN is not set; run the end-to-end tests with `cargo xtask test`")
}

/// A call of `rocbed`, to be added to and then run.
pub struct Call(Command);

/// Begins a call.
pub fn rocbed<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(words: I) -> Call {
    let mut command = Command::new(rocbed_path());
    command.args(words).stdin(Stdio::null());
    // What it says is looked at as people see it, wherever the tests run.
    command.env_remove("GITLAB_CI").env_remove("GITHUB_ACTIONS");
    Call(command)
}

/// What a call left.
#[derive(Debug)]
pub struct Output {
    /// Exit status, `None` if it was killed.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Call {
    /// One more argument.
    #[must_use]
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.0.arg(word);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, words: &[&str]) -> Self {
        self.0.args(words);
        self
    }

    /// Without this variable.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    /// In this directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// With this variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// The command itself, for tests that do more than wait.
    pub fn into_command(self) -> Command {
        self.0
    }

    /// Runs to the end, whatever it is.
    pub fn run(mut self) -> Output {
        let output = self.0.output().unwrap_or_else(|error| panic!("starting {:?}: {error}", self.0));
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs to a good end; returns stdout.
    pub fn ok(mut self) -> String {
        let output = self.0.output().unwrap_or_else(|error| panic!("starting {:?}: {error}", self.0));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {}\n{stderr}", self.0, output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs to a bad end; returns stderr.
    pub fn fails(self) -> String {
        let shown = format!("{:?}", self.0);
        let output = self.run();
        assert_eq!(output.code, Some(1), "{shown} should have failed:\n{}{}", output.stdout, output.stderr);
        output.stderr
    }
}
