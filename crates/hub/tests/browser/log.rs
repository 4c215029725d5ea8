//! A log of 50 MB with colours: it opens quickly, and links lead through it.

use crate::chromium::Browser;
use crate::support::{Outcome, start};

#[test]
fn a_log_of_50_mb_opens_at_once_and_is_jumped_through() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let line = "\x1b[0;32m[       OK ] \x1b[mSuite/normal_tests.float/4 (3 ms), and the line goes on for a while\n";
    let piece = line.repeat((1 << 20) / line.len());
    let mut length = 0;
    for number in 0..50 {
        length = worker.client.append_log(&claimed.lease, length, piece.as_bytes())?;
        if number == 30 {
            let begins = b"autopkgtest [10:00:00]: test upstream: [-----------------------\n";
            length = worker.client.append_log(&claimed.lease, length, begins)?;
        }
    }
    worker.client.append_log(&claimed.lease, length, b"\x1b[31mthe very end\x1b[0m\n")?;
    worker.deliver(&claimed, protocol::Verdict::Fail)?;

    let mut browser = Browser::start();
    browser.resize(360, 740);
    browser.open(&format!("{}/jobs/gzip/log", hub.address));
    // Only a part is sent, however long the log is. The time limit is what a user accepts.
    assert!(browser.received < 1 << 20, "{} bytes", browser.received);
    let times = browser.evaluate(
        "(() => { const t = performance.getEntriesByType('navigation')[0]; \
         return `first byte ${t.responseStart.toFixed(0)} ms, loaded ${t.loadEventEnd.toFixed(0)} ms, ${t.encodedBodySize} bytes`; })()",
    );
    eprintln!("end of a log of {length} bytes: {times}");
    assert_eq!(browser.evaluate("document.querySelector('.log').textContent.endsWith('the very end\\n')"), true);
    assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);

    // To the listed test, which starts much earlier.
    browser
        .evaluate("[...document.querySelectorAll('.jumps a')].find((link) => link.textContent === 'upstream').click()");
    browser.wait_for("document.querySelector('mark')?.textContent.includes('test upstream: [---')");
    browser.wait_for("document.querySelector('mark').getBoundingClientRect().top < innerHeight");
    let times = browser.evaluate("performance.getEntriesByType('navigation')[0].responseStart.toFixed(0)");
    eprintln!("a line 31 MB further up, found: first byte {times} ms");
    browser.evaluate("document.querySelectorAll('.parts a')[3].click()");
    browser.wait_for("document.querySelector('.log').textContent.endsWith('the very end\\n')");
    browser.evaluate("document.querySelector('.parts a').click()");
    browser.wait_for(
        "location.search.includes('from=0') && document.querySelector('.log').textContent.startsWith('[       OK ]')",
    );
    browser.evaluate("document.querySelector('a[rel=next]').click()");
    browser.wait_for("!location.search.endsWith('from=0')");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    Ok(())
}
