//! Builds a configured root directory from a list of packages.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use progress::{Progress, Unit};
use sha256::Digest;

use crate::configure::{self, ConfigurePlan};
use crate::error::whole_or_damaged;
use crate::hashed::Expected;
use crate::unpack::{self, Device, Extent};
use crate::{Error, database, space};
use debian::deb::{Deb, DebError};

/// A package to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Package name; the file has to have the same, and likewise for version and architecture.
    pub name: String,
    /// Package version.
    pub version: String,
    /// Package architecture, or `all`.
    pub architecture: String,
    /// Path of the .deb file.
    pub path: PathBuf,
    /// SHA-256 of the file, which is checked while it is unpacked; `None` if the caller vouches for it.
    pub sha256: Option<Digest>,
    /// Whether it is essential for this image, even if its control file does not say so.
    pub essential: bool,
}

/// Specification of a root directory.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The packages, with all their dependencies, in any order that is the same every time: dpkg itself sorts by
    /// dependencies. The order decides where several results would be right, such as which of two scripts gets the
    /// next free user id. rocbed sorts them by name, as apt does.
    pub packages: Vec<Package>,
    /// dpkg's native architecture in the root, for example `amd64`.
    pub architecture: String,
    /// Answers for debconf in the format of debconf-set-selections(1); may be empty.
    pub preseeds: String,
    /// Value of `SOURCE_DATE_EPOCH` for scripts, in seconds since 1970.
    pub epoch: i64,
    /// Number of packages to unpack in parallel; `None` for the number of processors.
    pub threads: Option<NonZeroUsize>,
    /// Programs that are stubbed when maintainer scripts call them by name: `depmod`, if the image's builder also
    /// makes the module indexes.
    pub stubbed_programs: Vec<String>,
    /// Log file for the whole output of dpkg and of the maintainer scripts; outside of the root.
    pub log: PathBuf,
}

/// Durations and results of a build.
#[derive(Debug, Clone, Default)]
pub struct BuildReport {
    /// Time for reading all control archives.
    pub reading: Duration,
    /// Time for unpacking files in this process.
    pub unpacking: Duration,
    /// Time for writing dpkg's database.
    pub database: Duration,
    /// Time for dpkg and the maintainer scripts.
    pub configuring: Duration,
    /// Names of the packages that the image's own dpkg unpacked because they have a preinst.
    pub unpacked_by_dpkg: Vec<String>,
    /// Device nodes to add to the file tree with [`crate::add_devices`].
    pub devices: Vec<Device>,
}

/// A root directory with all packages unpacked but none configured.
#[derive(Debug)]
pub struct Unpacked<'a> {
    spec: &'a Spec,
    root: PathBuf,
    debs: Vec<Deb>,
    report: BuildReport,
}

/// Makes a configured Debian system from packages in `root`, which has to be empty or must not exist.
///
/// Needs root, the host's or that of [`crate::sandbox::become_root`]. After an error the directory is unusable.
pub fn build(spec: &Spec, root: &Path, progress: &dyn Progress) -> Result<BuildReport, Error> {
    unpack(spec, root, progress)?.configure(progress)
}

/// The first half of [`build`], which uses all processors. The second, [`Unpacked::configure`], uses one, so that
/// other work can run in parallel.
pub fn unpack<'a>(spec: &'a Spec, root: &Path, progress: &dyn Progress) -> Result<Unpacked<'a>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let name = root.as_os_str().as_encoded_bytes();
    std::fs::create_dir_all(root).map_err(Error::io("making the directory", name))?;
    unpack::check_empty(root)?;
    let threads = spec.threads.map_or_else(parallel::processors, NonZeroUsize::get);
    let mut report = BuildReport::default();

    let start = Instant::now();
    let debs = read_all(&spec.packages, threads, progress)?;
    report.reading = start.elapsed();

    let plan = ConfigurePlan::new(&debs, spec);
    let mut packages = Vec::new();
    for (at, (package, deb)) in spec.packages.iter().zip(&debs).enumerate() {
        let extent = match (plan.by_dpkg(at), plan.is_base(at)) {
            (false, _) => Extent::Whole,
            (true, true) => Extent::FilesOnly,
            (true, false) => Extent::Nothing,
        };
        if extent != Extent::Whole {
            report.unpacked_by_dpkg.push(package.name.clone());
        }
        packages.push(unpack::Package { deb: deb.clone(), file: package.expected(), extent });
    }
    let start = Instant::now();
    let needed = debs.iter().filter_map(Deb::installed_size).fold(0, u64::saturating_add).saturating_mul(1024);
    let explained = |error| space::explained(error, root, needed);
    let unpacked = unpack::unpack(&packages, root, threads, progress).map_err(explained)?;
    report.unpacking = start.elapsed();

    let start = Instant::now();
    database::write(root, &spec.architecture, &packages, &unpacked).map_err(explained)?;
    report.devices = unpacked.devices;
    report.database = start.elapsed();
    Ok(Unpacked { spec, root: root.to_owned(), debs, report })
}

impl Unpacked<'_> {
    /// Names of the packages that dpkg has yet to unpack because they have a preinst.
    pub fn left_to_dpkg(&self) -> &[String] {
        &self.report.unpacked_by_dpkg
    }

    /// The second half of [`build`]: dpkg and the maintainer scripts.
    pub fn configure(self, progress: &dyn Progress) -> Result<BuildReport, Error> {
        let Self { spec, root, debs, mut report } = self;
        let start = Instant::now();
        configure::configure(&root, spec, &ConfigurePlan::new(&debs, spec), progress)?;
        report.configuring = start.elapsed();
        Ok(report)
    }
}

fn read_all(packages: &[Package], threads: usize, progress: &dyn Progress) -> Result<Vec<Deb>, Error> {
    let task = progress.task("reading packages", Some(packages.len() as u64), Unit::Items);
    let results = parallel::map(packages, threads, |package| {
        let result = read(package);
        task.advance(1);
        result
    });
    whole_or_damaged(results.into_iter())
}

impl Package {
    pub(crate) fn expected(&self) -> Expected {
        Expected { name: self.name.clone(), path: self.path.clone(), sha256: self.sha256 }
    }
}

fn read(package: &Package) -> Result<Deb, Error> {
    match read_control(package) {
        Ok(deb) => Ok(deb),
        // Most likely the file is not the expected one. A readable file is hashed while it is unpacked.
        error => package.expected().confirm(None, error),
    }
}

fn read_control(package: &Package) -> Result<Deb, Error> {
    let deb_error = |source| Error::Deb { package: package.name.clone(), path: package.path.clone(), source };
    let mut file =
        File::open(&package.path).map_err(|source| deb_error(DebError::Read { what: "the file".into(), source }))?;
    let deb = Deb::read(&mut file).map_err(deb_error)?;
    let expected = (package.name.as_str(), package.version.as_str(), package.architecture.as_str());
    let found = (deb.name(), deb.version(), deb.architecture());
    if expected != found {
        let text = |(name, version, architecture)| format!("{name} {version} ({architecture})");
        return Err(Error::WrongPackage { path: package.path.clone(), expected: text(expected), found: text(found) });
    }
    Ok(deb)
}
