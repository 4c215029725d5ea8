//! `commands.md`: the help of every command, as clap has it.

use clap::{Command, CommandFactory};

use crate::cmdline::Cli;

/// Characters in a line.
const WIDTH: usize = 100;

/// The page.
pub(super) fn markdown() -> String {
    let mut page = String::from("# Commands\n\nMade from the program by `cargo xtask docs`.\n");
    write(&mut page, &mut vec!["rocbed".to_owned()], &Cli::command());
    page
}

/// A command and all below it, in the order of the help.
fn write(page: &mut String, words: &mut Vec<String>, command: &Command) {
    let title = words.join(" ");
    // Asked for as people ask for it: clap alone knows whether it prints the long one.
    let asked = words.iter().map(String::as_str).chain(["--help"]);
    let answer = Cli::command().term_width(WIDTH).try_get_matches_from(asked);
    let help = answer.err().map(|help| help.render().to_string()).unwrap_or_default();
    page.push_str(&format!("\n## {title}\n\n```text\n{}\n```\n", help.trim_end()));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        words.push(below.get_name().to_owned());
        write(page, words, below);
        words.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_below_commands_are_there_with_their_options() {
        let page = markdown();
        for text in ["## rocbed\n", "## rocbed jobs add\n", "Usage: rocbed cache prune [OPTIONS]\n", "--sector-size"] {
            assert!(page.contains(text), "{text} is missing");
        }
        assert!(!page.contains("## rocbed help") && !page.contains('\u{1b}'));
    }
}
