//! `rocbed known`: failures that are known.

use anyhow::Result;
use protocol::api::{AddKnown, KnownFailure};

use super::{print, print_json, print_list};
use crate::cmdline::{KnownAdd, KnownCommand, KnownRemove, KnownShow};
use crate::context::Context;
use crate::hubs::connect;
use crate::table::Table;

/// Runs the command.
pub fn run(context: &Context, command: &KnownCommand) -> Result<()> {
    match command {
        KnownCommand::Add(options) => add(context, options),
        KnownCommand::List(options) => list(context, options),
        KnownCommand::Remove(options) => remove(context, options),
    }
}

fn add(context: &Context, options: &KnownAdd) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let request = AddKnown {
        package: options.package.clone(),
        test: options.test.clone(),
        target: options.target.map(|target| target.without_features().to_string()),
        // As people write it: #1112345
        bug: options.bug.as_ref().map(|bug| bug.trim_start_matches('#').to_owned()),
        text: options.text.clone().unwrap_or_default(),
        until: options.until.clone(),
    };
    let known = client.add_known(&request).map_err(|error| place.explain(error))?;
    context.reporter.say(&format!("known failure {} of {}", known.id, known.failure.package));
    if options.json { print_json(&known) } else { print(&format!("{}\n", known.id)) }
}

fn list(context: &Context, options: &KnownShow) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let mut known = client.known().map_err(|error| place.explain(error))?.known;
    known.retain(|known| options.package.as_ref().is_none_or(|package| known.failure.package == *package));
    if options.json {
        return print_json(&known);
    }
    let none = match &options.package {
        Some(package) => format!("no failure of {package} is known"),
        None => "no failures are known yet".to_owned(),
    };
    print_list(context, &table(&known), &none)
}

fn table(known: &[KnownFailure]) -> Table {
    let mut table = Table::new(&["NUMBER", "PACKAGE", "TEST", "TARGET", "BUG", "UNTIL", "WHY"]);
    let or_all = |text: &Option<String>| text.clone().unwrap_or_else(|| "all".to_owned());
    for KnownFailure { id, failure: known, .. } in known {
        table.row([
            id.to_string().into(),
            known.package.clone().into(),
            or_all(&known.test).into(),
            or_all(&known.target).into(),
            known.bug.clone().unwrap_or_default().into(),
            known.until.clone().unwrap_or_default().into(),
            known.text.clone().into(),
        ]);
    }
    table
}

fn remove(context: &Context, options: &KnownRemove) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    for number in &options.numbers {
        client.remove_known(*number).map_err(|error| place.explain(error))?;
        context.reporter.say(&format!("removed known failure {number}"));
    }
    Ok(())
}
