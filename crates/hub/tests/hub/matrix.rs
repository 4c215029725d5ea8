//! Which result counts for a package in the matrix.

use protocol::{RunAs, Verdict};

use crate::support::{Outcome, Running, Worker, start};

/// A worker with a real GPU.
fn worker(hub: &Running) -> Worker {
    let mut worker = hub.worker("w1", "gfx1030");
    worker.machine.gpus.simulated = false;
    worker
}

/// Adds a job and delivers its result.
fn run(hub: &Running, worker: &Worker, toml: &str, verdict: Verdict) -> Outcome {
    hub.add(&format!("[[job]]\n{toml}\n"));
    let claimed = worker.begin();
    worker.deliver(&claimed, verdict)?;
    Ok(())
}

/// Verdict and job of each link in the package's row: the cell's, and its mark's if it has one.
fn row(hub: &Running, package: &str) -> Vec<(String, String)> {
    let html = hub.get("/").1;
    let row = html.split(&format!("id=\"p-{package}\"")).nth(1).and_then(|rest| rest.split("</tr>").next());
    let links = row.unwrap_or_default().split("verdict ").skip(1);
    let part = |text: &str, from: &str| {
        let rest = if from.is_empty() { Some(text) } else { text.split(from).nth(1) };
        rest.and_then(|rest| rest.split(['"', ' ']).next()).unwrap_or_default().to_owned()
    };
    links.map(|link| (part(link, ""), part(link, "href=\"/jobs/"))).collect()
}

fn cell(verdict: &str, job: &str) -> (String, String) {
    (verdict.to_owned(), job.to_owned())
}

#[test]
fn only_plain_runs_stand_for_a_package() -> Outcome {
    let hub = start();
    let worker = worker(&hub);
    run(&hub, &worker, "package = \"rocrand\"", Verdict::Fail)?;
    for other in [
        "package = \"rocrand\"\ntests = [\"build-and-link\"]",
        "package = \"rocrand\"\npin = [\"experimental=src:rocrand\"]",
        "package = \"rocrand\"\nas = [\"root\"]",
        "package = \"rocrand\"\nenv = { A = \"1\" }",
        "url = \"https://example.org/rocrand\"",
    ] {
        run(&hub, &worker, other, Verdict::Pass)?;
        assert_eq!(row(&hub, "rocrand"), [cell("fail", "rocrand")], "{other}");
    }
    let page = hub.get("/jobs/rocrand-2").1;
    assert!(
        page.contains("plain run (tests)") && page.contains("<dt>Only tests</dt><dd>build-and-link</dd>"),
        "{page}"
    );
    run(&hub, &worker, "package = \"rocrand\"\ntimeout = \"1h\"\npriority = 3\nid = \"plain\"", Verdict::Pass)?;
    assert_eq!(row(&hub, "rocrand"), [cell("pass", "plain")]);
    assert!(hub.get("/jobs/plain").1.contains("<dt>Priority</dt><dd>3</dd>"));
    Ok(())
}

#[test]
fn of_a_run_as_both_the_user_s_counts() -> Outcome {
    let hub = start();
    let worker = worker(&hub);
    hub.add("[[job]]\npackage = \"rocrand\"\nas = [\"user\", \"root\"]\n");
    let claimed = worker.begin();
    let mut result = worker.result(&claimed.job, Verdict::Pass);
    let mut root = result.runs[0].clone();
    (root.run_as, root.verdict, root.directory) = (RunAs::Root, Verdict::Fail, "root".into());
    result.runs.push(root);
    result.verdict = Verdict::Fail;
    worker.deliver_result(&claimed, &result)?;
    assert_eq!(row(&hub, "rocrand"), [cell("pass", "rocrand")]);
    Ok(())
}

#[test]
fn what_says_nothing_about_the_package_marks_its_cell() -> Outcome {
    let hub = start();
    let worker = worker(&hub);
    let again = |verdict| run(&hub, &worker, "package = \"rocrand\"", verdict);
    // There is no other result yet.
    again(Verdict::TestbedFailed)?;
    assert_eq!(row(&hub, "rocrand"), [cell("testbed-failed", "rocrand")]);
    assert!(hub.get("/").1.contains("<strong>0 of 1</strong> are covered"));
    again(Verdict::Fail)?;
    assert_eq!(row(&hub, "rocrand"), [cell("fail", "rocrand-2")]);
    again(Verdict::TestbedFailed)?;
    assert_eq!(row(&hub, "rocrand"), [cell("fail", "rocrand-2"), cell("testbed-failed", "rocrand-3")]);
    again(Verdict::GpuFault)?;
    assert_eq!(row(&hub, "rocrand"), [cell("fail", "rocrand-2"), cell("gpu-fault", "rocrand-4")]);
    again(Verdict::Timeout)?;
    assert_eq!(row(&hub, "rocrand"), [cell("timeout", "rocrand-5")]);
    assert!(hub.get("/").1.contains("<strong>1 of 1</strong> are covered"));
    Ok(())
}

#[test]
fn the_latest_is_what_the_hub_gave_out_last() -> Outcome {
    let hub = start();
    let (first, second) = (worker(&hub), hub.worker("w2", "gfx1030"));
    let mut second = second;
    second.machine.gpus.simulated = false;
    // The first worker's clock is an hour fast, the second's an hour slow.
    let at = |worker: &Worker, claimed: &protocol::api::Claimed, verdict, hours: i64| {
        let mut result = worker.result(&claimed.job, verdict);
        result.started += jiff::SignedDuration::from_hours(hours);
        result.finished += jiff::SignedDuration::from_hours(hours);
        result
    };
    hub.add("[[job]]\npackage = \"rocrand\"\n");
    let claimed = first.begin();
    first.deliver_result(&claimed, &at(&first, &claimed, Verdict::Pass, 1))?;
    for number in 2..4 {
        hub.add("[[job]]\npackage = \"rocrand\"\n");
        let claimed = second.begin();
        second.deliver_result(&claimed, &at(&second, &claimed, Verdict::Fail, -1))?;
        assert_eq!(row(&hub, "rocrand"), [cell("fail", &format!("rocrand-{number}"))]);
    }
    // A job that was given out earlier and delivered later has tested an older archive.
    hub.add("[[job]]\npackage = \"rocrand\"\n[[job]]\npackage = \"rocrand\"\n");
    let (older, newer) = (first.begin(), second.begin());
    second.deliver(&newer, Verdict::Neutral)?;
    first.deliver(&older, Verdict::Pass)?;
    assert_eq!(row(&hub, "rocrand"), [cell("neutral", &newer.job.id)]);
    Ok(())
}

#[test]
fn an_empty_page_says_what_to_type() {
    let html = start().get("/").1;
    for command in ["rocbed jobs add PACKAGE", "rocbed jobs import jobs.toml"] {
        assert!(html.contains(&format!("<code>{command}</code>")), "{html}");
    }
}

#[test]
fn a_job_that_waits_is_not_drawn_as_an_error() {
    let hub = start();
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx906\"]\n");
    let why = "<p class=\"why calm\">no worker has registered yet</p>";
    assert!(hub.get("/jobs/rocrand").1.contains(why));
    assert!(hub.get("/jobs").1.contains("<small class=\"note calm\">no worker has registered yet</small>"));
}
