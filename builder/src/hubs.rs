//! The hub that a command talks to, and the token it uses there.
//!
//! The address comes from `--hub` or `ROCBED_HUB`, from the user's list of hubs, or from the hub that runs on this
//! machine; the token from `--token-file`, `--token` or `ROCBED_TOKEN`, or from where the address came from. A token
//! is never sent to another address than the one it was stored for.

mod local;
mod pages;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use advice::{Advice, AtPath as _, WithHelp as _};
use anyhow::{Context as _, Result, bail};
use client::{Client, ClientError, ClientOptions};
use protocol::api::ProblemCode;
use safetext::Secret;
use serde::Deserialize;

use crate::cmdline::AtHub;

pub use local::{Local, default_data};
pub use pages::{PAGE, Rest, pages};

/// The user's list of hubs, `$XDG_CONFIG_HOME/rocbed/hubs.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hubs {
    #[serde(default)]
    hub: Vec<Known>,
}

/// An entry of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Known {
    address: String,
    /// The admin token.
    token: Option<Secret>,
    /// A file that holds the admin token.
    token_file: Option<PathBuf>,
    /// Token with which a machine joins as a worker.
    join_token: Option<Secret>,
    /// PEM file of the authority that signed the hub's certificate.
    ca: Option<PathBuf>,
}

/// A hub to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAccess {
    /// Its address, without a slash at the end.
    pub address: String,
    /// The admin token, if known.
    pub token: Option<Secret>,
    /// Token with which a machine joins as a worker, if known.
    pub join_token: Option<Secret>,
    /// PEM file of the authority that signed the hub's certificate.
    pub ca: Option<PathBuf>,
}

/// How long a command keeps trying to reach the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// About a second: the user waits for the answer.
    Short,
    /// Some minutes: the command has already waited for long, and outlasts a restart of the hub.
    Long,
}

/// Finds the hub that the options mean.
pub fn find(at: &AtHub) -> Result<HubAccess> {
    let known = known()?;
    let local = default_data().ok().map(|data| Local::read(&data)).transpose()?.flatten();
    let place = choose(at.hub.as_deref(), &known, local)?;
    let token = match (&at.token_file, &at.token) {
        (Some(path), _) => Some(read_token(path)?),
        (None, Some(token)) => Some(token.clone()),
        (None, None) => place.token,
    };
    Ok(HubAccess { token, ca: at.ca.clone().or(place.ca), ..place })
}

/// Finds the hub that the options mean, and makes a client for a command whose user waits.
pub fn connect(at: &AtHub) -> Result<(HubAccess, Client)> {
    let place = find(at)?;
    let client = place.client(Patience::Short)?;
    Ok((place, client))
}

/// Chooses one of the known hubs; a pure function.
fn choose(asked: Option<&str>, known: &[Known], local: Option<Local>) -> Result<HubAccess> {
    let listed = match asked {
        Some(address) => known.iter().find(|hub| same(&hub.address, address)),
        None => known.first(),
    };
    if let Some(hub) = listed {
        let token = match &hub.token_file {
            Some(path) => Some(read_token(path)?),
            None => hub.token.clone(),
        };
        let (join_token, ca) = (hub.join_token.clone(), hub.ca.clone());
        return Ok(HubAccess { address: trimmed(&hub.address), token, join_token, ca });
    }
    let here = local.filter(|local| asked.is_none_or(|address| local.is_at(address)));
    match (asked, here) {
        (_, Some(local)) => Ok(HubAccess {
            address: asked.map_or(local.address, trimmed),
            token: local.token,
            join_token: local.join_token,
            ca: None,
        }),
        (Some(address), None) => Ok(HubAccess { address: trimmed(address), token: None, join_token: None, ca: None }),
        (None, None) => bail!(Advice::new(
            "no hub is named, and none was started on this machine by this user",
            [
                "name one with --hub or ROCBED_HUB, or start one with `rocbed hub`",
                "that of the package rocbed-hub needs an entry in hubs.toml, with its token: docs/install.md",
            ]
        )),
    }
}

fn trimmed(address: &str) -> String {
    address.trim().trim_end_matches('/').to_owned()
}

fn same(one: &str, other: &str) -> bool {
    trimmed(one).eq_ignore_ascii_case(&trimmed(other))
}

fn read_token(path: &Path) -> Result<Secret> {
    let text = fs::read_to_string(path).at_path("reading the token in", path)?;
    match text.trim() {
        "" => bail!("there is no token in {}: it is empty", path.display()),
        token => Ok(Secret::new(token)),
    }
}

/// The user's list of hubs; empty if there is none.
fn known() -> Result<Vec<Known>> {
    let Some(path) = list_path() else { return Ok(Vec::new()) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(parse(&text).with_context(|| format!("reading {}", path.display()))?.hub),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Parses a list of hubs. The error does not show the line as [`toml::de::Error`] does: a token may be in it.
fn parse(text: &str) -> Result<Hubs, Advice> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // A token without quotes is not named either; only names of keys are.
        let known = ["unknown field `", "missing field `", "duplicate key", "duplicate field `"];
        let what = error.message().lines().next().unwrap_or_default();
        let what = if known.iter().any(|beginning| what.starts_with(beginning)) {
            what.to_owned()
        } else {
            "it is not valid, or a value does not have the right type".to_owned()
        };
        Advice::new(format!("line {line}: {what}"), "docs/hub.md shows such a file; values are texts in quotes")
    })
}

fn list_path() -> Option<PathBuf> {
    directory("XDG_CONFIG_HOME", ".config").map(|config| config.join("rocbed/hubs.toml"))
}

/// A directory by the XDG Base Directory Specification: from a variable with an absolute path, or else in the home
/// directory.
fn directory(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))
}

impl HubAccess {
    /// Makes a client for this hub.
    pub fn client(&self, patience: Patience) -> Result<Client> {
        let mut options = ClientOptions { ca_file: self.ca.clone(), ..ClientOptions::default() };
        match patience {
            Patience::Short => (options.attempts, options.first_pause) = (3, Duration::from_millis(200)),
            Patience::Long => options.attempts = 20,
        }
        let client = Client::new(&self.address, &options).map_err(|error| self.explain(error))?;
        Ok(match &self.token {
            Some(token) => client.with_token(token.reveal()),
            None => client,
        })
    }

    /// A client error with more help: what to do depends on the token that is used.
    pub fn explain(&self, error: ClientError) -> anyhow::Error {
        let help = match &error {
            ClientError::Unreachable { .. } => {
                "is the hub running, and is this its address? `rocbed hub` starts one here; --hub names another"
            }
            ClientError::Refused(problem) => match (problem.code, &self.token) {
                (ProblemCode::Unauthorized, None) => {
                    "this needs the hub's admin token: --token-file, ROCBED_TOKEN, or an entry in hubs.toml"
                }
                (ProblemCode::Unauthorized, Some(_)) => {
                    "the hub does not know this token: is it of this hub, and still the newest? `rocbed hub --new-admin-token` makes a new one"
                }
                (ProblemCode::Forbidden, _) => "this needs the admin token, not a join token or a worker's",
                _ => "",
            },
            _ => "",
        };
        anyhow::Error::new(error).help(help)
    }

    /// URL of a job's page.
    pub fn job_page(&self, job: &str) -> String {
        format!("{}/jobs/{job}", self.address)
    }

    /// URL of a worker's page.
    pub fn worker_page(&self, worker: &str) -> String {
        format!("{}/workers/{worker}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(address: &str) -> Known {
        Known { address: address.into(), token: Some(Secret::new(format!("token of {address}"))), ..Known::default() }
    }

    fn local() -> Local {
        Local {
            address: "http://127.0.0.1:8420".into(),
            token: Some(Secret::new("local")),
            join_token: Some(Secret::new("join")),
        }
    }

    #[test]
    fn the_first_of_the_list_comes_before_the_one_here() -> Result<()> {
        let list = [known("https://lab/"), known("https://other")];
        assert_eq!(choose(None, &list, Some(local()))?.address, "https://lab");
        assert_eq!(choose(None, &[], Some(local()))?.token, Some(Secret::new("local")));
        let error = crate::error::report(&choose(None, &[], None).unwrap_err()).to_string();
        assert!(error.contains("--hub") && error.contains("`rocbed hub`") && error.contains("rocbed-hub"), "{error}");
        Ok(())
    }

    #[test]
    fn a_token_goes_nowhere_else() -> Result<()> {
        let list = [known("https://lab"), known("https://other")];
        let token = |address: &str| -> Result<Option<String>> {
            Ok(choose(Some(address), &list, Some(local()))?.token.map(|token| token.reveal().to_owned()))
        };
        assert_eq!(token("https://OTHER/")?.as_deref(), Some("token of https://other"));
        assert_eq!(token("http://localhost:8420")?.as_deref(), Some("local"));
        assert_eq!(token("https://elsewhere")?, None);
        assert_eq!(token("http://lab")?, None, "unencrypted is somewhere else");
        Ok(())
    }

    #[test]
    fn the_list_is_read_as_documented() {
        let text = "[[hub]]\naddress = \"https://hub\"\ntoken-file = \"/x\"\njoin-token = \"j\"\nca = \"/ca.pem\"\n";
        let hubs = parse(text).unwrap();
        assert_eq!(hubs.hub[0].join_token.as_ref().map(Secret::reveal), Some("j"));
        assert!(!format!("{hubs:?}").contains("Secret(\"j"), "{hubs:?}");
    }

    #[test]
    fn a_mistake_in_the_list_is_told_without_the_token() {
        for (text, says) in [
            ("[[hub]]\nadress = \"x\"\n", "line 2: unknown field `adress`"),
            ("[[hub]]\ntoken = \"sesame\"\n", "missing field `address`"),
            ("[[hub]]\naddress = \"x\"\ntoken = \"sesame\n", "line 3: "),
            ("[[hub]]\naddress = \"x\"\ntoken = sesame\n", "line 3: "),
            ("[[hub]]\naddress = \"x\"\ntoken = [\"sesame\"]\n", "line 3: "),
            ("[[hub]]\naddress = \"x\"\ntoken-file = { sesame = 1 }\n", "line 3: "),
            ("[[hub]]\naddress = \"x\"\ntoken = \"a\"\ntoken = \"sesame\"\n", "line 4: duplicate key"),
        ] {
            let error = parse(text).unwrap_err().in_one_line();
            assert!(error.contains(says) && !error.contains("sesame"), "{text}: {error}");
        }
    }
}
