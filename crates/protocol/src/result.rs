//! [`JobResult`]: the result of a job, `result.json` of its bundle.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::error::ResultError;
use crate::installed::InstalledLists;
use crate::job::{Job, RunAs};
use crate::shards::PartResult;
use crate::verdict::Verdict;

/// What results without a GPU have in place of a target.
pub const NO_GPU: &str = "none";

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobResult {
    /// Version of the format.
    pub version: u32,
    /// The job, as the worker had it.
    pub job: Job,
    /// The verdict: the worst one of the runs, unless the machine or the testbed failed.
    pub verdict: Verdict,
    /// Whether the GPU was simulated: then the result says nothing about any GPU.
    pub simulated: bool,
    /// When the job began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// When the job ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub finished: Timestamp,
    /// One run for each user that ran the tests, in the job's order. Runs that did not begin before the deadline or a
    /// failure are missing.
    pub runs: Vec<Run>,
    /// Ids of the GPUs that were in the testbed.
    pub gpus: Vec<String>,
    /// The processors that the testbed was kept on, as the kernel lists them: `0-15,64-79`, those near its GPUs. Missing if
    /// it could use all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<String>,
    /// Energy in joules that its GPUs used while the tests ran, idle times included, as their drivers measure it. Missing if
    /// one of them does not tell, or is a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_energy: Option<f64>,
    /// The machine that ran the job.
    pub machine: Machine,
    /// Remarks about unusual results, for people: `all tests were skipped although the machine has a matching GPU`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What went wrong outside of the tests, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Lines of the kernel's log from the time of the job that report faults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_log: Vec<String>,
    /// The packages that were installed while the tests ran; each test names its list.
    #[serde(default, skip_serializing_if = "InstalledLists::is_empty")]
    pub installed: InstalledLists,
    /// The parts that this result was put together from, by index. Then `machine` and `gpus` are those of the first part
    /// with the worst verdict, and seconds are the sums of all parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartResult>,
}

/// One run of autopkgtest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The user that ran the tests.
    #[serde(rename = "as")]
    pub run_as: RunAs,
    /// The verdict of this run.
    pub verdict: Verdict,
    /// autopkgtest's exit status; missing if it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// Duration in seconds.
    pub seconds: f64,
    /// autopkgtest's output directory within the bundle: `user`.
    pub directory: String,
    /// The tested source package and its version, if autopkgtest determined them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageVersion>,
    /// Version of the tested source package whose binary packages were installed while the last test ran. It differs
    /// from that of `package` if local or pinned packages were installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<String>,
    /// The archives whose indexes apt had in the testbed of the last test.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<ArchiveState>,
    /// Each test, in autopkgtest's order.
    pub tests: Vec<TestResult>,
}

/// State of an archive, from its Release file (Debian repository format, "Release" files).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ArchiveState {
    /// Its origin: `Debian`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// Its suite: `unstable`.
    pub suite: String,
    /// Its code name: `sid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub codename: String,
    /// When it was made, as it says.
    pub date: String,
}

/// A source package and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageVersion {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
}

/// The result of one test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TestResult {
    /// The test's name; `*` where autopkgtest reports about all tests.
    pub name: String,
    /// The outcome.
    pub outcome: TestOutcome,
    /// The details that autopkgtest printed: `exit status 1`, `stderr: ...`, why it was skipped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Duration in seconds, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Numbers of test cases in its JUnit or `GTest` reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<Cases>,
    /// Digest of the list of packages that were installed right after it had run; in the result's `installed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Digest>,
}

/// Numbers of test cases of a test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cases {
    /// All cases.
    pub total: u64,
    /// Failed cases.
    pub failed: u64,
    /// Cases that were skipped or disabled.
    pub skipped: u64,
}

/// The outcome of one test, in autopkgtest's words (README.package-tests and the summary file).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TestOutcome {
    /// `PASS`
    Pass,
    /// `FAIL`
    Fail,
    /// `SKIP`
    Skip,
    /// `FLAKY`: failed, and is known to do so now and then.
    Flaky,
    /// It had begun and has no outcome, because of the deadline or a failed testbed.
    Unfinished,
}

/// The machine that ran a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// What it is called.
    pub name: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// How many processors it has.
    pub processors: u32,
    /// Memory, in MiB.
    pub memory: u64,
    /// Version of rocbed.
    pub rocbed: String,
    /// The image that it was booted from; missing where tests run without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// The kernel's command line, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// Its GPUs, usable and not.
    pub gpus: gpu::Inventory,
}

/// Which image a machine was booted from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImageId {
    /// The recipe's name.
    pub name: String,
    /// UUID of the root's file system, which is made from the digest of its content.
    pub root: String,
}

impl TestOutcome {
    /// Reads the word of autopkgtest's summary.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "PASS" => Self::Pass,
            "FAIL" => Self::Fail,
            "SKIP" => Self::Skip,
            "FLAKY" => Self::Flaky,
            _ => return None,
        })
    }

    /// The name in `result.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Flaky => "flaky",
            Self::Unfinished => "unfinished",
        }
    }
}

impl std::fmt::Display for TestOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl JobResult {
    /// All tests of all runs.
    pub fn tests(&self) -> impl Iterator<Item = (&Run, &TestResult)> {
        self.runs.iter().flat_map(|run| run.tests.iter().map(move |test| (run, test)))
    }

    /// How many tests ended so.
    pub fn count(&self, outcome: TestOutcome) -> usize {
        self.tests().filter(|(_, test)| test.outcome == outcome).count()
    }

    /// The version of the tested source package: that of its installed binary packages, or of its tests.
    pub fn tested_version(&self) -> Option<&str> {
        let of = |run: &'_ Run| run.tested.is_some() || run.package.is_some();
        let run = self.runs.iter().find(|run| of(run))?;
        run.tested.as_deref().or_else(|| run.package.as_ref().map(|package| package.version.as_str()))
    }

    /// The result in a few words: `2 passed, 1 skipped`.
    pub fn summary(&self) -> String {
        use TestOutcome::{Fail, Flaky, Pass, Skip, Unfinished};
        let counts =
            [(Pass, "passed"), (Fail, "failed"), (Flaky, "flaky"), (Skip, "skipped"), (Unfinished, "unfinished")];
        let counted = counts.into_iter().map(|(outcome, word)| (self.count(outcome), word));
        let words: Vec<_> =
            counted.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        let text = if words.is_empty() { "no test ran".to_owned() } else { words.join(", ") };
        match &self.problem {
            Some(problem) => format!("{text}; {problem}"),
            None => text,
        }
    }

    /// The GPUs that were in the testbed.
    pub fn used_gpus(&self) -> impl Iterator<Item = &gpu::Gpu> {
        self.machine.gpus.gpus.iter().filter(move |gpu| self.gpus.contains(&gpu.id))
    }

    /// Targets of the GPUs that were in the testbed, without feature settings, each once; none without a GPU.
    pub fn targets(&self) -> Vec<String> {
        let mut targets: Vec<String> = self.used_gpus().map(|gpu| gpu.target.without_features().to_string()).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// Duration in seconds.
    pub fn seconds(&self) -> f64 {
        self.finished.duration_since(self.started).as_secs_f64()
    }

    /// Reads `result.json`.
    ///
    /// # Errors
    /// With the path of the field that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResultError> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let result: Self = serde_path_to_error::deserialize(&mut reader).map_err(ResultError::Field)?;
        reader.end().map_err(ResultError::End)?;
        if result.version > crate::VERSION {
            return Err(ResultError::TooNew(result.version));
        }
        Ok(result)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A result with a little of everything.
    pub(crate) fn example() -> JobResult {
        let time = |seconds: i64| Timestamp::from_second(1_790_000_000 + seconds).expect("a time");
        let test = |name: &str, outcome, reason: &str| TestResult {
            name: name.into(),
            outcome,
            reason: reason.into(),
            seconds: None,
            cases: None,
            installed: None,
        };
        JobResult {
            version: crate::VERSION,
            job: Job::of_package("rocrand"),
            verdict: Verdict::Fail,
            simulated: true,
            started: time(0),
            finished: time(90),
            runs: vec![Run {
                run_as: RunAs::User,
                verdict: Verdict::Fail,
                exit_status: Some(6),
                seconds: 88.5,
                directory: "user".into(),
                package: Some(PackageVersion { name: "rocrand".into(), version: "6.4.3-2".into() }),
                tested: Some("6.4.3-2".into()),
                archives: vec![ArchiveState { suite: "unstable".into(), ..ArchiveState::default() }],
                tests: vec![
                    test("upstream", TestOutcome::Fail, "exit status 1"),
                    test("build", TestOutcome::Skip, "needs isolation-machine"),
                ],
            }],
            gpus: vec!["simulated-0".into()],
            machine: Machine {
                name: "rocbed-123456".into(),
                kernel: "7.2.13+deb14-amd64".into(),
                processors: 2,
                memory: 960,
                rocbed: "0.1.0".into(),
                gpus: gpu::simulate("gfx1030").expect("a target"),
                ..Machine::default()
            },
            warnings: Vec::new(),
            problem: None,
            processors: Some("0-15,64-79".into()),
            gpu_energy: Some(1234.5),
            kernel_log: Vec::new(),
            installed: InstalledLists::default(),
            parts: Vec::new(),
        }
    }

    #[test]
    fn reads_what_it_wrote() -> Result<(), String> {
        let text = serde_json::to_vec(&example()).map_err(|error| error.to_string())?;
        let read = JobResult::parse(&text).map_err(|error| error.to_string())?;
        assert_eq!(read, example());
        assert_eq!((read.count(TestOutcome::Fail), read.count(TestOutcome::Pass)), (1, 0));
        assert!((read.seconds() - 90.0).abs() < 1e-9);
        assert_eq!(read.targets(), ["gfx1030"]);
        Ok(())
    }

    #[test]
    fn nothing_follows_a_result() {
        let text = serde_json::to_string(&example()).unwrap_or_default();
        assert!(JobResult::parse(format!("{text}\n").as_bytes()).is_ok());
        let error = JobResult::parse(format!("{text}{text}").as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("after the result: "), "{error}");
    }

    #[test]
    fn a_wrong_field_is_named() {
        let text = serde_json::to_string(&example()).unwrap_or_default().replace("\"fail\"", "\"bad\"");
        let error = JobResult::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("verdict: "), "{error}");
    }
}
