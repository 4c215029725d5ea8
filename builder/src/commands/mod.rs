//! The commands, one module for each. A command takes its options, does its work and prints what the user sees.

mod bisect;
mod boot;
mod build;
mod cache;
mod collect;
mod completions;
mod demo;
mod detect;
mod diff;
mod faults;
mod flash;
mod hub;
mod inspect;
mod jobs;
mod known;
mod lint;
mod lock;
mod man;
mod netboot;
mod oci;
mod plan;
mod recipe;
mod reference;
mod results;
mod settings;
mod simulate;
mod test;
mod top;
mod workers;

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cmdline::{Cli, Command};
use crate::context::Context;
use crate::table::{Screen, Table};

/// Runs the command and returns the exit code.
pub fn run(context: &Context, cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Plan(options) => plan::run(context, &options),
        Command::Lock(options) => lock::run(context, &options),
        Command::Build(options) => build::run(context, &options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Diff(options) => return diff::run(context, &options),
        Command::Flash(options) => flash::run(context, &options),
        Command::Settings(options) => settings::run(context, &options),
        Command::Collect(options) => collect::run(context, &options),
        Command::Netboot(options) => netboot::run(context, &options),
        Command::Boot(options) => return boot::run(context, &options),
        Command::Test(options) => return Ok(test::run(context, &options)),
        Command::Demo(options) => demo::run(context, &cli.global, &options),
        Command::Simulate(options) => return Ok(simulate::run(context, &options, cli.global.quiet)),
        Command::Hub(options) => hub::run(context, &cli.global, &options),
        Command::Jobs(command) => return jobs::run(context, &command),
        Command::Results(command) => return results::run(context, &command),
        Command::Bisect(options) => return Ok(bisect::run(context, &options)),
        Command::Known(command) => known::run(context, &command),
        Command::Workers(command) => workers::run(context, &command),
        Command::Top(options) => top::run(&options),
        Command::Detect(options) => detect::run(&options),
        Command::Faults(options) => faults::run(&options),
        Command::Lint(options) => return lint::run(context, &options),
        Command::Recipe(command) => recipe::run(&command),
        Command::Reference(options) => reference::run(&options),
        Command::Oci(options) => oci::run(context, &options),
        Command::Cache(command) => cache::run(context, &command),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { directory } => man::run(&directory),
    }
    .map(|()| 0)
}

/// Prints the error that ended a command which runs tests. Returns its exit code, which is autopkgtest's for such errors.
fn own_error(context: &Context, error: &anyhow::Error) -> u8 {
    context.reporter.error(&crate::error::report(error));
    protocol::exit::OWN_ERROR
}

/// Prints data on stdout. A closed pipe is not an error: `rocbed … | head` is fine.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing to stdout"),
    }
}

/// Prints a list as a table on stdout. Of one without entries it says on stderr that there are none.
fn print_list(context: &Context, table: &Table, none: &str) -> Result<()> {
    if table.is_empty() {
        context.reporter.say(none);
    }
    print(&table.text(Screen::of_stdout()))
}

/// Prints a value as JSON on stdout.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("writing JSON")?;
    print(&format!("{}\n", escaped(&text)))
}

/// JSON with terminal control characters written as `\u202e` and the like (RFC 8259, section 7): they can occur only
/// inside its strings.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if char == '\n' || safetext::is_printable(char) {
            out.push(char);
        } else {
            out.extend(char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

/// Formats a number of bytes for people: `265.3 MiB`.
fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Says that a list has more entries than are shown.
fn more(shown: usize, what: &str) -> String {
    format!("the newest {shown} {what}; there are more: -n COUNT shows so many, -n 0 all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_controls_no_terminal_and_says_the_same() -> Result<()> {
        let value = serde_json::json!({ "a\u{9b}": "x\u{1b}[2J\u{202e}\u{e0041}\u{7f}é\n" });
        let text = escaped(&serde_json::to_string_pretty(&value)?);
        assert!(
            text.contains("\\u202e") && text.chars().all(|char| char == '\n' || safetext::is_printable(char)),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text)?, value);
        Ok(())
    }
}
