//! `rocbed jobs add` and `rocbed jobs import`: adds jobs to a hub.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use advice::{Advice, AtPath as _};
use anyhow::{Context as _, Result, bail, ensure};
use client::Client;
use progress::{Progress as _, Unit};
use protocol::api::AddedJobs;
use protocol::{Job, JobList, Source};
use serde_json::{Map, Value, json};

use super::{add_list, watch};
use crate::cmdline::{JobsAdd, JobsImport};
use crate::commands::{print, print_json, results};
use crate::context::Context;
use crate::hubs::{HubAccess, connect};
use crate::own_packages::{self, OwnPackages};

/// Adds jobs for packages; with `--watch`, follows them to their end.
pub(super) fn packages(context: &Context, options: &JobsAdd) -> Result<u8> {
    no_lists(&options.packages)?;
    let (own, names) = own_and_others(&options.packages)?;
    no_paths(&names)?;
    let jobs = jobs(options, &names, &own)?;
    let (place, client) = connect(&options.at)?;
    upload(context, &place, &client, &jobs, &own)?;
    let list = JobList { version: protocol::VERSION, job: jobs };
    let added = add_list(&place, &client, list, options.each_target)?;
    if !options.watch {
        tell(context, &place, &added, options.json)?;
        for (before, after) in pairs(options, &added) {
            context.reporter.say(&format!("when both are over: rocbed results compare {before} {after}"));
        }
        return Ok(0);
    }
    say(context, &place, &added);
    let code = watch::follow(context, &place, &added.jobs, options.json)?;
    for (before, after) in pairs(options, &added) {
        results::compare_jobs(&place, &client, before, after, options.json)?;
    }
    Ok(code)
}

/// The jobs that are compared: with the archive's packages, and with the own ones.
fn pairs<'a>(options: &JobsAdd, added: &'a AddedJobs) -> Vec<(&'a str, &'a str)> {
    let pair = |pair: &'a [String]| match pair {
        [before, after] if options.compare => Some((before.as_str(), after.as_str())),
        _ => None,
    };
    added.jobs.chunks(2).filter_map(pair).collect()
}

/// Own packages among the words, and what is tested: what else is named, or else the sources of the own packages.
fn own_and_others(words: &[String]) -> Result<(OwnPackages, Vec<String>)> {
    let (own, mut names): (Vec<_>, Vec<_>) = words.iter().cloned().partition(|word| own_packages::is_own(word));
    let own = OwnPackages::read(own.iter().map(String::as_str))?;
    if names.is_empty() {
        names = own.source_names().into_iter().map(str::to_owned).collect();
    }
    Ok((own, names))
}

/// Uploads the package files that jobs need, each once.
fn upload(context: &Context, place: &HubAccess, client: &Client, jobs: &[Job], own: &OwnPackages) -> Result<()> {
    let mut sent = BTreeSet::new();
    for (file, path) in jobs.iter().flat_map(|job| own.paths_of(job)) {
        if !sent.insert(path) {
            continue;
        }
        let task =
            context.reporter.task(&format!("uploading {}", file.name()), file.content.map(|c| c.size), Unit::Bytes);
        let mut before = 0;
        let advance = |have: u64, _| {
            task.advance(have.saturating_sub(before));
            before = have;
        };
        client.upload_package(path, advance).map_err(|error| place.explain(error))?;
    }
    Ok(())
}

/// Refuses a job list where a package is expected: names of packages and addresses of source trees never end in
/// `.toml` or `.json`.
fn no_lists(packages: &[String]) -> Result<()> {
    let is_list = |package: &&String| {
        let name = package.to_ascii_lowercase();
        !name.contains("://") && [".toml", ".json"].iter().any(|ending| name.ends_with(ending))
    };
    match packages.iter().find(is_list) {
        None => Ok(()),
        Some(file) => bail!(Advice::new(
            format!("{file} is a job list, and `rocbed jobs add` takes packages"),
            format!("did you mean `rocbed jobs import {file}`? It adds the jobs of a list")
        )),
    }
}

/// Refuses paths of source trees, which only this machine has.
fn no_paths(names: &[String]) -> Result<()> {
    let is_path = |name: &&String| !name.contains("://") && (name.contains('/') || name.starts_with('.'));
    match names.iter().find(is_path) {
        None => Ok(()),
        Some(path) if !Path::new(path).exists() => bail!(Advice::new(
            format!("there is no {path}"),
            "name source packages of the archive, addresses of source trees, or own packages (.deb, .changes)"
        )),
        Some(path) => bail!(Advice::new(
            format!("{path} is on this machine, and workers of a hub cannot read it"),
            "give the address of a source tree; `rocbed test` tests one that is here"
        )),
    }
}

/// Adds the jobs of a list.
pub(super) fn import(context: &Context, options: &JobsImport) -> Result<u8> {
    let name = if options.file.as_os_str() == "-" { "stdin".to_owned() } else { options.file.display().to_string() };
    let mut bytes = Vec::new();
    if options.file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).context("reading stdin")?;
    } else {
        bytes = fs::read(&options.file).at_path("reading", &options.file)?;
    }
    let mut list = JobList::parse(&bytes).with_context(|| format!("reading the job list {name}"))?;
    let base = options.file.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for job in &mut list.job {
        if let Source::Path(path) = &job.source
            && !path.ends_with(".dsc")
        {
            bail!(Advice::new(
                format!("job {} of {name} tests the source tree {path}, which only this machine has", job.id),
                "give a url or a .dsc, or run it with `rocbed boot --jobs` or `rocbed test`"
            ));
        }
        files.push(own_packages::with_files(job, base).with_context(|| format!("job {} of {name}", job.id))?);
    }
    let (place, client) = connect(&options.at)?;
    for (job, own) in list.job.iter().zip(&files) {
        upload(context, &place, &client, std::slice::from_ref(job), own)?;
    }
    let added = add_list(&place, &client, list, options.each_target)?;
    tell(context, &place, &added, options.json)?;
    Ok(0)
}

/// Prints the ids, for use in scripts, and says where to look.
pub(super) fn tell(context: &Context, place: &HubAccess, added: &AddedJobs, json: bool) -> Result<()> {
    if json {
        print_json(added)?;
    } else {
        print(&added.jobs.iter().map(|id| format!("{id}\n")).collect::<String>())?;
    }
    say(context, place, added);
    Ok(())
}

fn say(context: &Context, place: &HubAccess, added: &AddedJobs) {
    match added.jobs.as_slice() {
        [one] => context.reporter.say(&format!("added {one}: {}", place.job_page(one))),
        several => context.reporter.say(&format!("added {} jobs: {}/jobs", several.len(), place.address)),
    }
}

/// The jobs that the options ask for, each checked as one of a job list would be.
fn jobs(options: &JobsAdd, names: &[String], own: &OwnPackages) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (mut job, name) in plain_jobs(options, names)?.into_iter().zip(names) {
        own.give_to(&mut job, name);
        let job = own_packages::add_to(job, &options.other)?;
        if options.compare {
            jobs.push(own_packages::to_compare(&job)?);
        }
        jobs.push(job);
    }
    Ok(jobs)
}

/// The jobs without own packages.
fn plain_jobs(options: &JobsAdd, names: &[String]) -> Result<Vec<Job>> {
    let mut common = Map::new();
    let mut set = |name: &str, value: Value| drop(common.insert(name.to_owned(), value));
    match options.gpu.as_slice() {
        [] => {}
        [word] if word == "any" || word == "none" => set("gpu", json!(word)),
        targets => set("gpu", json!(targets)),
    }
    if let Some(gpus) = options.gpus {
        set("gpus", json!(gpus));
    }
    if !options.run_as.is_empty() {
        set("as", json!(options.run_as));
    }
    if let Some(timeout) = options.timeout {
        set("timeout", json!(timeout));
    }
    if let Some(priority) = options.priority {
        set("priority", json!(priority));
    }
    if let Some(shards) = options.shards {
        set("shards", json!(shards));
    }
    for (option, key, bytes) in
        [("--memory", "memory", options.memory), ("--gpu-memory", "gpu-memory", options.gpu_memory)]
    {
        let Some(bytes) = bytes else { continue };
        ensure!(bytes >= 1 << 20, "{option}: {bytes} bytes are less than any machine has: give a unit, 32GiB");
        set(key, json!(bytes.div_ceil(1 << 20)));
    }
    set("pin", json!(options.pin));
    set("env", Value::Object(options.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect()));
    set("tests", json!(options.tests));
    let mut list = Map::new();
    let job = |package: &String| {
        let mut job = common.clone();
        let kind = if package.contains("://") { "url" } else { "package" };
        job.insert(kind.to_owned(), json!(package));
        Value::Object(job)
    };
    list.insert("job".to_owned(), names.iter().map(job).collect());
    // Written as a list, for its checks and for distinct ids.
    let text = serde_json::to_string(&list).context("writing down the jobs")?;
    match JobList::parse(text.as_bytes()) {
        Ok(list) => Ok(list.job),
        // A position in a generated list would tell the user nothing.
        Err(protocol::ListError::Wrong { message, .. }) => {
            let message = message.split(" at line ").next().unwrap_or(&message);
            bail!("{message}")
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline::{Cli, Command, JobsCommand};
    use clap::Parser;
    use protocol::{GpuNeed, RunAs};

    fn of(words: &[&str]) -> Result<Vec<Job>> {
        let cli = Cli::try_parse_from(["rocbed", "jobs", "add"].iter().chain(words))?;
        match cli.command {
            Command::Jobs(JobsCommand::Add(options)) => {
                let (own, names) = own_and_others(&options.packages)?;
                jobs(&options, &names, &own)
            }
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn options_become_a_job() -> Result<()> {
        let words = "rocrand --gpu gfx1030,gfx11-generic --gpus 2 --as user,root --timeout 2h --priority -3 --test a \
                     --pin experimental=src:rocr-runtime --env A_B=c=d --memory 32GiB --gpu-memory 16GiB --shards 4";
        let [job] = <[Job; 1]>::try_from(of(&words.split_whitespace().collect::<Vec<_>>())?).expect("one job");
        assert_eq!(job.gpu.to_string(), "gfx1030 or gfx11-generic");
        assert_eq!((job.gpus, job.priority, job.memory), (2, -3, Some(32 << 10)));
        assert_eq!((job.gpu_memory, job.shards), (Some(16 << 10), 4));
        assert_eq!(job.run_as, [RunAs::User, RunAs::Root]);
        assert_eq!((job.env["A_B"].as_str(), job.tests[0].as_str(), job.pin.len()), ("c=d", "a", 1));
        Ok(())
    }

    #[test]
    fn several_packages_and_addresses() -> Result<()> {
        let jobs = of(&["hipcub", "hipcub", "https://example.org/x.git#b", "--gpu", "any"])?;
        let ids: Vec<_> = jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids, ["hipcub", "hipcub-2", "x.git"]);
        assert!(jobs.iter().all(|job| job.gpu == GpuNeed::Any));
        Ok(())
    }

    #[test]
    fn a_job_list_is_for_import() {
        let packages = |name: &str| vec!["rocrand".to_owned(), name.to_owned()];
        for list in ["jobs.toml", "../lists/all.json", "JOBS.TOML"] {
            let error = crate::error::report(&no_lists(&packages(list)).unwrap_err()).to_string();
            assert!(error.contains(&format!("help: did you mean `rocbed jobs import {list}`?")), "{error}");
        }
        for package in ["rocm-toml", "https://example.org/x.json"] {
            assert!(no_lists(&packages(package)).is_ok(), "{package}");
        }
    }

    #[test]
    fn a_path_of_this_machine_is_not_given_to_workers() {
        let told = |word: &str| crate::error::report(&no_paths(&[word.to_owned()]).unwrap_err()).to_string();
        assert!(
            told("./no-such-tree").starts_with("there is no ./no-such-tree\n  help: "),
            "{}",
            told("./no-such-tree")
        );
        assert!(told("..").contains("`rocbed test` tests one that is here"), "{}", told(".."));
        assert!(no_paths(&["gzip".into(), "https://example.org/x.git".into()]).is_ok());
    }

    #[test]
    fn an_archive_is_compared_with_the_usual_one() -> Result<()> {
        let jobs = of(&["gzip", "--compare", "--archive", "experimental", "--package-version", "libc6=2.42-1"])?;
        let ids: Vec<_> = jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids, ["gzip-archive", "gzip"]);
        assert_eq!((jobs[0].departures().len(), jobs[1].departures()), (0, vec!["versions", "archive"]));
        let error = of(&["gzip", "--compare"]).unwrap_err().to_string();
        assert!(error.starts_with("--compare: gzip is tested with the archive's packages both times"), "{error}");
        Ok(())
    }

    #[test]
    fn mistakes_are_told_without_the_list_that_nobody_wrote() {
        for (words, says) in [
            (&["../rocrand"][..], "source package"),
            (&["rocrand", "--gpu", "radeon"], "`radeon` is not a GPU target"),
            (&["rocrand", "--pin", "x"], "RELEASE=PACKAGE"),
            (&["rocrand", "--memory", "12"], "unit"),
            (&["rocrand", "--shards", "100"], "from 1 to 64"),
        ] {
            let error = of(words).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("line 1"), "{words:?}: {error}");
        }
    }
}
