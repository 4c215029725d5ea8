//! What a test depends on.

use debian::relation;

use super::{Context, Subject};
use crate::control::CONTROL;
use crate::package::TOOLS;
use crate::report::Finding;
use crate::rules::{
    DEPENDS_SYNTAX, LAUNCHER_NOT_INSTALLED, PACKAGE_NOT_INSTALLED, TESTS_PACKAGE_NOT_INSTALLED, UNDECLARED_COMMAND,
};
use crate::script::{LAUNCHER, Simple, base};

/// Programs that are not in every testbed, and packages that bring them.
const PROGRAMS: [(&str, &[&str]); 9] = [
    ("make", &["make", "build-essential"]),
    ("gcc", &["gcc", "build-essential"]),
    ("g++", &["g++", "build-essential"]),
    ("cmake", &["cmake"]),
    ("ninja", &["ninja-build"]),
    ("hipcc", &["hipcc"]),
    ("rocminfo", &["rocminfo"]),
    ("rocm-smi", &["rocm-smi"]),
    ("ctest", &["cmake"]),
];

pub(super) fn check(context: &mut Context<'_>, subject: &Subject<'_>) {
    syntax(context, subject);
    package_under_test(context, subject);
    programs(context, subject);
    launcher(context, subject);
    tests_package(context, subject);
}

fn syntax(context: &mut Context<'_>, subject: &Subject<'_>) {
    for item in subject.stanza.value("Depends").split(|char| char == ',') {
        if matches!(item.text.as_str(), "@" | "@builddeps@" | "@recommends@") {
            continue;
        }
        for alternative in item.text.split('|').map(str::trim).filter(|text| !text.is_empty()) {
            let message = match relation::parse_one(alternative) {
                _ if alternative.contains('@') => format!("`{alternative}`: @ stands alone between commas"),
                Ok(relation) if !relation.profiles.is_empty() => {
                    format!("`{alternative}`: build profiles are for build dependencies")
                }
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            let finding = Finding::new(&DEPENDS_SYNTAX, CONTROL, message);
            context.add(finding.at(item.range.clone()).test(&subject.stanza.name));
        }
    }
}

fn package_under_test(context: &mut Context<'_>, subject: &Subject<'_>) {
    let depends = subject.depends();
    let ours = |name: &String| context.package.binary(name).is_some();
    let installed = subject.depends_on_word("@") || depends.iter().any(ours);
    // An essential package is installed anyway; so is what the tests of a package without binaries need.
    let binaries = &context.package.binaries;
    let present = binaries.is_empty() || binaries.iter().any(|binary| binary.essential);
    if depends.is_empty() || installed || present {
        return;
    }
    let message = "Depends has none of the source's binary packages, so none is installed";
    context.add(subject.finding(&PACKAGE_NOT_INSTALLED, "Depends", message));
}

/// Names of all packages that are installed for the test, as far as debian/control tells.
fn installed(context: &Context<'_>, subject: &Subject<'_>) -> Vec<String> {
    let mut names = subject.depends();
    let all = subject.depends_on_word("@");
    let ours: Vec<_> = context.package.binaries.iter().filter(|binary| all || names.contains(&binary.name)).collect();
    for binary in ours {
        names.push(binary.name.clone());
        names.extend(binary.depends.iter().cloned());
    }
    if subject.depends_on_word("@builddeps@") {
        names.extend(context.package.build_depends.iter().cloned());
        names.push("build-essential".into());
    }
    names
}

fn programs(context: &mut Context<'_>, subject: &Subject<'_>) {
    // The build dependencies are there while it builds, and usually stay.
    if subject.stanza.has_restriction("build-needed") {
        return;
    }
    let installed = installed(context, subject);
    let lacking = |command: &Simple| {
        let program = command.program();
        let (_, packages) = PROGRAMS.iter().find(|(name, _)| *name == program)?;
        let has = |package: &&str| {
            installed
                .iter()
                .any(|name| name == package || name.strip_prefix(package).is_some_and(|rest| rest.starts_with('-')))
        };
        let absolute = command.work().first().is_some_and(|word| word.contains('/') && !word.starts_with("/usr/bin/"));
        (!absolute && !packages.iter().any(has))
            .then(|| (program.to_owned(), packages.first().copied().unwrap_or_default()))
    };
    let message = |program: &str, package: &str| format!("{program} is run, and Depends does not have {package}");
    let mut told: Vec<String> = Vec::new();
    let mut findings = Vec::new();
    for (program, package) in subject.commands.iter().filter_map(lacking) {
        if !told.contains(&program) {
            findings.push(subject.finding(&UNDECLARED_COMMAND, "Test-Command", message(&program, package)));
            told.push(program);
        }
    }
    for (test, script) in &subject.scripts {
        for line in &script.lines {
            for (program, package) in line.commands.iter().filter_map(lacking) {
                if !told.contains(&program) {
                    let finding = Finding::new(&UNDECLARED_COMMAND, &script.path, message(&program, package));
                    findings.push(finding.at(line.range.clone()).test(test));
                    told.push(program);
                }
            }
        }
    }
    for finding in findings {
        context.add(finding);
    }
}

/// Adds a package to Depends, which stands for `@` where it is missing.
fn with(subject: &Subject<'_>, package: &str) -> crate::edit::Edit {
    match subject.stanza.field("Depends") {
        Some(_) => subject.stanza.append("Depends", package),
        None => subject.stanza.add_field("Depends", &format!("@, {package}")),
    }
}

fn launcher(context: &mut Context<'_>, subject: &Subject<'_>) {
    let runs = |command: &Simple| command.words.iter().any(|word| base(word) == LAUNCHER);
    let script = |script: &crate::script::Script| script.lines.iter().any(|line| line.commands.iter().any(runs));
    let used = subject.commands.iter().any(runs) || subject.scripts.iter().any(|(_, one)| script(one));
    if used && !installed(context, subject).iter().any(|name| name == TOOLS) {
        let message = format!("{LAUNCHER} is in the package {TOOLS}, which Depends does not have");
        let field = if subject.stanza.field("Depends").is_some() { "Depends" } else { "Test-Command" };
        context.add(subject.finding(&LAUNCHER_NOT_INSTALLED, field, message).edit(Some(with(subject, TOOLS))));
    }
}

fn tests_package(context: &mut Context<'_>, subject: &Subject<'_>) {
    let Some(package) = super::gpu::package_of(subject) else { return };
    if installed(context, subject).contains(&package) {
        return;
    }
    let ours = context.package.binary(&package).is_some();
    let message = format!("the test program is in {package}, which Depends does not have");
    let edit = ours.then(|| with(subject, &package));
    context.add(subject.finding(&TESTS_PACKAGE_NOT_INSTALLED, "Depends", message).edit(edit));
}
