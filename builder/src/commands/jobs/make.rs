//! `rocbed jobs make`: makes a job list from the archive's indexes.

use std::fmt::Write as _;
use std::path::Path;

use advice::WithHelp as _;
use anyhow::{Context as _, Result};
use progress::Progress as _;
use protocol::{GpuNeed, Job, JobList};

use super::add::tell;
use super::add_list;
use crate::cmdline::{JobsMake, Source};
use crate::commands::{print, print_json};
use crate::context::{Context, mirror};
use crate::hubs::connect;
use crate::lock::Lock;
use crate::wording::counted;
use crate::worklist::{Candidate, Indexes, changed, need, rdeps, select};
use crate::{archive, recipe};

/// A candidate with the jobs made from it.
type Planned = (Candidate, Vec<Job>);

pub(super) fn run(context: &Context, options: &JobsMake) -> Result<()> {
    let trees = trees(context, options)?;
    let lock = options.changed_since.as_deref().map(lock).transpose()?;
    let recipe = recipe::load(&options.recipe)?;
    let source = Source {
        mirror: options.mirror.clone(),
        ignore_valid_until: options.ignore_valid_until,
        offline: false,
        lock: None,
    };
    let mut wish = recipe.archive.clone();
    wish.check_valid_until &= !options.ignore_valid_until;
    let (mirror, fetcher) = (mirror(&recipe, &source), context.fetcher(&source)?);
    let (archive, sources) = archive::open_with_sources(&wish, &mirror, &fetcher, &context.reporter)?;
    let indexes = Indexes::new(&sources, &archive.universe);
    let mut candidates =
        if options.rdeps_of.is_empty() { select(&indexes) } else { rdeps::of(&indexes, &options.rdeps_of)? };
    let found = candidates.len();
    if let Some(lock) = &lock {
        candidates.retain_mut(|candidate| match changed::since(&indexes, lock, candidate) {
            Some(what) => {
                candidate.why = what;
                true
            }
            None => false,
        });
    }
    for package in trees.keys().filter(|package| candidates.iter().all(|one| one.package != **package)) {
        context.reporter.warn(&format!("--source: {package} is not among the packages of this list"));
    }
    let planned: Vec<Planned> = candidates
        .into_iter()
        .map(|candidate| {
            let need = need::of(&candidate.package, &indexes, &trees);
            let jobs = jobs(&candidate.package, need, &options.gpu);
            (candidate, jobs)
        })
        .collect();
    let count: usize = planned.iter().map(|(_, jobs)| jobs.len()).sum();
    let unchanged = if lock.is_some() { format!("; {} unchanged", found - planned.len()) } else { String::new() };
    let (jobs, packages) = (counted(count, "job", "jobs"), counted(planned.len(), "package", "packages"));
    context.reporter.say(&format!("{jobs} for {packages} of {}{unchanged}", wish.suite));
    hand_over(context, options, planned, &wish.suite)
}

/// Writes the list to its destination.
fn hand_over(context: &Context, options: &JobsMake, planned: Vec<Planned>, suite: &str) -> Result<()> {
    let text = toml(&planned, suite)?;
    let list = JobList { version: protocol::VERSION, job: planned.into_iter().flat_map(|(_, jobs)| jobs).collect() };
    if options.add {
        if list.job.is_empty() {
            context.reporter.say("there is nothing to add");
            return Ok(());
        }
        let (place, client) = connect(&options.at)?;
        let added = add_list(&place, &client, list, false)?;
        return tell(context, &place, &added, options.json);
    }
    match (&options.output, options.json) {
        (None, true) => print_json(&list),
        (None, false) => print(&text),
        (Some(path), json) => {
            let text = if json { serde_json::to_string_pretty(&list).context("writing JSON")? + "\n" } else { text };
            durable::replace(path, text.as_bytes(), durable::Readers::Everyone)
                .with_context(|| format!("writing {}", path.display()))?;
            context.reporter.say(&format!("wrote {}", path.display()));
            Ok(())
        }
    }
}

/// The GPU needs that the given source trees declare.
fn trees(context: &Context, options: &JobsMake) -> Result<need::Trees> {
    let mut trees = need::Trees::new();
    for path in &options.source {
        let (package, need) = need::of_tree(path)?;
        match need {
            Some(need) => drop(trees.insert(package, need)),
            None => context.reporter.detail(&format!("{package}: debian/tests/control says nothing of GPUs")),
        }
    }
    Ok(trees)
}

/// A lock by its path, or that of a shipped recipe by its name.
fn lock(path: &Path) -> Result<Lock> {
    if let Some(lock) = Lock::read(path)? {
        return Ok(lock);
    }
    let shipped = path.to_str().and_then(|name| Some((name, recipe::shipped_lock(name)?)));
    let (name, text) = shipped
        .with_context(|| format!("there is no lock {}", path.display()))
        .help("--changed-since takes a lock's path, or the name of a shipped recipe")?;
    Ok(Lock::parse(text, &format!("{name} (shipped)"))?)
}

/// The jobs for a package: one, or one for each of the wanted targets that its tests can run on.
fn jobs(package: &str, need: GpuNeed, wanted: &[gpu::Target]) -> Vec<Job> {
    let job = |id: String, gpu: GpuNeed| Job { id, gpu, ..Job::of_package(package) };
    if wanted.is_empty() || need == GpuNeed::None {
        return vec![job(package.to_owned(), need)];
    }
    let on = |target: gpu::Target| job(format!("{package}@{target}"), GpuNeed::Targets(vec![target]));
    need::on_each(&need, wanted).into_iter().map(on).collect()
}

/// The list as TOML for people: only keys that differ from the default, and the reason for each job as a comment.
fn toml(planned: &[Planned], suite: &str) -> Result<String> {
    let mut text = format!("# Made by `rocbed jobs make` from the indexes of {suite}.\n");
    for (candidate, jobs) in planned {
        write!(text, "\n# {} {}: {}\n", candidate.package, candidate.version, candidate.why)?;
        for job in jobs {
            text.push_str("[[job]]\n");
            if job.id != candidate.package {
                writeln!(text, "id = {}", toml::Value::from(job.id.clone()))?;
            }
            let gpu = toml::Value::try_from(&job.gpu).context("writing down the GPUs")?;
            writeln!(text, "package = {}\ngpu = {gpu}", toml::Value::from(candidate.package.clone()))?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(wanted: &[&str]) -> Vec<Planned> {
        let wanted: Vec<gpu::Target> = wanted.iter().map(|name| name.parse().unwrap()).collect();
        let need = GpuNeed::Targets(vec!["gfx1030".parse().unwrap(), "gfx11-generic".parse().unwrap()]);
        let candidate = |name: &str| Candidate { package: name.into(), version: "1-1".into(), why: "because".into() };
        vec![
            (candidate("rocrand"), jobs("rocrand", need, &wanted)),
            (candidate("rocminfo"), jobs("rocminfo", GpuNeed::Any, &wanted)),
        ]
    }

    #[test]
    fn a_list_is_read_as_it_was_meant() -> Result<()> {
        for wanted in [&[][..], &["gfx1030", "gfx942"]] {
            let planned = planned(wanted);
            let text = toml(&planned, "sid")?;
            let list = JobList::parse(text.as_bytes())?;
            let meant: Vec<Job> = planned.into_iter().flat_map(|(_, jobs)| jobs).collect();
            assert_eq!(list.job, meant, "{text}");
            assert!(text.contains("# rocrand 1-1: because\n"), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_job_for_each_target_that_a_package_is_built_for() {
        let ids: Vec<String> =
            planned(&["gfx1101", "gfx90a"]).into_iter().flat_map(|(_, jobs)| jobs).map(|job| job.id).collect();
        assert_eq!(ids, ["rocrand@gfx1101", "rocminfo@gfx1101", "rocminfo@gfx90a"]);
    }

    #[test]
    fn a_lock_that_is_not_there_is_named() {
        let error = crate::error::report(&lock(Path::new("/nowhere.lock")).unwrap_err()).to_string();
        assert!(error.contains("/nowhere.lock") && error.contains("--changed-since"), "{error}");
        assert!(lock(Path::new("smoke")).is_ok());
    }
}
