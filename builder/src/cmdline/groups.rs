//! Groups of commands, in the help and in the man page. clap has headings for options only.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory as _};

use super::{Cli, STYLES};

/// Commands that belong together.
#[derive(Debug)]
pub struct Group {
    /// What they are for.
    pub title: &'static str,
    /// Their names, in the order in which one needs them.
    commands: &'static [&'static str],
}

/// All groups. Each command that is not hidden is in one of them.
pub const GROUPS: [Group; 5] = [
    Group { title: "Images", commands: &["recipe", "plan", "lock", "build", "inspect", "diff"] },
    Group { title: "Machines", commands: &["flash", "settings", "collect", "netboot", "boot", "detect", "faults"] },
    Group { title: "Tests on this machine", commands: &["demo", "test", "simulate", "lint"] },
    Group {
        title: "Hub: jobs, results and workers",
        commands: &["hub", "jobs", "results", "bisect", "known", "workers", "top"],
    },
    Group { title: "This program", commands: &["cache", "reference", "completions", "man"] },
];

/// The end of the help.
pub const DOCUMENTATION: &str = "\
New here? `rocbed demo` shows it at work.
Documentation: README.md and docs/, installed in /usr/share/doc/rocbed";

impl Group {
    /// A command that has the commands of this group, with names and summaries only.
    pub fn command(&self, of: &Command) -> Command {
        let summary = |name: &str| of.find_subcommand(name).and_then(Command::get_about).cloned().unwrap_or_default();
        let shown = self.commands.iter().enumerate();
        let shown = shown.map(|(number, name)| Command::new(*name).about(summary(name)).display_order(number));
        Command::new("rocbed").disable_help_subcommand(true).disable_help_flag(true).subcommands(shown)
    }
}

/// The command line with groups of commands in its help. `width`: of the help in characters [default: the terminal's].
pub fn command(width: Option<usize>) -> Command {
    let command = Cli::command();
    let mut list = String::new();
    let header = STYLES.get_header();
    for group in &GROUPS {
        let shown = group.command(&command).help_template("{subcommands}").styles(STYLES).max_term_width(110);
        let text = wrapped(shown, width).render_help();
        // Writing to a String cannot fail.
        let _ = writeln!(list, "{header}{}:{header:#}\n{}\n", group.title, text.ansi().to_string().trim_end());
    }
    let template = format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{header}Options:{header:#}\n\
         {{options}}{{after-help}}"
    );
    wrapped(command.help_template(StyledStr::from(template)).after_help(DOCUMENTATION), width)
}

fn wrapped(command: Command, width: Option<usize>) -> Command {
    match width {
        Some(width) => command.term_width(width),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let command = Cli::command();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|group| group.commands).copied().collect();
        let mut shown: Vec<&str> =
            command.get_subcommands().filter(|below| !below.is_hide_set()).map(Command::get_name).collect();
        grouped.sort_unstable();
        shown.sort_unstable();
        assert_eq!(grouped, shown);
    }

    #[test]
    fn the_help_has_groups_with_summaries_and_says_where_the_documentation_is() {
        for help in [command(Some(80)).render_help(), command(Some(80)).render_long_help()] {
            let help = help.to_string();
            let images = help.find("\nImages:\n  recipe").expect("a group");
            let hub = help.find("\nHub: jobs, results and workers:\n  hub ").expect("another");
            assert!(images < hub && hub < help.find("\nOptions:\n").expect("options"), "{help}");
            assert!(help.contains("Build an image\n") && help.contains("--verbose"), "{help}");
            assert!(help.trim_end().ends_with("/usr/share/doc/rocbed") && help.contains("rocbed demo"), "{help}");
            assert!(!help.contains("Commands:") && help.lines().all(|line| line.chars().count() <= 80), "{help}");
        }
    }

    #[test]
    fn the_help_of_a_command_has_its_own_list() {
        let help = command(Some(80)).find_subcommand_mut("jobs").expect("jobs").render_help().to_string();
        assert!(help.contains("Commands:\n  add") && !help.contains("Images:"), "{help}");
    }
}
