//! A signed archive of five dates, and a source package whose tests fail because of what was uploaded.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use protocol::{InstalledPackage, PackageList};

use crate::{TestArchive, tool};

/// The libraries, with the version that each date has.
const LIBRARIES: [(&str, [u32; 5]); 5] = [
    ("liba", [1, 2, 2, 3, 3]),
    ("libb", [1, 1, 2, 2, 3]),
    ("libc", [1, 2, 2, 2, 3]),
    ("libd", [1, 1, 2, 2, 3]),
    ("libe", [1, 1, 1, 2, 2]),
];
/// How many dates there are.
pub const DATES: usize = 5;

/// The tests of the source package `app`. They read the versions below `$ROOT`, and those of kernel and firmware in
/// variables; the last one counts its runs in a file.
const TESTS: [(&str, &str); 4] = [
    ("single", "test $(version liba) -lt 3"),
    ("machine", "test \"$KERNEL $FIRMWARE\" = \"7.2 0x50\""),
    ("pair", "test $(version libb) -lt 3 || test $(version libc) -lt 3"),
    (
        "chance",
        "count=$(cat \"$COUNTER\" 2>/dev/null || echo 0); echo $((count + 1)) >\"$COUNTER\"\n\
         test $(version libd) -lt 3 || test $((count % 3)) -ne 2",
    ),
];

/// The archive.
pub struct DatedArchive {
    archive: TestArchive,
}

impl Default for DatedArchive {
    fn default() -> Self {
        Self::new()
    }
}

impl DatedArchive {
    /// An archive that keeps old versions, as of its last date. `libe` needs `liba`; `app` needs all libraries.
    pub fn new() -> Self {
        let archive = TestArchive::new();
        for (name, versions) in LIBRARIES {
            let needs = if name == "libe" { "Depends: liba\n" } else { "" };
            let mut versions = versions.to_vec();
            versions.dedup();
            for version in versions {
                let path = format!("usr/share/{name}/version");
                archive.add_deb_with(name, &version.to_string(), needs, &[(&path, &format!("{version}\n"))]);
            }
        }
        archive.publish("Fri, 30 Oct 2026 08:08:01 UTC", None);
        Self { archive }
    }

    /// The signed archive.
    pub fn signed(&self) -> &TestArchive {
        &self.archive
    }

    /// Versions of the libraries at a date, from 0 on, replaced by those that a job asks for.
    pub fn versions(date: usize, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let version = |(name, versions): (&str, [u32; 5])| {
            let newest = versions.get(date).copied().unwrap_or_default().to_string();
            (name.to_owned(), wanted.get(name).cloned().unwrap_or(newest))
        };
        LIBRARIES.into_iter().map(version).collect()
    }

    /// The list of installed packages for these versions.
    pub fn list(versions: &BTreeMap<String, String>) -> PackageList {
        let package = |(name, version): (&String, &String)| InstalledPackage {
            name: name.clone(),
            architecture: "amd64".into(),
            version: version.clone(),
            source: name.clone(),
            source_version: version.clone(),
        };
        versions.iter().map(package).collect()
    }

    /// Runs the tests of `app` with packages of these versions, unpacked from the archive or from files of the job in this
    /// directory, and with these variables. Returns which of them passed, by name. `None` if a version is nowhere.
    pub fn run_tests(
        &self,
        versions: &BTreeMap<String, String>,
        own: &Path,
        tests: &[String],
        variables: &[(&str, &str)],
    ) -> Option<Vec<(&'static str, bool)>> {
        let root = tempfile::tempdir().expect("a directory");
        for (name, version) in versions {
            let file = format!("{name}_{version}_amd64.deb");
            let places = [own.join(&file), self.archive.path().join("pool").join(&file)];
            let deb = places.iter().find(|deb| deb.exists())?;
            tool("dpkg-deb", ["-x".as_ref(), deb.as_os_str(), root.path().as_os_str()]);
        }
        let wanted = TESTS.iter().filter(|(name, _)| tests.is_empty() || tests.iter().any(|test| test == name));
        Some(wanted.map(|(name, _)| (*name, self.run_test(name, root.path(), variables))).collect())
    }

    fn run_test(&self, name: &str, root: &Path, variables: &[(&str, &str)]) -> bool {
        let script = Self::script(name);
        let counter = self.archive.path().join("counter");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("ROOT", root).env("COUNTER", counter);
        shell.envs(variables.iter().copied());
        shell.status().expect("a shell").success()
    }

    /// A test's script.
    pub fn script(name: &str) -> String {
        let text = TESTS.iter().find(|(test, _)| *test == name).map(|(_, text)| *text).expect("a test");
        format!("version() {{ cat $ROOT/usr/share/$1/version; }}\n{text}\n")
    }
}

/// The files of a source package `app` with these of its tests, for `source_tree`.
pub fn app_files(tests: &[&str]) -> Vec<(String, String)> {
    let names = tests.join(" ");
    let libraries: Vec<&str> = LIBRARIES.iter().map(|(name, _)| *name).collect();
    let mut files = vec![("tests/control".to_owned(), format!("Tests: {names}\nDepends: {}\n", libraries.join(", ")))];
    let script = |name: &&str| (format!("tests/{name}"), format!("#!/bin/sh\n{}", DatedArchive::script(name)));
    files.extend(tests.iter().map(script));
    files
}
