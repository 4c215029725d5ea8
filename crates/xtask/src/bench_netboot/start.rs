//! One start of an image in QEMU, with the times of its steps.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::capture::{Capture, wrap_qemu};

/// Seconds after which a start has failed; without hardware virtualisation a large root takes minutes.
const TIMEOUT: &str = "1200";

/// Parameters of a start.
pub(super) struct Start<'a> {
    /// The `rocbed` program.
    pub(super) rocbed: &'a Path,
    /// The image directory.
    pub(super) image: &'a Path,
    /// Directory for the benchmark's files.
    pub(super) scratch: &'a Path,
    /// Memory of the machine, as `rocbed boot` takes it.
    pub(super) memory: &'a str,
    /// Arguments of `rocbed boot` that select the way to start.
    pub(super) words: &'a [&'a str],
}

/// Result of a start. Times are in seconds.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Measured {
    /// From QEMU's start until the agent is ready.
    pub(super) from_power_on: f64,
    /// From the first DHCP request, which is the firmware's if it starts over the network.
    pub(super) from_dhcp: f64,
    /// From the kernel's start, as reported by the kernel.
    pub(super) from_kernel: f64,
    /// Memory in use, in MiB.
    pub(super) in_use: f64,
    /// The appliance's message about a root in memory.
    pub(super) root: Option<String>,
}

impl Start<'_> {
    /// Starts the machine and waits until it has powered off.
    pub(super) fn measure(&self) -> Result<Measured> {
        let file = self.scratch.join("packets.pcap");
        let wrapper = wrap_qemu(&self.scratch.join("qemu"), &file)?;
        let mut path = vec![wrapper];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let capture = Capture::start(&file)?;
        let mut command = Command::new(self.rocbed);
        command.args(["--quiet", "boot", "--timeout", TIMEOUT, "--memory", self.memory]).arg(self.image);
        command.args(self.words).env("PATH", std::env::join_paths(path).context("changing PATH")?);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting rocbed")?;
        let stdout = child.stdout.take().context("rocbed has no stdout")?;
        let (mut ready, mut console) = (None, String::new());
        for line in BufReader::new(stdout).lines() {
            let line = line.context("reading the console")?;
            if ready.is_none() && line.contains(READY) {
                ready = Some(Instant::now());
            }
            console.push_str(&line);
            console.push('\n');
        }
        child.wait().context("waiting for rocbed")?;
        let seen = capture.end();
        let (Some(ready), Some(power_on)) = (ready, seen.power_on) else {
            bail!("{} with {:?} did not become ready:\n{console}", self.image.display(), self.words);
        };
        let since =
            |from: Option<Instant>| from.map_or(f64::NAN, |from| ready.saturating_duration_since(from).as_secs_f64());
        let number = |words| number_after(&console, words).with_context(|| format!("no {words:?} in:\n{console}"));
        Ok(Measured {
            from_power_on: since(Some(power_on)),
            from_dhcp: since(seen.dhcp),
            from_kernel: number(READY)?,
            in_use: number("rocbed-init: memory in use ")?,
            root: root(&console),
        })
    }
}

const READY: &str = "rocbed-init: ready at ";

fn number_after(console: &str, words: &str) -> Option<f64> {
    let rest = console.lines().find_map(|line| Some(line.split_once(words)?.1))?;
    rest.split(' ').next()?.parse().ok()
}

/// `323 MiB of it in 156 MiB of memory`
fn root(console: &str) -> Option<String> {
    let line = console.lines().find(|line| line.contains("the digest is right"))?;
    Some(line.split_once("the digest is right, ")?.1.trim().replace(" of it", "").replace(" of memory", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_tells() {
        let console = "rocbed-init: root: 100 %; the digest is right, 323 MiB of it in 194 MiB of memory\n\
            rocbed-init: memory in use 312 MiB\nrocbed-init: ready at 21.04 s, jobs from nobody\n";
        assert_eq!(number_after(console, READY), Some(21.04));
        assert_eq!(number_after(console, "memory in use "), Some(312.0));
        assert_eq!(root(console).as_deref(), Some("323 MiB in 194 MiB"));
        assert_eq!((number_after("", READY), root("")), (None, None));
    }
}
