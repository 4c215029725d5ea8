//! Runs in testbeds on this machine: `rocbed test`, as its user would call it.

use anyhow::{Context as _, Result};
use history::bisect::Upgraded;
use protocol::{Job, JobResult};

use super::child;
use super::command::{reproduce, test_of, user_of, words, write_sources};
use super::kept::Kept;
use super::place::Local;
use super::tester::{Ended, Ran, Stop, Tester, packages};
use crate::cmdline::Bisect;
use crate::context::Context;
use crate::hubs::{self, HubAccess};

/// This machine.
pub(super) struct Here<'a> {
    context: &'a Context,
    local: Local,
    kept: Kept,
}

/// The options that runs have in common. `hub` is the one that the search has asked so far, if any.
pub(super) fn local(recipe: &str, options: &Bisect, hub: Option<&HubAccess>) -> Result<Local> {
    let mut words: Vec<String> = Vec::new();
    if let Some(gpus) = &options.gpu {
        words.push(if gpus.is_empty() { "--gpu".to_owned() } else { format!("--gpu={}", gpus.join(",")) });
    }
    let source = &options.source;
    words.extend(source.mirror.iter().map(|mirror| format!("--mirror={mirror}")));
    words.extend(source.ignore_valid_until.then(|| "--ignore-valid-until".to_owned()));
    words.extend(source.offline.then(|| "--offline".to_owned()));
    if let Some(lock) = &source.lock {
        let lock = std::path::absolute(lock).context("finding the lock")?;
        words.push(format!("--lock={}", lock.display()));
    }
    let hub = match hub {
        _ if source.offline => None,
        Some(hub) => Some(hub.address.clone()),
        // Two files need no hub, and none is asked that is not named.
        None if options.at.hub.is_some() => Some(hubs::find(&options.at)?.address),
        None => None,
    };
    Ok(Local { recipe: recipe.to_owned(), options: words, hub })
}

impl<'a> Here<'a> {
    pub(super) fn new(context: &'a Context, local: Local, kept: Kept) -> Self {
        Self { context, local, kept }
    }
}

impl Tester for Here<'_> {
    fn begin(&mut self, _: &Job, _: Option<&str>) -> Result<Option<String>> {
        Ok(None)
    }

    fn finish(&mut self, job: &Job, _: &Upgraded, _: Option<&str>, stop: &Stop) -> Result<Ended> {
        let scratch = tempfile::tempdir().context("making a temporary directory")?;
        let sources = write_sources(job, scratch.path())?;
        let Some((job, own)) = self.kept.give(self.context, job, stop)? else { return Ok(Ended::Stopped) };
        let output = child::run(self.context, &words(&job, &self.local, &sources, &own), stop)?;
        let Some(output) = output else { return Ok(Ended::Stopped) };
        let Ok(result) = JobResult::parse(output.stdout.trim().as_bytes()) else {
            return Ok(Ended::Lost(format!("`rocbed test` ended with {}: {}", output.status, output.error())));
        };
        let lists = result.installed.resolve().context("reading the packages of a run")?;
        Ok(Ended::Ran(Box::new(Ran {
            job: None,
            machine: result.machine.name.clone(),
            packages: packages(&result, &test_of(&job), user_of(&job), &lists),
            reproduce: reproduce(&job, &self.local, &own),
            result,
        })))
    }
}
