//! rocbed builds Debian images that turn any machine with an AMD GPU into a ROCm test worker.
//!
//! ```text
//! recipe --(archive, resolve)--> lock --(store)--> .debs --(rootfs)--> root directory
//!        --(image::tree)--> file tree --(image)--> image files
//! ```
//!
//! The program is a thin `main` around this library; [`cmdline`] knows the options, [`commands`] what they do.

pub mod architecture;
pub mod archive;
pub mod cmdline;
pub mod commands;
pub mod context;
pub mod hubs;
pub mod image;
pub mod inspect;
pub mod lock;
pub mod mirror;
pub mod recipe;
pub mod reference;
pub mod report;
pub mod resolve;
pub mod table;
pub mod virtio_channel;
pub mod why;
pub mod worklist;

/// Formats an error with its causes, and the help at the end.
pub fn error_text(error: &anyhow::Error) -> String {
    let mut lines = Vec::new();
    let mut help = Vec::new();
    let mut last = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Some libraries' errors repeat their source.
        if last.ends_with(&text) {
            continue;
        }
        let (message, hints): (Vec<&str>, Vec<&str>) = text.split('\n').partition(|line| !line.starts_with("  help: "));
        lines.push(message.join("\n"));
        help.extend(hints.into_iter().map(str::to_owned));
        last = text;
    }
    let mut text = lines.join("\n  caused by: ");
    for hint in help {
        text.push('\n');
        text.push_str(&hint);
    }
    safetext::for_terminal(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_no_secrets_and_controls_no_terminal() {
        let error = anyhow::anyhow!("http://me:pw@mirror/x: 404\n  help: look at `a\u{1b}[2J`").context("fetching x");
        let text = error_text(&error);
        assert_eq!(text, "fetching x\n  caused by: http://(not shown)@mirror/x: 404\n  help: look at `a\\u{1b}[2J`");
    }
}
