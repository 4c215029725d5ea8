//! Every page at desktop and phone width, light and dark: it is readable, usable by keyboard, and causes no complaints.

use std::path::PathBuf;

use serde_json::Value;

use crate::chromium::Browser;
use crate::sample::lab;
use crate::support::Running;

/// Window sizes: a desktop and a phone.
const WIDTHS: [(&str, u32, u32); 2] = [("desktop", 1280, 800), ("phone", 360, 740)];

/// Names for the screenshots, and pages.
fn pages(hub: &Running) -> Vec<(String, String)> {
    let job = |verdict| {
        let wanted = client::ResultQuery { verdict: Some(verdict), limit: Some(1), ..client::ResultQuery::default() };
        let found = hub.client().results(&wanted).expect("an answer").results;
        format!("/jobs/{}", found.first().expect("a result").job)
    };
    let running =
        hub.client().jobs(&client::JobQuery { state: Some(protocol::api::JobState::Running), ..Default::default() });
    let running =
        running.expect("an answer").jobs.iter().map(|job| job.id.clone()).find(|id| id.starts_with("rocrand"));
    [
        ("matrix", "/".to_owned()),
        ("jobs", "/jobs".to_owned()),
        ("jobs-queued", "/jobs?state=queued".to_owned()),
        ("jobs-none", "/jobs?package=nothing".to_owned()),
        ("job-fail", job(protocol::Verdict::Fail)),
        ("job-gpu-fault", job(protocol::Verdict::GpuFault)),
        ("job-neutral", job(protocol::Verdict::Neutral)),
        ("job-running", format!("/jobs/{}", running.expect("it runs"))),
        ("log", format!("{}/log?find=FAILED", job(protocol::Verdict::Fail))),
        ("workers", "/workers".to_owned()),
        ("worker-eight", "/workers/lab-mi300x".to_owned()),
        ("worker-unfit", "/workers/attic-rx580".to_owned()),
        ("regressions", "/regressions".to_owned()),
        ("regressions-none", "/regressions?package=nothing&target=gfx1030&as=root".to_owned()),
        ("flaky", "/flaky".to_owned()),
        ("matrix-filtered", "/?package=*fft&target=gfx1030".to_owned()),
        ("compare", "/compare?before=rocalution-34&after=rocalution-35".to_owned()),
        ("compare-form", "/compare".to_owned()),
        ("files", format!("{}/files", job(protocol::Verdict::Fail))),
        ("login", "/login?next=/jobs".to_owned()),
        ("archive", "/archive".to_owned()),
        ("webhooks", "/webhooks".to_owned()),
        ("storage", "/storage".to_owned()),
        ("package", "/packages/rocalution".to_owned()),
        ("package-target", "/packages/rocalution/gfx1030".to_owned()),
        ("problems", "/problems".to_owned()),
        ("not-found", "/jobs/nothing".to_owned()),
    ]
    .map(|(name, page)| (name.to_owned(), page))
    .into()
}

fn pictures() -> PathBuf {
    // The target directory, two levels above this program.
    let program = std::env::current_exe().expect("a program");
    let target = program.ancestors().find(|path| path.ends_with("target")).expect("it is in target/").to_owned();
    let pictures = target.join("screenshots");
    std::fs::create_dir_all(&pictures).expect("a directory");
    pictures
}

/// Script that returns the faults of a page that a program can detect; an empty list if there are none.
const CHECKS: &str = r#"(() => {
  const wrong = [];
  const say = (what, element) => wrong.push(`${what}: ${element.outerHTML.slice(0, 160)}`);
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) {
    wrong.push(`the page is ${root.scrollWidth} wide, and the window ${innerWidth}`);
    for (const e of document.querySelectorAll("main *"))
      if (!e.closest(".scroll, .hidden") && e.getBoundingClientRect().right > innerWidth + 1) { say("too wide", e); break; }
  }
  if (!root.lang) wrong.push("no language");
  if (!document.title.endsWith("rocbed")) wrong.push("no title");
  for (const landmark of ["header", "main", "footer", "nav[aria-label]", "a.skip-link[href='#main']"])
    if (!document.querySelector(landmark)) wrong.push(`no ${landmark}`);
  if (document.querySelectorAll("h1").length != 1) wrong.push("not one h1");
  let level = 1;
  for (const heading of document.querySelectorAll("h1, h2, h3")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) say("a level of headings is missing", heading);
    level = now;
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other == id).length > 1) wrong.push(`id ${id} twice`);
  for (const e of document.querySelectorAll("a, button, summary")) if (!e.innerText.trim() && !e.textContent.trim()) say("no name", e);
  for (const e of document.querySelectorAll("input:not([type=hidden]), select")) if (!e.labels.length) say("no label", e);
  for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) say("no alt", e);
  for (const e of document.querySelectorAll("th")) if (!e.scope) say("no scope", e);
  for (const e of document.querySelectorAll("table")) if (!e.caption && !e.closest("[aria-label]")) say("no caption", e);
  for (const e of document.querySelectorAll("main *")) {
    const style = getComputedStyle(e);
    if (/auto|scroll/.test(style.overflowX + style.overflowY) && e.tabIndex < 0 && e.scrollHeight > e.clientHeight + 1)
      say("scrolls and cannot be reached", e);
  }
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) say("changes the order", e);
  // WCAG 2.2, 1.4.3: contrast of text, from the background of the nearest ancestor that has one.
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [.2126, .7152, .0722][index], 0);
  const seen = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !e.checkVisibility() || e.closest(".hidden, .skip-link, script")) continue;
    const front = getComputedStyle(e).color;
    let back = root;
    for (let up = e; up; up = up.parentElement) if (parse(getComputedStyle(up).backgroundColor)[3] > .99) { back = up; break; }
    const behind = getComputedStyle(back).backgroundColor;
    if (seen.has(front + behind)) continue;
    seen.add(front + behind);
    const [one, other] = [light(parse(front)), light(parse(behind))];
    const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    if (contrast < 4.5) say(`contrast ${contrast.toFixed(2)}`, e);
  }
  return wrong;
})()"#;

#[test]
fn every_page_at_both_widths_light_and_dark() {
    let (hub, _workers) = lab();
    let mut browser = Browser::start();
    let pictures = pictures();
    let mut wrong = Vec::new();
    for (name, page) in pages(&hub) {
        for (device, width, height) in WIDTHS {
            for scheme in ["light", "dark"] {
                browser.resize(width, height);
                browser.scheme(scheme);
                browser.open(&format!("{}{page}", hub.address));
                let found = browser.evaluate(CHECKS);
                wrong.extend(
                    found.as_array().into_iter().flatten().map(|what| format!("{name}, {device}, {scheme}: {what}")),
                );
                let errors = usize::from(name == "not-found");
                let complaints = std::mem::take(&mut browser.complaints);
                if complaints.len() > errors {
                    wrong.push(format!("{name}, {device}: {complaints:?}"));
                }
                browser.screenshot(&pictures.join(format!("{name}-{device}-{scheme}.png")), true);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everything_is_reached_by_tab_in_the_order_of_the_page() {
    let (hub, _workers) = lab();
    let mut browser = Browser::start();
    browser.resize(1280, 800);
    for (name, page) in pages(&hub) {
        browser.open(&format!("{}{page}", hub.address));
        let wanted = browser.evaluate(
            "window.list = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex=\"0\"]')]
                 .filter((e) => e.checkVisibility()); list.length",
        );
        let wanted = wanted.as_u64().expect("a number");
        for number in 0..wanted {
            browser.press("Tab", 9);
            let at = browser.evaluate("list.indexOf(document.activeElement)");
            assert_eq!(at, Value::from(number), "{name}");
            if number == 0 {
                let shown = browser.evaluate("document.activeElement.getBoundingClientRect().left >= 0");
                assert_eq!(shown, true, "{name}: the link that skips is seen when it has the focus");
            }
        }
        let ring = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle");
        assert_eq!(ring, "solid", "{name}: where the focus is can be seen");
    }
}
