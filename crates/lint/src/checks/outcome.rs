//! What a test's exit status says.

use super::{Context, Subject};
use crate::report::Finding;
use crate::rules::{ALWAYS_PASSES, FAILURE_IGNORED, SKIP_NOT_DECLARED, SKIPPABLE_UNUSED, SUPERFICIAL};
use crate::script::{Joint, LAUNCHER, Line, Script, Simple};

/// Programs that succeed whatever they read.
const SINKS: [&str; 4] = ["tee", "cat", "ts", "tail"];
/// Arguments with which a program only says what it is.
const TELLING: [&str; 5] = ["--help", "-h", "--version", "-V", "--usage"];

pub(super) fn check(context: &mut Context<'_>, subject: &Subject<'_>) {
    command(context, subject);
    for (test, script) in &subject.scripts {
        self::script(context, test, script);
    }
    skipping(context, subject);
    superficial(context, subject);
}

/// Why a list of commands succeeds whatever its first ones do.
fn hidden(commands: &[Simple], pipefail: bool) -> Option<String> {
    let last = commands.last()?;
    match last.before {
        Joint::Or if last.is_true() => Some(format!("`|| {}` makes it pass always", last.words.join(" "))),
        Joint::Pipe if !pipefail && SINKS.contains(&last.program()) => {
            Some(format!("the exit status is that of {}, which always succeeds", last.program()))
        }
        _ => None,
    }
}

fn command(context: &mut Context<'_>, subject: &Subject<'_>) {
    if let Some(why) = hidden(&subject.commands, subject.command.contains("pipefail")) {
        context.add(subject.finding(&ALWAYS_PASSES, "Test-Command", why));
    }
}

fn script(context: &mut Context<'_>, test: &str, script: &Script) {
    let at = |finding: Finding, line: &Line| finding.at(line.range.clone()).test(test);
    let pipefail = script.has("pipefail");
    for line in &script.lines {
        let runs_test = line.commands.iter().any(Simple::is_test_program);
        if let Some(why) = hidden(&line.commands, pipefail).filter(|_| runs_test) {
            context.add(at(Finding::new(&FAILURE_IGNORED, &script.path, why), line));
        }
    }
    // Without `set -e` and any other way out the last command decides.
    let Some(last) = script.lines.last() else { return };
    let ends_well = last.commands.len() == 1 && last.commands.iter().all(Simple::is_true);
    let leaves = |line: &Line| ["exit", "return", "exec", "trap", "kill"].iter().any(|word| line.code.contains(word));
    let others = script.lines.len() - 1;
    if ends_well && others > 0 && !script.stops && !script.lines.iter().take(others).any(leaves) {
        let message = "nothing before it ends the script, and this succeeds always";
        context.add(at(Finding::new(&ALWAYS_PASSES, &script.path, message), last));
    }
}

fn skipping(context: &mut Context<'_>, subject: &Subject<'_>) {
    let declared = subject.stanza.has_restriction("skippable");
    let launched = subject.mentions(LAUNCHER);
    let in_command = subject.command.contains("exit 77");
    let skipping = subject.scripts.iter().find(|(_, script)| script.skips());
    if !declared && (launched || in_command || skipping.is_some()) {
        let who = match skipping {
            Some((_, script)) if !launched => script.path.clone(),
            _ if launched => LAUNCHER.to_owned(),
            _ => "the command".to_owned(),
        };
        let message = format!("{who} exits with 77 to skip, which is a failure without skippable");
        let edit = Some(subject.stanza.append("Restrictions", "skippable"));
        context.add(subject.finding(&SKIP_NOT_DECLARED, "Restrictions", message).edit(edit));
    }
    // Only of scripts that can be seen through: nothing is known about other programs.
    let seen = subject.scripts.iter().all(|(_, script)| script.is_shell()) && !subject.scripts.is_empty();
    if declared && seen && !launched && !in_command && skipping.is_none() {
        let message = "nothing in the tests' scripts exits with 77";
        context.add(subject.finding(&SKIPPABLE_UNUSED, "Restrictions", message));
    }
}

fn superficial(context: &mut Context<'_>, subject: &Subject<'_>) {
    let [only] = subject.commands.as_slice() else { return };
    let tells = only.work().iter().skip(1).any(|word| TELLING.contains(&word.as_str()));
    if tells && only.work().len() == 2 && !subject.stanza.has_restriction("superficial") {
        let message = format!("`{}` shows only that the program starts", only.work().join(" "));
        let edit = Some(subject.stanza.append("Restrictions", "superficial"));
        context.add(subject.finding(&SUPERFICIAL, "Test-Command", message).edit(edit));
    }
}
