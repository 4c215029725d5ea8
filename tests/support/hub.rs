//! Runs `rocbed hub` for a test, with its own home directory.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Call, rocbed, tool};

/// A hub with its own home directory, so that none of the machine's settings are used. It is killed when this is
/// dropped.
pub struct Hub {
    home: TempDir,
    process: Child,
    started: Value,
}

/// A call without the machine's own settings.
pub fn in_home(home: &Path, words: &[&str]) -> Call {
    let mut call = rocbed(words).env("HOME", home);
    for name in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "ROCBED_HUB", "ROCBED_TOKEN", "ROCBED_HUB_DATA", "ROCBED_CA"] {
        call = call.without_env(name);
    }
    call
}

impl Hub {
    /// Starts a hub on a free port of the loopback interface, with more options.
    pub fn start(words: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self::start_in(home, &[&["--listen", "127.0.0.1:0", "--min-free", "0"], words].concat())
    }

    /// Starts a hub in the home directory of another one; returns once it reports that it has started.
    pub fn start_in(home: TempDir, words: &[&str]) -> Self {
        Self::start_with(home, words, &[])
    }

    /// Like `start_in`, with these environment variables.
    pub fn start_with(home: TempDir, words: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = in_home(home.path(), &["hub", "--json"]).into_command();
        command.envs(environment.iter().copied());
        command.args(words);
        Self::of(home, command)
    }

    /// Starts a hub by a command that runs `rocbed hub --json` with this home directory; returns once it reports that
    /// it has started.
    pub fn of(home: TempDir, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("a hub");
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("its stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let started = serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut said = String::new();
            process.stderr.take().expect("its stderr").read_to_string(&mut said).expect("its words");
            panic!("the hub said {line:?} ({error}):\n{said}")
        });
        Self { home, process, started }
    }

    /// Home directory of the user who runs it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The hub's output when it had started.
    pub fn started(&self) -> &Value {
        &self.started
    }

    /// `http://127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        self.started["address"].as_str().expect("an address")
    }

    /// A rocbed command of the hub's user, who needs no options for the hub.
    pub fn call(&self, words: &[&str]) -> Call {
        in_home(self.home.path(), words)
    }

    /// Like `call`, with `--json`; returns the parsed output.
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.call(words).arg("--json").ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?} printed no JSON ({error}):\n{text}"))
    }

    /// Sends a signal such as `-TERM`; returns the exit status, the hub's output, and its home directory.
    pub fn end(mut self, signal: &str) -> (Option<i32>, String, TempDir) {
        tool("kill", [signal, &self.process.id().to_string()]);
        let status = self.process.wait().expect("it ends");
        let mut said = String::new();
        self.process.stderr.take().expect("its stderr").read_to_string(&mut said).expect("its words");
        let home = std::mem::replace(&mut self.home, tempfile::tempdir().expect("a directory"));
        (status.code(), said, home)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
