//! A shell's view of a test: a script, or a Test-Command. Nothing is run, and what is quoted stays one word, but no
//! variable or function is followed: a check may only rely on what it sees.

use std::collections::VecDeque;
use std::ops::Range;

/// A command of a list or pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Simple {
    /// What stands before it.
    pub(crate) before: Joint,
    /// Its words, quotes removed, without the variables that are set for it.
    pub(crate) words: Vec<String>,
    /// Variables that are set, alone or for the command: `NAME=value`.
    pub(crate) assigned: Vec<String>,
}

/// How a command follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    /// After a new line, `;`, `&` or a bracket.
    Next,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`
    Pipe,
}

/// A line of a script, with those that it goes on in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Bytes of the file.
    pub(crate) range: Range<usize>,
    /// Without comment.
    pub(crate) code: String,
    pub(crate) commands: Vec<Simple>,
}

/// A script of a test.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Lines of code; empty if it is not a shell script.
    pub(crate) lines: Vec<Line>,
    /// Whether a failing command ends it (`set -e`).
    pub(crate) stops: bool,
}

/// Words before a command that are part of the shell's grammar.
const KEYWORDS: [&str; 13] =
    ["if", "then", "else", "elif", "fi", "do", "done", "while", "until", "!", "{", "}", "time"];
/// Programs that run the command in their arguments.
const WRAPPERS: [&str; 9] =
    ["exec", "env", "nice", "xvfb-run", "dbus-run-session", "command", "stdbuf", LAUNCHER, "sudo"];
/// The program of pkg-rocm-tools that skips where there is no GPU.
pub(crate) const LAUNCHER: &str = "rocm-test-launcher";
/// Where the stack's test programs are.
pub(crate) const LIBEXEC: &str = "/usr/libexec/rocm/";

impl Script {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let lines = if is_shell(text) { lines(text) } else { Vec::new() };
        let first = text.lines().next().unwrap_or_default();
        let option = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('e');
        let sets = |command: &Simple| {
            let mut words = command.words.iter().map(String::as_str);
            words.next() == Some("set") && words.any(|word| option(word) || word == "errexit")
        };
        let stops =
            first.split_whitespace().skip(1).any(option) || lines.iter().any(|line| line.commands.iter().any(sets));
        Self { path: path.to_owned(), text: text.to_owned(), lines, stops }
    }

    /// Whether it is a shell script, and so can be looked into.
    pub(crate) fn is_shell(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether its code contains this, comments left out.
    pub(crate) fn has(&self, what: &str) -> bool {
        self.lines.iter().any(|line| line.code.contains(what))
    }

    /// Whether it ends with status 77 by itself, in any language.
    pub(crate) fn skips(&self) -> bool {
        let exits = |code: &str| {
            code.match_indices("exit").any(|(at, _)| {
                let rest = code.get(at + 4..).unwrap_or_default().trim_start_matches([' ', '\t', '(', '"', '\'']);
                rest.strip_prefix("77").is_some_and(|rest| !rest.starts_with(|char: char| char.is_ascii_alphanumeric()))
            })
        };
        if self.is_shell() {
            return self.lines.iter().any(|line| exits(&line.code));
        }
        self.text.lines().filter(|line| !line.trim_start().starts_with('#')).any(exits)
    }
}

/// Whether a text's first line names a shell, or none.
fn is_shell(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix("#!") else { return true };
    let words = interpreter.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or_default());
    words
        .filter(|word| *word != "env" && !word.starts_with('-'))
        .take(1)
        .any(|name| matches!(name, "sh" | "bash" | "dash" | "ksh" | "zsh"))
}

/// Splits a script into lines of code. Here-documents are left out.
fn lines(text: &str) -> Vec<Line> {
    let (mut found, mut at) = (Vec::new(), 0);
    let mut pending: Option<(usize, String)> = None;
    let mut documents: VecDeque<HereDocument> = VecDeque::new();
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        if let Some(HereDocument { end, indented }) = documents.front() {
            let bare = if *indented { line.trim_start_matches('\t') } else { line };
            if bare == end {
                documents.pop_front();
            }
            continue;
        }
        let (begin, mut code) = pending.take().unwrap_or((start, String::new()));
        code.push_str(without_comment(line));
        if code.ends_with('\\') {
            code.pop();
            code.push(' ');
            pending = Some((begin, code));
            continue;
        }
        documents.extend(here_documents(&code));
        push(&mut found, begin..start + line.len(), code, text);
    }
    if let Some((begin, code)) = pending {
        push(&mut found, begin..text.len(), code, text);
    }
    found
}

fn push(lines: &mut Vec<Line>, range: Range<usize>, code: String, text: &str) {
    let blanks = text.get(range.clone()).map_or(0, |raw| raw.len() - raw.trim_start().len());
    if !code.trim().is_empty() {
        lines.push(Line { range: range.start + blanks..range.end, commands: commands(&code), code });
    }
}

/// A line up to a `#` that begins a word outside of quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before, mut escaped) = (None, ' ', false);
    for (at, char) in line.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some('"') | None if char == '\\' => escaped = true,
            Some(open) if char == open => quote = None,
            None if char == '\'' || char == '"' => quote = Some(char),
            None if char == '#' && (before.is_whitespace() || before == ';') => return line.get(..at).unwrap_or(line),
            Some(_) | None => {}
        }
        before = char;
    }
    line
}

/// A here-document that a line begins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HereDocument {
    /// The line that ends it.
    end: String,
    /// Whether tabs before that line do not count (`<<-`).
    indented: bool,
}

/// What a piece of code stands in, for finding out whether `<<` begins a here-document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Single,
    Double,
    /// `$(`, with so many brackets open.
    Substitution(usize),
    /// `$((` or `((`, where `<<` shifts a number, with so many brackets open.
    Arithmetic(usize),
}

/// The here-documents that a line begins.
#[allow(clippy::match_same_arms, reason = "the order of the arms decides")]
fn here_documents(code: &str) -> Vec<HereDocument> {
    let (mut found, mut within, mut rest) = (Vec::new(), Vec::<Within>::new(), code);
    while let Some(char) = rest.chars().next() {
        let mut length = char.len_utf8();
        match (within.last_mut(), char) {
            (Some(Within::Single), '\'') => {
                within.pop();
            }
            (Some(Within::Single), _) => {}
            (_, '\\') => length += rest.chars().nth(1).map_or(0, char::len_utf8),
            (_, '$') if rest.starts_with("$((") => {
                within.push(Within::Arithmetic(2));
                length = 3;
            }
            (_, '$') if rest.starts_with("$(") => {
                within.push(Within::Substitution(1));
                length = 2;
            }
            (Some(Within::Double), '"') => {
                within.pop();
            }
            (Some(Within::Double), _) => {}
            (Some(Within::Substitution(open) | Within::Arithmetic(open)), '(') => *open += 1,
            (Some(Within::Substitution(open) | Within::Arithmetic(open)), ')') => {
                *open -= 1;
                if *open == 0 {
                    within.pop();
                }
            }
            (Some(Within::Arithmetic(_)), _) => {}
            (_, '\'') => within.push(Within::Single),
            (_, '"') => within.push(Within::Double),
            (None, '(') if rest.starts_with("((") => {
                within.push(Within::Arithmetic(2));
                length = 2;
            }
            // A here-string.
            (_, '<') if rest.starts_with("<<<") => length = 3,
            (_, '<') if rest.starts_with("<<") => {
                let indented = rest.starts_with("<<-");
                length = if indented { 3 } else { 2 };
                let end = end_word(rest.get(length..).unwrap_or_default());
                if !end.is_empty() {
                    found.push(HereDocument { end, indented });
                }
            }
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    found
}

/// The word after `<<`, without quotes.
fn end_word(rest: &str) -> String {
    let word = rest.trim_start().chars().take_while(|char| !char.is_whitespace() && !";|&)<>".contains(*char));
    word.filter(|char| !"'\"\\".contains(*char)).collect()
}

/// The commands of a piece of shell code.
pub(crate) fn commands(code: &str) -> Vec<Simple> {
    let mut found = Vec::new();
    let (mut joint, mut words, mut word, mut quote) = (Joint::Next, Vec::new(), None::<String>, None::<char>);
    let mut chars = code.chars().peekable();
    while let Some(char) = chars.next() {
        match quote {
            Some('"') | None if char == '\\' => word.get_or_insert_default().extend(chars.next()),
            Some(open) if char == open => quote = None,
            None if char == '\'' || char == '"' => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            None if char.is_whitespace() => words.extend(word.take()),
            // `2>&1` and `&>file` are redirections.
            None if char == '&'
                && (word.as_deref().is_some_and(|word| word.ends_with('>')) || chars.peek() == Some(&'>')) =>
            {
                word.get_or_insert_default().push(char);
            }
            None if ";&|()`".contains(char) => {
                words.extend(word.take());
                finish(&mut found, joint, &mut words);
                let double = matches!(char, '&' | '|') && chars.next_if_eq(&char).is_some();
                joint = match (char, double) {
                    ('&', true) => Joint::And,
                    ('|', true) => Joint::Or,
                    ('|', false) => Joint::Pipe,
                    _ => Joint::Next,
                };
            }
            Some(_) | None => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    finish(&mut found, joint, &mut words);
    found
}

fn finish(found: &mut Vec<Simple>, before: Joint, words: &mut Vec<String>) {
    let mut assigned = Vec::new();
    let mut rest = std::mem::take(words).into_iter().peekable();
    loop {
        if rest.next_if(|word| KEYWORDS.contains(&word.as_str())).is_some() {
            continue;
        }
        match rest.next_if(|word| is_assignment(word)) {
            Some(word) => assigned.push(word),
            None => break,
        }
    }
    let words: Vec<String> = rest.collect();
    if matches!(words.first().map(String::as_str), Some("export" | "local" | "readonly" | "declare")) {
        assigned.extend(words.iter().filter(|word| is_assignment(word)).cloned());
    }
    if !words.is_empty() || !assigned.is_empty() {
        found.push(Simple { before, words, assigned });
    }
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let first = name.chars().next();
    first.is_some_and(|char| char.is_ascii_alphabetic() || char == '_')
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

impl Simple {
    /// Its words from the program that does the work on: without `env`, `exec`, the launcher and their options.
    pub(crate) fn work(&self) -> &[String] {
        let mut words = self.words.as_slice();
        while let [first, rest @ ..] = words {
            let wraps = WRAPPERS.contains(&base(first));
            let belongs = words.len() < self.words.len() && (first.starts_with('-') || is_assignment(first));
            if !wraps && !belongs {
                break;
            }
            words = rest;
        }
        words
    }

    /// The name of the program that does the work, without directories.
    pub(crate) fn program(&self) -> &str {
        self.work().first().map_or("", |word| base(word))
    }

    /// Whether it does nothing and succeeds.
    pub(crate) fn is_true(&self) -> bool {
        match self.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [one] => matches!(base(one), "true" | ":"),
            [exit, zero] => *exit == "exit" && *zero == "0",
            _ => false,
        }
    }

    /// Whether it is a program that passes or fails a test, as far as its name says.
    pub(crate) fn is_test_program(&self) -> bool {
        let program = self.program();
        let in_make = || self.work().iter().skip(1).any(|word| matches!(word.as_str(), "check" | "test" | "tests"));
        self.words.iter().any(|word| base(word) == LAUNCHER || word.contains("/usr/libexec/"))
            || matches!(program, "ctest" | "pytest" | "pytest-3" | "prove" | "run-tests")
            || program.ends_with("-test")
            || (matches!(program, "make" | "ninja") && in_make())
    }
}

/// The last part of a path.
pub(crate) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(code: &str) -> Vec<String> {
        commands(code).iter().map(|one| format!("{:?} {}", one.before, one.words.join(","))).collect()
    }

    #[test]
    fn commands_are_split_where_the_shell_does() {
        assert_eq!(
            shown("if ! A=1 foo \"a; b\" 2>&1 | tee x || true; then ls&& cat 'q|r'"),
            ["Next foo,a; b,2>&1", "Pipe tee,x", "Or true", "Next ls", "And cat,q|r"]
        );
        assert_eq!(commands("X=1 Y=2")[0].assigned, ["X=1", "Y=2"]);
        assert_eq!(commands("export X=1")[0].assigned, ["X=1"]);
        assert!(commands("a \"unclosed").len() == 1 && commands("").is_empty());
    }

    #[test]
    fn the_program_is_behind_what_wraps_it() {
        let program = |code: &str| commands(code)[0].program().to_owned();
        assert_eq!(program("env A=b -i rocm-test-launcher --cd-tmp /usr/libexec/rocm/x/run-tests -v"), "run-tests");
        assert_eq!(program("rocm-test-launcher"), "");
        assert!(commands("exec /usr/libexec/rocm/x/foo")[0].is_test_program());
        assert!(!commands("echo hello")[0].is_test_program());
    }

    #[test]
    fn a_script_has_lines_without_comments_and_documents() {
        let text = "#!/bin/sh -e\n# make\nfoo \\\n  bar # x\ncat <<EOF\nmake\nEOF\n\ttail\n";
        let script = Script::new("t", text);
        let programs: Vec<_> = script.lines.iter().map(|line| line.commands[0].program().to_owned()).collect();
        assert_eq!(programs, ["foo", "cat", "tail"]);
        assert_eq!(&text[script.lines[0].range.clone()], "foo \\\n  bar # x");
        assert_eq!(&text[script.lines[2].range.clone()], "tail");
        assert!(script.stops);
        assert!(!Script::new("t", "#!/usr/bin/python3\nimport os\n").is_shell());
    }

    #[test]
    fn a_shift_and_a_quoted_sign_begin_no_here_document() {
        let programs = |text: &str| -> Vec<String> {
            let commands = Script::new("t", text).lines.into_iter().flat_map(|line| line.commands);
            commands.map(|command| command.program().to_owned()).filter(|program| !program.is_empty()).collect()
        };
        for line in ["echo $((1<<bits))", "echo \"a <<b\"", "echo 'a <<b'", "cat <<<b", "echo $((1<<(a<<b)))"] {
            assert_eq!(programs(&format!("{line}\nmake\n")).last().map(String::as_str), Some("make"), "{line}");
        }
        assert_eq!(programs("cat <<A - <<-'B'\n\tA\nx\nA\ny\n\tB\nmake\n"), ["cat", "make"]);
        assert_eq!(programs("echo \"$(cat <<A\nx\nA\n)\"\nmake\n").last().map(String::as_str), Some("make"));
        assert!(here_documents("((a=1<<b))").is_empty());
        assert_eq!(here_documents("x=\"$(cat <<A)\"").len(), 1);
    }

    #[test]
    fn exits_with_77_are_seen_in_any_language() {
        assert!(Script::new("t", "#!/bin/sh\n[ -e /dev/kfd ] || exit 77\n").skips());
        assert!(Script::new("t", "#!/usr/bin/python3\nsys.exit(77)\n").skips());
        assert!(!Script::new("t", "#!/bin/sh\n# exit 77\nexit 770\n").skips());
    }
}
