//! Histories of tests: states, explanations, comparisons, known failures, confirmations, and their pages.

use client::HistoryQuery;
use protocol::api::{AddKnown, ChangeKind, Compared, Complete, TestState};
use protocol::{InstalledPackage, JobResult, PackageList, TestOutcome, Verdict};

use crate::support::{Outcome, Running, Worker, archive, start, start_with};

/// Packages of a testbed: source and version.
fn packages(list: &[(&str, &str)]) -> PackageList {
    let package = |(source, version): &(&str, &str)| InstalledPackage {
        name: (*source).to_owned(),
        architecture: "amd64".into(),
        version: (*version).to_owned(),
        source: (*source).to_owned(),
        source_version: (*version).to_owned(),
    };
    list.iter().map(package).collect()
}

/// A result with the test `upstream` and these packages.
fn result(worker: &Worker, job: &protocol::Job, outcome: TestOutcome, installed: &[(&str, &str)]) -> JobResult {
    let verdict = if outcome == TestOutcome::Pass { Verdict::Pass } else { Verdict::Fail };
    let mut result = worker.result(job, verdict);
    let run = &mut result.runs[0];
    run.tests.truncate(1);
    run.tests[0].outcome = outcome;
    run.tests[0].installed = result.installed.add(&packages(installed));
    run.tested =
        installed.iter().find(|(name, _)| *name == job.source.name()).map(|(_, version)| (*version).to_owned());
    result
}

/// Runs a job of a package a day later.
fn day(hub: &Running, worker: &Worker, toml: &str, outcome: TestOutcome, installed: &[(&str, &str)]) -> String {
    hub.pass(24 * 3600);
    hub.add(&format!("[[job]]\n{toml}\n"));
    let claimed = worker.begin();
    worker.deliver_result(&claimed, &result(worker, &claimed.job, outcome, installed)).expect("it is taken");
    claimed.job.id
}

const ROCFFT: &str = "package = \"rocfft\"";
const OLD: [(&str, &str); 3] = [("rocfft", "7.2.4-1"), ("rocr-runtime", "6.4.3-5"), ("llvm", "21.1.4-1")];
const BETWEEN: [(&str, &str); 3] = [("rocfft", "7.2.4-1"), ("rocr-runtime", "6.4.3-5"), ("llvm", "21.1.5-1")];
const NEW: [(&str, &str); 3] = [("rocfft", "7.2.4-1"), ("rocr-runtime", "7.2.4-1"), ("llvm", "21.1.5-1")];

fn query(test: &str) -> HistoryQuery {
    HistoryQuery { package: Some("rocfft".into()), test: Some(test.into()), ..HistoryQuery::default() }
}

fn state(hub: &Running) -> Result<TestState, client::ClientError> {
    let mut tests = hub.people().history(&query("upstream"))?.tests;
    assert_eq!(tests.len(), 1);
    Ok(tests.remove(0).state)
}

#[test]
fn a_regression_is_dated_and_what_changed_is_named() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    let good = day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    let bad = day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    assert_eq!(state(&hub)?, TestState::NewFailure);
    let worse = day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    assert_eq!(state(&hub)?, TestState::Regression);
    // Another package passed with the new llvm, on the same target.
    day(&hub, &worker, "package = \"rocrand\"", TestOutcome::Pass, &BETWEEN);

    let why = hub.people().why(&query("upstream"))?.tests.remove(0);
    let job = |run: &Option<protocol::api::TestRun>| run.as_ref().map(|run| run.job.clone());
    assert_eq!((job(&why.test.last_good), job(&why.test.first_bad)), (Some(good.clone()), Some(bad.clone())));
    let changed: Vec<_> = why.changed.iter().map(|change| (change.kind, change.name.as_str())).collect();
    assert_eq!(changed, [(ChangeKind::Package, "llvm"), (ChangeKind::Package, "rocr-runtime")]);
    let hints: Vec<_> = why.changed.iter().map(|change| change.passed_with.join(" ")).collect();
    assert!(why.packages_known && hints[1].is_empty(), "{hints:?}");

    // The list is kept once, and the result that is stored has only its digest.
    let detail = hub.people().result(&bad)?;
    assert!(detail.result.installed.is_empty() && detail.result.runs[0].tests[0].installed.is_some());
    assert_eq!(detail.info.version.as_deref(), Some("7.2.4-1"));
    let installed = hub.people().packages(&bad)?.tests.remove(0);
    assert_eq!(installed.packages, ["llvm amd64 21.1.5-1", "rocfft amd64 7.2.4-1", "rocr-runtime amd64 7.2.4-1"]);

    let mut report = Vec::new();
    hub.people().bug(&worse, &mut report)?;
    let report = String::from_utf8(report)?;
    for line in [
        "Subject: rocfft: autopkgtest upstream regressed on gfx1030",
        "Source: rocfft\nVersion: 7.2.4-1",
        "    rocr-runtime 6.4.3-5 -> 7.2.4-1",
        "rocbed test rocm rocfft --gpu -- --test-name=upstream",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }

    let compared = hub.people().compare(&good, &bad, None)?;
    assert!(compared.tests.iter().all(|test| test.compared == Compared::Regressed), "{compared:?}");
    assert_eq!((compared.tests.len(), compared.changed.len()), (2, 2));
    assert!(hub.people().compare(&good, "nothing", None).is_err());

    // A test that is marked as flaky, and failed, has not stopped: it says nothing.
    let by_chance = day(&hub, &worker, ROCFFT, TestOutcome::Flaky, &NEW);
    let compared = hub.people().compare(&good, &by_chance, None)?;
    assert_eq!(compared.tests.iter().map(|test| test.test.as_str()).collect::<Vec<_>>(), [""], "{compared:?}");
    Ok(())
}

/// Runs a job of a package with a report of cases, and another kernel.
fn with_cases(hub: &Running, worker: &Worker, outcome: TestOutcome, kernel: &str, cases: &str) -> String {
    hub.pass(24 * 3600);
    hub.add(&format!("[[job]]\n{ROCFFT}\n"));
    let claimed = worker.begin();
    let mut result = result(worker, &claimed.job, outcome, &OLD);
    result.machine.kernel = kernel.into();
    let junit = format!(
        "<testsuites><testsuite name=\"rocfft.user\"><testcase name=\"upstream\"/></testsuite>\
         <testsuite name=\"gtest\">{cases}</testsuite></testsuites>"
    );
    let files = [("result.json", serde_json::to_vec(&result).expect("JSON")), ("junit.xml", junit.into_bytes())];
    let files: Vec<_> = files.iter().map(|(name, content)| (*name, &content[..])).collect();
    let bundle = worker.upload(&archive(&files)).expect("an upload");
    let complete = Complete { bundle, verdict: result.verdict, summary: String::new() };
    worker.client.complete(&claimed.lease, &complete).expect("it is taken");
    claimed.job.id
}

#[test]
fn two_results_are_compared_on_a_page_as_by_the_command() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    let both = "<testcase name=\"a\"/><testcase name=\"&lt;script&gt;\"/>";
    let good = with_cases(&hub, &worker, TestOutcome::Pass, "7.1", both);
    let bad = with_cases(&hub, &worker, TestOutcome::Fail, "7.2<i>", "<testcase name=\"a\"><failure/></testcase>");
    let compared = hub.people().compare(&good, &bad, None)?;
    let cases: Vec<_> = compared.cases.iter().map(|case| (case.case.as_str(), case.compared)).collect();
    assert_eq!(cases, [("a", Compared::Regressed), ("<script>", Compared::Stopped)]);
    assert!(compared.changed.iter().any(|change| change.kind == ChangeKind::Kernel), "{:?}", compared.changed);
    let (status, page) = hub.get(&format!("/compare?before={good}&after={bad}"));
    assert_eq!(status, 200);
    for needed in ["c-regressed\">regressed</span> 2", "7.2&#60;i&#62;", "&#60;script&#62;", "c-stopped", "7.1"] {
        assert!(page.contains(needed), "{needed}: {page}");
    }
    assert!(!page.contains("<script>") && !page.contains("<i>"), "{page}");
    let link = format!("/compare?before={good}&amp;after={bad}");
    for path in [format!("/jobs/{bad}"), "/packages/rocfft".into(), "/packages/rocfft/gfx1030".into()] {
        assert!(hub.get(&path).1.contains(&link), "{path}: {}", hub.get(&path).1);
    }
    assert!(!hub.get(&format!("/jobs/{good}")).1.contains("/compare?"), "it passed");
    // Without two results there is a form, and with others a reason.
    let form = hub.get("/compare?before=%22%3E%3Cscript%3E").1;
    assert!(form.contains("value=\"&#34;&#62;&#60;script&#62;\"") && form.contains("name=\"after\""), "{form}");
    assert_eq!(hub.get(&format!("/compare?before={good}&after=nothing")).0, 404);
    Ok(())
}

#[test]
fn a_run_that_passed_clears_what_it_had() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    // The newer llvm was there once before, on a day between.
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &BETWEEN);
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    let why = hub.people().why(&query("upstream"))?.tests.remove(0);
    let open: Vec<_> = why.changed.iter().filter(|change| change.cleared_by.is_none()).collect();
    assert!(open.len() == 1 && open[0].name == "rocr-runtime", "{:?}", why.changed);
    assert_eq!(why.next, "rocbed results bug rocfft-3");
    let page = hub.get("/packages/rocfft/gfx1030").1;
    assert!(page.contains("1 cleared by runs that passed") && page.contains("rocr-runtime"), "{page}");
    Ok(())
}

#[test]
fn a_job_on_another_machine_decides_between_machine_and_packages() -> Outcome {
    let hub = start();
    let (one, two) = (hub.worker("w1", "gfx1030"), hub.worker("w2", "gfx1030"));
    day(&hub, &one, ROCFFT, TestOutcome::Pass, &OLD);
    let bad = day(&hub, &two, ROCFFT, TestOutcome::Fail, &NEW);
    day(&hub, &two, ROCFFT, TestOutcome::Fail, &NEW);
    let why = || -> Result<_, client::ClientError> { Ok(hub.people().why(&query("upstream"))?.tests.remove(0)) };
    assert!(why()?.changed.iter().any(|change| change.kind == ChangeKind::Machine), "{:?}", why()?.changed);
    assert_eq!(why()?.next, format!("rocbed jobs confirm {bad} --elsewhere"));
    // It fails there too.
    hub.people().confirm(&bad, true)?;
    let claimed = one.begin();
    one.deliver_result(&claimed, &result(&one, &claimed.job, TestOutcome::Fail, &NEW))?;
    assert_eq!(why()?.next, "rocbed bisect rocfft --target gfx1030");
    Ok(())
}

#[test]
fn where_only_the_machine_is_another_one_no_cross_check_is_named() -> Outcome {
    let hub = start();
    let (one, two) = (hub.worker("w1", "gfx1030"), hub.worker("w2", "gfx1030"));
    day(&hub, &one, ROCFFT, TestOutcome::Pass, &OLD);
    day(&hub, &two, ROCFFT, TestOutcome::Fail, &OLD);
    day(&hub, &two, ROCFFT, TestOutcome::Fail, &OLD);
    let why = hub.people().why(&query("upstream"))?.tests.remove(0);
    let changed: Vec<_> = why.changed.iter().map(|change| change.kind).collect();
    assert_eq!(changed, [ChangeKind::Machine]);
    // With the same packages it passes and fails, so it counts as flaky.
    assert_eq!(why.next, "rocbed results history rocfft --target gfx1030 --all");
    Ok(())
}

#[test]
fn pinned_local_and_broken_runs_move_nothing() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    day(&hub, &worker, &format!("{ROCFFT}\npin = [\"experimental=src:llvm\"]"), TestOutcome::Fail, &NEW);
    day(&hub, &worker, &format!("{ROCFFT}\nenv = {{ A = \"1\" }}"), TestOutcome::Fail, &NEW);
    day(&hub, &worker, "url = \"https://example.org/rocfft\"", TestOutcome::Fail, &NEW);
    for verdict in [Verdict::GpuFault, Verdict::TestbedFailed] {
        hub.add(&format!("[[job]]\n{ROCFFT}\n"));
        let claimed = worker.begin();
        let mut broken = result(&worker, &claimed.job, TestOutcome::Fail, &NEW);
        (broken.verdict, broken.runs[0].verdict) = (verdict, verdict);
        worker.deliver_result(&claimed, &broken)?;
    }
    assert_eq!(state(&hub)?, TestState::Ok);
    let all = hub.people().history(&HistoryQuery { variants: true, ..query("upstream") })?.tests;
    let variants: Vec<_> = all.iter().map(|test| test.variant.as_str()).collect();
    assert_eq!(variants, ["", "env A=1", "pin experimental=src:llvm", "url https://example.org/rocfft"]);
    Ok(())
}

#[test]
fn a_test_that_is_marked_as_flaky_has_neither_failed_nor_stopped() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    day(&hub, &worker, ROCFFT, TestOutcome::Flaky, &NEW);
    assert_eq!(state(&hub)?, TestState::Ok);
    // One that is not there any more has.
    hub.add(&format!("[[job]]\n{ROCFFT}\n"));
    let claimed = worker.begin();
    let mut renamed = result(&worker, &claimed.job, TestOutcome::Pass, &NEW);
    renamed.runs[0].tests[0].name = "other".into();
    worker.deliver_result(&claimed, &renamed)?;
    assert_eq!(state(&hub)?, TestState::Stopped);
    Ok(())
}

#[test]
fn a_failure_that_a_repetition_does_not_have_is_flaky_and_both_stay() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    let bad = day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    let confirmed = hub.people().confirm(&bad, false)?;
    assert_eq!((confirmed.jobs.len(), &confirmed.tests[..]), (1, &["upstream".to_owned()][..]));
    assert_eq!(hub.people().confirm(&bad, false)?, confirmed, "it waits already");
    let claimed = worker.begin();
    assert_eq!((&claimed.job.id, &claimed.job.tests), (&confirmed.jobs[0], &vec!["upstream".to_owned()]));
    worker.deliver_result(&claimed, &result(&worker, &claimed.job, TestOutcome::Pass, &NEW))?;
    let test = hub.people().history(&HistoryQuery { runs: 9, ..query("upstream") })?.tests.remove(0);
    assert_eq!((test.state, test.runs.len()), (TestState::Flaky, 3));
    assert_eq!(test.runs[0].confirms.as_deref(), Some(bad.as_str()));
    assert!(hub.get("/flaky").1.contains("flaky 1/2"));
    // There is nothing to confirm in what passed.
    assert!(hub.people().confirm("rocfft", false).is_err());
    Ok(())
}

#[test]
fn a_new_failure_is_confirmed_by_itself_on_another_machine() -> Outcome {
    let hub = start_with(|config| config.confirm = true);
    let (first, second) = (hub.worker("w1", "gfx1030"), hub.worker("w2", "gfx1030"));
    day(&hub, &first, ROCFFT, TestOutcome::Pass, &OLD);
    hub.pass(24 * 3600);
    assert!(second.claim().is_none(), "it is online, and there is nothing to do");
    hub.add(&format!("[[job]]\n{ROCFFT}\n"));
    let failed = first.begin();
    first.deliver_result(&failed, &result(&first, &failed.job, TestOutcome::Fail, &NEW))?;
    let bad = failed.job.id;
    assert!(first.claim().is_none(), "the machine that it failed on does not get it");
    let claimed = second.begin();
    assert_eq!(claimed.job.tests, ["upstream"]);
    second.deliver_result(&claimed, &result(&second, &claimed.job, TestOutcome::Fail, &NEW))?;
    assert_eq!(state(&hub)?, TestState::Regression);
    assert!(second.claim().is_none(), "a confirmation is not confirmed");
    let page = hub.get("/packages/rocfft/gfx1030").1;
    assert!(page.contains(" again\"") && page.contains(&format!("/jobs/{bad}")), "{page}");
    Ok(())
}

#[test]
fn a_known_failure_is_told_again_when_it_passes() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    let request = AddKnown { package: "rocfft".into(), bug: Some("1112345".into()), ..AddKnown::default() };
    let known = hub.people().add_known(&request)?;
    assert_eq!(hub.people().add_known(&request)?, known, "twice is once");
    assert_eq!(state(&hub)?, TestState::Known);
    assert!(hub.get("/regressions").1.contains("https://bugs.debian.org/1112345"));
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &NEW);
    // Both outcomes with the same packages: it is flaky, and known to be.
    assert_eq!(state(&hub)?, TestState::Known);
    let newest = [("rocfft", "7.2.5-1"), ("rocr-runtime", "7.2.4-1")];
    for _ in 0..6 {
        day(&hub, &worker, ROCFFT, TestOutcome::Pass, &newest);
    }
    hub.people().remove_known(known.id)?;
    assert!(hub.people().remove_known(known.id).is_err());
    assert_eq!(hub.people().known()?.known, []);
    Ok(())
}

#[test]
fn days_are_compared_and_changes_are_in_the_feed() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    let today = |hub: &Running| {
        let test = hub.people().history(&query("upstream")).expect("a history").tests.remove(0);
        test.last.expect("a run").at.strftime("%Y-%m-%d").to_string()
    };
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    let before = today(&hub);
    day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    let after = today(&hub);
    let compared = hub.people().compare(&before, &after, None)?;
    assert!(compared.tests.len() == 2 && compared.tests[0].compared == Compared::Regressed, "{compared:?}");
    assert_eq!(hub.people().compare(&after, &after, None)?.tests, []);
    let feed = hub.get("/feed.atom").1;
    assert!(feed.contains("<title>rocfft upstream on gfx1030 (simulated): new failure</title>"), "{feed}");
    roxmltree::Document::parse(&feed)?;
    let badge = hub.get("/badge/rocfft/gfx1030.svg").1;
    assert!(badge.contains("rocfft gfx1030: new failure"), "{badge}");
    roxmltree::Document::parse(&badge)?;
    let matrix = hub.get("/").1;
    assert!(matrix.contains("s-new-failure\" href=\"/packages/rocfft/gfx1030\">new</a>"), "{matrix}");
    // Simulated GPUs are no coverage.
    assert_eq!(hub.get("/data/status/unstable/amd64+gfx1030/packages.json"), (200, "[]".to_owned()));
    Ok(())
}

#[test]
fn debci_reads_what_real_gpus_said() -> Outcome {
    let hub = start();
    let mut machine = hub.worker("w1", "gfx1030").machine;
    machine.gpus.simulated = false;
    machine.gpus.gpus.iter_mut().for_each(|gpu| gpu.simulated = false);
    let worker = Worker::with_machine(&hub.client().with_token(hub.hub.join_token()), "w1", "second", machine, &[]);
    day(&hub, &worker, ROCFFT, TestOutcome::Pass, &OLD);
    day(&hub, &worker, ROCFFT, TestOutcome::Fail, &NEW);
    let list: serde_json::Value =
        serde_json::from_str(&hub.get("/data/status/unstable/amd64+gfx1030/packages.json").1)?;
    assert_eq!(list[0]["package"], "rocfft");
    assert_eq!((&list[0]["status"], &list[0]["previous_status"]), (&"fail".into(), &"pass".into()));
    assert_eq!(list[0]["last_pass_version"], "7.2.4-1");
    Ok(())
}

#[test]
fn what_workers_name_is_text_on_every_page() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    hub.add("[[job]]\npackage = \"rocfft\"\n");
    let claimed = worker.begin();
    let mut odd = result(&worker, &claimed.job, TestOutcome::Fail, &[("<b>", "1<script>"), ("rocfft", "2")]);
    odd.runs[0].tests[0].name = "<script>alert(1)</script>".into();
    odd.runs[0].tested = Some("<i>7</i>".into());
    worker.deliver_result(&claimed, &odd)?;
    for path in ["/", "/regressions", "/flaky", "/packages/rocfft", "/packages/rocfft/gfx1030", "/feed.atom"] {
        let (status, html) = hub.get(path);
        assert!(status == 200 && !html.contains("<script>alert") && !html.contains("<i>7"), "{path}: {html}");
    }
    assert_eq!(hub.get("/packages/nothing/gfx1030").0, 404);
    assert!(hub.get("/packages/nothing").1.contains("No result of this package counts yet."));
    Ok(())
}

#[test]
fn lists_that_are_not_valid_do_not_keep_a_result_away() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    hub.add("[[job]]\npackage = \"rocfft\"\n");
    let claimed = worker.begin();
    let mut odd = result(&worker, &claimed.job, TestOutcome::Pass, &OLD);
    odd.installed.lists[0].added.push("one more line".into());
    worker.deliver_result(&claimed, &odd)?;
    assert_eq!(hub.people().packages("rocfft")?.tests[0].packages, Vec::<String>::new());
    assert_eq!(state(&hub)?, TestState::Ok);
    Ok(())
}
