//! Live updates of open pages, and pages without JavaScript.

use protocol::Verdict;
use protocol::api::Heartbeat;
use serde_json::Value;

use crate::chromium::Browser;
use crate::support::{Outcome, start};

const GZIP: &str = "[[job]]\npackage = \"gzip\"\n";

#[test]
fn a_job_starts_and_ends_while_its_page_is_open() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let mut browser = Browser::start();
    browser.open(&format!("{}/jobs/gzip", hub.address));
    browser.wait_for("document.querySelector('.state')?.textContent === 'queued'");
    // This variable would disappear if the page were reloaded.
    browser.evaluate("window.untouched = true; document.querySelector('dd a').focus()");

    let claimed = worker.begin();
    browser.wait_for("document.querySelector('.state')?.textContent === 'running'");
    worker.client.heartbeat(&claimed.lease, &Heartbeat { phase: "running".into() })?;
    worker.client.append_log(&claimed.lease, 0, b"one\n")?;
    browser.wait_for("document.querySelector('.log')?.textContent === 'one\\n'");
    // The log's element stays the same, and new text is added to it.
    browser.evaluate("window.log = document.querySelector('.log'); 0");
    worker.client.append_log(&claimed.lease, 4, b"\x1b[31mtwo\x1b[0m\n")?;
    browser.wait_for(
        "document.querySelector('.log .f1')?.textContent === 'two' && log === document.querySelector('.log')",
    );
    worker.client.append_log(&claimed.lease, 4 + 4 + 9, b"")?;

    worker.deliver(&claimed, Verdict::Fail)?;
    browser.wait_for("document.querySelector('.verdict.fail') && document.querySelector('.tests .outcome')");
    browser.wait_for("document.querySelector('.log').textContent === 'one\\ntwo\\n'");
    assert_eq!(browser.evaluate("untouched && document.activeElement.matches('dd a')"), true, "focus stays");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    Ok(())
}

#[test]
fn matrix_jobs_and_workers_follow_what_happens() -> Outcome {
    let hub = start();
    let mut browser = Browser::start();
    browser.open(&hub.address);
    browser.wait_for("document.querySelector('main').innerText.includes('no result yet')");
    let worker = hub.worker("w1", "gfx1030");
    browser.wait_for("document.querySelector('main').innerText.includes('1 of 1 workers online')");
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = \"any\"\n");
    browser.wait_for("document.querySelector('main').innerText.includes('1 queued')");
    let claimed = worker.begin();
    worker.deliver(&claimed, Verdict::Pass)?;
    browser.wait_for("document.querySelector('.cell')?.innerText.includes('pass')");

    browser.open(&format!("{}/jobs", hub.address));
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1");
    browser.evaluate("window.row = document.querySelector('tbody tr'); row.querySelector('a').focus()");
    hub.add(GZIP);
    browser.wait_for("document.querySelectorAll('tbody tr').length === 2");
    let kept =
        browser.evaluate("row === document.querySelectorAll('tbody tr')[1] && row.contains(document.activeElement)");
    assert_eq!(kept, true, "the row that had the focus has it, one further down");

    browser.open(&format!("{}/workers", hub.address));
    let claimed = worker.begin();
    browser.wait_for("document.querySelector('tbody').innerText.includes('gzip')");
    worker.deliver(&claimed, Verdict::Pass)?;
    browser.wait_for("!document.querySelector('tbody').innerText.includes('gzip')");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    Ok(())
}

#[test]
fn all_of_it_works_without_javascript() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let claimed = worker.begin();
    worker.client.append_log(&claimed.lease, 0, b"a\nneedle\nb\n")?;
    worker.deliver(&claimed, Verdict::Fail)?;
    let mut browser = Browser::start();
    browser.scripts(false);
    // From the start page to a line of the log, only with links and forms.
    browser.open(&hub.address);
    for (link, title) in [(".cell", "gzip · rocbed"), ("a[href='/jobs/gzip/log']", "Log of gzip · rocbed")] {
        browser.evaluate(&format!("document.querySelector(\"{link}\").click()"));
        browser.wait_for(&format!("document.title === '{title}'"));
    }
    browser.evaluate(
        "document.querySelector('input[name=find]').value = 'needle'; document.querySelector('.tools form').submit()",
    );
    browser.wait_for("document.querySelector('mark#found')?.textContent === 'needle'");
    browser.open(&format!("{}/jobs", hub.address));
    browser.evaluate("document.querySelector('input').value = 'gzip'; document.querySelector('form').submit()");
    browser.wait_for("location.search.includes('package=gzip') && document.querySelectorAll('tbody tr').length === 1");
    // A filter of the matrix, and what only people who are logged in do.
    browser.open(&hub.address);
    browser.evaluate(
        "document.querySelector('input[name=package]').value = 'zip'; document.querySelector('form').submit()",
    );
    browser.wait_for("location.search.includes('package=zip') && document.querySelectorAll('tbody tr').length === 1");
    browser.open(&format!("{}/jobs/gzip", hub.address));
    browser.evaluate("document.querySelector('.actions a').click()");
    browser.wait_for("document.title === 'Log in · rocbed'");
    let token = &hub.admin;
    browser.evaluate(&format!(
        "document.querySelector('input[name=token]').value = '{token}'; document.querySelector('form').submit()"
    ));
    browser.wait_for("location.pathname === '/jobs/gzip' && document.querySelectorAll('.actions form').length === 2");
    browser.evaluate("document.querySelector('.actions button').click()");
    browser
        .wait_for("location.pathname === '/jobs/gzip-2' && document.querySelector('.state').textContent === 'queued'");
    let scripts = browser.evaluate("document.querySelectorAll('[onclick], script:not([src])').length");
    assert_eq!(scripts, Value::from(0));
    Ok(())
}
