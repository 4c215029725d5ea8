//! Parts as GoogleTest makes them, and what is found out about others.

use proptest::prelude::*;
use protocol::{Cases, Job, JobResult, TestOutcome, TestResult, Verdict};

use super::cases::Split;
use super::{Joined, Part, PartReports, ROOM, bounded, join};

/// A case of a report: its name, and `<skipped/>` or `<failure/>` in it.
type Listed = (String, &'static str);

fn job(shards: usize) -> Job {
    serde_json::from_str(&format!(r#"{{"package": "rocrand", "shards": {shards}}}"#)).unwrap()
}

fn result(verdict: &str, tests: &[(&str, &str)], cases: Option<usize>) -> JobResult {
    let tests: Vec<_> = tests
        .iter()
        .map(|(name, outcome)| {
            let reason = if *outcome == "fail" { "exit status 1" } else { "" };
            let cases = cases.map(|total| serde_json::json!({"total": total, "failed": 0, "skipped": 0}));
            serde_json::json!({"name": name, "outcome": outcome, "reason": reason, "seconds": 2.5, "cases": cases})
        })
        .collect();
    let text = serde_json::json!({
        "version": 1, "job": {"package": "rocrand"}, "verdict": verdict, "simulated": false, "gpus": [],
        "started": "2026-11-01T10:00:00Z", "finished": "2026-11-01T10:01:00Z", "warnings": ["of all"],
        "machine": {"name": "m", "kernel": "6", "processors": 1, "memory": 1, "rocbed": "0",
            "gpus": {"gpus": [], "unusable": [], "simulated": false}},
        "runs": [{"as": "user", "verdict": verdict, "seconds": 5.0, "directory": "user", "tests": tests,
            "package": {"name": "rocrand", "version": "1-1"}}],
    });
    serde_json::from_value(text).unwrap()
}

/// The `junit.xml` of a part with these reports of the test `upstream`.
fn junit(reports: &[(&str, &[Listed])]) -> String {
    let report = |(path, cases): &(&str, &[Listed])| {
        let cases: String = cases
            .iter()
            .map(|(name, inner)| format!(r#"<testcase classname="Sum" name="{name}">{inner}</testcase>"#))
            .collect::<String>();
        let total = reports.iter().find(|(other, _)| other == path).map_or(0, |(_, cases)| cases.len());
        format!(r#"<testsuite name="user.upstream: {path}" tests="{total}">{cases}</testsuite>"#)
    };
    let own = r#"<testsuite name="rocrand.user"><testcase classname="rocrand.user" name="upstream"/></testsuite>"#;
    format!("<testsuites>{own}{}</testsuites>", reports.iter().map(report).collect::<String>())
}

/// Parts that have passed, with these cases in the one report of their test; `None` for a part without the report.
fn parts(cases: &[Option<Vec<Listed>>]) -> Vec<Part> {
    let mut room = ROOM;
    (1..)
        .zip(cases)
        .map(|(number, cases)| {
            let count = cases.as_ref().map(Vec::len);
            let result = result("pass", &[("upstream", "pass")], count);
            let text = cases.as_ref().map_or_else(|| junit(&[]), |cases| junit(&[("artifacts/sum.xml", cases)]));
            Part {
                id: format!("rocrand.{number}of{}", cases.as_ref().map_or(0, |_| 1)),
                reports: Some(PartReports::read(text.as_bytes(), &result, &mut room)),
                result,
                bundle: sha256::Digest::of(number.to_string()),
            }
        })
        .collect()
}

fn joined(cases: &[Option<Vec<Listed>>]) -> Joined {
    join(&job(cases.len()), &parts(cases)).unwrap()
}

/// Deals cases out as GoogleTest does: true for one that is disabled, which goes where the next one would.
fn dealt(disabled: &[bool], parts: usize) -> Vec<Vec<Listed>> {
    let mut dealt = vec![Vec::new(); parts];
    let mut runnable = 0;
    for (number, is_disabled) in disabled.iter().enumerate() {
        let inner = if *is_disabled { "<skipped/>" } else { "" };
        dealt[runnable % parts].push((format!("case{number}"), inner));
        runnable += usize::from(!is_disabled);
    }
    dealt
}

fn some(dealt: Vec<Vec<Listed>>) -> Vec<Option<Vec<Listed>>> {
    dealt.into_iter().map(Some).collect()
}

fn named(count: usize) -> Vec<Listed> {
    (0..count).map(|number| (format!("case{number}"), "")).collect()
}

proptest! {
    #[test]
    fn what_googletest_deals_out_is_whole(disabled in proptest::collection::vec(proptest::bool::weighted(0.2), 0..40), count in 2_usize..9) {
        let joined = joined(&some(dealt(&disabled, count)));
        prop_assert_eq!(&joined.not_counted, &None);
        prop_assert_eq!(&joined.result.warnings, &["of all".to_owned()]);
        let cases = joined.result.runs[0].tests[0].cases.unwrap();
        prop_assert_eq!(cases.total, disabled.len() as u64);
        prop_assert_eq!(joined.reports[0].cases.len(), disabled.len());
    }

    /// One case that is missing can look like a program with one less; two of the same part cannot.
    #[test]
    fn missing_cases_are_noticed(cases in 4_usize..40, count in 2_usize..5, place in 0_usize..5) {
        let mut dealt = dealt(&vec![false; cases], count);
        let part = &mut dealt[place % count];
        prop_assume!(part.len() >= 2);
        part.truncate(part.len() - 2);
        let joined = joined(&some(dealt));
        let why = joined.not_counted.unwrap_or_default();
        prop_assert!(why.contains("splits them evenly"), "{}", why);
        // A verdict is not made of what is missing, but it does not stand for the package.
        prop_assert_eq!(joined.result.verdict, Verdict::Pass);
    }

    #[test]
    fn a_program_that_ignores_the_variables_counts_once(cases in 1_usize..20, count in 2_usize..6) {
        let joined = joined(&vec![Some(named(cases)); count]);
        prop_assert_eq!(&joined.not_counted, &None);
        prop_assert_eq!(joined.reports[0].split, Split::Whole);
        prop_assert_eq!(joined.result.runs[0].tests[0].cases.unwrap().total, cases as u64);
        let says = format!("upstream as user ran in full in each of the {count} parts, and counts once");
        prop_assert!(joined.result.warnings[0].starts_with(&says), "{:?}", joined.result.warnings);
    }

    /// Reports come from workers, and tests may write anything into theirs.
    #[test]
    fn any_junit_can_be_joined(
        texts in proptest::collection::vec(
            r#"(<testsuites>|<testsuite name="user.upstream: a" tests="[0-9]{1,20}">|<testsuite name="user: b">|<testcase name="[ab]"/>|</testsuite>|x){0,8}"#,
            1..4,
        ),
        room in 0_usize..800,
    ) {
        let mut room = room;
        let parts: Vec<Part> = texts.iter().map(|text| {
            let result = result("fail", &[("upstream", "fail")], None);
            let reports = Some(PartReports::read(text.as_bytes(), &result, &mut room));
            Part { id: "a".into(), reports, result, bundle: sha256::Digest::of(text) }
        }).collect();
        let joined = join(&job(texts.len()), &parts).unwrap();
        prop_assert_eq!(joined.result.verdict, Verdict::Fail);
        prop_assert_eq!(joined.result.parts.len(), texts.len());
    }
}

#[test]
fn a_report_that_is_missing_or_overlaps_is_told() {
    let three = named(3);
    let halves = [three[..2].to_vec(), three[1..].to_vec()];
    for (cases, says) in [
        (vec![Some(three.clone()), None, Some(named(0))], "artifacts/sum.xml is missing from part 2 of 3"),
        (some(halves.to_vec()), "1 case of artifacts/sum.xml ran in more than one part: Sum.case1"),
        (vec![Some(three.clone()), Some(named(0))], "the parts of artifacts/sum.xml have 3, 0 cases"),
    ] {
        let joined = joined(&cases);
        let why = joined.not_counted.unwrap_or_default();
        assert!(why.contains(says), "{why}");
        assert_eq!(joined.result.runs[0].tests[0].cases.map(|cases| cases.total), Some(3), "{says}");
    }
}

#[test]
fn tests_without_reports_are_named() {
    let joined = joined(&[None, None]);
    assert_eq!((joined.not_counted, joined.result.runs[0].tests[0].cases), (None, None));
    assert!(joined.result.warnings[0].starts_with("not known: whether these ran once in parts"));
    assert!(joined.result.warnings[0].ends_with(": upstream as user"));
}

#[test]
fn a_failure_of_one_part_is_that_of_the_job() {
    let mut all = parts(&some(dealt(&[false; 6], 3)));
    // It crashed before it could write its report.
    all[1].result = result("fail", &[("upstream", "fail"), ("other", "pass")], None);
    all[1].result.problem = Some("a crash".into());
    all[1].reports = Some(PartReports::default());
    all[2].result = result("neutral", &[("upstream", "skip")], None);
    let joined = join(&job(3), &all).unwrap();
    let (result, run) = (&joined.result, &joined.result.runs[0]);
    assert_eq!((result.verdict, run.verdict, joined.worst), (Verdict::Fail, Verdict::Fail, 1));
    assert_eq!((joined.not_counted, result.problem.as_deref()), (None, Some("part 2 of 3: a crash")));
    assert_eq!((run.tests[0].outcome, run.tests[0].reason.as_str()), (TestOutcome::Fail, "part 2 of 3: exit status 1"));
    assert_eq!(
        (run.tests[1].outcome, run.tests[1].reason.as_str()),
        (TestOutcome::Unfinished, "it has no outcome in part 1 of 3, part 3 of 3")
    );
    assert_eq!((run.seconds, run.tests[0].seconds), (15.0, Some(7.5)));
    assert!(result.warnings.iter().any(|text| text.contains("missing from part 2 of 3")), "{:?}", result.warnings);
    let parts: Vec<_> = result.parts.iter().map(|part| (part.index, part.verdict)).collect();
    assert_eq!(parts, [(0, Verdict::Pass), (1, Verdict::Fail), (2, Verdict::Neutral)]);
}

#[test]
fn parts_of_different_versions_or_gpus_do_not_count() {
    let mut all = parts(&some(dealt(&[false; 4], 2)));
    all[1].result.runs[0].tested = Some("1-2".into());
    let why = join(&job(2), &all).unwrap().not_counted.unwrap_or_default();
    assert_eq!(why, "its parts tested different versions: 1-1, 1-2");
    for (part, target) in all.iter_mut().zip(["gfx1030", "gfx906"]) {
        part.result.machine.gpus = gpu::simulate(target).unwrap();
        part.result.gpus = vec!["simulated-0".into()];
    }
    let why = join(&job(2), &all).unwrap().not_counted.unwrap_or_default();
    assert_eq!(why, "its parts ran on different GPUs: gfx1030 (simulated), gfx906 (simulated)");
}

#[test]
fn results_of_any_size_are_joined_up_to_a_limit() {
    let mut large = result("fail", &[("upstream", "fail")], None);
    large.problem = Some("\u{e4}".repeat(5000));
    large.warnings = vec!["x".repeat(5000); 500];
    let test = large.runs[0].tests[0].clone();
    large.runs[0].tests.push(TestResult { name: "y".repeat(300), ..test.clone() });
    large.runs[0].tests.extend((0..5000).map(|number| TestResult { name: number.to_string(), ..test.clone() }));
    let kept = bounded(large);
    assert_eq!(
        (kept.problem.map(|text| text.len()), kept.warnings.len(), kept.warnings[0].len()),
        (Some(2000), 200, 2000)
    );
    assert_eq!((kept.runs[0].tests.len(), kept.runs[0].tests[1].name.as_str()), (2000, "0"));
    let small = result("pass", &[("upstream", "pass")], Some(3));
    assert_eq!(bounded(small.clone()), small);
}

#[test]
fn the_joined_report_can_be_read_again() {
    let mut dealt = dealt(&[false; 5], 2);
    dealt[1][0].1 = "<failure message=\"1 &lt; 2\"/>";
    let joined = joined(&some(dealt));
    let file = tempfile::NamedTempFile::new().unwrap();
    joined.write_junit(file.reopen().unwrap()).unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let mut room = ROOM;
    let read = PartReports::read(text.as_bytes(), &joined.result, &mut room);
    assert_eq!(read.reports.len(), 1, "{text}");
    let report = read.reports.values().next().unwrap();
    assert_eq!((report.total, report.test.as_deref(), report.cases.len()), (5, Some("upstream"), 5));
    let totals = joined.reports[0].totals;
    assert_eq!(totals, Cases { total: 5, failed: 1, skipped: 0 });
}
