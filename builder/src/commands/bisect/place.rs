//! [`Place`]: where the runs of a search are made, as it is kept and shown.

use std::path::PathBuf;

use advice::Advice;
use protocol::{Job, Source as JobSource};
use serde::{Deserialize, Serialize};
use sha256::Digest;

/// Where runs are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    /// At the hub with this address.
    Hub(String),
    /// In testbeds on this machine.
    Local(Local),
    /// In virtual machines on this machine, which boot the images that are searched.
    Machines(Machines),
}

impl Place {
    /// Address of the hub that is asked for packages, and runs the tests unless they run here.
    pub(super) fn hub(&self) -> Option<&str> {
        match self {
            Self::Hub(address) => Some(address),
            Self::Local(local) => local.hub.as_deref(),
            Self::Machines(_) => None,
        }
    }

    /// Checks that it has what a job of the search needs; `bad` is the run that it was made from.
    pub(super) fn check(&self, job: &Job, bad: &str) -> Result<(), Advice> {
        match (self, &job.source, job.packages.first()) {
            (Self::Local(_) | Self::Machines(_), _, Some(file)) => Err(Advice::new(
                format!("{bad} was tested with package files, such as {file}"),
                "the hub has them: leave --local and --image out",
            )),
            (Self::Hub(_), JobSource::Path(path), _) => Err(Advice::new(
                format!("{path} is a source tree of one machine, and workers of the hub do not have it"),
                "--local RECIPE runs the tests here",
            )),
            _ => Ok(()),
        }
    }
}

/// Testbeds on this machine, as `rocbed test` makes them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Local {
    pub(super) recipe: String,
    /// The options of `rocbed test` besides those that the job gives.
    pub(super) options: Vec<String>,
    /// Address of the hub from which packages come that the archive has no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hub: Option<String>,
}

/// Images of a search, and how they are booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Machines {
    /// The directories of the images, in their order, or the locks of the first and the last image.
    pub(super) images: Vec<PathBuf>,
    /// What tells each of them from another one in its place.
    #[serde(default)]
    pub(super) digests: Vec<Digest>,
    /// With locks: the recipe that they are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recipe: Option<String>,
    /// Options of `rocbed boot`.
    pub(super) boot: Vec<String>,
    /// Options of `rocbed build`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) build: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_refused_where_it_cannot_run_before_the_first_run() {
        let (hub, here) = (Place::Hub("http://hub".into()), Place::Local(Local::default()));
        let (tree, address) = (JobSource::Path("/x/tree".into()), JobSource::Url("https://example.org/app.git".into()));
        let says = |place: &Place, source: &JobSource| {
            place.check(&Job::new(source.clone()), "app-2").err().map(|error| error.in_one_line()).unwrap_or_default()
        };
        assert!(says(&hub, &tree).contains("--local RECIPE"));
        assert_eq!([says(&here, &tree), says(&here, &address), says(&hub, &address)], ["", "", ""]);
    }
}
