//! `junit.xml`: one JUnit report of the whole job, in the format of Jenkins' junit-10.xsd. Each run is a suite with
//! autopkgtest's tests as cases, and each report that a test left is a suite too.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bundle::regular;
use protocol::{Cases, JobResult, Run, TestOutcome, TestResult, Verdict};

use crate::cases::{self, Case, CaseOutcome};
use crate::output::{LARGEST_REPORT, TestReport, failed_cases};
use crate::shards::JoinedReport;
use crate::xml::{escape, seconds};

/// Bytes of the end of a failed test's output in the report; the complete output is in the bundle.
const OUTPUT: u64 = 32 << 10;
/// Number of cases of a job beyond which only failed ones are listed.
const MOST_CASES: u64 = 50_000;

/// Writes the report. `directory` contains the output directories of the runs; `reports` are the reports of each run,
/// in order.
pub(crate) fn write(to: File, result: &JobResult, reports: &[Vec<TestReport>], directory: &Path) -> io::Result<()> {
    let cases: Vec<Cases> = reports.iter().flatten().map(|report| report.cases).collect();
    let mut left = MOST_CASES;
    write_runs(to, result, &cases, Some(directory), &mut |out, place, run| {
        let reports = reports.get(place).map(Vec::as_slice).unwrap_or_default();
        reports.iter().try_for_each(|report| merge(out, run, report, directory, &mut left))
    })
}

/// Writes the report of a job that ran in parts.
pub(crate) fn write_joined(to: File, result: &JobResult, reports: &[JoinedReport]) -> io::Result<()> {
    let cases: Vec<Cases> = reports.iter().map(|report| report.totals).collect();
    let mut left = MOST_CASES;
    write_runs(to, result, &cases, None, &mut |out, _, run| {
        let name = run.run_as.to_string();
        let mine = reports.iter().filter(|report| report.run == name);
        mine.into_iter().try_for_each(|report| {
            begin_report(out, run, report.test.as_deref(), &report.path, report.totals)?;
            let mut omitted = report.totals.total.saturating_sub(report.cases.len() as u64);
            for case in &report.cases {
                if left == 0 && case.outcome != CaseOutcome::Failed {
                    omitted += 1;
                    continue;
                }
                left = left.saturating_sub(1);
                write_case(out, case)?;
            }
            end_report(out, omitted)
        })
    })
}

/// Writes the reports of a run, which is at this place of the result.
type WriteReports<'a> = dyn FnMut(&mut BufWriter<File>, usize, &Run) -> io::Result<()> + 'a;

/// Writes the report. `cases` are those of all reports of tests, which `each` writes for each run. The output of failed
/// tests is taken from `directory`.
fn write_runs(
    to: File,
    result: &JobResult,
    cases: &[Cases],
    directory: Option<&Path>,
    each: &mut WriteReports<'_>,
) -> io::Result<()> {
    let mut out = BufWriter::new(to);
    let count = |outcome| result.count(outcome) as u64;
    let (mut total, mut failed, mut skipped) = (0_u64, 0_u64, 0_u64);
    for cases in cases {
        (total, failed, skipped) = (total + cases.total, failed + cases.failed, skipped + cases.skipped);
    }
    total += result.tests().count() as u64;
    failed += count(TestOutcome::Fail);
    skipped += count(TestOutcome::Skip) + count(TestOutcome::Flaky);
    let mut errors = count(TestOutcome::Unfinished);
    let outside = outside(result);
    if outside.is_some() {
        (total, errors) = (total + 1, errors + 1);
    }
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<testsuites name=\"{}\" tests=\"{total}\" failures=\"{failed}\" errors=\"{errors}\" disabled=\"{skipped}\" time=\"{}\">",
        escape(&result.job.id),
        seconds(result.seconds())
    )?;
    if let Some(problem) = outside {
        write_outside(&mut out, result, problem)?;
    }
    for (place, run) in result.runs.iter().enumerate() {
        suite(&mut out, result, run, directory)?;
        each(&mut out, place, run)?;
    }
    writeln!(out, "</testsuites>")?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Problem outside of all tests. It becomes a failure in the report, so that programs that count failures do not take
/// the job for a success.
fn outside(result: &JobResult) -> Option<&str> {
    let is_told = result.tests().any(|(_, test)| matches!(test.outcome, TestOutcome::Fail | TestOutcome::Unfinished));
    let is_good = matches!(result.verdict, Verdict::Pass | Verdict::Neutral);
    // A GPU fault is the machine's, whatever else failed.
    (!is_good && (!is_told || result.verdict == Verdict::GpuFault))
        .then(|| result.problem.as_deref().unwrap_or("the log says more"))
}

/// Writes a suite of one case, for the job.
fn write_outside(out: &mut impl Write, result: &JobResult, problem: &str) -> io::Result<()> {
    let suite = escape(&format!("{}.job", result.job.source.name()));
    writeln!(
        out,
        "  <testsuite name=\"{suite}\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"{}\">",
        seconds(result.seconds())
    )?;
    writeln!(
        out,
        "    <testcase classname=\"{suite}\" name=\"{0}\" time=\"0\"><error message=\"{1}\" type=\"{0}\"/></testcase>",
        result.verdict.name(),
        escape(problem)
    )?;
    writeln!(out, "  </testsuite>")
}

fn suite(out: &mut impl Write, result: &JobResult, run: &Run, directory: Option<&Path>) -> io::Result<()> {
    let count = |outcome| run.tests.iter().filter(|test| test.outcome == outcome).count();
    writeln!(
        out,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\" timestamp=\"{}\" hostname=\"{}\">",
        escape(&class(result, run)),
        run.tests.len(),
        count(TestOutcome::Fail),
        count(TestOutcome::Unfinished),
        count(TestOutcome::Skip) + count(TestOutcome::Flaky),
        seconds(run.seconds),
        result.started.strftime("%Y-%m-%dT%H:%M:%S"),
        escape(&result.machine.name)
    )?;
    writeln!(out, "    <properties>")?;
    let version = run.package.as_ref().map(|package| package.version.as_str());
    let targets: Vec<String> = result.used_gpus().map(|gpu| gpu.target.to_string()).collect();
    for (name, value) in [
        ("verdict", run.verdict.name()),
        ("version", version.unwrap_or_default()),
        ("gpu", &targets.join(" ")),
        ("simulated", if result.simulated { "yes" } else { "" }),
        ("kernel", &result.machine.kernel),
    ] {
        if !value.is_empty() {
            writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escape(value))?;
        }
    }
    writeln!(out, "    </properties>")?;
    for test in &run.tests {
        write!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\">",
            escape(&class(result, run)),
            escape(&test.name),
            seconds(test.seconds.unwrap_or_default())
        )?;
        let reason = escape(&test.reason);
        match test.outcome {
            TestOutcome::Pass => {
                if let Some(warning) = failed_cases(test) {
                    write!(out, "<system-out>warning: {}</system-out>", escape(&warning))?;
                }
            }
            TestOutcome::Fail => write!(out, "<failure message=\"{reason}\"/>")?,
            TestOutcome::Skip => write!(out, "<skipped message=\"{reason}\"/>")?,
            TestOutcome::Flaky => write!(out, "<skipped message=\"flaky: {reason}\"/>")?,
            TestOutcome::Unfinished => write!(out, "<error message=\"{reason}\"/>")?,
        }
        if test.outcome != TestOutcome::Pass {
            for (element, suffix) in [("system-out", "stdout"), ("system-err", "stderr")] {
                if let Some(text) = directory.and_then(|directory| tail(directory, run, test, suffix)) {
                    write!(out, "<{element}>{}</{element}>", escape(&text))?;
                }
            }
        }
        writeln!(out, "</testcase>")?;
    }
    writeln!(out, "  </testsuite>")
}

/// The class name, by which Jenkins groups cases: the package and the user of the run.
fn class(result: &JobResult, run: &Run) -> String {
    let package = run.package.as_ref().map_or_else(|| result.job.source.name(), |package| &package.name);
    format!("{package}.{}", run.run_as)
}

/// The end of a test's output; `None` if it is empty.
fn tail(directory: &Path, run: &Run, test: &TestResult, suffix: &str) -> Option<String> {
    if test.name.contains('/') {
        return None;
    }
    let mut file = regular::open(&directory.join(&run.directory).join(format!("{}-{suffix}", test.name))).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT))).ok()?;
    let mut bytes = Vec::new();
    file.take(OUTPUT).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes the cases of a report as a suite.
fn merge(out: &mut impl Write, run: &Run, report: &TestReport, directory: &Path, left: &mut u64) -> io::Result<()> {
    begin_report(out, run, report.test.as_deref(), &report.path.display().to_string(), report.cases)?;
    let file = regular::open(&directory.join(&run.directory).join(&report.path))?;
    let (mut failure, mut omitted) = (Ok(()), 0_u64);
    cases::read(BufReader::new(file.take(LARGEST_REPORT)), &mut |case| {
        if failure.is_err() {
            return;
        }
        if *left == 0 && case.outcome != CaseOutcome::Failed {
            omitted += 1;
            return;
        }
        *left = left.saturating_sub(1);
        failure = write_case(out, &case);
    });
    failure?;
    end_report(out, omitted)
}

/// Writes the begin of the suite for a report. Its name says which run and which test have left the report
/// ([`shards`](crate::shards) reads it).
fn begin_report(out: &mut impl Write, run: &Run, test: Option<&str>, path: &str, cases: Cases) -> io::Result<()> {
    let place = match test {
        Some(test) => format!("{}.{test}", run.run_as),
        None => run.run_as.to_string(),
    };
    writeln!(
        out,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">",
        escape(&format!("{place}: {path}")),
        cases.total,
        cases.failed,
        cases.skipped
    )
}

fn end_report(out: &mut impl Write, omitted: u64) -> io::Result<()> {
    if omitted > 0 {
        writeln!(out, "    <system-out>{omitted} cases that did not fail are left out here</system-out>")?;
    }
    writeln!(out, "  </testsuite>")
}

fn write_case(out: &mut impl Write, case: &Case) -> io::Result<()> {
    write!(out, "    <testcase classname=\"{}\" name=\"{}\"", escape(&case.class), escape(&case.name))?;
    if let Ok(time) = case.time.parse() {
        write!(out, " time=\"{}\"", seconds(time))?;
    }
    let message = escape(&case.message);
    match case.outcome {
        CaseOutcome::Passed => writeln!(out, "/>"),
        CaseOutcome::Failed => writeln!(out, "><failure>{message}</failure></testcase>"),
        CaseOutcome::Skipped => writeln!(out, "><skipped message=\"{message}\"/></testcase>"),
    }
}
