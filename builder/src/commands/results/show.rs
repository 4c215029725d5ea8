//! `rocbed results show`: shows one result.

use std::fmt::Write as _;

use anyhow::Result;
use protocol::api::ResultDetail;
use protocol::{JobResult, TestResult, Verdict, part_name};
use runner::cases::{Case, CaseOutcome};
use safetext::printable;
use serde::Serialize;

use super::junit;
use super::list::gpus;
use crate::cmdline::ResultsShow;
use crate::commands::{bytes, print, print_json};
use crate::hubs::{HubAccess, connect};
use crate::table::{Cell, Screen, Table, of_outcome, of_verdict};
use crate::times::time;

/// Maximum number of lines shown of a test case's message; the hub's page has all.
const LINES: usize = 10;

pub(super) fn run(options: &ResultsShow) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let detail = client.result(&options.job).map_err(|error| place.explain(error))?;
    // autopkgtest's own tests are also cases of the report; those are in the result already.
    let has_cases = detail.result.tests().any(|(_, test)| test.cases.is_some());
    let (mut cases, mut left_out) = (Vec::new(), 0);
    if has_cases {
        if let Some(report) = junit::of(&place, &client, &options.job)? {
            runner::cases::read(&report[..], &mut |case| cases.push(case));
        }
        cases.retain(|case| !is_own_test(&detail.result, case));
        left_out = reported(&detail.result).saturating_sub(cases.len() as u64);
        cases.retain(|case| options.cases || case.outcome == CaseOutcome::Failed);
    }
    if options.json {
        let cases = cases.iter().map(Told::of).collect();
        return print_json(&Json { detail: &detail, page: place.job_page(&options.job), cases, left_out });
    }
    let mut text = String::new();
    let screen = Screen::of_stdout();
    // Writing to a String cannot fail.
    let _ = describe(&mut text, &detail, &place, screen);
    let _ = tell_cases(&mut text, &cases, screen);
    if left_out > 0 {
        let all = reported(&detail.result);
        let line = format!("{left_out} of {all} cases are not in junit.xml: `rocbed results fetch` has their reports");
        let _ = writeln!(text, "\n{line}");
    }
    print(&text)
}

/// Number of cases that the tests have reported.
fn reported(result: &JobResult) -> u64 {
    result.tests().filter_map(|(_, test)| test.cases).fold(0, |sum, cases| sum.saturating_add(cases.total))
}

/// Whether a case of the report is one of autopkgtest's own tests, whose class is the package and the user.
fn is_own_test(result: &JobResult, case: &Case) -> bool {
    result.runs.iter().any(|run| {
        let package = run.package.as_ref().map_or_else(|| result.job.source.name(), |package| &package.name);
        case.class == format!("{package}.{}", run.run_as) && run.tests.iter().any(|test| test.name == case.name)
    })
}

/// JSON form of a result.
#[derive(Debug, Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    detail: &'a ResultDetail,
    page: String,
    cases: Vec<Told<'a>>,
    /// Number of reported cases that are not in `junit.xml`.
    #[serde(rename = "cases-left-out")]
    left_out: u64,
}

/// JSON form of a test case.
#[derive(Debug, Serialize)]
struct Told<'a> {
    class: &'a str,
    name: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

impl<'a> Told<'a> {
    fn of(case: &'a Case) -> Self {
        let outcome = match case.outcome {
            CaseOutcome::Passed => "pass",
            CaseOutcome::Failed => "fail",
            CaseOutcome::Skipped => "skip",
        };
        Self { class: &case.class, name: &case.name, outcome, message: &case.message }
    }
}

fn describe(text: &mut String, detail: &ResultDetail, place: &HubAccess, screen: Screen) -> std::fmt::Result {
    let (info, result) = (&detail.info, &detail.result);
    let machine = &result.machine;
    let mut line = |name: &str, value: String| writeln!(text, "{name:<10}  {}", value.trim_end());
    line("job", printable(&info.job))?;
    line("page", printable(&place.job_page(&info.job)))?;
    let verdict = screen.paint(of_verdict(info.verdict), info.verdict.name());
    line("verdict", format!("{verdict}  {}", printable(&info.summary)))?;
    if let Some(problem) = &result.problem {
        line("problem", printable(problem))?;
    }
    for warning in &result.warnings {
        line("warning", printable(warning))?;
    }
    line("package", printable(&format!("{} {}", info.package, info.version.as_deref().unwrap_or_default())))?;
    let gpu = gpus(&info.targets, info.simulated);
    line("gpu", if gpu.is_empty() { "none".into() } else { printable(&gpu) })?;
    line("worker", printable(info.worker_name()))?;
    line("machine", printable(&machine_line(result)))?;
    line("kernel", printable(&machine.kernel))?;
    if let Some(image) = &machine.image {
        let parts = [image.name.as_str(), &format!("root {}", image.root)];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        line("image", printable(&parts.join(", ")))?;
    }
    line("rocbed", printable(&machine.rocbed))?;
    line("ran", format!("{} to {}, {:.0} s", time(info.started), time(info.finished), result.seconds()))?;
    line("bundle", format!("{}, sha256 {}", bytes(info.size), info.bundle))?;
    for part in &result.parts {
        let verdict = screen.paint(of_verdict(part.verdict), part.verdict.name());
        let place = part_name(part.index, result.job.shards);
        let place = place.strip_prefix("part ").unwrap_or(&place).to_owned();
        let on = format!("{} on {}", printable(&part.job), printable(&part.machine));
        line("part", format!("{place}, {on}: {verdict} in {:.0} s", part.seconds))?;
    }
    for fault in &result.kernel_log {
        line("kernel log", printable(fault))?;
    }
    let mut table = Table::new(&["TEST", "AS", "OUTCOME", "TIME", "CASES", "WHY"]).expendable(&["CASES", "TIME"]);
    for (run, test) in result.tests() {
        table.row([
            test.name.clone().into(),
            run.run_as.to_string().into(),
            Cell::coloured(test.outcome.name(), of_outcome(test.outcome)),
            test.seconds.map_or_else(String::new, |seconds| format!("{seconds:.1} s")).into(),
            numbers(test).into(),
            test.reason.clone().into(),
        ]);
    }
    if result.tests().next().is_some() {
        write!(text, "\n{}", table.text(screen))?;
    }
    if !matches!(info.verdict, Verdict::Pass | Verdict::Neutral) {
        writeln!(text, "\nreproduce: {}", printable(&result.reproduce(&result.job)))?;
    }
    Ok(())
}

fn machine_line(result: &JobResult) -> String {
    let machine = &result.machine;
    let processor = machine.processor.as_deref().unwrap_or("processors of an unknown kind");
    format!("{}: {} x {processor}, {} MiB", machine.name, machine.processors, machine.memory)
}

fn numbers(test: &TestResult) -> String {
    let Some(cases) = test.cases else { return String::new() };
    let part = |count: u64, word: &str| if count > 0 { format!(", {count} {word}") } else { String::new() };
    format!("{}{}{}", cases.total, part(cases.failed, "failed"), part(cases.skipped, "skipped"))
}

fn tell_cases(text: &mut String, cases: &[Case], screen: Screen) -> std::fmt::Result {
    if !cases.is_empty() {
        text.push('\n');
    }
    for case in cases {
        let told = Told::of(case);
        let style = match case.outcome {
            CaseOutcome::Passed => of_outcome(protocol::TestOutcome::Pass),
            CaseOutcome::Failed => of_outcome(protocol::TestOutcome::Fail),
            CaseOutcome::Skipped => of_outcome(protocol::TestOutcome::Skip),
        };
        let outcome = screen.paint(style, &format!("{:<4}", told.outcome));
        writeln!(text, "{outcome}  {}", printable(&format!("{}.{}", case.class, case.name)))?;
        if case.outcome == CaseOutcome::Failed {
            for line in case.message.lines().take(LINES) {
                writeln!(text, "        {}", printable(line))?;
            }
            let more = case.message.lines().count().saturating_sub(LINES);
            if more > 0 {
                writeln!(text, "        ... {more} more lines")?;
            }
        }
    }
    Ok(())
}
