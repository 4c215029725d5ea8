//! Reads autopkgtest's output directory (README.running-tests): outcomes of tests, and the files they left.
//!
//! Except for the names of a few files, everything in it comes from tests. Links, devices and names of any bytes are
//! examined but never followed or opened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bundle::regular;
use protocol::{Cases, PackageVersion, TestOutcome, TestResult};

use crate::cases;
use crate::log::Reader;
use crate::summary::Summary;

/// Largest part of a file of autopkgtest that is read, in bytes.
const LARGEST_FILE: u64 = 4 << 20;
/// Largest report that is read, in bytes.
pub(crate) const LARGEST_REPORT: u64 = 128 << 20;
/// Most files that are searched for reports.
const MOST_FILES: usize = 100_000;
/// Most unreadable reports that are listed; the rest is only counted.
const MOST_FAULTS: usize = 20;

/// A report among the artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestReport {
    /// Path in the output directory.
    pub(crate) path: PathBuf,
    /// The test that left it, if known.
    pub(crate) test: Option<String>,
    /// The counted cases.
    pub(crate) cases: Cases,
}

/// Contents of an output directory.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Output {
    pub(crate) package: Option<PackageVersion>,
    pub(crate) tests: Vec<TestResult>,
    pub(crate) reports: Vec<TestReport>,
    pub(crate) problems: Vec<String>,
    /// Notes about files that may be reports but cannot be read as such.
    pub(crate) faults: Vec<String>,
}

/// Reads a directory. `begun` is the number of started tests in the log, which count as unfinished if the summary does
/// not list them.
pub(crate) fn read(directory: &Path, log: &Reader, begun: usize) -> Output {
    let summary = Summary::parse(&small_file(&directory.join("summary")));
    let mut tests = summary.tests;
    for test in &mut tests {
        test.seconds = log.times.get(&test.name).and_then(|times| times.seconds);
    }
    for name in log.order.iter().take(begun) {
        if !tests.iter().any(|test| test.name == *name) {
            let began = log.times.get(name).is_some_and(|times| times.began.is_some());
            let reason = if began { "it had no outcome when all was ended" } else { "its testbed was being prepared" };
            tests.push(TestResult {
                name: name.clone(),
                outcome: TestOutcome::Unfinished,
                reason: reason.into(),
                seconds: None,
                cases: None,
                installed: None,
            });
        }
    }
    let (reports, faults) = reports(directory, &tests, log);
    for report in &reports {
        let Some(test) = tests.iter_mut().find(|test| Some(&test.name) == report.test.as_ref()) else { continue };
        let sum = test.cases.get_or_insert_default();
        sum.total += report.cases.total;
        sum.failed += report.cases.failed;
        sum.skipped += report.cases.skipped;
    }
    Output {
        package: package(&small_file(&directory.join("testpkg-version"))),
        tests,
        reports,
        problems: summary.problems,
        faults,
    }
}

/// A note about failed cases in the reports of a test that passed. The exit status of its program may have been lost,
/// for example behind a pipe.
pub(crate) fn failed_cases(test: &TestResult) -> Option<String> {
    let cases = test.cases.filter(|cases| test.outcome == TestOutcome::Pass && cases.failed > 0)?;
    let (failed, total) = (cases.failed, cases.total);
    Some(format!("the test {} passed, although {failed} of the {total} cases in its reports failed", test.name))
}

/// Parses `NAME VERSION`.
fn package(bytes: &[u8]) -> Option<PackageVersion> {
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.lines().next()?.split_whitespace().map(str::to_owned);
    Some(PackageVersion { name: words.next()?, version: words.next()? })
}

/// Reads a small file; a missing one is empty, as autopkgtest may have ended before it wrote it.
fn small_file(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = regular::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    bytes
}

/// Finds reports below `artifacts/`, and notes about unreadable ones.
fn reports(directory: &Path, tests: &[TestResult], log: &Reader) -> (Vec<TestReport>, Vec<String>) {
    let (mut found, mut faults) = (BTreeMap::new(), BTreeMap::new());
    let mut directories = vec![PathBuf::from("artifacts")];
    let mut seen = 0_usize;
    while let Some(relative) = directories.pop() {
        // A directory that cannot be listed has nothing to count; writing the bundle reports it as missing.
        let Ok(entries) = fs::read_dir(directory.join(&relative)) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MOST_FILES {
                return (found.into_values().collect(), told(faults));
            }
            let path = relative.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                Ok(kind) if kind.is_file() && is_xml(&path) => {
                    let (report, fault) = report(directory, path.clone(), tests, log);
                    if let Some(fault) = fault {
                        faults.insert(path.clone(), (fault, report.is_some()));
                    }
                    if let Some(report) = report {
                        found.insert(path, report);
                    }
                }
                _ => {}
            }
        }
    }
    (found.into_values().collect(), told(faults))
}

/// Formats a line for each file, up to a maximum number.
fn told(faults: BTreeMap<PathBuf, (String, bool)>) -> Vec<String> {
    let more = faults.len().saturating_sub(MOST_FAULTS);
    let line = |(path, (fault, counts)): (PathBuf, (String, bool))| {
        let name: String = path.to_string_lossy().chars().filter(|char| !char.is_control()).take(300).collect();
        format!("{name}: {fault}; {}", if counts { "what could be read is counted" } else { "it is not counted" })
    };
    let mut lines: Vec<String> = faults.into_iter().take(MOST_FAULTS).map(line).collect();
    if more > 0 {
        lines.push(format!("{more} more reports cannot be read"));
    }
    lines
}

fn is_xml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.as_bytes().eq_ignore_ascii_case(b"xml"))
}

/// Reads a file that may be a report; also returns its fault, if it has one.
fn report(directory: &Path, path: PathBuf, tests: &[TestResult], log: &Reader) -> (Option<TestReport>, Option<String>) {
    let opened = regular::open(&directory.join(&path)).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = match opened {
        Ok(opened) => opened,
        Err(error) => return (None, Some(error.to_string())),
    };
    if metadata.len() > LARGEST_REPORT {
        let fault =
            format!("its {} bytes are more than the {LARGEST_REPORT} of the largest that is read", metadata.len());
        return (None, Some(fault));
    }
    let examined = cases::examine(BufReader::new(file.take(LARGEST_REPORT)), &mut drop);
    let test = origin(&path, metadata.modified().ok(), tests, log);
    (examined.cases.map(|cases| TestReport { path, test, cases }), examined.fault)
}

/// The test that left a file. autopkgtest 6 has a directory for each test; with earlier versions it is the test that
/// ran when the file was written.
fn origin(path: &Path, modified: Option<std::time::SystemTime>, tests: &[TestResult], log: &Reader) -> Option<String> {
    let known = |name: &str| tests.iter().find(|test| test.name == name).map(|test| test.name.clone());
    let mut parts = path.components().skip(1);
    if let (Some(first), Some(_)) = (parts.next(), parts.next())
        && let Some(name) = first.as_os_str().to_str().and_then(known)
    {
        return Some(name);
    }
    let begun: Vec<&TestResult> =
        tests.iter().filter(|test| log.times.get(&test.name).is_some_and(|times| times.began.is_some())).collect();
    if let [only] = begun.as_slice() {
        return Some(only.name.clone());
    }
    log.at(modified?).and_then(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn log(lines: &[&str]) -> Reader {
        let mut reader = Reader::default();
        for line in lines {
            reader.push(format!("autopkgtest [00:00:00]: {line}\n").as_bytes());
        }
        reader
    }

    const SUITE: &str =
        "<testsuite name=\"s\"><testcase name=\"a\"/><testcase name=\"b\"><failure/></testcase></testsuite>";

    #[test]
    fn what_began_and_has_no_outcome_is_unfinished() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("summary"), "first                PASS\n").unwrap();
        fs::write(directory.path().join("testpkg-version"), "hangs 1.0\n").unwrap();
        let log = log(&[
            "test first: [-----------------------",
            "test endless: [-----------------------",
            "test last: preparing testbed",
        ]);
        let output = read(directory.path(), &log, 2);
        let tests: Vec<_> = output.tests.iter().map(|test| (test.name.as_str(), test.outcome)).collect();
        assert_eq!(tests, [("first", TestOutcome::Pass), ("endless", TestOutcome::Unfinished)]);
        assert_eq!(output.package, Some(PackageVersion { name: "hangs".into(), version: "1.0".into() }));
        assert_eq!(read(directory.path(), &log, 3).tests[2].reason, "its testbed was being prepared");
    }

    #[test]
    fn reports_belong_to_the_test_that_left_them() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = directory.path().join("artifacts");
        fs::create_dir_all(artifacts.join("b/deep")).unwrap();
        fs::write(directory.path().join("summary"), "a PASS\nb FAIL x\n").unwrap();
        let mut log = log(&["test a: [-----------------------", "test b: [-----------------------"]);
        fs::write(artifacts.join("of-a.XML"), SUITE).unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
        log.times.get_mut("b").unwrap().began = Some((std::time::Instant::now(), later));
        fs::write(artifacts.join("b/deep/of-b.xml"), SUITE).unwrap();
        fs::write(artifacts.join("other.xml"), "<html/>").unwrap();
        let output = read(directory.path(), &log, 0);
        let origins: Vec<_> = output.reports.iter().map(|report| report.test.as_deref()).collect();
        assert_eq!(origins, [Some("b"), Some("a")]);
        assert_eq!(output.tests[0].cases, Some(Cases { total: 2, failed: 1, skipped: 0 }));
    }

    #[test]
    fn nothing_hostile_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = directory.path().join("artifacts");
        fs::create_dir(&artifacts).unwrap();
        let outside = directory.path().join("outside.xml");
        fs::write(&outside, SUITE).unwrap();
        symlink(&outside, artifacts.join("link.xml")).unwrap();
        symlink("/", artifacts.join("root")).unwrap();
        symlink("/etc/hostname", directory.path().join("testpkg-version")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            artifacts.join("pipe.xml"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        fs::write(artifacts.join(std::ffi::OsStr::from_bytes(b"\xff.xml")), SUITE).unwrap();
        let output = read(directory.path(), &Reader::default(), 0);
        assert_eq!(output.reports.len(), 1, "only the file, whatever its name");
        assert_eq!(output.package, None);
    }

    #[test]
    fn an_empty_directory_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path(), &Reader::default(), 5), Output::default());
    }
}
