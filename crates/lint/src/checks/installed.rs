//! What `debian/` installs test programs from and to.

use super::Context;
use crate::edit::Edit;
use crate::package::{DEBIAN_CONTROL, GPU_FIELD};
use crate::report::Finding;
use crate::rules::{GPU_ARCHITECTURE_FIELD, INSTALL_PATH};
use crate::script::{Script, base};
use crate::tree::Entry;

/// Most lines of an install file that are read.
const MOST_LINES: usize = 2_000;

/// Checks install files, the scripts in them, and the GPU field.
pub(super) fn check(context: &mut Context<'_>) {
    gpu_field(context);
    for name in context.tree.names("debian") {
        let Some(package) = name.strip_suffix(".install").filter(|package| package.ends_with("-tests")) else {
            continue;
        };
        let path = format!("debian/{name}");
        if let Entry::Text { text, .. } = context.tree.entry(&path) {
            install_file(context, package, &path, &text);
        }
    }
}

fn install_file(context: &mut Context<'_>, package: &str, path: &str, text: &str) {
    let (mut at, mut outside) = (0, false);
    for line in text.split_inclusive('\n').take(MOST_LINES) {
        let start = at;
        at += line.len();
        let line = line.trim_end();
        if line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (source, target) = match words.as_slice() {
            [] => continue,
            [one] => (*one, one.rsplit_once('/').map_or("", |(directory, _)| directory)),
            [first, .., last] => (*first, *last),
        };
        let target = target.trim_start_matches('/').trim_end_matches('/');
        let programs = ["usr/libexec", "usr/bin", "usr/lib/rocm"];
        let elsewhere = programs.iter().any(|top| under(target, top)) && !under(target, "usr/libexec/rocm");
        if elsewhere && !outside {
            outside = true;
            let message = format!("{target} is not /usr/libexec/rocm/{package}");
            context.add(Finding::new(&INSTALL_PATH, path, message).at(start..start + line.len()));
        }
        if base(source) == "run-tests"
            && source.starts_with("debian/")
            && let Entry::Text { text, .. } = context.tree.entry(source)
        {
            super::reports::run_tests(context, &Script::new(source, &text));
        }
    }
}

fn under(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `X-ROCm-GPU-Architecture` in debian/control, which stays out of the package.
fn gpu_field(context: &mut Context<'_>) {
    let Entry::Text { text, .. } = context.tree.entry(DEBIAN_CONTROL) else { return };
    let mut at = 0;
    let mut findings = Vec::new();
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let Some((name, _)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case(GPU_FIELD) {
            let range = start..start + name.len();
            let edit = Edit::Replace { range: range.clone(), text: format!("XB-{GPU_FIELD}") };
            let message = format!("{name} stays out of the package: write XB-{GPU_FIELD}");
            findings.push(Finding::new(&GPU_ARCHITECTURE_FIELD, DEBIAN_CONTROL, message).at(range).edit(Some(edit)));
        }
    }
    // Two of them in one stanza would become a field that is there twice.
    let given = context.package.binaries.iter().any(|binary| binary.names_gpus);
    for mut finding in findings {
        if given {
            finding.edits.clear();
        }
        context.add(finding);
    }
}
