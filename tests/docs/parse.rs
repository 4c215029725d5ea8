//! Checks that commands are valid, with rocbed's own parser and by calling xtask.

use clap::{CommandFactory as _, Parser as _};
use rocbed::cmdline::Cli;
use rocbed_tests::rocbed_path;

use crate::shell::Command;

/// A parsed rocbed command.
pub struct Parsed {
    /// `jobs add`
    pub subcommand: String,
    /// Its options that belong to this subcommand only, by their long names: `--gpu`.
    pub options: Vec<String>,
}

/// Parses a command with rocbed's parser; the error is the parser's message.
pub fn rocbed(command: &Command) -> Result<Parsed, String> {
    let words = std::iter::once("rocbed").chain(command.words.iter().skip(1).map(String::as_str));
    let words: Vec<&str> = words.collect();
    Cli::try_parse_from(&words).map_err(|error| error.to_string())?;
    let (found, rest) = subcommand(&words[1..]);
    let mut options = Vec::new();
    for word in rest.iter().take_while(|word| **word != "--") {
        let name = word.split('=').next().unwrap_or_default();
        let argument = found.get_arguments().find(|argument| is_called(argument, name));
        let long = argument.filter(|argument| !argument.is_global_set()).and_then(clap::Arg::get_long);
        options.extend(long.map(|long| format!("--{long}")));
    }
    Ok(Parsed { subcommand: path(&found), options })
}

/// Checks that words in running text name a subcommand and options that it has; values may be missing.
pub fn mention(words: &[&str]) -> Result<(), String> {
    let (found, rest) = subcommand(words);
    let named = words.first().is_none_or(|word| word.starts_with('-')) || !path(&found).is_empty();
    if !named {
        return Err(format!("there is no subcommand {:?}", words[0]));
    }
    for word in rest.iter().take_while(|word| **word != "--").filter(|word| word.starts_with('-') && word.len() > 1) {
        let name = word.split('=').next().unwrap_or_default().trim_end_matches(',');
        let known = ["--help", "--version"].contains(&name);
        if !known && !found.get_arguments().any(|argument| is_called(argument, name)) {
            return Err(format!("`rocbed {}` has no option {name}", path(&found)));
        }
    }
    Ok(())
}

fn is_called(argument: &clap::Arg, name: &str) -> bool {
    let long = argument.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long));
    long || argument.get_short().is_some_and(|short| name == format!("-{short}"))
}

/// The subcommand at the start of `words`, and the words after it.
fn subcommand<'a>(words: &'a [&'a str]) -> (clap::Command, &'a [&'a str]) {
    let mut root = Cli::command();
    root.build();
    let (mut found, mut rest) = (root, words);
    while let Some((first, after)) = rest.split_first() {
        let Some(next) = found.find_subcommand(first).cloned() else { break };
        (found, rest) = (next, after);
    }
    (found, rest)
}

/// `jobs add`, from clap's name `rocbed-jobs-add` or `rocbed jobs add`.
fn path(command: &clap::Command) -> String {
    let name = command.get_bin_name().unwrap_or_default();
    name.split(' ').skip(1).collect::<Vec<_>>().join(" ")
}

/// Parses a command with xtask's parser, by appending `--help`: what comes before is checked first.
pub fn xtask(words: &[String]) -> Result<(), String> {
    let xtask = rocbed_path().with_file_name("xtask");
    let output = std::process::Command::new(&xtask).args(words).arg("--help").output();
    let output = output.map_err(|error| format!("starting {}: {error}", xtask.display()))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
