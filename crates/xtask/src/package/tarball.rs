//! A tarball for machines without dpkg: the files of the packages below `bin`, `lib` and `share`, to be unpacked into
//! `/usr/local`, `~/.local` or any other place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::version::Version;
use crate::run::run;

/// Packages whose files are in it. The service of rocbed-hub is among the documentation's examples.
const PACKAGES: [&str; 2] = ["rocbed", "autopkgtest-virt-rocbed"];

/// Options of GNU tar for the same bytes from the same files.
const REPRODUCIBLE: [&str; 5] = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"];

/// Writes `NAME.tar.xz`, which has the directory `NAME`, from the directory where the packages were built.
pub(super) fn write(tree: &Path, version: &Version, output: &Path) -> Result<PathBuf> {
    let name = format!("rocbed-{}-x86_64", version.upstream());
    let scratch = tree.join("tarball");
    let files = scratch.join(&name);
    fs::create_dir_all(&files).with_context(|| format!("making {}", files.display()))?;
    for package in PACKAGES {
        let installed = tree.join("debian").join(package).join("usr");
        run(Command::new("cp").args(["--archive", "--no-target-directory"]).arg(installed).arg(&files))?;
    }
    // Packages have their overrides of lintian's checks there.
    let overrides = files.join("share/lintian");
    if overrides.exists() {
        fs::remove_dir_all(&overrides).with_context(|| format!("removing {}", overrides.display()))?;
    }
    let unit = files.join("share/doc/rocbed/examples/rocbed-hub.service");
    fs::copy(tree.join("debian/rocbed-hub.service"), &unit).with_context(|| format!("writing {}", unit.display()))?;
    let path = output.join(format!("{name}.tar.xz"));
    let mut tar = Command::new("tar");
    tar.args(REPRODUCIBLE).arg(format!("--mtime=@{}", version.epoch)).args(["--mode=u=rwX,go=rX", "--create", "--xz"]);
    tar.arg("--file").arg(&path).arg("--directory").arg(&scratch).arg(&name).env("XZ_OPT", "-6 --threads=1");
    run(&mut tar)?;
    Ok(path)
}
