//! What the options of a command line say about packages, for a job.

use std::collections::BTreeMap;
use std::path::Path;

use advice::Advice;
use anyhow::{Context as _, Result, anyhow, ensure};
use protocol::api::job_id;
use protocol::{Job, PackageFile};

use super::{read_apt_source, read_keys};
use crate::cmdline::PackageOptions;

/// Adds what the options say to a job, and checks it as one of a job list.
///
/// # Errors
/// If a source cannot be read, or something is wrong with the job.
pub fn add_to(mut job: Job, options: &PackageOptions) -> Result<Job> {
    job.versions.extend(options.package_version.iter().cloned());
    job.archive = options.archive.clone().or(job.archive);
    for path in &options.apt_source {
        job.apt_sources.extend(read_apt_source(path)?);
    }
    read_keys(&mut job, Path::new("."))?;
    let value = serde_json::to_value(&job).context("writing down the job")?;
    serde_json::from_value(value).map_err(|error| anyhow!("{error}"))
}

/// The job that `--compare` runs before one: the same tests, with the packages of the image's archive.
///
/// # Errors
/// If the job has these packages too.
pub fn to_compare(job: &Job) -> Result<Job> {
    let archive = without_own(job);
    ensure!(
        archive != *job,
        Advice::new(
            format!("--compare: {} is tested with the archive's packages both times", job.source.name()),
            "name own packages, or others than the newest of the archive: --archive, --package-version, --apt-source"
        )
    );
    Ok(Job { id: job_id(&format!("{}-archive", job.id), 1), ..archive })
}

fn without_own(job: &Job) -> Job {
    let source = |file: &&PackageFile| !file.is_binary();
    Job {
        packages: job.packages.iter().filter(source).cloned().collect(),
        versions: BTreeMap::new(),
        apt_sources: Vec::new(),
        archive: None,
        pin: Vec::new(),
        ..job.clone()
    }
}
