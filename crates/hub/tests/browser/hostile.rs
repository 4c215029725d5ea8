//! Hostile text from workers and users, shown in a browser: none of it is executed.

use protocol::api::{Complete, Health, Heartbeat, WorkerReport};
use protocol::{TestOutcome, Verdict};

use crate::chromium::Browser;
use crate::support::{Outcome, Worker, archive, start};

/// Sets `window.evil` if it is executed.
const EVIL: &str = "<img src=x onerror=\"window.evil=1\"><script>window.evil=1</script><svg onload=window.evil=1>'\"&";

/// Documents that would run a script if they were taken for what they are.
const PAGE: &str = "<!doctype html><title>x</title><script>window.evil=1</script>";
const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>window.evil=1</script></svg>";

#[test]
fn nothing_that_others_wrote_executes_in_a_browser() -> Outcome {
    let hub = start();
    let mut machine = hub.worker("w0", "gfx1030").machine;
    for text in [&mut machine.name, &mut machine.kernel, &mut machine.rocbed] {
        *text = EVIL.into();
    }
    machine.processor = Some(EVIL.into());
    machine.gpus.gpus[0].name = EVIL.into();
    machine.gpus.gpus[0].hints = vec![EVIL.into()];
    machine.gpus.notes = vec![EVIL.into()];
    machine.gpus.unusable = vec![serde_json::from_value(serde_json::json!({
        "name": EVIL, "reasons": [{ "kind": "no-driver", "message": EVIL, "remedy": EVIL }],
    }))?];
    let join = hub.client().with_token(hub.hub.join_token());
    let worker = Worker::with_machine(&join, "w1", "first", machine, &[]);
    worker.client.report("w1", &WorkerReport { health: Health::Ready, message: EVIL.into() })?;
    // Addresses and names of packages cannot have such characters; values of variables can.
    let value = serde_json::to_string(EVIL)?;
    let list = format!(
        "[[job]]\nid = \"evil\"\nurl = \"https://example.org/x.git\"\nenv = {{ EVIL = {value} }}\ngpu = \"any\"\n[[job]]\npackage = \"two\"\ngpu = \"any\"\n"
    );
    hub.add(&list);
    let log = format!("{EVIL}\n\x1b[31m{EVIL}\x1b]8;;javascript:window.evil=1\x07link\x1b[0m\ntest {EVIL}: [---\n");

    let claimed = worker.begin();
    worker.client.append_log(&claimed.lease, 0, log.as_bytes())?;
    let mut result = worker.result(&claimed.job, Verdict::Fail);
    result.problem = Some(EVIL.into());
    result.warnings = vec![EVIL.into()];
    result.kernel_log = vec![EVIL.into()];
    result.runs[0].tests[0].name = EVIL.into();
    result.runs[0].tests[0].outcome = TestOutcome::Fail;
    result.runs[0].tests[0].reason = EVIL.into();
    if let Some(package) = &mut result.runs[0].package {
        package.version = EVIL.into();
    }
    let words = EVIL.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let junit = format!(
        "<testsuites><testsuite name=\"{words}\"><testcase classname=\"{words}\" name=\"{words}\"><failure message=\"{words}\">\
         {words}</failure></testcase><testcase name=\"{words}\"/></testsuite></testsuites>"
    );
    let files = [
        ("result.json", &serde_json::to_vec(&result)?[..]),
        ("junit.xml", junit.as_bytes()),
        (EVIL, EVIL.as_bytes()),
        ("page.html", PAGE.as_bytes()),
        ("image.svg", SVG.as_bytes()),
    ];
    let bundle = worker.upload(&archive(&files))?;
    worker.client.complete(&claimed.lease, &Complete { bundle, verdict: Verdict::Fail, summary: EVIL.into() })?;

    let mut browser = Browser::start();
    let find: String = EVIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for page in [
        "/",
        "/jobs",
        "/jobs/evil",
        "/jobs/evil/log",
        "/workers",
        "/workers/w1",
        "/nothing",
        "/jobs/evil/files",
        "/compare?before=evil&after=evil",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("/jobs?package={find}"),
        format!("/jobs/evil/log?find={find}"),
        format!("/jobs/{find}"),
        format!("/workers/{find}"),
        format!("/?package={find}"),
        format!("/regressions?package={find}"),
        format!("/workers?name={find}"),
        format!("/jobs/evil/files?find={find}"),
        format!("/compare?before={find}&after=evil"),
    ]) {
        browser.open(&format!("{}{page}", hub.address));
        let found =
            browser.evaluate("[window.evil ?? 0, document.querySelectorAll('main img, main svg, main script').length]");
        assert_eq!(found, serde_json::json!([0, 0]), "{page}");
        // Checks that the page contains the text; these pages do not.
        let words = browser.evaluate("document.documentElement.outerHTML.includes('onerror')");
        assert_eq!(words, !["/", "/jobs", "/nothing"].contains(&page.as_str()), "{page}");
        // Chromium logs error answers, and nothing else is expected here.
        let complaints = std::mem::take(&mut browser.complaints);
        assert!(complaints.iter().all(|what| what.contains("404")), "{page}: {complaints:?}");
    }

    // Files that a test has left are shown as text, in a sandbox, whatever they are.
    for (number, text) in [(0, "onerror"), (1, "onerror"), (2, EVIL), (3, PAGE), (4, SVG)] {
        browser.open(&format!("{}/jobs/evil/files/{number}", hub.address));
        let found = browser.evaluate("[window.evil ?? 0, document.contentType, origin]");
        assert_eq!(found, serde_json::json!([0, "text/plain", "null"]), "{number}");
        let shown = browser.evaluate("document.body.textContent");
        assert!(shown.as_str().is_some_and(|shown| shown.contains(text)), "{number}: {shown}");
        assert_eq!(std::mem::take(&mut browser.complaints), Vec::<String>::new(), "{number}");
    }

    // Text that arrives while a page is open.
    let running = worker.begin();
    browser.open(&format!("{}/jobs/two", hub.address));
    worker.client.heartbeat(&running.lease, &Heartbeat { phase: EVIL.into() })?;
    worker.client.append_log(&running.lease, 0, log.as_bytes())?;
    browser.wait_for("document.querySelector('.log')?.textContent.includes('link')");
    worker.deliver(&running, Verdict::Pass)?;
    browser.wait_for("document.querySelector('.verdict.pass') !== null");
    assert_eq!(
        browser.evaluate("[window.evil ?? 0, document.querySelectorAll('main img').length]"),
        serde_json::json!([0, 0])
    );
    // Even a script that got into a page would not run: the policy allows only the hub's own files.
    browser.evaluate("{ const s = document.createElement('script'); s.textContent = 'window.evil=2'; document.body.append(s); \
        const i = document.createElement('img'); i.setAttribute('onerror', 'window.evil=3'); i.src = '/nothing'; document.body.append(i); 0 }");
    browser.wait_for("document.images.length > 1 && [...document.images].every((image) => image.complete)");
    assert_eq!(browser.evaluate("window.evil ?? 0"), serde_json::json!(0));
    Ok(())
}
