//! The files that the Tests field names.

use super::{Context, MOST_TESTS, Subject};
use crate::control::{CONTROL, Stanza, Word};
use crate::edit::Edit;
use crate::report::Finding;
use crate::rules::{
    CARRIAGE_RETURNS, DOWNLOADS, INTERPRETER, MISSING_TEST, NO_SHEBANG, NOT_EXECUTABLE, TIMEOUT, UNUSABLE_FILE,
};
use crate::script::{Line, Script, Simple};
use crate::tree::Entry;

/// After so many seconds autopkgtest ends a test.
const LONGEST: f64 = 10_000.0;

/// Directory with the tests of a stanza, without `.` and `..`.
pub(super) fn directory(stanza: &Stanza<'_>) -> String {
    let value = stanza.value("Tests-Directory").text;
    let parts: Vec<&str> = value.trim().split('/').filter(|part| !matches!(*part, "" | "." | "..")).take(50).collect();
    if parts.is_empty() { "debian/tests".to_owned() } else { parts.join("/") }
}

pub(super) fn check(context: &mut Context<'_>, subject: &Subject<'_>) {
    let directory = directory(subject.stanza);
    for word in subject.stanza.tests().into_iter().take(MOST_TESTS) {
        let path = format!("{directory}/{}", word.text);
        match context.tree.entry(&path) {
            Entry::Missing => missing(context, subject, &word, &path),
            Entry::Binary => {}
            Entry::Unusable(reason) => context.add(Finding::new(&UNUSABLE_FILE, &path, reason).test(&word.text)),
            // Another test may be the same file.
            Entry::Text { .. } if !context.told.insert(path.clone()) => {}
            Entry::Text { text, executable } => {
                first_line(context, &word.text, &path, &text);
                if !executable {
                    let finding = Finding::new(&NOT_EXECUTABLE, &path, "it has no execute permission");
                    context.add(finding.test(&word.text).edit(Some(Edit::MakeExecutable)));
                }
            }
        }
    }
    let online = subject.stanza.has_restriction("needs-internet");
    for command in &subject.commands {
        if let Some(message) = downloads(command).filter(|_| !online) {
            context.add(subject.finding(&DOWNLOADS, "Test-Command", message));
        }
        if let Some(message) = timeout(command) {
            context.add(subject.finding(&TIMEOUT, "Test-Command", message));
        }
    }
    for (test, script) in &subject.scripts {
        for line in &script.lines {
            commands(context, test, script, line, online);
        }
    }
}

fn missing(context: &mut Context<'_>, subject: &Subject<'_>, word: &Word, path: &str) {
    // Without upstream's files nothing is known about what is among them.
    if !path.starts_with("debian/") && !context.tree.has_upstream() {
        return;
    }
    // A file may be made by a build.
    if subject.stanza.has_restriction("build-needed") && !path.starts_with("debian/") {
        return;
    }
    let finding = Finding::new(&MISSING_TEST, CONTROL, format!("there is no {path}"));
    context.add(finding.at(word.range.clone()).test(&word.text));
}

fn first_line(context: &mut Context<'_>, test: &str, path: &str, text: &str) {
    let line = text.split('\n').next().unwrap_or_default();
    let about = |rule, message: &str| Finding::new(rule, path, message).at(0..line.trim_end().len()).test(test);
    if let Some(interpreter) = line.strip_prefix("#!") {
        if line.ends_with('\r') {
            let without: String = text.replace("\r\n", "\n");
            let edit = Edit::Replace { range: 0..text.len(), text: without };
            let message = "the kernel looks for an interpreter with a carriage return in its name";
            context.add(about(&CARRIAGE_RETURNS, message).edit(Some(edit)));
        }
        let mut words = interpreter.split_whitespace();
        let program = words.next().unwrap_or_default();
        let program = if program.ends_with("/env") { words.find(|word| !word.starts_with('-')) } else { Some(program) };
        let program = program.unwrap_or_default();
        if matches!(program, "python" | "/usr/bin/python" | "/bin/python") || program.starts_with("/usr/local/") {
            context.add(about(&INTERPRETER, &format!("there is no {program} in a testbed")));
        }
    } else {
        context.add(about(&NO_SHEBANG, "its first line is no #! line"));
    }
}

fn commands(context: &mut Context<'_>, test: &str, script: &Script, line: &Line, online: bool) {
    let at = |finding: Finding| finding.at(line.range.clone()).test(test);
    for command in &line.commands {
        if let Some(message) = downloads(command).filter(|_| !online) {
            context.add(at(Finding::new(&DOWNLOADS, &script.path, message)));
        }
        if let Some(message) = timeout(command) {
            context.add(at(Finding::new(&TIMEOUT, &script.path, message)));
        }
    }
}

/// What a command fetches from the internet, as far as its words say.
fn downloads(command: &Simple) -> Option<String> {
    let words = command.work();
    let program = command.program();
    let has = |what: &str| words.iter().any(|word| word == what);
    let remote = |word: &&String| {
        let rest = ["http://", "https://", "git://", "ftp://"].into_iter().find_map(|scheme| word.strip_prefix(scheme));
        rest.is_some_and(|host| {
            let host = host.split(['/', ':']).next().unwrap_or_default();
            !host.is_empty()
                && !host.contains('$')
                && host != "localhost"
                && !host.starts_with("127.")
                && !host.starts_with('[')
        })
    };
    let address = words.iter().find(remote);
    match program {
        "curl" | "wget" => address.map(|address| format!("{program} fetches {address}")),
        "git" if has("clone") => address.map(|address| format!("git clones {address}")),
        "pip" | "pip3" if has("install") && !has("--no-index") => {
            Some("pip installs packages from the internet".into())
        }
        "npm" if has("install") || has("ci") => Some("npm installs packages from the internet".into()),
        _ => None,
    }
}

/// A `timeout` that autopkgtest's own comes before.
fn timeout(command: &Simple) -> Option<String> {
    let mut words = command.work().iter();
    if command.program() != "timeout" {
        return None;
    }
    words.next();
    let mut limit = words.next()?;
    while limit.starts_with('-') {
        if matches!(limit.as_str(), "-k" | "-s" | "--kill-after" | "--signal") {
            words.next()?;
        }
        limit = words.next()?;
    }
    let number = limit.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let factor = match limit.strip_prefix(number)? {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * factor;
    (seconds > LONGEST).then(|| format!("a timeout of {limit} comes after autopkgtest's, which is 10,000 seconds"))
}
