//! Fields, restrictions and names in debian/tests/control.

use debian::autopkgtest::{FIELDS, HINT_TRIGGERS, RESTRICTIONS};
use nearest::nearest;

use super::{Context, Subject};
use crate::control::{CONTROL, Control, Stanza, Word};
use crate::edit::Edit;
use crate::report::Finding;
use crate::rules::{
    ARCHITECTURE_FIELD, DEPRECATED_RESTRICTION, DUPLICATE_TEST, FLAKY_WITHOUT_BUG, HASH_IN_VALUE, NO_TEST, Rule,
    TEST_NAME, TEST_NAME_FEATURE, UNKNOWN_FIELD, UNKNOWN_RESTRICTION, UNNAMED_COMMAND,
};

/// Checks of all stanzas together.
pub(super) fn whole(context: &mut Context<'_>, control: &Control<'_>) {
    let mut seen: Vec<String> = Vec::new();
    for stanza in control.stanzas.iter().filter(|stanza| !stanza.has_restriction(HINT_TRIGGERS)) {
        let named = stanza.test_name().into_iter().filter(|_| stanza.field("Tests").is_none());
        for word in stanza.tests().into_iter().chain(named) {
            if seen.contains(&word.text) {
                let message = format!("there is another test named {}", word.text);
                context.add(at(&DUPLICATE_TEST, stanza, &word, message));
            } else if seen.len() < 2_000 {
                seen.push(word.text);
            }
        }
    }
}

fn at(rule: &'static Rule, stanza: &Stanza<'_>, word: &Word, message: impl AsRef<str>) -> Finding {
    Finding::new(rule, CONTROL, message).at(word.range.clone()).test(&stanza.name)
}

pub(super) fn check(context: &mut Context<'_>, subject: &Subject<'_>) {
    known_fields(context, subject.stanza);
    tests_or_command(context, subject);
    restrictions(context, subject);
    names(context, subject);
    architecture(context, subject);
    hashes(context, subject.stanza);
}

fn known_fields(context: &mut Context<'_>, stanza: &Stanza<'_>) {
    for field in stanza.paragraph.fields() {
        if FIELDS.iter().any(|known| known.eq_ignore_ascii_case(field.name)) {
            continue;
        }
        let near =
            nearest(&field.name.to_ascii_lowercase(), FIELDS.map(str::to_ascii_lowercase).iter().map(String::as_str))
                .iter()
                .filter_map(|near| FIELDS.into_iter().find(|known| known.eq_ignore_ascii_case(near)))
                .collect::<Vec<_>>();
        let free = |name: &&&str| stanza.field(name).is_none();
        let meant = near.first().filter(|_| near.len() == 1).filter(free);
        let hint = near.first().map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        let range = stanza.name_range(field);
        let edit = meant.map(|name| Edit::Replace { range: range.clone(), text: (*name).to_owned() });
        let message = format!("autopkgtest skips a stanza with the field {}{hint}", field.name);
        let finding = Finding::new(&UNKNOWN_FIELD, CONTROL, message).at(range).test(&stanza.name);
        context.add(finding.edit(edit));
    }
}

fn tests_or_command(context: &mut Context<'_>, subject: &Subject<'_>) {
    let stanza = subject.stanza;
    let (tests, command) = (stanza.field("Tests"), stanza.field("Test-Command"));
    let message = match (tests.is_some(), command.is_some()) {
        (true, true) => "it has both Tests and Test-Command",
        (false, false) => "it has neither Tests nor Test-Command",
        (true, false) if stanza.tests().is_empty() => "its Tests field is empty",
        (false, true) if subject.command.trim().is_empty() => "its Test-Command is empty",
        _ => return,
    };
    context.add(subject.finding(&NO_TEST, "Tests", message));
}

fn restrictions(context: &mut Context<'_>, subject: &Subject<'_>) {
    let stanza = subject.stanza;
    for word in stanza.words("Restrictions") {
        match word.text.as_str() {
            "needs-recommends" => {
                let message = "needs-recommends is deprecated: write @recommends@ into Depends";
                let mut finding = at(&DEPRECATED_RESTRICTION, stanza, &word, message);
                if let Some(removal) = stanza.remove("Restrictions", &word) {
                    let depends = match stanza.field("Depends") {
                        None => stanza.add_field("Depends", "@, @recommends@"),
                        Some(_) => stanza.append("Depends", "@recommends@"),
                    };
                    finding = finding.edit(Some(removal)).edit(Some(depends));
                }
                context.add(finding);
            }
            "skip-not-installable" => {
                let message = "skip-not-installable is deprecated: it hides that the package cannot be installed";
                context.add(at(&DEPRECATED_RESTRICTION, stanza, &word, message));
            }
            known if RESTRICTIONS.contains(&known) => {}
            unknown => {
                let near = nearest(unknown, RESTRICTIONS);
                let hint = near.first().map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                let one = near.first().filter(|near_one| near.len() == 1 && !stanza.has_restriction(near_one));
                let edit = one.map(|name| Edit::Replace { range: word.range.clone(), text: (*name).to_owned() });
                let message = format!("autopkgtest skips a test with the restriction {unknown}{hint}");
                context.add(at(&UNKNOWN_RESTRICTION, stanza, &word, message).edit(edit));
            }
        }
    }
    if stanza.has_restriction("flaky") && !bug_near(stanza) {
        let message = "no comment of the stanza has the number of the bug that makes it flaky";
        context.add(subject.finding(&FLAKY_WITHOUT_BUG, "Restrictions", message));
    }
}

/// Whether a comment in the stanza, or right above it, names a bug.
fn bug_near(stanza: &Stanza<'_>) -> bool {
    let start = stanza.range().start;
    let above = stanza.text.get(..start).unwrap_or_default();
    let above: Vec<&str> = above.lines().rev().take_while(|line| line.starts_with('#')).collect();
    let within = stanza.text.get(start..).unwrap_or_default();
    let within = within.lines().take_while(|line| !line.trim().is_empty()).filter_map(|line| line.split_once('#'));
    let numbered = |text: &str| {
        let digits = text.split(|char: char| !char.is_ascii_digit()).any(|number| number.len() >= 3);
        digits || text.contains("://")
    };
    above.into_iter().any(numbered) || within.map(|(_, comment)| comment).any(numbered)
}

fn names(context: &mut Context<'_>, subject: &Subject<'_>) {
    let stanza = subject.stanza;
    let allowed = |char: char| char.is_ascii_alphanumeric() || "+-._".contains(char);
    for word in stanza.tests().iter().chain(&stanza.test_name()) {
        if !word.text.chars().all(allowed) {
            let message = format!("the name {} has other characters than letters, digits and + - .", word.text);
            context.add(at(&TEST_NAME, stanza, word, message));
        }
    }
    let features = stanza.words("Features");
    let named: Vec<&Word> =
        features.iter().filter(|word| word.text == "test-name" || word.text.starts_with("test-name=")).collect();
    let is_command = stanza.field("Tests").is_none() && stanza.field("Test-Command").is_some();
    match named.as_slice() {
        [] if is_command => unnamed(context, subject),
        [first, ..] if stanza.field("Tests").is_some() => {
            context.add(at(&TEST_NAME_FEATURE, stanza, first, "test-name is not allowed beside Tests"));
        }
        [_, second, ..] => context.add(at(&TEST_NAME_FEATURE, stanza, second, "test-name is there twice")),
        [one] if one.text == "test-name" => {
            context.add(at(&TEST_NAME_FEATURE, stanza, one, "test-name has no value"));
        }
        [] | [_] => {}
    }
}

fn unnamed(context: &mut Context<'_>, subject: &Subject<'_>) {
    let stanza = subject.stanza;
    let package = super::gpu::package_of(subject).filter(|name| context.package.binary(name).is_some());
    let edit = package.map(|name| match stanza.field("Features") {
        Some(_) => stanza.append("Features", &format!("test-name={name}")),
        None => stanza.add_field("Features", &format!("test-name={name}")),
    });
    let message = format!("the test has no name, and is called {}", stanza.name);
    context.add(subject.finding(&UNNAMED_COMMAND, "Test-Command", message).edit(edit));
}

fn architecture(context: &mut Context<'_>, subject: &Subject<'_>) {
    let words = subject.stanza.words("Architecture");
    let negated = words.iter().filter(|word| word.text.starts_with('!')).count();
    let message = if words.iter().any(|word| word.text == "all") {
        "autopkgtest does not allow `all` here; without the field a test runs everywhere"
    } else if words.iter().any(|word| word.text.contains(['[', ']'])) {
        "brackets do not belong here: they are for dependencies"
    } else if negated > 0 && negated < words.len() {
        "some architectures have a `!` and others not"
    } else {
        return;
    };
    context.add(subject.finding(&ARCHITECTURE_FIELD, "Architecture", message));
}

/// A `#` right behind something else than a blank was not meant for a comment.
fn hashes(context: &mut Context<'_>, stanza: &Stanza<'_>) {
    for field in stanza.paragraph.fields() {
        for line in field.value.split('\n').filter(|line| !line.starts_with('#')) {
            let Some((before, after)) = line.split_once('#') else { continue };
            let quoted = before.matches(['"', '\'']).count() % 2 == 1;
            let glued = !before.is_empty() && !before.ends_with([' ', '\t', ',']);
            if quoted || glued {
                let start = before.as_ptr().addr() - stanza.text.as_ptr().addr() + before.len();
                let message =
                    format!("autopkgtest takes the rest of the line from # on for a comment in {}", field.name);
                let finding = Finding::new(&HASH_IN_VALUE, CONTROL, message);
                context.add(finding.at(start..start + 1 + after.len()).test(&stanza.name));
            }
        }
    }
}
