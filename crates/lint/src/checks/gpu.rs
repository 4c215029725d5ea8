//! Tests that use a GPU: how they say so, and how they are started.

use super::{Context, Subject};
use crate::classes::TestClass;
use crate::control::CONTROL;
use crate::edit::Edit;
use crate::report::Finding;
use crate::rules::{
    ALLOW_STDERR_MISSING, ARCHITECTURE_MISSING, BUILD_NEEDED, CLASS, GPU_NEED, ISOLATION, LAUNCHER_MISSING, NEEDS_ROOT,
};
use crate::script::{LAUNCHER, LIBEXEC, Script};

/// The package whose test program the Test-Command runs, by its path below /usr/libexec/rocm.
pub(super) fn package_of(subject: &Subject<'_>) -> Option<String> {
    let words = subject.commands.iter().flat_map(|command| &command.words);
    let mut below = words.filter_map(|word| word.strip_prefix(LIBEXEC));
    let (package, _) = below.next()?.split_once('/')?;
    debian::relation::is_package_name(package).then(|| package.to_owned())
}

pub(super) fn check(context: &mut Context<'_>, subject: &Subject<'_>) {
    classes(context, subject);
    started(context, subject);
    restrictions(context, subject);
    architecture(context, subject);
}

fn classes(context: &mut Context<'_>, subject: &Subject<'_>) {
    let stanza = subject.stanza;
    let words = stanza.words("Classes");
    let mut said = context.package.binaries.iter().any(|binary| binary.names_gpus);
    for word in &words {
        if word.text.parse::<TestClass>().is_ok() {
            said = true;
            continue;
        }
        let lower = word.text.to_ascii_lowercase();
        let right = lower.parse::<TestClass>().is_ok();
        if right || lower.starts_with("gfx") {
            said = true;
            let hint = if right { format!("write {lower}") } else { "it is passed over".to_owned() };
            let edit = right.then(|| Edit::Replace { range: word.range.clone(), text: lower });
            let message = format!("{} is not a GPU: {hint}", word.text);
            let finding = Finding::new(&CLASS, CONTROL, message).at(word.range.clone());
            context.add(finding.test(&stanza.name).edit(edit));
        }
    }
    if !said {
        let message = "no binary package has XB-X-ROCm-GPU-Architecture, and Classes names no GPU";
        context.add(subject.finding(&GPU_NEED, "Classes", message));
    }
}

/// Whether a script looks for a GPU itself, and skips.
fn looks_itself(script: &Script) -> bool {
    script.has("/dev/kfd") && script.skips()
}

fn started(context: &mut Context<'_>, subject: &Subject<'_>) {
    if subject.mentions(LAUNCHER) || subject.scripts.iter().any(|(_, script)| looks_itself(script)) {
        return;
    }
    let stanza = subject.stanza;
    if stanza.field("Test-Command").is_some() {
        // Of a single command only: what else a list has to do may not need a GPU.
        let whole = stanza.value("Test-Command").whole();
        let plain = |text: &str| text.starts_with(LIBEXEC) && subject.commands.len() == 1;
        let edit = whole
            .as_ref()
            .filter(|_| plain(subject.command.trim()))
            .map(|range| Edit::Replace { range: range.start..range.start, text: format!("{LAUNCHER} ") });
        let message = format!("the command is not started by {LAUNCHER}, so without a GPU it does not skip");
        if subject.command.contains(LIBEXEC) {
            context.add(subject.finding(&LAUNCHER_MISSING, "Test-Command", message).edit(edit));
        }
        return;
    }
    for (test, script) in subject.scripts.iter().filter(|(_, script)| script.has(LIBEXEC)) {
        let line = script.lines.iter().find(|line| line.code.contains(LIBEXEC));
        let message = format!("the program is not started by {LAUNCHER}, so without a GPU it does not skip");
        let finding = Finding::new(&LAUNCHER_MISSING, &script.path, message).test(test);
        context.add(match line {
            Some(line) => finding.at(line.range.clone()),
            None => finding,
        });
    }
}

fn restrictions(context: &mut Context<'_>, subject: &Subject<'_>) {
    let stanza = subject.stanza;
    if !stanza.has_restriction("allow-stderr") {
        let message = "without allow-stderr a warning on stderr is a failure";
        let edit = Some(stanza.append("Restrictions", "allow-stderr"));
        context.add(subject.finding(&ALLOW_STDERR_MISSING, "Restrictions", message).edit(edit));
    }
    for word in stanza.words("Restrictions") {
        let (rule, message) = match word.text.as_str() {
            "build-needed" => (&BUILD_NEEDED, "the package is built before the test, which takes hours".to_owned()),
            "needs-root" => (&NEEDS_ROOT, "the test runs as root, which Debian's users do not".to_owned()),
            isolation @ ("isolation-machine" | "isolation-container" | "needs-reboot") => {
                (&ISOLATION, format!("a test with {isolation} is skipped on workers with GPUs"))
            }
            _ => continue,
        };
        let finding = Finding::new(rule, CONTROL, message).at(word.range.clone());
        context.add(finding.test(&stanza.name));
    }
}

fn architecture(context: &mut Context<'_>, subject: &Subject<'_>) {
    let depends = subject.depends();
    let ours = context.package.binaries.iter().filter(|binary| depends.contains(&binary.name));
    let mut limited =
        ours.filter(|binary| !binary.architecture.is_empty() && !binary.architecture.contains(['$', '#']));
    let limited =
        limited.find(|binary| !binary.architecture.split(' ').any(|one| matches!(one, "any" | "all" | "linux-any")));
    if let (Some(binary), None) = (limited, subject.stanza.field("Architecture")) {
        let message = format!("{} exists on {} only", binary.name, binary.architecture);
        let edit = Some(subject.stanza.add_field("Architecture", &binary.architecture));
        context.add(subject.finding(&ARCHITECTURE_MISSING, "Architecture", message).edit(edit));
    }
}
