//! How much of the results of parts is joined. Workers may send results of any content, and those of all parts of a job are
//! in memory at once.

use protocol::JobResult;

/// Most tests of a run, and the longest name of one, in bytes.
const MOST_TESTS: usize = 2000;
const LONGEST_NAME: usize = 200;
/// Most warnings, lines of the kernel's log, GPUs and archives.
const MOST_LINES: usize = 200;
/// Longest text that is kept, in bytes.
const LONGEST_TEXT: usize = 2000;
/// Longest reason of a test that is kept, in bytes.
const LONGEST_REASON: usize = 500;

/// The result of a part, without what is more than any worker of rocbed sends.
#[must_use]
pub fn bounded(mut result: JobResult) -> JobResult {
    // One for each user.
    result.runs.truncate(2);
    for run in &mut result.runs {
        run.tests.retain(|test| test.name.len() <= LONGEST_NAME);
        run.tests.truncate(MOST_TESTS);
        for test in &mut run.tests {
            cut(&mut test.reason, LONGEST_REASON);
        }
        run.archives.truncate(MOST_LINES);
    }
    for lines in [&mut result.warnings, &mut result.kernel_log, &mut result.gpus] {
        lines.truncate(MOST_LINES);
        for line in lines {
            cut(line, LONGEST_TEXT);
        }
    }
    result.machine.gpus.gpus.truncate(MOST_LINES);
    result.machine.gpus.unusable.truncate(MOST_LINES);
    if let Some(problem) = &mut result.problem {
        cut(problem, LONGEST_TEXT);
    }
    result
}

fn cut(text: &mut String, longest: usize) {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
}
