//! The checks, one module for each part of a source package that they look at.

mod access;
mod depends;
mod fields;
mod gpu;
mod installed;
mod limited;
mod outcome;
mod reports;
mod scripts;

use std::collections::HashSet;
use std::sync::Arc;

use limited::{Limited, Scripts};

use crate::classes::TestClass;
use crate::control::{CONTROL, Control, Stanza};
use crate::overrides;
use crate::package::{DEBIAN_CONTROL, Package, TOOLS};
use crate::report::{Finding, Report};
use crate::rules::{CONTROL_SYNTAX, NO_TESTS, Rule, Scope, UNUSABLE_FILE};
use crate::script::{LAUNCHER, LIBEXEC, Script, Simple, commands};
use crate::tree::{Entry, Tree};

/// Most findings that are told.
const MOST_FINDINGS: usize = 1_000;
/// Most findings that are collected, before they are sorted.
const MOST_COLLECTED: usize = 10_000;
/// Most stanzas that are looked at. Generated packages have a few hundred.
const MOST_STANZAS: usize = 2_000;
/// Most tests of a stanza whose files are looked at.
const MOST_TESTS: usize = 500;

/// What checks look at and add to.
pub(crate) struct Context<'a> {
    pub(crate) tree: &'a dyn Tree,
    pub(crate) package: &'a Package,
    /// Whether rules for ROCm hold for the package.
    pub(crate) is_rocm: bool,
    pub(crate) findings: Vec<Finding>,
    /// Whether findings were left out.
    pub(crate) cut: bool,
    /// Paths of tests about whose file something was said already.
    pub(crate) told: HashSet<String>,
}

impl Context<'_> {
    /// Adds a finding, if the rule is for this package.
    pub(crate) fn add(&mut self, finding: Finding) {
        if finding.rule.scope == Scope::Every || self.is_rocm {
            if self.findings.len() >= MOST_COLLECTED {
                self.cut = true;
                return;
            }
            self.findings.push(finding);
        }
    }
}

/// A stanza with what was found out about it.
pub(crate) struct Subject<'a> {
    pub(crate) stanza: &'a Stanza<'a>,
    /// Commands of the Test-Command.
    pub(crate) commands: Vec<Simple>,
    /// The text of the Test-Command.
    pub(crate) command: String,
    /// Scripts of the Tests field.
    pub(crate) scripts: Vec<(String, Arc<Script>)>,
    /// Whether the tests use a GPU.
    pub(crate) uses_gpu: bool,
}

impl<'a> Subject<'a> {
    fn new(tree: &dyn Tree, known: &mut Scripts, stanza: &'a Stanza<'a>) -> Self {
        let command = stanza.value("Test-Command").text;
        let directory = scripts::directory(stanza);
        let named = stanza.tests().into_iter().take(MOST_TESTS).map(|word| word.text);
        let mut scripts: Vec<(String, Arc<Script>)> = Vec::new();
        let mut seen = HashSet::new();
        for name in named {
            let path = format!("{directory}/{name}");
            if seen.insert(path.clone()) {
                scripts.extend(known.get(tree, &path).map(|script| (name, script)));
            }
        }
        // A script of the source tree that a Test-Command runs is the test as well.
        let commands = commands(&command);
        for word in commands.iter().flat_map(|command| &command.words).take(MOST_TESTS) {
            let path = word.strip_prefix("./").unwrap_or(word);
            if path.starts_with("debian/") && seen.insert(path.to_owned()) {
                scripts.extend(known.get(tree, path).map(|script| (stanza.name.clone(), script)));
            }
        }
        let mut subject = Self { stanza, commands, command, scripts, uses_gpu: false };
        let by_class = stanza.words("Classes").iter().any(|word| word.text.parse::<TestClass>().is_ok());
        subject.uses_gpu = by_class
            || subject.depends().iter().any(|name| name == TOOLS)
            || [LAUNCHER, LIBEXEC, "/dev/kfd"].iter().any(|what| subject.mentions(what));
        subject
    }

    /// Whether its command or a script of it contains this.
    pub(crate) fn mentions(&self, what: &str) -> bool {
        self.command.contains(what) || self.scripts.iter().any(|(_, script)| script.has(what))
    }

    /// Names of the packages in Depends, `@` and the like left out.
    pub(crate) fn depends(&self) -> Vec<String> {
        crate::package::names(&self.stanza.value("Depends").text)
    }

    /// Whether Depends has this word, such as `@builddeps@`. Without the field it has `@`.
    pub(crate) fn depends_on_word(&self, word: &str) -> bool {
        if self.stanza.field("Depends").is_none() {
            return word == "@";
        }
        self.stanza.value("Depends").split(|char| char == ',').iter().any(|item| item.text == word)
    }

    /// A finding about the stanza, at a field of it if it is there.
    pub(crate) fn finding(&self, rule: &'static Rule, field: &str, message: impl AsRef<str>) -> Finding {
        let range = match self.stanza.field(field) {
            Some(found) => self.stanza.value(field).whole().unwrap_or_else(|| self.stanza.name_range(found)),
            None => self.stanza.range(),
        };
        Finding::new(rule, CONTROL, message).at(range).test(&self.stanza.name)
    }
}

/// Checks a source package. Reads at most 1 MiB of a file and 16 MiB of all, and runs nothing.
pub fn check(tree: &dyn Tree) -> Report {
    let limited = Limited::new(tree);
    let tree: &dyn Tree = &limited;
    let mut early = Vec::new();
    let control = readable(tree, DEBIAN_CONTROL, &mut early);
    let (package, error) = Package::parse(&control);
    early.extend(error.map(|error| syntax(DEBIAN_CONTROL, &control, &error)));
    let text = readable(tree, CONTROL, &mut early);
    let tests = Control::parse(&text);
    early.extend(tests.error.as_ref().map(|error| syntax(CONTROL, &text, error)));
    let mut scripts = Scripts::default();
    let stanzas = tests.stanzas.iter().take(MOST_STANZAS);
    let subjects: Vec<Subject<'_>> = stanzas.map(|stanza| Subject::new(tree, &mut scripts, stanza)).collect();
    let cut = scripts.cut || tests.stanzas.len() > MOST_STANZAS;
    let is_rocm = package.is_rocm
        || package.binaries.iter().any(|binary| binary.names_gpus)
        || subjects.iter().any(|subject| subject.uses_gpu);
    let mut context = Context { tree, package: &package, is_rocm, findings: early, cut, told: HashSet::new() };
    if tree.entry(CONTROL) == Entry::Missing && !package.has_testsuite && package.source.is_some() {
        context.add(Finding::new(&NO_TESTS, DEBIAN_CONTROL, "there is no debian/tests/control"));
    }
    fields::whole(&mut context, &tests);
    installed::check(&mut context);
    for subject in &subjects {
        // Of a stanza that is a hint only nothing is run.
        if subject.stanza.has_restriction(debian::autopkgtest::HINT_TRIGGERS) {
            continue;
        }
        fields::check(&mut context, subject);
        depends::check(&mut context, subject);
        scripts::check(&mut context, subject);
        outcome::check(&mut context, subject);
        access::check(&mut context, subject);
        reports::check(&mut context, subject);
        if subject.uses_gpu {
            gpu::check(&mut context, subject);
        }
    }
    let (mut findings, cut) = (context.findings, context.cut);
    overrides::apply(tree, &mut findings);
    let start = |finding: &Finding| finding.range.as_ref().map_or(0, |range| range.start);
    let key = |finding: &Finding| (finding.file.clone(), start(finding), finding.rule.id);
    findings.sort_by_cached_key(key);
    findings.dedup_by(|one, other| one == other);
    let cut = cut || findings.len() > MOST_FINDINGS;
    findings.truncate(MOST_FINDINGS);
    for finding in &mut findings {
        if let Some(text) = tree.entry(&finding.file).text() {
            finding.locate(text);
        }
    }
    Report { package: package.source.as_deref().map(safetext::printable), findings, cut }
}

/// The text of a file; empty, with a finding, if it is none.
fn readable(tree: &dyn Tree, path: &str, findings: &mut Vec<Finding>) -> String {
    match tree.entry(path) {
        Entry::Text { text, .. } => text.to_string(),
        Entry::Missing => String::new(),
        Entry::Binary => {
            findings.push(Finding::new(&UNUSABLE_FILE, path, "it is not text in UTF-8, or longer than 1 MiB"));
            String::new()
        }
        Entry::Unusable(reason) => {
            findings.push(Finding::new(&UNUSABLE_FILE, path, reason));
            String::new()
        }
    }
}

fn syntax(path: &str, text: &str, error: &debian::deb822::Error) -> Finding {
    use debian::deb822::Error;
    let line = match error {
        Error::NotAField { line, .. }
        | Error::BadName { line, .. }
        | Error::StrayContinuation { line }
        | Error::Duplicate { line, .. } => *line,
        Error::NotUtf8 { .. } => 1,
    };
    let start = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    let length = text.get(start..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
    let message = error.to_string();
    let message = message.split_once(": ").map_or(message.as_str(), |(_, message)| message);
    Finding::new(&CONTROL_SYNTAX, path, message).at(start..start + length)
}
