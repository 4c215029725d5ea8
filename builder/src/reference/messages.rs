//! The reference page of kernel messages.

use gpu::messages::{CatalogueEntry, Meaning, Scope, Speaker, catalogue};

/// Sections by who says them.
pub(super) fn markdown() -> String {
    let mut page = String::from(
        "# Messages of the kernel\n\nMade from the program by `cargo xtask docs`.\n\nWhat a machine goes by when it looks for \
         faults of GPUs in the kernel's log, at its start, while a job runs and after it; `rocbed faults FILE` says which \
         of them a log has. Messages differ from kernel to kernel: only the constant words at the beginning of a message \
         count, after the name of who says it. In them `N` is a number, `N+` one that is not 0, `WORD` a word, `STATUS` a \
         machine check status of an error that was not corrected, and `…` any text. *Since* is the first kernel that says it \
         so; 4.x is all before 5.0, and 6.13-7.2 one of these. *Contained* is what ended only the process that did it: the \
         GPU is as it was.\n\n\
         Not here are a program's own mistakes that are answered with an error, displays and media, settings that were \
         refused, parts of a start that failed (`Fatal error during GPU init` follows, and the lines before it are kept), \
         files in sysfs and debugfs that could not be made, and errors that were corrected.\n",
    );
    for speaker in Speaker::ALL {
        let entries: Vec<&CatalogueEntry> = catalogue().filter(|entry| entry.speaker == speaker).collect();
        if entries.is_empty() {
            continue;
        }
        page.push_str(&format!("\n## {}\n\nThe device is {}.\n\n", speaker.name(), speaker.device()));
        page.push_str("| words | meaning | since | source |\n|---|---|---|---|\n");
        for entry in entries {
            page.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                words(entry.words),
                meaning(entry.meaning),
                entry.since,
                entry.source
            ));
        }
    }
    page
}

fn words(words: &str) -> String {
    let words = words.replace("{n+}", "N+").replace("{n}", "N").replace("{w}", "WORD").replace("{mca}", "STATUS");
    words.replace("{}", "…").replace('|', "\\|")
}

fn meaning(meaning: Meaning) -> String {
    match meaning {
        Meaning::Fault(kind, Scope::Machine) => kind.name().to_owned(),
        Meaning::Fault(kind, Scope::Process) => format!("{}, contained", kind.name()),
        Meaning::Repeated(kind, times) => format!("{}, if said {times} times", kind.name()),
        Meaning::Detail(kind) => format!("more about a {}", kind.name()),
        Meaning::IfInDriver(kind) => format!("{}, if the stack that follows is in the driver", kind.name()),
        Meaning::Start(start) => format!("at start: {}", start.name()),
        Meaning::Harmless(why) => format!("no fault: {why}"),
    }
}
