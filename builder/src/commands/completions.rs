//! `rocbed completions`: prints a shell's completion script.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::print;
use crate::cmdline::Cli;
use crate::recipe;

/// Commands whose first word is a recipe.
const OF_RECIPES: [&str; 4] = ["plan", "lock", "build", "test"];

/// Prints the script.
pub fn run(shell: Shell) -> Result<()> {
    print(&script(shell))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(shell), "rocbed", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The command line without hidden commands, and with values that are known but not the only ones allowed.
fn command(shell: Shell) -> Command {
    let full = Cli::command();
    let shown = full.get_subcommands().filter(|below| !below.is_hide_set()).cloned();
    let mut command = Command::new("rocbed").version(env!("CARGO_PKG_VERSION"));
    command = command.args(full.get_arguments().cloned()).subcommands(shown);
    let rules: Vec<&str> = lint::RULES.iter().map(|rule| rule.id).collect();
    command = command.mut_subcommand("lint", |lint| with_values(lint, "explain", &rules));
    // bash offers files besides the values, and zsh nothing but them, where a recipe's path may be given as well.
    if shell != Shell::Zsh {
        let names: Vec<&str> = recipe::shipped_names().collect();
        command = command
            .mut_subcommand("recipe", |below| below.mut_subcommand("show", |show| with_values(show, "name", &names)));
        for name in OF_RECIPES {
            command = command.mut_subcommand(name, |below| with_values(below, "recipe", &names));
        }
    }
    command
}

/// The command with values for one of its arguments. `Command::mut_arg` would make it the last one.
fn with_values(command: Command, id: &str, values: &[&'static str]) -> Command {
    let parser = PossibleValuesParser::new(values.iter().copied());
    command.mut_args(|arg| if arg.get_id() == id { arg.value_parser(parser.clone()) } else { arg })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The completions that bash has for a line, of which the last word is being typed.
    fn bash(words: &[&str]) -> Vec<String> {
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let call = format!(
            "COMP_WORDS=({line}); COMP_CWORD={}; _rocbed rocbed '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let script = format!("complete() {{ :; }}\n{}\n{call}", script(Shell::Bash));
        // An argument may have 128 KiB (MAX_ARG_STRLEN), and the script has more.
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, script).expect("writing the script");
        let output = std::process::Command::new("bash").arg(file.path()).output().expect("bash runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn recipes_and_rules_are_offered() {
        for command in OF_RECIPES {
            let offered = bash(&["rocbed", command, "ro"]);
            assert_eq!(offered, ["rocm", "rocm-full"], "{command}");
        }
        assert_eq!(bash(&["rocbed", "recipe", "show", "smo"]), ["smoke"]);
        let first = lint::RULES[0].id;
        assert!(bash(&["rocbed", "lint", "--explain", first]).contains(&first.to_owned()));
    }

    #[test]
    fn hidden_commands_are_not_offered() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            let mut words = script.split(|character: char| !character.is_alphanumeric());
            assert!(words.clone().any(|word| word == "netboot") && words.all(|word| word != "oci"), "{shell}");
        }
        assert!(bash(&["rocbed", ""]).contains(&"build".to_owned()));
        assert_eq!(bash(&["rocbed", "fl"]), ["flash"]);
    }

    #[test]
    fn only_commands_of_the_program_are_hidden() {
        fn hidden(command: &Command) -> bool {
            command.get_subcommands().any(|below| below.is_hide_set() || hidden(below))
        }
        assert!(!Cli::command().get_subcommands().any(hidden), "`command` leaves out only those of the program");
    }
}
