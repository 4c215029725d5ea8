//! [`Job`]: the tests of one package.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gpu::{Gpu, Inventory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Invalid;
use crate::apt_source::{AptSource, MOST_SOURCES};
use crate::need::GpuNeed;
use crate::own_packages::{self, JobArchive, MOST_PACKAGE_FILES, MOST_VERSIONS, PackageFile};
use crate::shards;
use crate::span::Span;

/// A job: the tests of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "JobRepr", into = "JobRepr")]
pub struct Job {
    /// Unique within its list: given, or generated from the source's name.
    pub id: String,
    /// The source of the tests.
    pub source: Source,
    /// The GPU that it needs.
    pub gpu: GpuNeed,
    /// Number of GPUs, if it needs any; at least 1.
    pub gpus: u32,
    /// The users that run the tests, with one run for each; never empty.
    pub run_as: Vec<RunAs>,
    /// The job's deadline, apart from autopkgtest's own timeouts. When it is reached, the results so far are collected.
    pub timeout: Span,
    /// Packages to take from other suites, in the format of `autopkgtest --pin-packages`: `experimental=src:rocr-runtime`.
    pub pin: Vec<String>,
    /// Exact versions of binary packages, by their names: where a testbed has or gets one of them, it is this version.
    pub versions: BTreeMap<String, String>,
    /// Package files that are tested in place of the archive's packages.
    pub packages: Vec<PackageFile>,
    /// Additional apt sources.
    pub apt_sources: Vec<AptSource>,
    /// The archive whose packages are tested; the image's as it is now if it is missing.
    pub archive: Option<JobArchive>,
    /// Environment variables of the tests.
    pub env: BTreeMap<String, String>,
    /// Names of the tests to run; all if empty.
    pub tests: Vec<String>,
    /// Minimum memory of the machine, in MiB.
    pub memory: Option<u64>,
    /// Minimum memory of each of its GPUs, in MiB.
    pub gpu_memory: Option<u64>,
    /// Jobs with a higher number are run first.
    pub priority: i32,
    /// In how many parts a hub runs it, from 1 to [`MOST_SHARDS`](crate::MOST_SHARDS).
    pub shards: u32,
}

/// The source of a job's tests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A source package of the archive.
    Package(String),
    /// A source tree: a directory, a `.dsc`, or a `.tar` with any usual compression; relative to the job list.
    Path(String),
    /// A source tree at an address: a `.tar`, a `.dsc`, or a git repository (`.git`, `#branch` after it).
    Url(String),
}

/// The user that runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunAs {
    /// The testbed's normal user, in the groups render and video.
    User,
    /// Root.
    Root,
}

impl Job {
    /// The default deadline: a little more than autopkgtest's timeout for one test.
    pub const TIMEOUT: Span = Span::seconds(4 * 3600);

    /// A job for a source package, with all other fields at their defaults.
    pub fn of_package(name: &str) -> Self {
        Self::new(Source::Package(name.to_owned()))
    }

    /// A job for a source, with all other fields at their defaults.
    pub fn new(source: Source) -> Self {
        Self {
            id: source.id(),
            source,
            gpu: GpuNeed::default(),
            gpus: 1,
            run_as: vec![RunAs::User],
            timeout: Self::TIMEOUT,
            pin: Vec::new(),
            versions: BTreeMap::new(),
            packages: Vec::new(),
            apt_sources: Vec::new(),
            archive: None,
            env: BTreeMap::new(),
            tests: Vec::new(),
            memory: None,
            gpu_memory: None,
            priority: 0,
            shards: 1,
        }
    }
}

impl Job {
    /// Checks a job that comes from elsewhere than the list's author: nothing in it may name files of the author's machine,
    /// except for package files whose digest is known.
    ///
    /// # Errors
    /// The field, what is wrong with it and what would be right.
    pub fn check(&self) -> Result<(), Invalid> {
        self.source.check()?;
        self.apt_sources.iter().try_for_each(AptSource::check)?;
        self.packages.iter().try_for_each(|file| file.check().map(drop))
    }

    /// Whether its tests may need nothing from an archive: a source tree that is at hand, and no packages that are named.
    pub fn may_run_offline(&self) -> bool {
        let Self { packages, versions, apt_sources, archive, .. } = self;
        let names_packages =
            !packages.is_empty() || !versions.is_empty() || !apt_sources.is_empty() || archive.is_some();
        matches!(self.source, Source::Path(_)) && !names_packages
    }

    /// The GPUs of a machine that the job may get, in its order.
    pub fn usable_gpus<'a>(&self, inventory: &'a Inventory) -> Vec<&'a Gpu> {
        usable_gpus(&self.gpu, self.gpu_memory, inventory)
    }

    /// The package file that has the source of the tests, if the job brings it along.
    pub fn own_source(&self) -> Option<&PackageFile> {
        let Source::Path(path) = &self.source else { return None };
        self.packages.iter().find(|file| file.content.is_some() && file.path == *path)
    }
}

impl Source {
    /// Checks the source of a new job, in a job list and on a hub. Jobs that were added before this rule existed can still
    /// be read.
    ///
    /// # Errors
    /// If it is not valid; the error has the field's name, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Url(url) => crate::address::check_source(url),
            Self::Package(_) | Self::Path(_) => Ok(()),
        }
    }

    /// A short name for people: the package, or the last part of the path or address, of a `.dsc` without its version.
    pub fn name(&self) -> &str {
        match self {
            Self::Package(name) => name,
            Self::Path(_) | Self::Url(_) => {
                let name = self.file_name();
                match name.strip_suffix(".dsc").and_then(|name| name.split('_').next()) {
                    Some(package) if !package.is_empty() => package,
                    _ => name,
                }
            }
        }
    }

    /// The source package of the archive whose tests are run, and which have to be of the installed version; none if they come
    /// from elsewhere.
    pub fn archive_package(&self) -> Option<&str> {
        match self {
            Self::Package(name) => Some(name),
            Self::Path(_) | Self::Url(_) => None,
        }
    }

    /// The last part of the path or address; the package's name, if it is one of the archive.
    pub fn file_name(&self) -> &str {
        match self {
            Self::Package(name) => name,
            Self::Path(place) | Self::Url(place) => {
                let place = place.split(['#', '?']).next().unwrap_or(place).trim_end_matches('/');
                let name = place.rsplit('/').next().unwrap_or(place);
                if name.is_empty() || name == "." || name == ".." { "source" } else { name }
            }
        }
    }

    /// An id generated from the name: characters that are not allowed become dashes, or are removed at the start.
    pub(crate) fn id(&self) -> String {
        let id: String = self.name().chars().map(|char| if is_id(char) { char } else { '-' }).collect();
        match id.trim_start_matches(['.', '-']) {
            "" => "source".to_owned(),
            id => id.chars().take(LONGEST_ID).collect(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Package(text) | Self::Path(text) | Self::Url(text)) = self;
        f.write_str(text)
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Root => "root",
        })
    }
}

/// The GPUs of a machine that meet a need and have so much memory, in MiB; in the machine's order.
pub fn usable_gpus<'a>(need: &GpuNeed, memory: Option<u64>, inventory: &'a Inventory) -> Vec<&'a Gpu> {
    let mut gpus = need.matching(inventory);
    gpus.retain(|gpu| memory.is_none_or(|needed| gpu.usable_memory() >> 20 >= needed));
    gpus
}

/// A job as it is written in JSON and TOML.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Job", description = "One package to test. Exactly one of package, path and url.")]
struct JobRepr {
    /// Tells it from the others of its list. Made from the source's name if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Source package of the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    /// Source tree: a directory, a `.dsc` or a `.tar`, relative to the job list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Address of a source tree: a `.tar`, a `.dsc` or a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "GpuNeed::is_default")]
    gpu: GpuNeed,
    /// How many GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    gpus: Option<u32>,
    /// Who runs the tests; `user` if it is missing.
    #[serde(rename = "as", default, skip_serializing_if = "Vec::is_empty")]
    run_as: Vec<RunAs>,
    /// The job's deadline; four hours if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    /// Packages to take from other suites: `experimental=src:rocr-runtime`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pin: Vec<String>,
    /// Exact versions of binary packages: where a testbed has or gets one of them, it is this version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    versions: BTreeMap<String, String>,
    /// Package files (`.deb`) that are tested in place of the archive's packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packages: Vec<PackageFile>,
    /// Additional apt sources.
    #[serde(rename = "apt-sources", default, skip_serializing_if = "Vec::is_empty")]
    apt_sources: Vec<AptSource>,
    /// The archive whose packages are tested; the image's as it is now if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archive: Option<JobArchive>,
    /// Environment variables of the tests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    /// Only these tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tests: Vec<String>,
    /// Minimum memory of the machine, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// Minimum memory of each of its GPUs, in MiB.
    #[serde(rename = "gpu-memory", default, skip_serializing_if = "Option::is_none")]
    gpu_memory: Option<u64>,
    /// Jobs with a higher number are run first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    /// In how many parts a hub runs it: each with `GTEST_TOTAL_SHARDS` and `GTEST_SHARD_INDEX`, on whichever machine is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    shards: Option<u32>,
}

impl From<Job> for JobRepr {
    fn from(job: Job) -> Self {
        let (mut package, mut path, mut url) = (None, None, None);
        match job.source {
            Source::Package(text) => package = Some(text),
            Source::Path(text) => path = Some(text),
            Source::Url(text) => url = Some(text),
        }
        Self {
            id: Some(job.id),
            package,
            path,
            url,
            gpu: job.gpu,
            gpus: (job.gpus != 1).then_some(job.gpus),
            run_as: job.run_as,
            timeout: Some(job.timeout),
            pin: job.pin,
            versions: job.versions,
            packages: job.packages,
            apt_sources: job.apt_sources,
            archive: job.archive,
            env: job.env,
            tests: job.tests,
            memory: job.memory,
            gpu_memory: job.gpu_memory,
            priority: (job.priority != 0).then_some(job.priority),
            shards: (job.shards != 1).then_some(job.shards),
        }
    }
}

impl TryFrom<JobRepr> for Job {
    type Error = String;

    fn try_from(repr: JobRepr) -> Result<Self, String> {
        let source = match (repr.package, repr.path, repr.url) {
            (Some(name), None, None) => Source::Package(package_name(name)?),
            (None, Some(path), None) if !path.is_empty() => Source::Path(path),
            (None, None, Some(url)) if url.contains("://") => Source::Url(url),
            (None, Some(_), None) => return Err("path is empty: name a directory, a .dsc or a .tar".into()),
            (None, None, Some(url)) => return Err(format!("url: `{url}` is not an address: it begins with https://")),
            (None, None, None) => return Err("a job names what it tests: package, path or url".into()),
            _ => return Err("package, path and url exclude each other: make a job of each".into()),
        };
        let mut job = Self::new(source);
        if let Some(id) = repr.id {
            job.id = checked_id(id)?;
        }
        job.gpu = repr.gpu;
        job.gpus = match repr.gpus {
            Some(0) => return Err("gpus: at least 1; for no GPU write gpu = \"none\"".into()),
            given => given.unwrap_or(1),
        };
        if !repr.run_as.is_empty() {
            job.run_as = repr.run_as;
            let mut seen = Vec::new();
            job.run_as.retain(|who| {
                !seen.contains(who) && {
                    seen.push(*who);
                    true
                }
            });
        }
        job.timeout = repr.timeout.unwrap_or(Self::TIMEOUT);
        job.pin = repr.pin;
        for pin in &job.pin {
            // What begins with a dash would be an option of autopkgtest.
            if pin.starts_with('-') || !pin.contains('=') {
                return Err(format!("pin: `{pin}` is not RELEASE=PACKAGE[,PACKAGE...]"));
            }
        }
        check_packages(&repr.versions, &repr.packages, &repr.apt_sources)?;
        job.versions = repr.versions;
        job.packages = repr.packages;
        job.apt_sources = repr.apt_sources;
        job.archive = repr.archive;
        job.env = repr.env;
        for name in job.env.keys() {
            let mut chars = name.chars();
            let starts_well = chars.next().is_some_and(|char| char.is_ascii_alphabetic() || char == '_');
            if !starts_well || !chars.all(|char| char.is_ascii_alphanumeric() || char == '_') {
                return Err(format!("env: `{name}` is not the name of a variable"));
            }
        }
        job.tests = repr.tests;
        job.memory = repr.memory;
        if repr.gpu_memory.is_some() && !job.gpu.is_required() {
            return Err("gpu-memory: it is of a GPU: write gpu = \"any\", or targets".into());
        }
        job.gpu_memory = repr.gpu_memory;
        job.priority = repr.priority.unwrap_or_default();
        job.shards = repr.shards.unwrap_or(1);
        shards::check(job.shards, &job.env)?;
        Ok(job)
    }
}

/// Checks what a job says about packages, as far as the parts have not checked themselves.
fn check_packages(
    versions: &BTreeMap<String, String>,
    packages: &[PackageFile],
    apt_sources: &[AptSource],
) -> Result<(), String> {
    for (name, count, most) in [
        ("versions", versions.len(), MOST_VERSIONS),
        ("packages", packages.len(), MOST_PACKAGE_FILES),
        ("apt-sources", apt_sources.len(), MOST_SOURCES),
    ] {
        if count > most {
            return Err(format!("{name}: there are {count}, and {most} are the most"));
        }
    }
    for (name, version) in versions {
        own_packages::check_version(name, version)?;
    }
    let mut names = BTreeSet::new();
    for file in packages {
        if !names.insert(file.name()) {
            return Err(format!("packages: two files have the name `{}`", file.name()));
        }
        let package = file.name().split('_').next().unwrap_or_default();
        if file.is_binary() && versions.contains_key(package) {
            return Err(format!("versions: {package} is among the packages, as {}", file.name()));
        }
    }
    Ok(())
}

const LONGEST_ID: usize = 100;

fn is_id(char: char) -> bool {
    char.is_ascii_alphanumeric() || "._+-:@".contains(char)
}

/// An id becomes part of file names and addresses.
fn checked_id(id: String) -> Result<String, String> {
    let good = !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(is_id) && !id.starts_with(['.', '-']);
    if good {
        Ok(id)
    } else {
        Err(format!("id: `{id}` is not made of letters, digits and . _ + - : @ (at most {LONGEST_ID})"))
    }
}

/// Debian Policy 5.6.1: lower case letters, digits, plus, minus and dot; two characters; a letter or digit first. A
/// name that were anything else could be taken for an option or a path.
fn package_name(name: String) -> Result<String, String> {
    let allowed = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "+-.".contains(char);
    let first = name.starts_with(|char: char| char.is_ascii_lowercase() || char.is_ascii_digit());
    if first && name.len() >= 2 && name.chars().all(allowed) {
        Ok(name)
    } else {
        Err(format!("package: `{name}` is not the name of a source package (path and url take source trees)"))
    }
}

#[cfg(test)]
mod tests;
