//! Reports of GoogleTest: where they go.

use super::{Context, Subject};
use crate::report::Finding;
use crate::rules::{ARGUMENTS_DROPPED, REPORTS_ELSEWHERE, REPORTS_MISSING};
use crate::script::{LIBEXEC, Script, base};

/// The variable for what is kept.
const ARTIFACTS: &str = "AUTOPKGTEST_ARTIFACTS";

pub(super) fn check(context: &mut Context<'_>, subject: &Subject<'_>) {
    if let Some(path) = elsewhere(&subject.command) {
        let message = format!("reports go to {path}, which is gone after the test");
        context.add(subject.finding(&REPORTS_ELSEWHERE, "Test-Command", message));
    }
    for (test, script) in &subject.scripts {
        places(context, Some(test), script);
        // A run-tests in the package writes them itself.
        let own =
            script.lines.iter().flat_map(|line| &line.commands).find(|command| {
                command.words.iter().any(|word| word.starts_with(LIBEXEC) && base(word) != "run-tests")
            });
        if own.is_some() {
            missing(context, Some(test), script);
        }
    }
    direct(context, subject);
}

/// Checks a script that is installed as `run-tests`.
pub(super) fn run_tests(context: &mut Context<'_>, script: &Script) {
    places(context, None, script);
    missing(context, None, script);
    if script.is_shell() && !["$@", "$*"].iter().any(|all| script.has(all)) {
        let message = "no command in it has \"$@\"";
        context.add(Finding::new(&ARGUMENTS_DROPPED, &script.path, message));
    }
}

/// A Test-Command that runs a test program itself, and not a script that does.
fn direct(context: &mut Context<'_>, subject: &Subject<'_>) {
    let program = |word: &&String| {
        word.starts_with(LIBEXEC) && (word.ends_with("-test") || word.ends_with("_test") || word.ends_with("-gtest"))
    };
    let Some(word) = subject.commands.iter().flat_map(|command| &command.words).find(program) else { return };
    if !subject.command.contains(ARTIFACTS) && elsewhere(&subject.command).is_none() {
        let message = format!("{} is run without a place for its report", base(word));
        context.add(subject.finding(&REPORTS_MISSING, "Test-Command", message));
    }
}

fn missing(context: &mut Context<'_>, test: Option<&str>, script: &Script) {
    let says = |what: &str| script.has(what);
    if !script.is_shell() || says(ARTIFACTS) || says("gtest_output") || says("GTEST_OUTPUT") {
        return;
    }
    let message = format!("it does not use ${ARTIFACTS}");
    let finding = Finding::new(&REPORTS_MISSING, &script.path, message);
    context.add(match test {
        Some(test) => finding.test(test),
        None => finding,
    });
}

fn places(context: &mut Context<'_>, test: Option<&str>, script: &Script) {
    for line in &script.lines {
        let Some(path) = elsewhere(&line.code) else { continue };
        let message = format!("reports go to {path}, which is gone after the test");
        let finding = Finding::new(&REPORTS_ELSEWHERE, &script.path, message).at(line.range.clone());
        context.add(match test {
            Some(test) => finding.test(test),
            None => finding,
        });
    }
}

/// A path of a report that is not below the artifacts. One that a variable begins could be anywhere.
fn elsewhere(code: &str) -> Option<String> {
    let set = ["gtest_output=", "GTEST_OUTPUT="].into_iter().find_map(|name| Some(code.split_once(name)?.1))?;
    let value = set
        .trim_start_matches(['"', '\''])
        .strip_prefix("xml:")
        .or_else(|| set.trim_start_matches(['"', '\'']).strip_prefix("json:"))?;
    let path: String = value.chars().take_while(|char| !char.is_whitespace() && !"\"';)".contains(*char)).collect();
    (!path.is_empty() && !path.starts_with('$')).then_some(path)
}
