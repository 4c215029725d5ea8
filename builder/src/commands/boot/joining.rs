//! Words for a virtual machine's kernel command line: to join a hub as a worker, or for a machine that is left
//! running.

use std::collections::BTreeMap;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, ensure};

use safetext::{NOT_SHOWN, Secret};

use super::machine;
use crate::cmdline::{AtHub, Boot, Firmware, Network, WhenDone};
use crate::hubs;

/// Address of the host in QEMU's user network.
const HOST: &str = "10.0.2.2";

/// Words for the kernel command line of a machine that is not served over its virtio port: one that takes jobs from a
/// hub, or that is left running. `None` for any other machine, which gets its settings over the port.
pub(super) fn words(options: &Boot, settings: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut words: BTreeMap<&str, String> = match &options.hub {
        Some(hub) => of_hub(hub, options)?,
        None if options.keep || options.debug => BTreeMap::new(),
        None => return Ok(Vec::new()),
    };
    if options.hub.is_none() && !options.netboot && machine::firmware(options)? == Firmware::Uefi {
        ensure!(
            options.gpu.is_empty(),
            Advice::new(
                "--gpu cannot be told to a machine that starts under UEFI and is left running",
                format!(
                    "write it onto the disk: `rocbed settings {} --set gpu=...`, or leave --firmware, --disk, --usb and --nvme away",
                    options.image.display()
                )
            )
        );
        return Ok(Vec::new());
    }
    words.extend(settings.iter().map(|(name, value)| (name.as_str(), value.clone())));
    if options.debug {
        words.insert("shell", "yes".to_owned());
    }
    words.into_iter().map(|(name, value)| word(name, &value)).collect()
}

/// Settings that make the machine a worker of a hub.
fn of_hub(hub: &str, options: &Boot) -> Result<BTreeMap<&'static str, String>> {
    ensure!(options.network == Network::User, "--hub needs a network: leave --network out");
    // Parsed as a client parses it, so that a mistake is reported here and not on the machine's console.
    let client = client::Client::new(hub, &client::ClientOptions::default()).context("reading --hub")?;
    let token = match &options.join_token {
        Some(token) => token.clone(),
        None => kept(hub)?,
    };
    let mut words = BTreeMap::from([("hub", from_inside(client.address())), ("join-token", token.reveal().to_owned())]);
    if let Some(when) = options.when_done {
        let word = match when {
            WhenDone::PowerOff => "power-off",
            WhenDone::Wait => "wait",
        };
        words.insert("when-done", word.to_owned());
    }
    Ok(words)
}

/// The join token that is stored for a hub.
fn kept(hub: &str) -> Result<Secret> {
    let at = AtHub { hub: Some(hub.to_owned()), token: None, token_file: None, ca: None };
    hubs::find(&at)?
        .join_token
        .with_context(|| format!("there is no join token for {hub}"))
        .help("give --join-token; `rocbed hub` prints it, and keeps it in its data directory")
}

/// One word `name=value`. The kernel splits the line at blanks outside of quotes, and has no escape character.
fn word(name: &str, value: &str) -> Result<String> {
    ensure!(
        !value.contains(|char: char| char.is_whitespace() || char.is_control() || char == '"'),
        "{name}: `{}` cannot stand on a kernel command line: it has blanks or quotes",
        if name == "join-token" { NOT_SHOWN } else { value }
    );
    Ok(format!("rocbed.{name}={value}"))
}

/// An address as seen from inside QEMU's user network: loopback addresses of this machine become the network's
/// gateway.
fn from_inside(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rfind(':') {
        // A colon inside of brackets is part of an IPv6 address.
        Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
        _ => (authority, ""),
    };
    let ip = host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
    if ip || host.eq_ignore_ascii_case("localhost") || matches!(host, "[::1]" | "[::]") {
        format!("{scheme}://{HOST}{port}{path}")
    } else {
        address.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline::{Cli, Command};
    use clap::Parser;

    /// The image is always a directory here, wherever the test runs.
    fn of(words_given: &[&str]) -> Result<Vec<String>> {
        let cli = Cli::try_parse_from(["rocbed", "boot", "images/smoke"].iter().chain(words_given))?;
        let Command::Boot(options) = cli.command else { anyhow::bail!("another command") };
        words(&options, &BTreeMap::from([("gpu".to_owned(), "gfx1030,gfx942".to_owned())]))
    }

    #[test]
    fn loopback_addresses_are_the_gateway() {
        for (outside, inside) in [
            ("http://127.0.0.1:8420", "http://10.0.2.2:8420"),
            ("https://localhost", "https://10.0.2.2"),
            ("http://[::1]:80/x", "http://10.0.2.2:80/x"),
            ("http://0.0.0.0:1", "http://10.0.2.2:1"),
            ("http://192.0.2.7:8420", "http://192.0.2.7:8420"),
            ("http://[2001:db8::1]:8420", "http://[2001:db8::1]:8420"),
            ("https://localhost.example:1", "https://localhost.example:1"),
        ] {
            assert_eq!(from_inside(outside), inside);
        }
    }

    #[test]
    fn the_command_line_says_it_all() -> Result<()> {
        let words = of(&["--hub", "http://localhost:8420/", "--join-token", "secret", "--when-done", "power-off"])?;
        assert_eq!(
            words,
            [
                "rocbed.gpu=gfx1030,gfx942",
                "rocbed.hub=http://10.0.2.2:8420",
                "rocbed.join-token=secret",
                "rocbed.when-done=power-off"
            ]
        );
        assert!(of(&[])?.is_empty());
        assert_eq!(of(&["--keep"])?, ["rocbed.gpu=gfx1030,gfx942"]);
        assert_eq!(of(&["--debug"])?, ["rocbed.gpu=gfx1030,gfx942", "rocbed.shell=yes"]);
        assert!(of(&["--debug", "--usb"])?.is_empty(), "under UEFI the command line is the image's");
        Ok(())
    }

    #[test]
    fn what_cannot_work_is_said_at_once() {
        for (given, says) in [
            (&["--hub", "hub", "--join-token", "x"][..], "is not the address of a hub"),
            (&["--hub", "http://hub", "--join-token", "a b"], "blanks"),
            (&["--hub", "http://hub", "--join-token", "x", "--network", "isolated"], "--network"),
            (&["--hub", "http://hub", "--jobs", "x"], "cannot be used with"),
            (&["--when-done", "wait"], "--hub"),
            (&["--keep", "--nvme", "--gpu", "gfx1030"], "rocbed settings images/smoke --set gpu="),
            (&["--usb", "--firmware", "direct", "--keep"], "leave --firmware direct away"),
        ] {
            let error = crate::error::report(&of(given).unwrap_err()).to_string();
            assert!(error.contains(says), "{given:?}: {error}");
        }
    }
}
