//! A hub that ends with the program, and what it says of jobs and workers.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::output;

/// The host's address for a machine in QEMU's user network.
const HOST: &str = "10.0.2.2";

/// A running hub.
pub(super) struct Hub {
    rocbed: PathBuf,
    process: Child,
    address: String,
    /// Tokens of those who add jobs, and of machines that become workers.
    admin: String,
    join: String,
}

impl Hub {
    /// Starts a hub on a free port of the loopback interface; returns once it answers.
    pub(super) fn start(rocbed: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(rocbed);
        command.args(["hub", "--json", "--listen", "127.0.0.1:0", "--min-free", "64MiB", "--data"]).arg(data);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting rocbed hub")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("rocbed hub has no stdout")?;
        BufReader::new(stdout).read_line(&mut line).context("reading what rocbed hub prints")?;
        let Ok(started) = serde_json::from_str::<Value>(&line) else {
            let status = process.wait().context("waiting for rocbed hub")?;
            bail!("rocbed hub did not start: {status}");
        };
        let token = |name: &str| {
            let path = started[name].as_str().with_context(|| format!("rocbed hub has named no {name}"))?;
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
            anyhow::Ok(text.trim().to_owned())
        };
        let address = started["address"].as_str().context("rocbed hub has named no address")?.to_owned();
        let (admin, join) = (token("admin-token-path")?, token("join-token-path")?);
        Ok(Self { rocbed: rocbed.to_owned(), process, address, admin, join })
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A rocbed command that uses this hub.
    pub(super) fn rocbed(&self) -> Command {
        let mut command = Command::new(&self.rocbed);
        command.env("ROCBED_HUB", &self.address).env("ROCBED_TOKEN", &self.admin).env("ROCBED_JOIN_TOKEN", &self.join);
        command.stdin(Stdio::null());
        command
    }

    /// Settings of a machine in QEMU that starts from a stick and becomes this hub's worker.
    pub(super) fn settings(&self, name: &str, gpu: &str) -> Result<Vec<String>> {
        // The machine shares this machine's network, so this machine's mirror is the best one.
        let plan: Value = serde_json::from_str(&output(self.rocbed().args(["plan", "smoke", "--json"]))?)?;
        let mirror = plan["mirror"].as_str().context("the plan names no mirror")?;
        let hub = self.address.replace("127.0.0.1", HOST);
        let join = &self.join;
        Ok(vec![
            format!("name={name}"),
            format!("gpu={gpu}"),
            format!("hub={hub}"),
            format!("join-token={join}"),
            format!("mirror={mirror}"),
            // The mirror may be a copy that is no longer renewed.
            "check-valid-until=no".into(),
        ])
    }

    /// How many jobs are queued or running.
    pub(super) fn unfinished(&self) -> Result<usize> {
        let jobs = self.json(&["jobs", "list", "-n", "0"])?;
        let states = jobs.iter().filter_map(|job| job["state"].as_str());
        Ok(states.filter(|state| ["queued", "running"].contains(state)).count())
    }

    /// Whether a worker of this name takes jobs.
    pub(super) fn is_ready(&self, name: &str) -> Result<bool> {
        let workers = self.json(&["workers", "list"])?;
        Ok(workers.iter().any(|worker| worker["name"] == name && worker["health"] == "ready"))
    }

    /// The id of a job of which a test runs: a package's, or any, for one of these targets.
    pub(super) fn tested(&self, package: Option<&str>, targets: &str) -> Result<Option<String>> {
        let jobs = self.json(&["jobs", "list", "--state", "running", "-n", "0"])?;
        let job = jobs.iter().find(|job| {
            let wanted = package.is_none_or(|package| job["job"]["package"] == package)
                && targets.split(',').any(|target| job["job"]["gpu"][0] == target);
            // Not "preparing test ...".
            wanted && job["phase"].as_str().is_some_and(|phase| phase.starts_with("test "))
        });
        Ok(job.and_then(|job| job["id"].as_str()).map(str::to_owned))
    }

    /// The ids of a package's jobs that have ended with a result.
    pub(super) fn finished(&self, package: &str) -> Result<Vec<String>> {
        let jobs = self.json(&["jobs", "list", "--state", "finished", "-n", "0"])?;
        let jobs = jobs.iter().filter(|job| job["job"]["package"] == package);
        Ok(jobs.filter_map(|job| job["id"].as_str()).map(str::to_owned).collect())
    }

    fn json(&self, words: &[&str]) -> Result<Vec<Value>> {
        let text = output(self.rocbed().args(["--quiet"]).args(words).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("reading what rocbed {} prints", words.join(" ")))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}
