//! What apt in testbeds gets for a job, besides the image's own settings: sources and their keys, exact versions, another
//! archive. They are files that autopkgtest copies into each testbed before anything is installed.

use std::fs;
use std::path::{Path, PathBuf};

use protocol::{Job, JobArchive, SignedBy};

use crate::Error;

/// Sources in deb822 style, and lines of a debci server.
const SOURCES: &str = "/etc/apt/sources.list.d/rocbed-job.sources";
const LINES: &str = "/etc/apt/sources.list.d/rocbed-job.list";
/// Preferences for exact versions. The first that matches a package decides, so its name sorts before autopkgtest's.
const PREFERENCES: &str = "/etc/apt/preferences.d/00rocbed-versions.pref";
/// Settings for the snapshot of an archive.
const SNAPSHOT: &str = "/etc/apt/apt.conf.d/92rocbed-snapshot";
/// The wanted versions, `NAME=VERSION` in each line, for [`INSTALL_VERSIONS`].
pub(crate) const VERSIONS: &str = "/var/lib/rocbed/versions";

/// Priority with which a version is installed although a later one is (`apt_preferences(5)`).
const DOWNGRADES: u32 = 1001;

/// A command that fails if a wanted version is in no archive, and changes the installed packages to the wanted versions.
/// Packages that are installed later get them by the preferences.
pub(crate) const INSTALL_VERSIONS: &str = "\
{ xargs -s 1000000 -x -a VERSIONS apt-cache show >/dev/null && \
dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n' | \
awk -v list=VERSIONS 'BEGIN { while ((getline line < list) > 0) { name = line; sub(/=.*/, \"\", name); \
wanted[name] = substr(line, length(name) + 2) } } \
$1 ~ /^.i/ && ($2 in wanted) && wanted[$2] != $3 { print $2 \"=\" wanted[$2] }' | \
DEBIAN_FRONTEND=noninteractive xargs -r -s 1000000 -x apt-get -q -y --allow-downgrades --allow-change-held-packages \
-o APT::Install-Recommends=false -o Dpkg::Options::=--force-confnew install; } || exit 1";

/// A command that fails if a wanted version is of the tested source package, and no archive has that version of the source:
/// autopkgtest takes the tests from it, and would blame the package.
const CHECK_SOURCE: &str = "\
xargs -s 1000000 -x -a VERSIONS apt-cache show 2>/dev/null | awk -v tested=SOURCE '\
/^Package:/ { source = $2; version = \"\"; own = \"\" } \
/^Source:/ { source = $2; own = $3; gsub(/[()]/, \"\", own) } \
/^Version:/ { version = $2 } \
/^$/ { if (source == tested && version != \"\") print tested \"=\" (own != \"\" ? own : version); version = \"\" }' | sort -u | \
xargs -r -s 1000000 -x apt-get -q source --only-source --print-uris >/dev/null || exit 1";

/// Additional apt sources of whoever gives out jobs, besides those that a job names itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraSources {
    /// Lines for sources.list(5). Then packages are pinned to these sources, and no other releases are added for pins.
    pub lines: Vec<String>,
    /// `OpenPGP` keys that these lines are signed with, in ASCII armour. apt takes them for all sources.
    pub keys: Vec<Vec<u8>>,
}

/// The command for [`VERSIONS`].
pub(crate) fn install_versions() -> String {
    INSTALL_VERSIONS.replace("VERSIONS", VERSIONS)
}

/// The command that checks whether the source package of this name is there in the wanted version.
pub(crate) fn check_source(source: &str) -> String {
    CHECK_SOURCE.replace("VERSIONS", VERSIONS).replace("SOURCE", source)
}

/// Writes the files into a new directory. Returns where each is, and where it belongs in testbeds.
pub(crate) fn write(job: &Job, extra: &ExtraSources, directory: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    fs::create_dir_all(directory).map_err(Error::step(format!("making {}", directory.display())))?;
    let mut copies = Vec::new();
    for (to, content) in files(job, extra)? {
        let path = directory.join(copies.len().to_string());
        fs::write(&path, content).map_err(Error::step(format!("writing {}", path.display())))?;
        copies.push((path, to));
    }
    Ok(copies)
}

/// The files with their paths in testbeds.
fn files(job: &Job, extra: &ExtraSources) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = Vec::new();
    let mut add = |path: &str, text: String| {
        if !text.is_empty() {
            files.push((path.to_owned(), text.into_bytes()));
        }
    };
    let unread = job.apt_sources.iter().find_map(|source| match &source.signed_by {
        SignedBy::KeyFile(path) => Some(path),
        _ => None,
    });
    if let Some(path) = unread {
        return Err(Error::Job(format!("apt-sources: the key in the file `{path}` was not read")));
    }
    let paragraphs: Vec<String> = job.apt_sources.iter().map(protocol::AptSource::paragraph).collect();
    add(SOURCES, paragraphs.join("\n"));
    add(LINES, extra.lines.iter().map(|line| format!("{line}\n")).collect());
    add(PREFERENCES, job.versions.iter().map(|(name, version)| preference(name, version)).collect());
    add(VERSIONS, job.versions.iter().map(|(name, version)| format!("{name}={version}\n")).collect());
    if let Some(JobArchive::Snapshot(date)) = &job.archive {
        // An old state of an archive is not valid any more.
        add(SNAPSHOT, format!("APT::Snapshot \"{date}\";\nAcquire::Check-Valid-Until \"false\";\n"));
    }
    let keys = extra.keys.iter().enumerate();
    files.extend(keys.map(|(index, key)| (format!("/etc/apt/trusted.gpg.d/rocbed-{}.asc", index + 1), key.clone())));
    Ok(files)
}

/// A paragraph of `apt_preferences(5)`.
fn preference(name: &str, version: &str) -> String {
    format!("Package: {name}:any\nPin: version {version}\nPin-Priority: {DOWNGRADES}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use appliance::fixtures::program;
    use std::collections::BTreeMap;
    use std::process::Command;

    #[test]
    fn a_job_that_says_nothing_has_no_files() {
        assert_eq!(files(&Job::of_package("gzip"), &ExtraSources::default()).unwrap(), []);
    }

    #[test]
    fn each_part_has_its_file() {
        let json = r#"{"package": "gzip", "versions": {"gzip": "1.13-1"}, "archive": "20261001T000000Z", "apt-sources":
            [{"uris": ["http://x"], "suites": ["sid"], "components": ["main"], "trusted": true}]}"#;
        let job: Job = serde_json::from_str(json).unwrap();
        let extra = ExtraSources { lines: vec!["deb http://y sid main".into()], keys: vec![b"key".to_vec()] };
        let found: BTreeMap<String, String> = files(&job, &extra)
            .unwrap()
            .into_iter()
            .map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap()))
            .collect();
        assert_eq!(found[SOURCES], "Types: deb\nURIs: http://x\nSuites: sid\nComponents: main\nTrusted: yes\n");
        assert_eq!(found[LINES], "deb http://y sid main\n");
        assert_eq!(found[PREFERENCES], "Package: gzip:any\nPin: version 1.13-1\nPin-Priority: 1001\n\n");
        assert_eq!(found[VERSIONS], "gzip=1.13-1\n");
        assert_eq!(found[SNAPSHOT], "APT::Snapshot \"20261001T000000Z\";\nAcquire::Check-Valid-Until \"false\";\n");
        assert_eq!(found["/etc/apt/trusted.gpg.d/rocbed-1.asc"], "key");
        let directory = tempfile::tempdir().unwrap();
        let copies = write(&job, &extra, &directory.path().join("apt")).unwrap();
        assert_eq!(copies.len(), found.len());
        assert!(copies.iter().all(|(path, to)| fs::read(path).unwrap() == found[to].as_bytes()));
    }

    #[test]
    fn a_key_that_nobody_has_read_is_told() {
        let json = r#"{"package": "gzip", "apt-sources":
            [{"uris": ["http://x"], "suites": ["sid"], "components": ["main"], "signed-by": "own.asc"}]}"#;
        let job: Job = serde_json::from_str(json).unwrap();
        assert!(files(&job, &ExtraSources::default()).unwrap_err().to_string().contains("`own.asc` was not read"));
    }

    /// Runs the command for the versions with programs that stand for dpkg's and apt's. Returns what apt-get was asked to
    /// do, and whether the command succeeded.
    fn installed(wanted: &str, status: &str, archive: &str) -> (String, bool) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("versions"), wanted).unwrap();
        fs::write(path("status"), status).unwrap();
        fs::write(path("archive"), archive).unwrap();
        let script = |name: &str, text: &str| {
            program(&path(name), &format!("cd {}\n{text}", directory.path().display())).unwrap();
        };
        script("dpkg-query", "cat status");
        script("apt-get", "echo $* >>calls");
        script("apt-cache", "shift; for word; do grep -qx -- \"$word\" archive || exit 100; done");
        let command = INSTALL_VERSIONS.replace("VERSIONS", &path("versions").display().to_string());
        let search = format!("{}:/usr/bin:/bin", directory.path().display());
        let status = Command::new("sh").args(["-ec", &command]).env("PATH", search).status().unwrap();
        (fs::read_to_string(path("calls")).unwrap_or_default(), status.success())
    }

    #[test]
    fn installed_packages_of_other_versions_are_changed_together() {
        let status = "ii  gzip 1.14-1\nhi  libc6 2.41-12\nii  rocminfo 7.1-1\nrc  old 1\nun  cmake \n";
        let wanted = "cmake=4.1-1\ngzip=1.13-1\nlibc6=2.40-1\nold=2\nrocminfo=7.1-1\n";
        let (calls, good) = installed(wanted, status, wanted);
        assert!(good);
        assert!(calls.ends_with(" install gzip=1.13-1 libc6=2.40-1\n"), "{calls}");
        assert_eq!(calls.lines().count(), 1);
        let (calls, good) = installed("cmake=4.1-1\n", status, wanted);
        assert_eq!((calls.as_str(), good), ("", true));
    }

    #[test]
    fn the_tests_of_a_wanted_version_have_to_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let shown = "Package: libx1\nSource: x (1-1)\nVersion: 1-1+b1\n\nPackage: x-doc\nSource: x\nVersion: 1-1\n\n\
                     Package: y\nVersion: 2\n\n";
        fs::write(path("versions"), "libx1=1-1+b1\n").unwrap();
        fs::write(path("shown"), shown).unwrap();
        for (name, text) in [("apt-cache", "cat shown"), ("apt-get", "echo $* >calls; exit $(cat status)")] {
            program(&path(name), &format!("cd {}\n{text}", directory.path().display())).unwrap();
        }
        let command = CHECK_SOURCE.replace("VERSIONS", &path("versions").display().to_string());
        let run = |source: &str, status: &str| {
            fs::write(path("status"), status).unwrap();
            let _ = fs::remove_file(path("calls"));
            let search = format!("{}:/usr/bin:/bin", directory.path().display());
            let command = command.replace("SOURCE", source);
            let ended = Command::new("sh").args(["-ec", &command]).env("PATH", search).status().unwrap();
            (fs::read_to_string(path("calls")).unwrap_or_default(), ended.code())
        };
        let asked = "-q source --only-source --print-uris x=1-1\n";
        assert_eq!(run("x", "0"), (asked.to_owned(), Some(0)));
        assert_eq!(run("x", "100"), (asked.to_owned(), Some(1)));
        assert_eq!(run("z", "100"), (String::new(), Some(0)));
    }

    #[test]
    fn a_version_that_no_archive_has_is_an_error() {
        let (calls, good) = installed("gzip=1.12-1\n", "ii  gzip 1.14-1\n", "gzip=1.14-1\n");
        assert_eq!((calls.as_str(), good), ("", false));
    }
}
