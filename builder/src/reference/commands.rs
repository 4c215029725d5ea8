//! `commands.md`: the help of every command, as clap has it.

use clap::{Command, CommandFactory};

use crate::cmdline::Cli;

/// Characters in a line.
const WIDTH: usize = 100;

/// The page.
pub(super) fn markdown() -> String {
    let mut page = String::from("# Commands\n\nMade from the program by `cargo xtask docs`.\n");
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    write(&mut page, "rocbed", &mut command);
    page
}

/// A command and all below it, in the order of the help.
fn write(page: &mut String, title: &str, command: &mut Command) {
    let help = command.render_long_help().to_string();
    page.push_str(&format!("\n## {title}\n\n```text\n{}\n```\n", help.trim_end()));
    for below in command.get_subcommands_mut() {
        if below.get_name() != "help" && !below.is_hide_set() {
            let title = format!("{title} {}", below.get_name());
            write(page, &title, below);
        }
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
