//! The receivers in the file that `--webhooks` names.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use advice::{Advice, AtPath as _};
use anyhow::{Context as _, Result, ensure};
use hub::{Webhook, WebhookOptions};
use protocol::api::TestState;
use safetext::Secret;
use serde::Deserialize;

use crate::context::Context;

/// Most receivers: each has a task, and every change is kept for each.
const MOST: usize = 32;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Receivers {
    #[serde(default)]
    webhook: Vec<Receiver>,
}

/// A receiver.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Receiver {
    /// What the hub calls it; the host of the address if it is missing.
    name: Option<String>,
    address: Secret,
    /// The key of the signatures.
    secret: Option<Secret>,
    /// A file that holds it.
    secret_file: Option<PathBuf>,
    /// Only changes to these states.
    #[serde(default)]
    states: Vec<TestState>,
    /// PEM file of the authority that signed its certificate.
    ca: Option<PathBuf>,
}

/// Reads the file. `pages` is the address of the hub's own pages, where it is known.
pub(super) fn read(context: &Context, path: &Path, pages: Option<&str>) -> Result<Vec<Webhook>> {
    let text = fs::read_to_string(path).at_path("--webhooks: reading", path)?;
    if fs::metadata(path).is_ok_and(|about| about.mode() & 0o007 != 0) {
        let told = format!("{} has secrets, and every user of this machine can read it", path.display());
        context.reporter.warn_of(&Advice::new(told, format!("chmod o= {}", path.display())).into());
    }
    parse(&text, pages).with_context(|| format!("--webhooks: reading {}", path.display()))
}

fn parse(text: &str, pages: Option<&str>) -> Result<Vec<Webhook>> {
    let receivers: Receivers = toml::from_str(text).map_err(|error| {
        // What it displays has the line itself, in which a secret may be.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        Advice::new(
            format!("line {}: {}", before.matches('\n').count() + 1, error.message()),
            "write [[webhook]] with address = \"https://...\" and secret = \"...\", or secret-file, for each receiver",
        )
    })?;
    ensure!(
        receivers.webhook.len() <= MOST,
        Advice::new(format!("{} webhooks; {MOST} are the most", receivers.webhook.len()), "leave some out")
    );
    receivers.webhook.into_iter().map(|receiver| receiver.prepared(pages)).collect()
}

impl Receiver {
    fn prepared(self, hub: Option<&str>) -> Result<Webhook> {
        let read = |path: &Path| fs::read_to_string(path).at_path("reading", path);
        let secret = match (self.secret, &self.secret_file) {
            (Some(secret), None) => secret,
            (None, Some(path)) => Secret::new(read(path)?.trim()),
            _ => {
                let name = self.name.unwrap_or_else(|| "without a name".to_owned());
                let what = format!("the webhook {name} does not have one secret");
                return Err(Advice::new(what, "write either secret or secret-file").into());
            }
        };
        let authorities = self.ca.as_deref().map(read).transpose()?;
        let hub = hub.map(str::to_owned);
        let options =
            WebhookOptions { name: self.name, address: self.address, secret, states: self.states, authorities, hub };
        Ok(Webhook::new(options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "secret = \"0123456789abcdef\"\n";

    #[test]
    fn receivers_are_read() -> Result<()> {
        let text = format!(
            "[[webhook]]\naddress = \"https://ci.example/x\"\n{SECRET}states = [\"regression\", \"fixed\"]\n\
             [[webhook]]\nname = \"chat\"\naddress = \"http://127.0.0.1/\"\n{SECRET}"
        );
        assert_eq!(parse(&text, None)?.len(), 2);
        assert_eq!(parse("", None)?.len(), 0);
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), "0123456789abcdef\n")?;
        let text = format!("[[webhook]]\naddress = \"https://h/\"\nsecret-file = {:?}\n", file.path());
        assert_eq!(parse(&text, None)?.len(), 1);
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (lines, says) in [
            ("address = \"https://h/\"\n", "does not have one secret"),
            (&format!("address = \"https://h/\"\n{SECRET}secret-file = \"x\"\n"), "does not have one secret"),
            (&format!("address = \"h\"\n{SECRET}"), "not one of HTTP"),
            (&format!("address = \"https://h/\"\n{SECRET}states = [\"broken\"]\n"), "broken"),
            (&format!("address = \"https://h/\"\n{SECRET}\n="), "line 5"),
            (&format!("addres = \"https://h/\"\n{SECRET}"), "addres"),
        ] {
            let error = parse(&format!("[[webhook]]\n{lines}"), None).map(drop).expect_err(lines);
            let report = crate::error::report(&error).to_string();
            assert!(report.contains(says) && report.contains("help:"), "{report}");
            assert!(!report.contains("0123456789"), "{report}");
        }
    }
}
