//! Filters in the addresses of pages: the matrix, lists of jobs and workers, regressions and flaky tests.

use protocol::{Job, RunAs, TestOutcome, Verdict};

use crate::support::{Outcome, Running, Worker, start};

/// Runs a job of a package on a worker; the test `upstream` has this outcome as the user, and passes as root.
fn run(hub: &Running, worker: &Worker, package: &str, outcome: TestOutcome) -> String {
    hub.pass(24 * 3600);
    let target = worker.machine.gpus.gpus.first().map(|gpu| gpu.target.to_string()).unwrap_or_default();
    hub.add(&format!("[[job]]\npackage = \"{package}\"\ngpu = [\"{target}\"]\nas = [\"user\", \"root\"]\n"));
    let claimed = worker.begin();
    worker.deliver_result(&claimed, &result(worker, &claimed.job, outcome)).expect("it is taken");
    claimed.job.id
}

fn result(worker: &Worker, job: &Job, outcome: TestOutcome) -> protocol::JobResult {
    let verdict = if outcome == TestOutcome::Pass { Verdict::Pass } else { Verdict::Fail };
    let mut result = worker.result(job, verdict);
    result.runs[0].tests.truncate(1);
    result.runs[0].tests[0].outcome = outcome;
    let mut root = result.runs[0].clone();
    (root.run_as, root.directory, root.verdict) = (RunAs::Root, "root".into(), Verdict::Pass);
    root.tests[0].outcome = TestOutcome::Pass;
    result.runs.push(root);
    result
}

/// Packages in the rows of a page, once each, in their order.
fn packages(html: &str) -> Vec<&str> {
    let mut found: Vec<&str> = html
        .split("<tbody>")
        .nth(1)
        .unwrap_or_default()
        .split("<th scope=\"row\"><a href=\"/packages/")
        .skip(1)
        .filter_map(|rest| rest.split(['"', '/']).next())
        .collect();
    found.dedup();
    found
}

/// Two targets; rocfft regressed on one of them, hipfft is flaky there, and rocrand passes everywhere.
fn lab() -> (Running, Vec<Worker>) {
    let hub = start();
    let workers = vec![hub.worker("navi21", "gfx1030"), hub.worker("mi210", "gfx90a")];
    for (worker, rocfft) in workers.iter().zip([TestOutcome::Fail, TestOutcome::Pass]) {
        run(&hub, worker, "rocrand", TestOutcome::Pass);
        run(&hub, worker, "rocfft", TestOutcome::Pass);
        run(&hub, worker, "rocfft", rocfft);
        run(&hub, worker, "rocfft", rocfft);
    }
    for outcome in [TestOutcome::Pass, TestOutcome::Fail, TestOutcome::Pass, TestOutcome::Fail, TestOutcome::Pass] {
        run(&hub, &workers[0], "hipfft", outcome);
    }
    for outcome in [TestOutcome::Fail, TestOutcome::Pass] {
        run(&hub, &workers[0], "hipfft", outcome);
    }
    (hub, workers)
}

#[test]
fn regressions_are_filtered_and_say_since_when_and_what_changed() {
    let (hub, _workers) = lab();
    let all = hub.get("/regressions").1;
    assert_eq!(packages(&all), ["rocfft"], "{all}");
    for needed in
        ["s-regression\">regression", "2 in a row", "/compare?before=rocfft&amp;after=rocfft-2", "1 to 1 of 1"]
    {
        assert!(all.contains(needed), "{needed}: {all}");
    }
    for (query, found) in [
        ("package=ROCF", 1),
        ("package=roc*&target=gfx1030&as=user&state=regression", 1),
        ("package=rocrand", 0),
        ("target=gfx90a", 0),
        ("as=root", 0),
        ("state=new-failure", 0),
        ("from=1", 0),
        ("package=&target=&as=&state=", 1),
    ] {
        let (status, page) = hub.get(&format!("/regressions?{query}"));
        assert_eq!((status, packages(&page).len()), (200, found), "{query}: {page}");
    }
    assert_eq!(["state=ok", "state=x", "as=nobody"].map(|query| hub.get(&format!("/regressions?{query}")).0), [422; 3]);
    // What was asked for is kept: in the form, the other list, and the list for programs, which says the same.
    let page = hub.get("/regressions?package=ROCF&target=gfx1030&as=user").1;
    for needed in [
        "value=\"ROCF\"",
        "<option value=\"gfx1030\" selected>",
        "<option value=\"user\" selected>",
        "/flaky?package=ROCF&amp;target=gfx1030&amp;as=user",
    ] {
        assert!(page.contains(needed), "{needed}: {page}");
    }
    let json = page.split("href=\"/api/v1/history").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    let (status, list) = hub.get(&format!("/api/v1/history{}", json.replace("&amp;", "&")));
    assert!(status == 200 && list.contains("rocfft") && !list.contains("\"root\""), "{json}: {list}");
}

#[test]
fn flaky_tests_show_their_rate_and_last_runs() {
    let (hub, _workers) = lab();
    let page = hub.get("/flaky?package=fft&target=gfx1030").1;
    assert_eq!(packages(&page), ["hipfft"], "{page}");
    for needed in ["flaky 3/7", "42 %", "just now", "class=\"run r-fail\" href=\"/jobs/hipfft-6\""] {
        assert!(page.contains(needed), "{needed}: {page}");
    }
    assert_eq!(page.matches("class=\"run r-").count(), 7, "{page}");
    assert!(hub.get("/flaky?target=gfx90a").1.contains("No test is flaky among those that are chosen."));
}

#[test]
fn a_long_list_has_pages() {
    let hub = start();
    let worker = hub.worker("navi21", "gfx1030");
    for number in 0..2 {
        hub.pass(24 * 3600);
        hub.add("[[job]]\npackage = \"rocfft\"\ngpu = [\"gfx1030\"]\n");
        let claimed = worker.begin();
        let mut result = worker.result(&claimed.job, Verdict::Fail);
        let test = result.runs[0].tests[1].clone();
        result.runs[0].tests =
            (0..120).map(|name| protocol::TestResult { name: format!("test-{name}"), ..test.clone() }).collect();
        worker.deliver_result(&claimed, &result).unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    let rows = |page: &str| page.matches("<tr><th scope=\"row\">").count();
    let mut path = Some("/regressions?package=roc*".to_owned());
    let mut counts = Vec::new();
    while let Some(page) = path.take() {
        let html = hub.get(&page).1;
        counts.push(rows(&html));
        let next = html.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
        path = next.map(|next| next.replace("&amp;", "&"));
    }
    assert_eq!(counts, [50, 50, 20]);
}

#[test]
fn the_matrix_is_filtered_by_package_target_and_state() {
    let (hub, _workers) = lab();
    let columns = |html: &str| {
        html.split("<thead>")
            .nth(1)
            .and_then(|rest| rest.split("</thead>").next())
            .unwrap_or_default()
            .matches("<small>")
            .count()
    };
    for (query, rows, count) in [
        ("", vec!["hipfft", "rocfft", "rocrand"], 2),
        ("package=fft", vec!["hipfft", "rocfft"], 2),
        ("package=roc%3F%3F%3F", vec!["rocfft"], 2),
        ("target=gfx90a", vec!["rocfft", "rocrand"], 1),
        ("state=regression", vec!["rocfft"], 2),
        ("state=regression&target=gfx90a", vec![], 0),
        ("package=nothing", vec![], 0),
    ] {
        let (status, html) = hub.get(&format!("/?{query}"));
        assert_eq!((status, packages(&html)), (200, rows), "{query}: {html}");
        assert_eq!(columns(&html), count, "{query}: {html}");
        assert!(html.contains("aria-label=\"Matrix\""), "{query}: {html}");
    }
    assert!(hub.get("/?package=nothing").1.contains("No package has such a result."));
    assert_eq!(hub.get("/?state=nothing").0, 422);
    // What was asked for stays in the form.
    for page in ["/", "/regressions", "/flaky"] {
        let html = hub.get(&format!("{page}?target=gfx1*")).1;
        assert!(html.contains("<option value=\"gfx1*\" selected>"), "{page}: {html}");
    }
    let html = hub.get("/?package=%22%3E%3Cscript%3E&target=%3Cb%3E").1;
    assert!(html.contains("value=\"&#34;&#62;&#60;script&#62;\"") && !html.contains("<b>&"), "{html}");
}

#[test]
fn jobs_and_workers_are_found_by_a_part_of_their_names() -> Outcome {
    let (hub, _workers) = lab();
    let jobs = |query: &str| hub.get(&format!("/jobs?{query}")).1.matches("<tr id=\"j-").count();
    // A whole name is that package, a part of one is looked for.
    for (query, count) in [
        ("package=rocfft", 6),
        ("package=rocf", 6),
        ("package=*fft", 13),
        ("package=FFT&state=finished", 13),
        ("package=*fft&state=queued", 0),
        ("package=*fft&worker=mi210", 3),
        ("target=gfx90a", 4),
        ("target=gfx90a&package=*fft&state=finished", 3),
        ("target=gfx1030&worker=mi210", 0),
        ("target=none", 0),
        ("package=%5Brh%5Docfft", 0),
    ] {
        assert_eq!(jobs(query), count, "{query}");
    }
    let first =
        hub.client().jobs(&client::JobQuery { package: Some("*fft".into()), limit: Some(4), ..Default::default() })?;
    let second =
        client::JobQuery { package: Some("*fft".into()), limit: Some(20), after: first.next, ..Default::default() };
    let second = hub.client().jobs(&second)?;
    let numbers: Vec<_> = first.jobs.iter().chain(&second.jobs).map(|job| job.id.clone()).collect();
    assert_eq!(numbers.len(), 13);
    assert_eq!(numbers[..5], ["hipfft-7", "hipfft-6", "hipfft-5", "hipfft-4", "hipfft-3"]);
    assert_eq!(
        hub.client().jobs(&client::JobQuery { package: Some("rocf".into()), ..Default::default() })?.jobs.len(),
        0
    );

    let on = client::JobQuery { target: Some("gfx90a".into()), limit: Some(3), ..Default::default() };
    let first = hub.client().jobs(&on)?;
    let rest = hub.client().jobs(&client::JobQuery { after: first.next, ..on })?;
    assert_eq!((first.jobs.len(), rest.jobs.len(), rest.next), (3, 1, None));

    let workers = |query: &str| hub.get(&format!("/workers?{query}")).1.matches("<tr id=\"w-").count();
    let found = ["", "name=NAVI", "target=gfx90a", "name=navi&target=gfx90a", "name=%3Cb%3E"].map(workers);
    assert_eq!(found, [2, 1, 1, 0, 0]);
    Ok(())
}
