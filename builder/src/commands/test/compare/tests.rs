use std::cell::RefCell;

use clap::Parser as _;
use protocol::{Job, JobResult};
use serde_json::json;

use super::*;
use crate::cmdline::Cli;
use crate::context::Context;

/// A result with this verdict and these tests, which is nowhere kept.
fn tested(verdict: Verdict, tests: &[(&str, &str)]) -> Tested {
    let tests: Vec<_> = tests.iter().map(|(name, outcome)| json!({ "name": name, "outcome": outcome })).collect();
    let result: JobResult = serde_json::from_value(json!({
        "version": 1, "job": Job::of_package("rocfft"), "verdict": verdict, "simulated": false, "gpus": [],
        "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:00:10Z",
        "machine": { "name": "desk", "kernel": "7.2", "processors": 1, "memory": 1, "rocbed": "0",
            "gpus": { "gpus": [], "unusable": [], "simulated": false } },
        "runs": [{ "as": "user", "verdict": verdict, "seconds": 1.0, "directory": "user", "tests": tests }],
    }))
    .expect("a result");
    Tested { result, bundle: "/nonexistent/rocfft.tar.zst".into(), not_counted: None, cancelled: false }
}

fn status(before: &Tested, after: &Tested) -> u8 {
    code(&comparison(before, after).expect("lists of packages"), before, after)
}

#[test]
fn only_a_failure_with_own_packages_is_a_failure() {
    use Verdict::{Fail, GpuFault, Neutral, Pass, TestbedFailed, Timeout};
    let (pass, fail, skip) = (&[("a", "pass")][..], &[("a", "fail")][..], &[("a", "skip")][..]);
    for (before, after, expected) in [
        ((Pass, pass), (Pass, pass), 0),
        ((Fail, fail), (Pass, pass), 0),
        // It is broken in both.
        ((Fail, fail), (Fail, fail), 0),
        ((Pass, pass), (Fail, fail), 4),
        ((Neutral, skip), (Fail, fail), 4),
        ((Neutral, &[]), (Fail, fail), 4),
        ((Pass, pass), (Timeout, fail), 4),
        ((Pass, pass), (GpuFault, pass), 4),
        // The archive's packages make the GPU fail, too, or a testbed says nothing of packages.
        ((GpuFault, pass), (GpuFault, pass), 16),
        ((TestbedFailed, &[]), (Pass, pass), 16),
        ((TestbedFailed, &[]), (Fail, fail), 16),
        ((Pass, pass), (TestbedFailed, pass), 16),
        ((Neutral, skip), (Neutral, skip), 8),
        ((Pass, pass), (Neutral, skip), 8),
    ] {
        let of = |(verdict, tests): (Verdict, &[(&str, &str)])| tested(verdict, tests);
        assert_eq!(status(&of(before), &of(after)), expected, "{before:?} {after:?}");
    }
    // Parts that are not known to be all have passed.
    let (whole, mut part) = (tested(Pass, pass), tested(Pass, pass));
    part.not_counted = Some("a case is missing".into());
    assert_eq!(status(&whole, &part), 16);
}

#[test]
fn a_report_that_cannot_be_read_does_not_cost_the_comparison() {
    let passes = tested(Verdict::Pass, &[("a", "pass")]);
    let comparison = comparison(&passes, &passes).expect("a comparison");
    assert_eq!(comparison.tests.len(), 2);
    let problem = comparison.cases_problem.expect("a problem");
    assert!(problem.starts_with("reading junit.xml of /nonexistent/rocfft.tar.zst: "), "{problem}");
}

#[test]
fn both_runs_have_a_directory_and_one_that_was_stopped_ends_it() -> Result<()> {
    let reporter = Context::new(&Cli::try_parse_from(["rocbed", "--quiet", "recipe", "list"])?.global).reporter;
    let output = tempfile::tempdir()?;
    let asked = RefCell::new(Vec::new());
    let stopped = run(output.path(), true, &reporter, |side, directory| {
        asked.borrow_mut().push((side, directory.is_dir()));
        Ok(Tested { cancelled: side == Side::Own, ..tested(Verdict::Pass, &[]) })
    });
    assert_eq!(asked.into_inner(), [(Side::Archive, true), (Side::Own, true)]);
    let error = crate::error::report(&stopped.expect_err("it was stopped")).to_string();
    assert!(error.contains("the run with own packages was stopped, and there is nothing to compare"), "{error}");
    // Results of an earlier run are not mixed with new ones.
    let used = run(output.path(), true, &reporter, |_, _| bail!("nothing is run"));
    let error = used.expect_err("the directory is used").to_string();
    assert!(error.contains(&output.path().display().to_string()), "{error}");
    Ok(())
}
