//! State shared by all commands: the reporter, the cache directory and the fetcher.

use std::io::IsTerminal;
use std::path::PathBuf;

use advice::WithHelp as _;
use anyhow::{Context as _, Result};
use store::{FetchOptions, Fetcher, Store};

use crate::cmdline::{Ci, Global, Source};
use crate::mirror::{self, Mirror, Origin};
use crate::recipe::Recipe;
use crate::report::ci::Style;
use crate::report::{Reporter, Verbosity};

/// Context of one run of the program.
pub struct Context {
    /// Progress and messages for the user.
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

    /// Directory of the store.
    pub fn cache_directory(&self) -> Result<PathBuf> {
        match &self.cache {
            Some(path) => Ok(path.clone()),
            None => store::default_root().context("finding the cache directory").help("name one with --cache"),
        }
    }

    /// Opens the store.
    pub fn store(&self) -> Result<Store> {
        let root = self.cache_directory()?;
        Store::open(&root).with_context(|| format!("opening the cache {}", root.display()))
    }

    /// A fetcher that downloads into the store.
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

/// The CI system whose log style is used. On a terminal there are progress bars, whatever is in the environment.
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

/// The mirror for a command: `--mirror` or `ROCBED_MIRROR`, else the recipe's, else this machine's.
pub fn mirror(recipe: &Recipe, source: &Source) -> Mirror {
    match (&source.mirror, &recipe.archive.mirror) {
        (Some(url), _) => Mirror::given(url),
        (None, Some(url)) => Mirror::new(url, Origin::Recipe),
        (None, None) => Mirror::of_this_machine(&recipe.archive.suite),
    }
}
