//! The demo's hub: a process that ends with the demo.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::commands::{Commands, terminate};

/// A running hub.
pub(super) struct Hub<'a> {
    commands: &'a Commands,
    process: Child,
    started: Started,
}

/// The line of JSON that `rocbed hub --json` prints once it listens.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Started {
    address: String,
    admin_token_path: PathBuf,
    join_token_path: PathBuf,
}

/// The fields of `rocbed jobs list --json` that the demo uses.
#[derive(Deserialize)]
struct Listed {
    id: String,
}

impl<'a> Hub<'a> {
    /// Starts a hub on a free port of the loopback interface; returns once it answers.
    pub(super) fn start(commands: &'a Commands, data: &Path) -> Result<Self> {
        let mut command = commands.rocbed();
        // On a full disk, the hub must not make its worker wait for free space.
        command.args(["hub", "--json", "--listen", "127.0.0.1:0", "--min-free", "64MiB", "--data"]).arg(data);
        let mut process = command.stdout(Stdio::piped()).spawn().context("starting rocbed hub")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("rocbed hub has no stdout")?;
        BufReader::new(stdout).read_line(&mut line).context("reading what rocbed hub prints")?;
        let Ok(started) = serde_json::from_str(&line) else {
            let status = process.wait().context("waiting for rocbed hub")?;
            bail!("rocbed hub did not start: {status}");
        };
        Ok(Self { commands, process, started })
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn address(&self) -> &str {
        &self.started.address
    }

    /// A rocbed command that uses this hub.
    pub(super) fn rocbed(&self) -> Command {
        let mut command = self.commands.rocbed();
        command.env("ROCBED_HUB", &self.started.address);
        let tokens =
            [("ROCBED_TOKEN", &self.started.admin_token_path), ("ROCBED_JOIN_TOKEN", &self.started.join_token_path)];
        for (name, path) in tokens {
            // If the token cannot be read, the command itself says so, with advice.
            if let Ok(token) = std::fs::read_to_string(path) {
                command.env(name, token.trim());
            }
        }
        command
    }

    /// The id of the hub's only job.
    pub(super) fn job(&self) -> Result<String> {
        let output = self.rocbed().args(["jobs", "list", "--json"]).stderr(Stdio::inherit()).output();
        let output = output.context("starting rocbed jobs list")?;
        let jobs: Vec<Listed> = serde_json::from_slice(&output.stdout).context("reading the list of jobs")?;
        jobs.into_iter().next().map(|job| job.id).context("the hub has no job")
    }

    /// Ends the hub; returns `127.0.0.1:PORT`, where it listened.
    pub(super) fn end(mut self) -> Result<String> {
        terminate(&mut self.process);
        let status = self.process.wait().context("waiting for the hub's end")?;
        if !status.success() {
            bail!("the hub did not end well: {status}");
        }
        Ok(self.started.address.trim_start_matches("http://").to_owned())
    }
}

impl Drop for Hub<'_> {
    fn drop(&mut self) {
        // It has ended already, or the demo failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
