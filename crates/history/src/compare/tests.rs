use protocol::{InstalledPackage, Job, Verdict};
use serde_json::json;

use super::*;

#[test]
fn outcomes_are_compared_as_people_do() {
    use Seen::{Fail, Nothing, Pass, Skip, TimedOut};
    for (old, new, says) in [
        (Some(Pass), Some(Fail), Some(Compared::Regressed)),
        (Some(Pass), Some(TimedOut), Some(Compared::Regressed)),
        (Some(Fail), Some(Pass), Some(Compared::Fixed)),
        (Some(Fail), Some(Fail), Some(Compared::StillFailing)),
        (Some(Pass), Some(Pass), Some(Compared::StillPassing)),
        (Some(Pass), None, Some(Compared::Stopped)),
        (Some(Fail), Some(Skip), Some(Compared::Stopped)),
        (None, Some(Fail), Some(Compared::Added)),
        (Some(Skip), Some(Pass), Some(Compared::Added)),
        (Some(Pass), Some(Nothing), None),
        (Some(Nothing), Some(Fail), None),
        (None, Some(Skip), None),
    ] {
        assert_eq!(compared(old, new), says, "{old:?} {new:?}");
    }
}

/// A result of `rocfft` with this version of a library, and the outcomes of its tests.
fn result(id: &str, verdict: Verdict, library: &str, tests: &[(&str, &str)]) -> JobResult {
    let mut job = Job::of_package("rocfft");
    job.id = id.into();
    let tests: Vec<_> = tests.iter().map(|(name, outcome)| json!({ "name": name, "outcome": outcome })).collect();
    let mut result: JobResult = serde_json::from_value(json!({
        "version": 1, "job": job, "verdict": verdict, "simulated": false, "gpus": [],
        "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:00:10Z",
        "machine": { "name": "desk", "kernel": "7.2", "processors": 1, "memory": 1, "rocbed": "0",
            "gpus": { "gpus": [], "unusable": [], "simulated": false } },
        "runs": [{ "as": "user", "verdict": verdict, "seconds": 1.0, "directory": "user", "tests": tests,
            "package": { "name": "rocfft", "version": "7.2-1" } }],
    }))
    .expect("a result");
    let package = InstalledPackage {
        name: "libhip6".into(),
        architecture: "amd64".into(),
        version: library.into(),
        source: "hip".into(),
        source_version: library.into(),
    };
    let list = result.installed.add(&std::iter::once(package).collect());
    result.runs[0].tests.iter_mut().for_each(|test| test.installed = list);
    result
}

fn told(comparison: &Comparison) -> Vec<(&str, Compared)> {
    comparison.tests.iter().map(|test| (test.test.as_str(), test.compared)).collect()
}

#[test]
fn two_results_are_compared_test_by_test_with_what_was_installed() -> Result<(), InstalledError> {
    let before = result(
        "rocfft-archive",
        Verdict::Fail,
        "6.4-1",
        &[("passes", "pass"), ("breaks", "pass"), ("fails", "fail"), ("gone", "pass"), ("chance", "pass")],
    );
    let after = result(
        "rocfft",
        Verdict::Fail,
        "7.2-1",
        &[("passes", "pass"), ("breaks", "fail"), ("fails", "fail"), ("new", "pass"), ("chance", "flaky")],
    );
    let comparison = compare(&before, &after)?;
    let expected = [
        ("breaks", Compared::Regressed),
        ("", Compared::StillFailing),
        ("fails", Compared::StillFailing),
        ("gone", Compared::Stopped),
        ("new", Compared::Added),
        ("passes", Compared::StillPassing),
    ];
    assert_eq!(told(&comparison), expected);
    let changed: Vec<String> = comparison.changed.iter().map(ToString::to_string).collect();
    assert_eq!(changed, ["hip 6.4-1 -> 7.2-1"]);
    let breaks = &comparison.tests[0];
    assert_eq!((breaks.package.as_str(), breaks.target.as_str()), ("rocfft", "none"));
    assert_eq!(breaks.run_as, Some(protocol::RunAs::User));
    let runs = [&breaks.before, &breaks.after].map(|run| run.as_ref().map(|run| (&run.job[..], &run.outcome[..])));
    assert_eq!(runs, [Some(("rocfft-archive", "pass")), Some(("rocfft", "fail"))]);
    Ok(())
}

#[test]
fn a_testbed_that_failed_leaves_nothing_to_compare() -> Result<(), InstalledError> {
    let passes = [("passes", "pass")];
    let good = result("a", Verdict::Pass, "1", &passes);
    let failed = result("b", Verdict::TestbedFailed, "2", &passes);
    assert_eq!(told(&compare(&good, &failed)?), []);
    let mut lost = failed.clone();
    lost.runs.clear();
    assert_eq!(told(&compare(&lost, &good)?), []);
    // Nor does a run that had no time for all of its tests.
    let late = result("c", Verdict::Timeout, "1", &[]);
    assert_eq!(told(&compare(&late, &good)?), [("", Compared::Fixed)]);
    assert_eq!(told(&compare(&good, &good)?).len(), 2);
    Ok(())
}
