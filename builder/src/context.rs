//! What every command needs: who to tell, where to keep, where to fetch from.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use store::{FetchOptions, Fetcher, Store};

use crate::cmdline::{Ci, Global, Source};
use crate::mirror::{self, Mirror, Origin};
use crate::recipe::Recipe;
use crate::report::ci::Style;
use crate::report::{Reporter, Verbosity};

/// One run of the program.
pub struct Context {
    /// Who to tell.
    pub reporter: Reporter,
    cache: Option<PathBuf>,
}

impl Context {
    /// From the global options.
    pub fn new(global: &Global) -> Self {
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Self { reporter: Reporter::new(verbosity, style(global)), cache: global.cache.clone() }
    }

    /// Where the store is.
    pub fn cache_directory(&self) -> Result<PathBuf> {
        match &self.cache {
            Some(path) => Ok(path.clone()),
            None => store::default_root().context("finding the cache directory\n  help: name one with --cache"),
        }
    }

    /// Opens the store.
    pub fn store(&self) -> Result<Store> {
        let root = self.cache_directory()?;
        Store::open(&root).with_context(|| format!("opening the cache {}", root.display()))
    }

    /// A fetcher into the store.
    pub fn fetcher(&self, source: &Source) -> Result<Fetcher> {
        let found = mirror::proxies();
        if let Some(program) = found.auto_detect.filter(|_| !source.offline) {
            self.reporter.detail(&format!(
                "apt would ask {program} for a proxy (Proxy-Auto-Detect); rocbed does not: http_proxy names one"
            ));
        }
        let options = FetchOptions { offline: source.offline, proxies: found.proxies, ..FetchOptions::default() };
        Ok(Fetcher::new(self.store()?, options)?)
    }
}

/// In which CI system's style the log is. A person at a terminal has bars, whatever is in the environment.
fn style(global: &Global) -> Option<Style> {
    let environment = || Style::of_environment(|name| std::env::var(name).ok());
    match global.ci {
        None if std::io::stderr().is_terminal() => None,
        None => environment(),
        Some(Ci::Auto) => Some(environment().unwrap_or(Style::Plain)),
        Some(Ci::Gitlab) => Some(Style::GitLab),
        Some(Ci::Github) => Some(Style::GitHub),
        Some(Ci::Plain) => Some(Style::Plain),
        Some(Ci::Off) => None,
    }
}

/// The mirror that a command takes packages from: `--mirror` or `ROCBED_MIRROR`, the recipe's, this machine's.
pub fn mirror(recipe: &Recipe, source: &Source) -> Mirror {
    match (&source.mirror, &recipe.archive.mirror) {
        (Some(url), _) => Mirror::given(url),
        (None, Some(url)) => Mirror::new(url, Origin::Recipe),
        (None, None) => Mirror::of_this_machine(&recipe.archive.suite),
    }
}
