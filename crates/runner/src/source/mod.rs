//! Prepares the source of a job for autopkgtest: downloads and unpacks it if needed.

mod fetch;
mod unpack;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle::regular;
use debian::autopkgtest::wants_packages;
use debian::dsc::Dsc;
use protocol::{Job, Source};

use crate::Error;
use crate::bounds::Bounds;

/// Time limit for preparing a source, even if the job has more time: a server that sends single bytes, or an endless
/// tar file, cannot occupy a machine.
pub(crate) const TIME: Duration = Duration::from_secs(30 * 60);
/// Largest file of a source tree that is read, in bytes.
const LARGEST_CONTROL: u64 = 1 << 20;
/// Paths in a source tree that autopkgtest and this program read. They must be regular files of the tree, if they
/// exist.
const READ: [&str; 3] = ["debian/control", "debian/changelog", "debian/tests/control"];

/// A prepared source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A package, for the testbed's apt.
    Package(String),
    /// A Git repository, which the testbed clones.
    Git(String),
    /// A directory with `debian/control`.
    Tree(PathBuf),
    /// A `.dsc` with its files beside it.
    Dsc(PathBuf),
}

impl Ready {
    /// autopkgtest's arguments for the source, after these binary packages. Packages are tested as they are in the archive: a
    /// source tree is not built unless a test requires it. The option comes first: autopkgtest takes the last name before an
    /// option for the source, and refuses what follows.
    pub(crate) fn arguments(&self, packages: &[PathBuf]) -> Vec<OsString> {
        let (option, source): (Option<&str>, OsString) = match self {
            Self::Package(name) => (None, name.into()),
            Self::Git(url) => (Some("--no-built-binaries"), url.into()),
            Self::Tree(path) | Self::Dsc(path) => (Some("--no-built-binaries"), path.into()),
        };
        let packages = packages.iter().map(|path| path.as_os_str().to_owned());
        option.into_iter().map(OsString::from).chain(packages).chain([source]).collect()
    }

    /// Whether testing requires package lists, so that failing to fetch them is a failure of the machine.
    pub(crate) fn must_update(&self) -> bool {
        matches!(self, Self::Package(_) | Self::Git(_))
    }

    /// Whether a test may need packages that the testbed does not have.
    pub(crate) fn wants_packages(&self) -> bool {
        let Self::Tree(tree) = self else { return true };
        // Without this file, autodep8 may generate tests with dependencies.
        let control = regular::read_beneath(tree, Path::new("debian/tests/control"), LARGEST_CONTROL);
        control.map_or(true, |control| wants_packages(&control))
    }
}

/// Prepares a job's source. `given` is the caller's copy of it; `directory`, which must not exist yet, is where files
/// are downloaded and unpacked.
///
/// Nothing blocks beyond the bounds, whatever the source is: a slow server, a named pipe, a device behind a link.
pub(crate) fn prepare(job: &Job, given: Option<&Path>, directory: &Path, bounds: &Bounds<'_>) -> Result<Ready, Error> {
    match (&job.source, given) {
        (Source::Package(name), _) => Ok(Ready::Package(name.clone())),
        (Source::Path(path), None) => local(Path::new(path), directory, bounds),
        (Source::Path(_) | Source::Url(_), Some(path)) => local(path, directory, bounds),
        (Source::Url(url), None) if is_git(url) => Ok(Ready::Git(checked_url(url)?.to_owned())),
        (Source::Url(url), None) => {
            make(directory)?;
            let name = job.source.file_name();
            let file = directory.join(name);
            fetch::fetch(checked_url(url)?, &file, bounds)?;
            local(&file, &directory.join("unpacked"), bounds)
        }
    }
}

fn make(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::step(format!("making {}", directory.display())))
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}

fn is_git(url: &str) -> bool {
    let path = url.split('#').next().unwrap_or(url);
    has_ending(path.trim_end_matches('/'), "git") || url.starts_with("git://")
}

/// Checks an address, as it ends up within quotes of a shell.
fn checked_url(url: &str) -> Result<&str, Error> {
    let bad = |char: char| char.is_control() || char.is_whitespace() || "'\"`$\\".contains(char);
    if url.contains(bad) {
        Err(Error::Job(format!("the address {url:?} has characters that no address has")))
    } else {
        Ok(url)
    }
}

/// A local source: a tree, a `.dsc`, or a tar file, which is unpacked into `directory`.
fn local(path: &Path, directory: &Path, bounds: &Bounds<'_>) -> Result<Ready, Error> {
    let what = format!("reading the source {}", path.display());
    let path = path.canonicalize().map_err(|error| Error::source(&what, error.to_string()))?;
    if path.is_dir() {
        return tree(&path)?.ok_or_else(|| Error::source(&what, "there is no debian/control in it"));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if has_ending(&name, "dsc") {
        check_dsc(&path).map_err(|reason| Error::source(what, reason))?;
        return Ok(Ready::Dsc(path));
    }
    if !name.contains(".tar") && !has_ending(&name, "tgz") {
        return Err(Error::source(what, "it is neither a directory nor a .dsc nor a .tar"));
    }
    make(directory)?;
    unpack::unpack(&path, directory, bounds)?;
    if let Some(ready) = tree(directory)? {
        return Ok(ready);
    }
    for entry in fs::read_dir(directory).map_err(Error::step(what.as_str()))? {
        let entry = entry.map_err(Error::step(what.as_str()))?;
        // Links are not followed, as they could lead to another tree.
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Some(ready) = tree(&entry.path())?
        {
            return Ok(ready);
        }
    }
    Err(Error::source(what, "neither it nor a directory in it has debian/control"))
}

/// The path as a source tree, if it is one.
fn tree(path: &Path) -> Result<Option<Ready>, Error> {
    let mut is_tree = false;
    for name in READ {
        match regular::open_beneath(path, Path::new(name)) {
            Ok(_) => is_tree |= name == "debian/control",
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => {
                let what = format!("reading {}", path.join(name).display());
                return Err(Error::source(what, format!("it is not a regular file of the source tree ({error})")));
            }
        }
    }
    Ok(is_tree.then(|| Ready::Tree(path.to_owned())))
}

/// Checks that a `.dsc` and the files beside it are regular files; autopkgtest reports missing ones.
fn check_dsc(path: &Path) -> Result<(), String> {
    let (directory, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let text = regular::read_beneath(directory, Path::new(name), LARGEST_CONTROL).map_err(|error| error.to_string())?;
    for file in Dsc::parse(&text).map_err(|error| error.to_string())?.files {
        if fs::metadata(directory.join(&file.name)).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(format!("{} beside it is not a regular file", file.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;
    use std::process::Command;

    fn local(path: &Path, directory: &Path) -> Result<Ready, Error> {
        super::local(path, directory, &Bounds::new(Duration::from_secs(1000), &Cancel::default()))
    }

    fn tar(directory: &Path, words: &[&str]) {
        let status = Command::new("tar").current_dir(directory).args(words).status().expect("tar is not installed");
        assert!(status.success());
    }

    #[test]
    fn a_tree_in_a_tar_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let debian = directory.path().join("hello-1.0/debian");
        fs::create_dir_all(&debian).unwrap();
        fs::write(debian.join("control"), "Source: hello\n").unwrap();
        tar(directory.path(), &["-czf", "hello.tar.gz", "hello-1.0"]);
        tar(directory.path(), &["-cf", "flat.tar", "-C", "hello-1.0", "debian"]);
        let flat = fs::read(directory.path().join("flat.tar")).unwrap();
        fs::write(directory.path().join("flat.tar.zst"), zstd::encode_all(&flat[..], 1).unwrap()).unwrap();
        for (name, inside) in [("hello.tar.gz", "hello-1.0"), ("flat.tar", ""), ("flat.tar.zst", "")] {
            let to = directory.path().join(format!("out-{name}"));
            let ready = local(&directory.path().join(name), &to).unwrap();
            assert_eq!(ready, Ready::Tree(to.join(inside)), "{name}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("notes.txt"), "x").unwrap();
        fs::write(directory.path().join("bad.tar"), "x").unwrap();
        for (name, says) in [
            ("notes.txt", "neither a directory nor a .dsc nor a .tar"),
            ("bad.tar", "unpacking"),
            ("missing", "No such file"),
            (".", "no debian/control"),
        ] {
            let error = local(&directory.path().join(name), &directory.path().join("out")).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
    }

    #[test]
    fn git_and_hostile_addresses_are_told_apart() {
        assert!(is_git("https://salsa.debian.org/rocm-team/rocrand.git#debian/latest"));
        assert!(!is_git("https://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3.dsc"));
        assert!(checked_url("https://x/y.git#'; rm -r /; '").is_err());
    }

    fn fifo(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    /// A source tree whose files can be replaced.
    fn demo(directory: &Path) -> PathBuf {
        let tree = directory.join("demo");
        fs::create_dir_all(tree.join("debian/tests")).unwrap();
        fs::write(tree.join("debian/control"), "Source: demo\n").unwrap();
        tree
    }

    #[test]
    fn a_pipe_or_a_device_in_place_of_a_file_is_not_waited_for() {
        use std::os::unix::fs::symlink;
        type Make = fn(&Path);
        let zero: Make = |path| symlink("/dev/zero", path).unwrap();
        let up: Make = |path| symlink("../../../../../../../../../../etc/hostname", path).unwrap();
        for make in [fifo as Make, zero, up] {
            for name in READ {
                let directory = tempfile::tempdir().unwrap();
                let tree = demo(directory.path());
                let _ = fs::remove_file(tree.join(name));
                make(&tree.join(name));
                let error = local(&tree, &directory.path().join("out")).unwrap_err().to_string();
                assert!(error.contains(&format!("{name}: it is not a regular file")), "{error}");
                // The same source as a tar file.
                tar(directory.path(), &["-cf", "demo.tar", "demo"]);
                let error = local(&directory.path().join("demo.tar"), &directory.path().join("out")).unwrap_err();
                let error = error.to_string();
                assert!(error.contains("not a regular file") || error.contains("an entry of the kind"), "{error}");
            }
        }
    }

    #[test]
    fn a_link_within_the_tree_is_a_file_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let tree = demo(directory.path());
        fs::write(tree.join("debian/tests/generic"), "Tests: a\nDepends:\n").unwrap();
        std::os::unix::fs::symlink("generic", tree.join("debian/tests/control")).unwrap();
        std::os::unix::fs::symlink("/usr/share/nowhere", tree.join("elsewhere")).unwrap();
        assert!(!local(&tree, &directory.path().join("out")).unwrap().wants_packages());
        tar(directory.path(), &["--format=pax", "-cJf", "demo.tar.xz", "demo"]);
        let ready = local(&directory.path().join("demo.tar.xz"), &directory.path().join("out")).unwrap();
        assert!(!ready.wants_packages(), "{ready:?}");
    }

    #[test]
    fn unpacking_makes_nothing_that_the_tree_must_not_have() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let tree = demo(directory.path());
        fs::write(tree.join("set-uid"), "x").unwrap();
        fs::set_permissions(tree.join("set-uid"), fs::Permissions::from_mode(0o6755)).unwrap();
        fs::hard_link(tree.join("set-uid"), tree.join("z-same")).unwrap();
        tar(directory.path(), &["-cf", "demo.tar", "demo"]);
        let to = directory.path().join("out");
        local(&directory.path().join("demo.tar"), &to).unwrap();
        let mode = |name: &str| fs::metadata(to.join("demo").join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("set-uid"), mode("z-same")), (0o755, 0o755));
    }

    #[test]
    fn unpacking_ends_when_the_job_is_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        demo(directory.path());
        tar(directory.path(), &["-czf", "demo.tar.gz", "demo"]);
        let cancel = Cancel::default();
        cancel.cancel();
        let bounds = Bounds::new(Duration::from_secs(1000), &cancel);
        let error = super::local(&directory.path().join("demo.tar.gz"), &directory.path().join("out"), &bounds);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("the job was cancelled"), "{error}");
    }
}
