//! Webhooks: changes of the states of tests, posted to addresses as they happen.
//!
//! The command that changes a state also [queues](queue) the event, in the same transaction, for each receiver that wants
//! it. A task for each receiver [delivers](run) the events in their order, and removes one once it was taken. So each
//! is delivered at least once, also if either side is away or started again; the id of an event tells a repetition.

mod deliver;
mod queue;
mod run;
mod status;

use std::fmt;
use std::time::Duration;

use advice::Advice;
use protocol::api::TestState;
use safetext::Secret;
use sha256::Digest;
use ureq::Agent;
use ureq::http::Uri;

pub(crate) use queue::{Counts, TABLE, counts};
pub(crate) use status::WebhookStatus;

/// Fewest characters of a secret: fewer could be guessed.
const SHORTEST_SECRET: usize = 16;
/// How long connecting, and waiting for the next bytes, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a delivery may take in all.
const LONGEST: Duration = Duration::from_secs(30);

/// An address that changes of the states of tests are posted to.
#[derive(Clone)]
pub struct Webhook {
    /// What pages and the log call it: its address may be a secret itself.
    pub(crate) name: String,
    address: String,
    secret: Secret,
    states: Vec<TestState>,
    hub: Option<String>,
    agent: Agent,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).field("states", &self.states).finish_non_exhaustive()
    }
}

/// The settings of a [`Webhook`].
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// What pages and the log call it; the host of the address if it is missing.
    pub name: Option<String>,
    /// The address, `https` or `http`.
    pub address: Secret,
    /// The key of the signatures.
    pub secret: Secret,
    /// Changes to these states are posted; all if it is empty.
    pub states: Vec<TestState>,
    /// PEM text of authorities that are trusted besides the system's.
    pub authorities: Option<String>,
    /// Address of the hub's pages, for links.
    pub hub: Option<String>,
}

impl Webhook {
    /// Checks the settings, and prepares connections.
    ///
    /// # Errors
    /// What is wrong with a setting.
    pub fn new(options: WebhookOptions) -> Result<Self, Advice> {
        let refuse = |what: &str, help: &str| Err(Advice::new(format!("a webhook: {what}"), help.to_owned()));
        let address = options.address.reveal();
        let uri: Option<Uri> = address.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).filter(|host| !host.is_empty());
        let is_http = uri.as_ref().is_some_and(|uri| matches!(uri.scheme_str(), Some("https" | "http")));
        let (Some(host), true) = (host, is_http) else {
            return refuse("its address is not one of HTTP", "write it as https://ci.example/path");
        };
        if uri.as_ref().and_then(Uri::authority).is_some_and(|authority| authority.as_str().contains('@')) {
            return refuse("its address has a password in it", "leave it out: the receiver checks the signature");
        }
        let name = options.name.unwrap_or_else(|| host.to_owned());
        if options.secret.reveal().len() < SHORTEST_SECRET {
            let what = format!("the secret of {name} has less than {SHORTEST_SECRET} characters");
            return refuse(&what, "make one with `openssl rand -hex 32`");
        }
        let tls = options.authorities.as_deref();
        let tls = tls.map_or_else(|| transfer::tls::trusting(None), transfer::tls::trusting_text);
        let tls = tls.map_err(|error| {
            Advice::new(format!("the webhook {name}: {error}"), "name a PEM file with certificates of authorities")
        })?;
        let agent = transfer::one_server(PATIENCE, tls).timeout_global(Some(LONGEST)).build().into();
        let (address, hub) = (address.to_owned(), options.hub);
        Ok(Self { name, address, secret: options.secret, states: options.states, hub, agent })
    }

    /// Identifies the receiver in the database, which does not have its address.
    pub(crate) fn key(&self) -> String {
        Digest::of(&self.address).to_string()
    }

    pub(crate) fn wants(&self, state: TestState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    /// The states that it gets, in words.
    pub(crate) fn states(&self) -> String {
        match &self.states[..] {
            [] => "all".to_owned(),
            states => states.iter().map(|state| state.words()).collect::<Vec<_>>().join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(address: &str, secret: &str) -> WebhookOptions {
        WebhookOptions {
            name: None,
            address: Secret::new(address),
            secret: Secret::new(secret),
            states: Vec::new(),
            authorities: None,
            hub: None,
        }
    }

    #[test]
    fn wrong_settings_are_told_without_what_is_secret() {
        let long = "0123456789abcdef";
        for (address, secret, says) in [
            ("ftp://h/hidden", long, "not one of HTTP"),
            ("hidden", long, "not one of HTTP"),
            ("https://me:hidden@h/", long, "password"),
            ("https://h/hidden", "hidden", "less than 16"),
        ] {
            let error = Webhook::new(options(address, secret)).expect_err(address).in_one_line();
            assert!(error.contains(says) && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn neither_the_address_nor_the_secret_is_shown() {
        let hook = Webhook::new(options("https://h.example/hidden", "0123456789abcdef")).expect("a webhook");
        let shown = format!("{hook:?}");
        assert!(shown.contains("h.example") && !shown.contains("hidden") && !shown.contains("abcdef"), "{shown}");
    }
}
