//! The table of test results.

use std::fmt::Write as _;

use protocol::{JobResult, TestResult};

/// A line for each test, and one for the whole.
pub fn table(result: &JobResult) -> String {
    let several = result.runs.len() > 1;
    let name = |run: &protocol::Run, test: &TestResult| {
        if several { format!("{} ({})", test.name, run.run_as) } else { test.name.clone() }
    };
    let width = result.tests().map(|(run, test)| name(run, test).chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (run, test) in result.tests() {
        let name = name(run, test);
        let seconds = test.seconds.map_or_else(String::new, |seconds| format!("{seconds:.1} s"));
        let line = format!("{name:<width$}  {:<10}  {seconds:>9}  {}", test.outcome, details(test));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let package = result.runs.iter().find_map(|run| run.package.as_ref());
    let what = package.map_or_else(|| result.job.id.clone(), |package| format!("{} {}", package.name, package.version));
    let gpu = if result.simulated { " (simulated GPU)" } else { "" };
    let _ = writeln!(text, "{what}: {}{gpu} in {:.0} s", result.verdict, result.seconds());
    text
}

fn details(test: &TestResult) -> String {
    let cases = test.cases.map(|cases| {
        let word = if cases.total == 1 { "case" } else { "cases" };
        let part = |count: u64, word: &str| if count > 0 { format!(", {count} {word}") } else { String::new() };
        format!("{} {word}{}{}", cases.total, part(cases.failed, "failed"), part(cases.skipped, "skipped"))
    });
    let reason = (!test.reason.is_empty()).then(|| test.reason.clone());
    [reason, cases].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Cases, Job, Machine, PackageVersion, Run, RunAs, TestOutcome, Verdict};

    #[test]
    fn columns_line_up() {
        let test = |name: &str, outcome, reason: &str, cases| TestResult {
            name: name.into(),
            outcome,
            reason: reason.into(),
            seconds: Some(1.25),
            cases,
            installed: None,
        };
        let run = |run_as| Run {
            run_as,
            verdict: Verdict::Fail,
            exit_status: Some(4),
            seconds: 3.0,
            directory: run_as.to_string(),
            package: Some(PackageVersion { name: "demo".into(), version: "1.0-1".into() }),
            tested: None,
            archives: Vec::new(),
            tests: vec![
                test("a", TestOutcome::Pass, "", Some(Cases { total: 3, failed: 0, skipped: 1 })),
                test("longer", TestOutcome::Fail, "non-zero exit status 1", None),
            ],
        };
        let time = jiff::Timestamp::UNIX_EPOCH;
        let mut result = JobResult {
            version: 1,
            job: Job::of_package("demo"),
            verdict: Verdict::Fail,
            simulated: false,
            started: time,
            finished: time,
            runs: vec![run(RunAs::User)],
            gpus: Vec::new(),
            machine: Machine::default(),
            warnings: Vec::new(),
            problem: None,
            processors: None,
            gpu_energy: None,
            kernel_log: Vec::new(),
            installed: protocol::InstalledLists::default(),
            parts: Vec::new(),
        };
        let expected = "\
a       pass            1.2 s  3 cases, 1 skipped
longer  fail            1.2 s  non-zero exit status 1
demo 1.0-1: fail in 0 s
";
        assert_eq!(table(&result), expected);
        result.simulated = true;
        assert!(table(&result).ends_with("\ndemo 1.0-1: fail (simulated GPU) in 0 s\n"));
        result.runs.push(run(RunAs::Root));
        assert!(table(&result).contains("\nlonger (root)  fail "));
    }
}
