//! Reads what the virtualisation server recorded of testbeds: packages, and the archives that apt had.
//!
//! The records come from testbeds, whose root may have written anything into dpkg's status.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use bundle::regular;
use debian::deb822::{Comments, Paragraph, Paragraphs};
use protocol::{
    ArchiveState, InstalledLists, InstalledPackage, Job, LocalPackage, MOST_PACKAGES, PackageFile, PackageList,
    TestResult,
};
use sha256::Digest;

use crate::{Error, Setup};

/// Largest record, in bytes.
const LARGEST: u64 = 8 << 20;
/// Most package files that are listed.
const MOST_LOCAL: usize = 300;
/// Most packages of other versions that are named.
const MOST_OTHERS: usize = 5;
/// Most archives of a record.
const MOST_ARCHIVES: usize = 32;
/// Longest value that is kept, in bytes.
const LONGEST: usize = 200;

/// The records of a run of autopkgtest.
#[derive(Debug, Default)]
pub(crate) struct PackageRecords {
    /// By number: the packages and the archives.
    records: BTreeMap<u32, (PackageList, Vec<ArchiveState>)>,
    /// Tests with the numbers of their records, in the order in which they ran.
    tests: Vec<(u32, String)>,
}

/// What is known of the testbed of the last test.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Version of the tested source package that was installed.
    pub(crate) version: Option<String>,
    pub(crate) archives: Vec<ArchiveState>,
}

/// Reads the records in a directory. What cannot be read is left out.
pub(crate) fn read(directory: &Path) -> PackageRecords {
    let index = small_file(&directory.join("index"));
    let line = |line: &str| {
        let (number, test) = line.split_once(' ')?;
        Some((number.parse().ok()?, test.to_owned()))
    };
    let tests: Vec<(u32, String)> = index.lines().filter_map(line).collect();
    let mut records = BTreeMap::new();
    for (number, _) in &tests {
        if !records.contains_key(number) {
            let text = |kind: &str| small_file(&directory.join(format!("{number}.{kind}")));
            records.insert(*number, (packages(&text("packages")), archives(&text("archives"))));
        }
    }
    // If it stays, the run as the next user fails to make its own, and says so.
    let _ = fs::remove_dir_all(directory);
    PackageRecords { records, tests }
}

impl PackageRecords {
    /// Adds the lists to the result, and their digests to the tests.
    pub(crate) fn note(&self, lists: &mut InstalledLists, tests: &mut [TestResult], source: &str) -> Seen {
        let mut seen = Seen::default();
        for (number, name) in &self.tests {
            let Some((packages, archives)) = self.records.get(number).filter(|(packages, _)| !packages.is_empty())
            else {
                continue;
            };
            let digest = lists.add(packages);
            if let Some(test) = tests.iter_mut().find(|test| test.name == *name) {
                test.installed = digest;
            }
            let version = packages.version_of(source);
            seen = Seen { version: version.or(seen.version), archives: archives.clone() };
        }
        seen
    }

    /// Installed packages of which the job wants other versions, as problems; the first few.
    pub(crate) fn other_versions(&self, wanted: &BTreeMap<String, String>) -> Vec<String> {
        let mut found = BTreeSet::new();
        if wanted.is_empty() {
            return Vec::new();
        }
        for package in self.records.values().flat_map(|(packages, _)| packages.packages()) {
            if let Some(version) = wanted.get(&package.name).filter(|version| **version != package.version) {
                found.insert(format!(
                    "{} {} was installed in place of the wanted version {version}",
                    package.name, package.version
                ));
            }
        }
        found.into_iter().take(MOST_OTHERS).collect()
    }
}

/// The package files that are tested, by digest: their versions may be those of the archive.
///
/// # Errors
/// If one cannot be read, or is another than the job names.
pub(crate) fn local_packages(job: &Job, setup: &Setup) -> Result<Vec<LocalPackage>, Error> {
    let wanted: Vec<&PackageFile> = job.packages.iter().filter(|file| file.is_binary()).collect();
    if wanted.len() != setup.packages.len() {
        let (wanted, there) = (wanted.len(), setup.packages.len());
        return Err(Error::Job(format!("packages: the job names {wanted} package files, and {there} are here")));
    }
    let mut local = Vec::new();
    for (file, path) in wanted.into_iter().zip(&setup.packages) {
        let package = local_package(path).map_err(Error::step(format!("reading {}", path.display())))?;
        if file.content.is_some_and(|content| content.sha256 != package.sha256) {
            let what = format!("reading {}", path.display());
            return Err(Error::source(what, "it has another SHA-256 than the job's file of this name"));
        }
        local.push(package);
    }
    // A file that autopkgtest is given besides, and that cannot be read, it refuses itself.
    let options = setup.options.iter().map(Path::new).filter(|path| path.extension().is_some_and(|end| end == "deb"));
    local.extend(options.filter_map(|path| local_package(path).ok()));
    local.truncate(MOST_LOCAL);
    Ok(local)
}

fn local_package(path: &Path) -> io::Result<LocalPackage> {
    let (sha256, size) = Digest::of_reader(regular::open(path)?)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let file = file.chars().filter(|char| !char.is_control()).collect();
    Ok(LocalPackage { file, size, sha256 })
}

fn small_file(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = regular::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The installed packages of dpkg's status (dpkg-query(1), "Package status").
fn packages(text: &str) -> PackageList {
    let paragraphs = Paragraphs::new(text, Comments::Forbidden).map_while(Result::ok);
    paragraphs.filter_map(|paragraph| package(&paragraph)).take(MOST_PACKAGES).collect()
}

fn package(paragraph: &Paragraph) -> Option<InstalledPackage> {
    // What is not configured is no package that a test could use.
    if paragraph.get("Status")?.split_whitespace().nth(2) != Some("installed") {
        return None;
    }
    let (name, version) = (paragraph.get("Package")?, paragraph.get("Version")?);
    let (source, source_version) = match paragraph.get("Source").map(str::trim) {
        None => (name, version),
        Some(source) => match source.split_once(' ') {
            None => (source, version),
            Some((source, version)) => (source, version.trim().trim_start_matches('(').trim_end_matches(')')),
        },
    };
    let line = format!("{name} {} {version} {source} {source_version}", paragraph.get("Architecture")?);
    InstalledPackage::parse(&line).ok()
}

fn archives(text: &str) -> Vec<ArchiveState> {
    let paragraphs = Paragraphs::new(text, Comments::Forbidden).map_while(Result::ok);
    let state = |paragraph: Paragraph| {
        let value = |name: &str| {
            let text = paragraph.get(name).unwrap_or_default();
            text.chars().filter(|char| !char.is_control()).take(LONGEST).collect::<String>()
        };
        ArchiveState {
            origin: value("Origin"),
            suite: value("Suite"),
            codename: value("Codename"),
            date: value("Date"),
        }
    };
    let mut found: Vec<ArchiveState> =
        paragraphs.map(state).filter(|state| *state != ArchiveState::default()).collect();
    found.truncate(MOST_ARCHIVES);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::TestOutcome;

    const STATUS: &str = "\
Package: gzip
Status: install ok installed
Architecture: amd64
Version: 1.14-1+local1

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.41-12

Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib (1:1.3.dfsg-3)
Version: 1:1.3.dfsg-3+b1

Package: old
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: half
Status: install ok half-configured
Architecture: amd64
Version: 1
";

    fn test(name: &str) -> TestResult {
        TestResult {
            name: name.into(),
            outcome: TestOutcome::Pass,
            reason: String::new(),
            seconds: None,
            cases: None,
            installed: None,
        }
    }

    #[test]
    fn the_version_that_was_tested_is_the_installed_one() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("index", "1 simple\n1 second\n2 other\n");
        write("1.packages", STATUS);
        write("2.packages", &STATUS.replace("2.41-12", "2.42-1"));
        write("1.archives", "Suite: old\n");
        write("2.archives", "Origin: Debian\nSuite: unstable\nCodename: sid\nDate: Sat, 28 Nov 2026 08:00:00 UTC\n\n");
        let records = read(directory.path());
        let mut lists = InstalledLists::default();
        let mut tests = [test("simple"), test("second"), test("other"), test("killed")];
        let seen = records.note(&mut lists, &mut tests, "gzip");
        assert_eq!(seen.version.as_deref(), Some("1.14-1+local1"));
        assert_eq!((seen.archives.len(), seen.archives[0].suite.as_str()), (1, "unstable"));
        assert_eq!(lists.lists.len(), 2);
        assert!(tests[0].installed.is_some() && tests[0].installed == tests[1].installed);
        assert!(tests[2].installed != tests[1].installed && tests[3].installed.is_none());
        let resolved = lists.resolve().unwrap();
        let first = &resolved[tests[0].installed.as_ref().unwrap()];
        assert_eq!(
            first.text(),
            "gzip amd64 1.14-1+local1\nlibc6 amd64 2.41-12 glibc\nzlib1g amd64 1:1.3.dfsg-3+b1 zlib 1:1.3.dfsg-3\n"
        );
    }

    #[test]
    fn package_files_are_listed_by_digest() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("gzip_1.14-1+local1_amd64.deb"), "abc").unwrap();
        fs::write(path("other.deb"), "").unwrap();
        let mut setup = Setup::new(Vec::new(), "/work".into(), "/bundles".into(), "job");
        setup.options = vec!["--debug".into(), path("other.deb").into_os_string(), "gone.deb".into()];
        setup.packages = vec![path("gzip_1.14-1+local1_amd64.deb")];
        let job = |sha256: Digest| -> Job {
            let file = format!(r#"{{"file": "gzip_1.14-1+local1_amd64.deb", "size": 3, "sha256": "{sha256}"}}"#);
            serde_json::from_str(&format!(r#"{{"package": "gzip", "packages": [{file}]}}"#)).unwrap()
        };
        let good = Digest::of("abc");
        let found = local_packages(&job(good), &setup).unwrap();
        assert_eq!((found.len(), found[0].file.as_str(), found[0].size), (2, "gzip_1.14-1+local1_amd64.deb", 3));
        assert_eq!((found[0].sha256, found[1].file.as_str()), (good, "other.deb"));

        let changed = local_packages(&job(Digest::of("x")), &setup).unwrap_err().to_string();
        assert!(changed.ends_with("it has another SHA-256 than the job's file of this name"), "{changed}");
        setup.packages.clear();
        let missing = local_packages(&job(good), &setup).unwrap_err().to_string();
        assert_eq!(missing, "packages: the job names 1 package files, and 0 are here");
    }

    #[test]
    fn a_version_that_the_job_did_not_want_is_told() {
        let records = PackageRecords { records: [(1, (packages(STATUS), Vec::new()))].into(), tests: Vec::new() };
        let wanted = |name: &str, version: &str| [(name.to_owned(), version.to_owned())].into();
        assert_eq!(records.other_versions(&wanted("gzip", "1.14-1+local1")), Vec::<String>::new());
        assert_eq!(records.other_versions(&wanted("cmake", "4")), Vec::<String>::new());
        let expected = ["libc6 2.41-12 was installed in place of the wanted version 2.40-1"];
        assert_eq!(records.other_versions(&wanted("libc6", "2.40-1")), expected);
    }

    #[test]
    fn nothing_recorded_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "1\n", "x y\n", "7 gone\n"] {
            fs::create_dir_all(directory.path()).unwrap();
            fs::write(directory.path().join("index"), text).unwrap();
            let (mut lists, mut tests) = (InstalledLists::default(), [test("gone")]);
            assert_eq!(read(directory.path()).note(&mut lists, &mut tests, "gzip"), Seen::default());
            assert!(lists.is_empty() && tests[0].installed.is_none());
        }
    }

    #[test]
    fn odd_lines_are_left_out() {
        let odd = "Package: a b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: c\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n";
        assert_eq!(packages(odd).text(), "c all 1\n");
    }
}
