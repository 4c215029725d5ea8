//! What a test does to the machine and its GPUs.

use super::{Context, Subject};
use crate::report::Finding;
use crate::rules::{CHANGES_MACHINE, DEVICE_ACCESS, NO_SUCH_PATH, Rule, VISIBLE_DEVICES};
use crate::script::Simple;

/// Variables with which whoever runs a test chooses its GPUs.
const CHOOSING: [&str; 4] =
    ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"];

pub(super) fn check(context: &mut Context<'_>, subject: &Subject<'_>) {
    let built = subject.stanza.has_restriction("build-needed");
    let mut findings = Vec::new();
    for command in &subject.commands {
        for (rule, message) in about(command, built) {
            findings.push(subject.finding(rule, "Test-Command", message));
        }
    }
    for (test, script) in &subject.scripts {
        for line in &script.lines {
            for (rule, message) in line.commands.iter().flat_map(|command| about(command, built)) {
                let finding = Finding::new(rule, &script.path, message);
                findings.push(finding.at(line.range.clone()).test(test));
            }
        }
    }
    for finding in findings {
        context.add(finding);
    }
}

fn about(command: &Simple, built: bool) -> Vec<(&'static Rule, String)> {
    let mut found = Vec::new();
    let program = command.program();
    let words = command.work();
    let has = |fits: &dyn Fn(&str) -> bool| words.iter().skip(1).any(|word| fits(word));
    let device = |word: &str| word.starts_with("/dev/kfd") || word.starts_with("/dev/dri");
    let groups = |word: &str| word.split(',').any(|group| matches!(group, "render" | "video"));
    match program {
        "usermod" | "adduser" | "addgroup" | "gpasswd" if has(&groups) => {
            found.push((&DEVICE_ACCESS, format!("{program} changes who may use GPUs")));
        }
        "chmod" | "chown" | "chgrp" | "setfacl" if has(&device) => {
            found.push((&DEVICE_ACCESS, format!("{program} changes who may use GPUs")));
        }
        "modprobe" | "rmmod" | "insmod" | "sysctl" => {
            found.push((&CHANGES_MACHINE, format!("{program} changes the machine's kernel")));
        }
        "rocm-smi" if has(&|word| word.starts_with("--set") || word.starts_with("--reset") || word == "--gpureset") => {
            found.push((&CHANGES_MACHINE, "rocm-smi changes settings of GPUs".into()));
        }
        "amd-smi" if has(&|word| matches!(word, "set" | "reset")) => {
            found.push((&CHANGES_MACHINE, "amd-smi changes settings of GPUs".into()));
        }
        "tee" if has(&|word| word.starts_with("/sys/")) => {
            found.push((&CHANGES_MACHINE, "it writes below /sys".into()));
        }
        _ => {}
    }
    let into_sys = |pair: &[String]| matches!(pair, [one, two] if one.ends_with('>') && two.starts_with("/sys/"));
    if words.iter().any(|word| word.contains(">/sys/")) || words.windows(2).any(into_sys) {
        found.push((&CHANGES_MACHINE, "it writes below /sys".into()));
    }
    for assignment in &command.assigned {
        let name = assignment.split('=').next().unwrap_or_default();
        if CHOOSING.contains(&name) {
            found.push((&VISIBLE_DEVICES, format!("it sets {name}, with which the job's GPU is chosen")));
        }
    }
    let all = || command.words.iter().chain(&command.assigned);
    let prefix = |word: &str| word == "/opt/rocm" || word.contains("/opt/rocm/") || word.contains("=/opt/rocm");
    if all().any(|word| prefix(word)) {
        found.push((&NO_SUCH_PATH, "there is no /opt/rocm in Debian".into()));
    }
    let build = |word: &str| word.starts_with("obj-") || word.contains("/obj-");
    if !built && all().any(|word| build(word)) {
        found.push((&NO_SUCH_PATH, "the source tree is not built, so there is no build directory".into()));
    }
    found
}
