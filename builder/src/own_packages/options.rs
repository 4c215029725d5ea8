//! What the options of a command line say about packages, for a job.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
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

/// The job with which one with own packages is compared: the same tests, with the packages of the image's archive.
pub fn without_own(job: &Job) -> Job {
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
