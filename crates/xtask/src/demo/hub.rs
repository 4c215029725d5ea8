//! A hub for the demo, in a separate process that ends with the demo.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{output, workspace};

/// A running hub.
pub(super) struct Hub {
    process: Child,
    rocbed: PathBuf,
    address: String,
    token: PathBuf,
    join_token: PathBuf,
}

impl Hub {
    /// Starts a hub on a free port of the loopback interface; returns once it answers.
    pub(super) fn start(rocbed: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(rocbed);
        // On a developer's full disk, the hub must not make workers wait for free space.
        command
            .args(["hub", "--json", "--quiet", "--listen", "127.0.0.1:0", "--min-free", "64MiB", "--data"])
            .arg(data);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting rocbed hub")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("rocbed hub has no stdout")?;
        BufReader::new(stdout).read_line(&mut line).context("reading what rocbed hub prints")?;
        let Ok(started) = serde_json::from_str::<Value>(&line) else {
            let status = process.wait().context("waiting for rocbed hub")?;
            bail!("rocbed hub did not start: {status}");
        };
        let text = |name: &str| {
            let value = started.get(name).and_then(Value::as_str);
            value.map(str::to_owned).with_context(|| format!("rocbed hub does not tell its {name}"))
        };
        Ok(Self {
            address: text("address")?,
            token: text("admin-token-path")?.into(),
            join_token: text("join-token-path")?.into(),
            rocbed: rocbed.to_owned(),
            process,
        })
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A rocbed command that uses this hub.
    pub(super) fn rocbed(&self) -> Command {
        let mut command = Command::new(&self.rocbed);
        command.current_dir(workspace()).env("ROCBED_HUB", &self.address);
        for (name, path) in [("ROCBED_TOKEN", &self.token), ("ROCBED_JOIN_TOKEN", &self.join_token)] {
            // If the token cannot be read, the command itself reports that, with advice.
            if let Ok(token) = std::fs::read_to_string(path) {
                command.env(name, token.trim());
            }
        }
        command
    }

    /// The job that was added last.
    pub(super) fn newest_job(&self) -> Result<String> {
        let text = output(self.rocbed().args(["jobs", "list", "--json"]))?;
        let jobs: Value = serde_json::from_str(&text).context("reading the list of jobs")?;
        let id = jobs.get(0).and_then(|job| job.get("id")).and_then(Value::as_str);
        id.map(str::to_owned).context("the hub has no job")
    }

    /// Ends the hub normally; returns `127.0.0.1:PORT`, where it listened.
    pub(super) fn end(mut self) -> Result<String> {
        let pid = self.process.id().to_string();
        crate::run::run(Command::new("kill").args(["-TERM", &pid]))?;
        let status = self.process.wait().context("waiting for the hub's end")?;
        if !status.success() {
            bail!("the hub did not come to a good end: {status}");
        }
        Ok(self.address.trim_start_matches("http://").to_owned())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // After a normal end there is nothing to kill.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
