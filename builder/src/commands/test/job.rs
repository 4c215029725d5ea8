//! The job that a command line of `rocbed test` asks for.

use std::path::{Path, PathBuf};

use advice::{Advice, AtPath as _};
use anyhow::{Context as _, Result, anyhow, bail};
use protocol::{Job, Source};

use crate::cmdline::Test;
use crate::own_packages::{self, OwnPackages};

/// The job that the command line asks for, and where its own packages are.
pub(super) fn job(options: &Test) -> Result<(Job, Vec<PathBuf>)> {
    let (own, others): (Vec<_>, Vec<_>) = options.packages.iter().partition(|word| own_packages::is_own(word));
    let own = OwnPackages::read(own.into_iter().map(String::as_str))?;
    let names = own.source_names();
    let tested = match (others.as_slice(), names.iter().collect::<Vec<_>>().as_slice()) {
        ([one], _) => one.as_str(),
        ([], [one]) => **one,
        ([], several) => bail!(Advice::new(
            format!(
                "the packages are of several sources: {}",
                several.iter().map(|name| **name).collect::<Vec<_>>().join(", ")
            ),
            "name the package whose tests are to run, too"
        )),
        ([_, second, ..], _) => bail!(Advice::new(
            format!("{second} is a second package to test, and `rocbed test` tests one"),
            "run it for each; own packages are named by their .deb or .changes files"
        )),
    };
    let is_path = tested.contains('/') || tested.starts_with('.');
    let mut job = if let Some(dsc) = own.source_on_disk(tested) {
        Job::new(Source::Path(text(dsc)?))
    } else if tested.contains("://") {
        let source = Source::Url(tested.to_owned());
        source.check().map_err(|error| anyhow!("{error}"))?;
        Job::new(source)
    } else if is_path {
        let path = Path::new(tested);
        let path = path.canonicalize().at_path("finding the source tree", path)?;
        Job::new(Source::Path(text(&path)?))
    } else {
        Job::of_package(tested)
    };
    if !options.run_as.is_empty() {
        job.run_as.clone_from(&options.run_as);
    }
    job.timeout = options.timeout;
    job.shards = options.shards;
    job.packages = own.binary_files();
    // Written as in a job list, so that it is checked as one.
    let value = serde_json::to_value(&job).context("writing down the job")?;
    let value = without_id(value);
    let job = serde_json::from_value(value).map_err(|error| {
        anyhow::Error::new(Advice::new(error.to_string(), format!("a source tree is named by a path: ./{tested}")))
    })?;
    Ok((own_packages::add_to(job, &options.other)?, own.binary_paths().map(Path::to_owned).collect()))
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?.to_owned())
}

/// Removes the id, so that a new one is made: taken from a path, it may have characters that ids must not have.
fn without_id(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("id");
    }
    value
}
