//! The HTML of pages.

use std::io::{BufRead, BufReader, Write};

use protocol::Verdict;
use protocol::api::{Health, WorkerReport};

use crate::support::{Outcome, Running, Worker, bundle, start};

const EVIL: &str = "<script>alert(1)</script>";

/// A hub with a result, a running job, a job that no worker can take, and hostile text everywhere.
fn lived_in() -> (Running, Worker) {
    let hub = start();
    let mut worker = hub.worker("w1", "gfx1030");
    worker.machine.name = EVIL.into();
    worker.machine.kernel = EVIL.into();
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = \"any\"\n");
    hub.add("[[job]]\nurl = \"https://example.org/<script>alert(1)</script>.git\"\n");
    hub.add("[[job]]\npackage = \"hipcub\"\ngpu = [\"gfx906\"]\n");
    let claimed = worker.begin();
    let log = format!("\x1b[31m{EVIL}\x1b[0m\n");
    worker.client.append_log(&claimed.lease, 0, log.as_bytes()).expect("a log");
    let mut result = worker.result(&claimed.job, Verdict::Fail);
    result.warnings = vec![EVIL.into()];
    result.problem = Some(EVIL.into());
    result.kernel_log = vec![EVIL.into()];
    let sha256 = worker.upload(&bundle(&result)).expect("an upload");
    let complete = protocol::api::Complete { bundle: sha256, verdict: Verdict::Fail, summary: EVIL.into() };
    worker.client.complete(&claimed.lease, &complete).expect("it is completed");
    let running = worker.claim().expect("a job");
    let phase = protocol::api::Heartbeat { phase: EVIL.into() };
    worker.client.heartbeat(&running.lease, &phase).expect("an answer");
    worker.client.append_log(&running.lease, 0, log.as_bytes()).expect("a log");
    worker.client.report("w1", &WorkerReport { health: Health::Ready, message: EVIL.into() }).expect("an answer");
    (hub, worker)
}

const PAGES: [&str; 12] = [
    "/",
    "/jobs",
    "/jobs?state=queued",
    "/jobs?package=<script>alert(1)</script>",
    "/jobs/rocrand",
    "/jobs/rocrand/log",
    "/jobs/rocrand/log?from=3",
    "/jobs/-script-.git",
    "/jobs/hipcub",
    "/workers",
    "/workers/w1",
    "/problems",
];

/// The page of the job whose source is an address, from which its id was made.
fn path(hub: &Running, page: &str) -> String {
    if page.contains("-script-") {
        let jobs = hub.client().jobs(&client::JobQuery::default()).expect("jobs").jobs;
        let job = jobs.into_iter().find(|job| job.id.ends_with(".git")).expect("the job");
        return format!("/jobs/{}", job.id);
    }
    page.replace('<', "%3C").replace('>', "%3E")
}

#[test]
fn nothing_that_others_wrote_executes() {
    let (hub, _worker) = lived_in();
    let mut seen = 0;
    for page in PAGES {
        let answer =
            hub.raw(format!("GET {} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", path(&hub, page)).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{page}: {answer}");
        let (head, html) = answer.split_once("\r\n\r\n").expect("a page");
        assert!(!html.contains("<script>"), "{page}: {html}");
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "{page}");
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        seen += html.matches("script&").count()
            + html.matches("&#60;script&#62;").count()
            + html.matches("&lt;script&gt;").count();
    }
    assert!(seen > 10, "the hostile words were on no page: {seen}");
}

#[test]
fn pages_can_be_read_by_a_screen_reader_and_used_by_keyboard() {
    let (hub, _worker) = lived_in();
    for page in PAGES {
        let html = hub.get(&path(&hub, page)).1;
        for needed in [
            "<html lang=\"en\">",
            "<main id=\"main\"",
            "<nav aria-label=",
            "name=\"viewport\"",
            "class=\"skip-link\"",
            "<title>",
        ] {
            assert_eq!(html.matches(needed).count().min(1), 1, "{page}: {needed}");
        }
        assert_eq!(html.matches("<h1").count(), 1, "{page}");
        assert_eq!(html.matches("<th ").count(), html.matches("<th scope=").count(), "{page}");
        assert!(!html.contains("<th>"), "{page}");
        // Scrolling areas can be reached by keyboard.
        assert_eq!(
            html.matches("<pre").count(),
            html.matches("<pre class=\"log").count() + html.matches("<pre class=\"output").count()
        );
        for pre in html.split("<pre").skip(1) {
            assert!(pre.split('>').next().unwrap_or_default().contains("tabindex=\"0\""), "{page}");
        }
    }
}

#[test]
fn a_job_page_shows_tests_cases_and_the_log() {
    let (hub, _worker) = lived_in();
    let html = hub.get("/jobs/rocrand").1;
    for needed in [
        "<span class=\"verdict fail simulated\">fail</span>",
        "on simulated GPUs: no coverage",
        "12, <strong class=\"bad\">1 failed</strong>, 2 skipped",
        "<span>gtest</span> <small>2 cases, <strong class=\"bad\">1 failed</strong></small>",
        "1 &#60; 2\nlong &#60;i&#62;text",
        "<span class=\"f1\">&lt;script&gt;",
        "1.2-3",
    ] {
        assert!(html.contains(needed), "{needed}: {html}");
    }
    let queued = hub.get("/jobs/hipcub").1;
    assert!(queued.contains("no registered worker has gfx906; the only worker has gfx1030"), "{queued}");
    assert_eq!(hub.get("/jobs/nothing").0, 404);
}

/// The same worker, registered again with real or simulated GPUs.
fn registered_anew(hub: &Running, worker: Worker, simulated: bool) -> Worker {
    let mut machine = worker.machine;
    machine.gpus.simulated = simulated;
    machine.gpus.gpus.iter_mut().for_each(|gpu| gpu.simulated = simulated);
    Worker::with_machine(&hub.client().with_token(hub.hub.join_token()), &worker.id, "first", machine, &[])
}

#[test]
fn only_real_gpus_are_coverage() -> Outcome {
    let (hub, mut worker) = lived_in();
    let html = hub.get("/").1;
    assert!(
        html.contains("<strong>0 of 1</strong> are covered") && html.contains("cell verdict fail simulated"),
        "{html}"
    );
    worker = registered_anew(&hub, worker, false);
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = \"any\"\n");
    let claimed = worker.begin();
    worker.deliver(&claimed, Verdict::Pass)?;
    let html = hub.get("/").1;
    assert!(html.contains("<strong>1 of 1</strong> are covered") && html.contains("cell verdict pass\""), "{html}");
    // A later simulated result does not replace it.
    worker = registered_anew(&hub, worker, true);
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = \"any\"\n");
    let claimed = worker.begin();
    worker.deliver(&claimed, Verdict::Fail)?;
    assert!(hub.get("/").1.contains("cell verdict pass\""));
    Ok(())
}

#[test]
fn a_log_of_50_mb_is_shown_a_part_at_a_time() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let line = "\x1b[32mok\x1b[0m a line of a test that says much, again and again\n";
    let piece = line.repeat((1 << 20) / line.len());
    let mut length = 0;
    for _ in 0..50 {
        length = worker.client.append_log(&claimed.lease, length, piece.as_bytes())?;
    }
    worker.client.append_log(&claimed.lease, length, b"the very end\n")?;
    let (status, end) = hub.get("/jobs/gzip/log");
    assert_eq!(status, 200);
    assert!(end.len() < 1 << 20 && end.contains("the very end\n") && end.contains("<a rel=\"prev\""), "{}", end.len());
    // From part to part, no line is cut or shown twice.
    let mut next = Some("/jobs/gzip/log?attempt=1&from=0".to_owned());
    let (mut lines, mut parts) = (0, 0);
    while let Some(page) = next.take().filter(|_| parts < 10) {
        let html = hub.get(&page).1;
        let log = html.split("<pre").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_default();
        assert!(log.split_once('>').is_some_and(|(_, log)| log.starts_with("<span class=\"f2\">ok</span> a line")));
        lines += log.matches("<span").count();
        parts += 1;
        let link = html.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
        let query = link.map(|link| link.replace("&#38;", "&").replace("&amp;", "&"));
        let from =
            query.as_ref().and_then(|query| query.split("from=").nth(1)).and_then(|from| from.parse::<usize>().ok());
        assert_eq!(from, Some(lines * line.len()));
        next = query.map(|query| format!("/jobs/gzip/log{query}"));
    }
    assert_eq!(parts, 10);
    Ok(())
}

#[test]
fn a_log_is_followed_while_it_grows() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    worker.client.append_log(&claimed.lease, 0, b"one\n")?;
    let mut stream = std::net::TcpStream::connect(hub.address.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    stream.write_all(b"GET /jobs/gzip/log/live?from=0 HTTP/1.1\r\nhost: h\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let mut until = |wanted: &str| -> Outcome {
        for line in &mut lines {
            if line?.contains(wanted) {
                return Ok(());
            }
        }
        Err(format!("`{wanted}` did not come").into())
    };
    until("data: one")?;
    worker.client.append_log(&claimed.lease, 4, b"\x1b[1m<two>\n")?;
    until("data: <span class=\"b\">&lt;two&gt;</span>")?;
    worker.deliver(&claimed, Verdict::Pass)?;
    until("event: end")?;
    Ok(())
}

#[test]
fn metrics_are_counted() {
    let (hub, _worker) = lived_in();
    let text = hub.get("/metrics").1;
    for line in [
        "rocbed_jobs{state=\"queued\"} 1",
        "rocbed_jobs{state=\"finished\"} 1",
        "rocbed_results{verdict=\"fail\"} 0",
        "rocbed_workers_online{health=\"ready\"} 1",
        "rocbed_leases_active 1",
        "# TYPE rocbed_http_requests_total counter",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
