//! The command line that runs autopkgtest from the root directory: the program that a worker with this image runs,
//! with its Python and its dpkg. So a run here and a run there do not differ by what is installed on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use protocol::{Job, Source};

use super::virtual_machine::{MACHINE_ROOT, VmTestbed};

/// Path of autopkgtest in a root directory.
const PROGRAM: &str = "usr/bin/autopkgtest";

/// The paths and options that autopkgtest needs.
pub(super) struct DriverParameters<'a> {
    /// Name of the recipe, for messages.
    pub(super) recipe: &'a str,
    /// The root directory.
    pub(super) root: &'a Path,
    /// Directory of the layer over it.
    pub(super) layer: &'a Path,
    /// The cache, with the root directory and temporary files.
    pub(super) cache: &'a Path,
    /// Temporary directory, removed when this process ends.
    pub(super) scratch: &'a Path,
    /// Output directory for results.
    pub(super) output: &'a Path,
    /// The job: its source may be on this machine.
    pub(super) job: &'a Job,
    /// Directory for what testbeds write; in memory if `None`.
    pub(super) overlay: Option<&'a Path>,
    /// Further options for autopkgtest.
    pub(super) options: &'a [String],
    /// The job's own package files.
    pub(super) packages: &'a [PathBuf],
    /// The image and the QEMU of testbeds that are virtual machines.
    pub(super) vm: Option<&'a VmTestbed>,
}

/// The program and its first arguments; autopkgtest's own follow.
pub(super) fn command(wanted: &DriverParameters<'_>) -> Result<Vec<OsString>> {
    if !wanted.root.join(PROGRAM).exists() {
        bail!(Advice::new(
            format!("the image of {} has no autopkgtest, and could not run tests as a worker either", wanted.recipe),
            "add it to the recipe: [packages] install = [\"autopkgtest\"]"
        ));
    }
    let program = std::env::current_exe().context("finding this program")?;
    let mut words: Vec<OsString> = vec![program.clone().into(), "virt".into(), "autopkgtest".into()];
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    option("--root", wanted.root.into());
    option("--layer", wanted.layer.into());
    option("--caller", std::process::id().to_string().into());
    option("--remove", wanted.scratch.into());
    if wanted.vm.is_some() {
        option("--machine-root", MACHINE_ROOT.into());
    }
    for path in shared(wanted, program) {
        option("--share", path.into());
    }
    words.extend(["--".into(), Path::new("/").join(PROGRAM).into()]);
    Ok(words)
}

/// Paths of this machine that are visible at the same place in the container.
fn shared(wanted: &DriverParameters<'_>, program: PathBuf) -> Vec<PathBuf> {
    let mut paths = vec![program, wanted.cache.to_owned(), wanted.output.to_owned()];
    paths.extend(wanted.overlay.map(Path::to_owned));
    paths.extend(wanted.vm.map(|vm| vm.image.clone()));
    if let Source::Path(source) = &wanted.job.source {
        let source = Path::new(source);
        // The files of a .dsc are beside it.
        let directory = if source.is_dir() { Some(source) } else { source.parent() };
        paths.extend(directory.map(Path::to_owned));
    }
    paths.extend(wanted.packages.iter().cloned());
    paths.extend(wanted.options.iter().filter_map(|option| named(option)));
    // The current directory, so that relative paths in options work, unless it would hide something in the root
    // directory.
    let here = std::env::current_dir().ok().filter(|here| is_free(wanted.root, here));
    paths.extend(here);
    paths.retain(|path| path.parent().is_some());
    paths
}

/// The file or directory of this machine that an option names: `/tmp/a.deb`, `--copy=/tmp/a:/tmp/b`.
fn named(option: &str) -> Option<PathBuf> {
    let value = option.split_once('=').map_or(option, |(_, value)| value);
    let path = Path::new(value.split(':').next().unwrap_or(value));
    (path.is_absolute() && path.exists()).then(|| path.to_owned())
}

/// Whether a root directory has nothing at a path.
fn is_free(root: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix("/") else { return false };
    let empty = |path: PathBuf| path.read_dir().map_or(true, |mut entries| entries.next().is_none());
    below.components().next().is_some() && empty(root.join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_files_of_this_machine() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display().to_string();
        for option in [path.clone(), format!("--copy={path}:/tmp/x"), format!("--setup-commands={path}")] {
            assert_eq!(named(&option), Some(directory.path().to_owned()), "{option}");
        }
        for option in ["--debug", "--env=A=b", "--copy=relative:/tmp", "/nonexistent/file"] {
            assert_eq!(named(option), None, "{option}");
        }
    }

    #[test]
    fn a_working_directory_does_not_hide_the_root_directory() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("usr/bin")).expect("usr/bin");
        std::fs::create_dir(root.path().join("srv")).expect("srv");
        for (path, free) in [("/", false), ("/usr", false), ("/srv", true), ("/home/max", true), ("relative", false)] {
            assert_eq!(is_free(root.path(), Path::new(path)), free, "{path}");
        }
    }
}
