//! `rocbed hub`: runs a hub in the foreground until it is told to end.

mod addresses;
mod announce;
mod certificate;
mod debci;
mod files;
mod listen;
mod storage;
mod watch;
mod webhooks;
mod words;

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result};
use hub::{Config, HubError, Listener, Tls};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use safetext::Secret;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::print;
use crate::cmdline::{Global, Hub, Limits};
use crate::context::Context;
use crate::hubs::{self, Local};

/// Startup information of a hub: printed for people, or as one line of JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Started {
    /// URL for workers and browsers.
    address: String,
    /// All URLs of the hub.
    addresses: Vec<String>,
    /// Sockets that it listens on.
    listens: Vec<String>,
    data: PathBuf,
    pid: u32,
    join_token_path: PathBuf,
    admin_token_path: PathBuf,
    /// Only if the token was just created.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_token: Option<Secret>,
    #[serde(skip)]
    join_token: Secret,
    #[serde(skip)]
    encrypted: bool,
    #[serde(skip)]
    everywhere: bool,
    #[serde(skip)]
    is_default: bool,
}

pub fn run(context: &Context, global: &Global, options: &Hub) -> Result<()> {
    let default = hubs::default_data();
    let data = match &options.data {
        Some(path) => std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?,
        None => default.as_ref().map(Clone::clone).map_err(|error| anyhow::anyhow!("{error}"))?,
    };
    let is_default = default.is_ok_and(|default| default == data);
    // All options are checked before anything is created.
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => Some(
            Tls::read(certificate, key)
                .context("reading the certificate")
                .help("both files are PEM; the certificate comes first in its file, its chain after it")?,
        ),
        _ => None,
    };
    let url = options.url.as_deref().map(checked).transpose()?;
    if let Some(warning) = tls.as_ref().and_then(|tls| certificate::warning(tls, url.as_deref())) {
        context.reporter.warn_of(&warning.into());
    }
    debci::options(&options.debci, None)?;
    debci::workers(&options.debci_workers)?;
    let watch = watch::options(context, &options.watch, &data)?;
    let encrypted = tls.is_some();
    talk(global);
    raise_limit();
    let storage = storage::open(context, options)?;
    let webhooks = options.webhooks.as_deref().map(|path| webhooks::read(context, path, url.as_deref())).transpose()?;
    let webhooks = webhooks.unwrap_or_default();
    let config = Config { confirm: options.confirm, storage, webhooks, ..config(&options.limits, !options.private) };
    let hub = open(&data, config)?;
    let new = if options.new_admin_token && hub.new_admin_token().is_none() {
        Some(hub.replace_admin_token().context("making a new admin token")?)
    } else {
        hub.new_admin_token().map(str::to_owned)
    };
    let new = new.map(Secret::new);
    if let Some(token) = &new {
        Local::keep_admin_token(&data, token)?;
    }
    let sockets = listen::open(&options.listen)?;
    let listens = sockets.iter().map(std::net::TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
    let listens = listens.context("finding out where the hub listens")?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let found = addresses::of(&listens, &addresses::of_this_machine());
    let mut addresses: Vec<String> = found.iter().map(|address| format!("{scheme}://{address}")).collect();
    let here = match &url {
        // A certificate is valid for names, not for every address.
        Some(url) if tls.is_some() => url.clone(),
        _ => format!("{scheme}://{}", addresses::from_here(&listens).context("finding the hub's own address")?),
    };
    if let Err(error) = Local::keep_address(&data, &here) {
        // A full disk does not stop the hub: commands on this machine then need --hub, and nothing else is lost.
        context
            .reporter
            .warn_of(&crate::error::report(&error.context("commands on this machine will not find the hub")));
    }
    if let Some(url) = url {
        addresses.retain(|address| *address != url);
        addresses.insert(0, url);
    }
    let started = Started {
        address: addresses.first().cloned().unwrap_or(here),
        addresses,
        listens: listens.iter().map(ToString::to_string).collect(),
        pid: std::process::id(),
        join_token_path: Local::join_token_path(&data),
        admin_token_path: Local::admin_token_path(&data),
        admin_token: new.filter(|_| !options.hide_token),
        join_token: Secret::new(hub.join_token()),
        encrypted: tls.is_some(),
        everywhere: listens.iter().any(|address| !address.ip().is_loopback()),
        is_default,
        data,
    };
    if let Some(debci) = debci::options(&options.debci, Some(&started.address))? {
        context.reporter.say(&format!("jobs of the debci server at {} are run by this hub's workers", debci.address));
        hub.serve_debci(debci)?;
    }
    if let Some(workers) = debci::workers(&options.debci_workers)? {
        context.reporter.say(&format!("jobs are offered to workers of debci at {}", workers.address));
        hub.offer_to_debci_workers(workers)?;
    }
    if let Some((watch, keep)) = watch {
        hub.watch_archive(watch);
        if let Some(keep) = keep {
            hub.keep_packages(keep);
        }
    }
    // Held until the hub has ended: dropping it withdraws the announcement.
    let _announced = options.announce.then(|| announce::start(context, &listens, encrypted)).transpose()?;
    let listener = |socket| match &tls {
        Some(tls) => Listener::tls(socket, tls.clone()),
        None => Listener::plain(socket),
    };
    let listeners = sockets.into_iter().map(listener).collect();
    let mut told = None;
    let until = async {
        let mut signal = pin!(hub.until_signal(tls.clone()));
        poll_fn(|context| {
            let state = signal.as_mut().poll(context);
            // From here on a signal ends the hub cleanly: the startup message has told people about it.
            if told.is_none() {
                told = Some(if options.json { json(&started) } else { print(&words::of(&started)) });
            }
            state
        })
        .await;
    };
    hub.serve_blocking(listeners, until).context("running the hub")?;
    context.reporter.say("the hub has ended");
    // A startup message that could not be printed is reported at the end: the hub runs without it.
    told.unwrap_or(Ok(()))
}

fn json(started: &Started) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(started).context("writing JSON")?))
}

/// An address given by the user, in the form in which clients write it.
fn checked(url: &str) -> Result<String> {
    // An address that a client does not accept is not valid.
    let client = client::Client::new(url, &client::ClientOptions::default()).context("reading --url")?;
    Ok(client.address().to_owned())
}

fn open(data: &Path, config: Config) -> Result<hub::Hub> {
    hub::Hub::open(data, config).map_err(|error| match error {
        HubError::InUse(path) => {
            let running = Local::read(&path).ok().flatten();
            let at = running.map(|hub| format!(" (at {})", hub.address)).unwrap_or_default();
            anyhow::Error::new(Advice::new(
                format!("the data directory {} is in use by another hub{at}", path.display()),
                "use that one, end it, or name another directory with --data",
            ))
        }
        other => anyhow::Error::new(other).context(format!("opening the data directory {}", data.display())),
    })
}

fn config(limits: &Limits, public: bool) -> Config {
    Config {
        lease: limits.lease.0,
        // A worker must not wait longer for a job than it may be silent.
        longest_wait: limits.lease.0.clamp(Duration::from_secs(1), Duration::from_secs(60)),
        retries: limits.retries,
        offline_after: limits.offline_after.0,
        max_upload: limits.max_upload,
        max_unpacked: limits.max_unpacked,
        max_log: limits.max_log,
        min_free: limits.min_free,
        max_connections: limits.max_connections,
        max_connections_per_address: limits.max_connections_per_address,
        max_streams: limits.max_streams,
        max_requests: limits.max_requests,
        max_daily_upload: limits.daily_quota,
        max_pending_upload: limits.pending_quota,
        max_packages: limits.package_quota,
        trusted_proxies: limits.trusted_proxy.clone(),
        public,
        ..Config::default()
    }
}

/// Log messages of the hub on stderr: problems, and with `--verbose` what it does. `RUST_LOG` selects in more detail.
fn talk(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, true) => "info",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // It fails only if a subscriber is already set: then that one is used.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}

/// Raises the limit on open files: every worker holds a connection, and the usual default limit is low.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If the limit cannot be raised, new connections wait until others end.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
