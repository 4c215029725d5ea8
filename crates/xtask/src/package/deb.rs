//! Debian packages, built by debhelper from `debian/` with programs that are compiled already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use advice::Advice;
use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::files::Files;
use super::scratch;
use super::version::Version;
use crate::run::{run, workspace};

/// What `debian/` needs of the checkout: all but the sources of the programs.
const NEEDED: [&str; 9] = [
    "debian",
    "docs",
    "examples",
    "recipes",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "crates/testbed/autopkgtest-virt-rocbed.1",
];

/// Names of the programs.
const PROGRAMS: [&str; 3] = ["rocbed", "rocbed-init", "autopkgtest-virt-rocbed"];

/// Built packages.
pub(super) struct Built {
    /// Where everything below is; removed with this value.
    pub(super) scratch: TempDir,
    /// Paths of the .deb files.
    pub(super) packages: Vec<PathBuf>,
    /// Paths of the .buildinfo and .changes files: when and where dpkg-buildpackage ran, for uploads to an archive.
    pub(super) records: Vec<PathBuf>,
    /// The directory in which they were built; `debian/NAME` below it has the files of package NAME.
    pub(super) tree: PathBuf,
}

/// Builds the packages from the programs in a directory; `quick` compresses them less. The same programs, version and files give the same bytes.
pub(super) fn build(programs: &Path, version: &Version, files: Files, quick: bool) -> Result<Built> {
    let programs = programs.canonicalize().with_context(|| format!("finding {}", programs.display()))?;
    for name in PROGRAMS {
        let path = programs.join(name);
        ensure!(
            path.is_file(),
            Advice::new(format!("{} does not exist", path.display()), "`cargo xtask build` compiles it")
        );
    }
    // dpkg-buildpackage writes packages beside the tree.
    let scratch = scratch()?;
    let tree = scratch.path().join("rocbed");
    fs::create_dir(&tree).with_context(|| format!("making {}", tree.display()))?;
    files.copy(&workspace(), &NEEDED, &version.epoch, &tree)?;
    write_changelog(&tree, version)?;
    let mut dpkg = Command::new("sh");
    dpkg.args(["-euc", "umask 022; exec dpkg-buildpackage \"$@\"", "sh"]);
    // Without -d it would look for a packaged cargo, which nothing here uses.
    let profiles = if quick { "pkg.rocbed.prebuilt,pkg.rocbed.quick" } else { "pkg.rocbed.prebuilt" };
    dpkg.args(["--build=binary", "--unsigned-source", "--unsigned-changes", "-d"]).arg(format!("-P{profiles}"));
    dpkg.current_dir(&tree).env("ROCBED_PROGRAMS", programs).env("SOURCE_DATE_EPOCH", &version.epoch);
    dpkg.env("LC_ALL", "C.UTF-8").env("DEB_BUILD_OPTIONS", "nocheck").stdout(std::io::stderr());
    // The caller's settings for compilers and for building packages are for other packages.
    for name in ["DEB_BUILD_PROFILES", "CFLAGS", "LDFLAGS", "MAKEFLAGS"] {
        dpkg.env_remove(name);
    }
    run(&mut dpkg)?;
    let (mut packages, mut records) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(scratch.path()).context("listing what was built")? {
        let path = entry.context("listing what was built")?.path();
        match path.extension().and_then(|end| end.to_str()) {
            Some("deb") => packages.push(path),
            Some("buildinfo" | "changes") => records.push(path),
            _ => {}
        }
    }
    packages.sort();
    Ok(Built { scratch, packages, records, tree })
}

/// Adds an entry for this version on top of `debian/changelog`, unless it is there.
fn write_changelog(tree: &Path, version: &Version) -> Result<()> {
    let path = tree.join("debian/changelog");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let head = format!("rocbed ({}) ", version.debian);
    if text.starts_with(&head) {
        return Ok(());
    }
    let maintainer = text.lines().find_map(|line| line.strip_prefix(" -- ")?.split_once("  "));
    let (maintainer, _) = maintainer.context("debian/changelog names nobody")?;
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", "--date", &format!("@{}", version.epoch)]).env("LC_ALL", "C");
    let date = crate::run::output(&mut date)?;
    let entry = format!("{head}UNRELEASED; urgency=medium\n\n  * Built from a checkout.\n\n -- {maintainer}  {date}\n");
    fs::write(&path, entry + &text).with_context(|| format!("writing {}", path.display()))
}
