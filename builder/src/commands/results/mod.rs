//! `rocbed results`: the results of a hub's jobs.

mod fetch;
mod junit;
mod list;
mod report;
mod show;

pub(super) use list::table;

use anyhow::Result;

use crate::cmdline::ResultsCommand;
use crate::context::Context;

/// Runs the command.
pub fn run(context: &Context, command: &ResultsCommand) -> Result<()> {
    match command {
        ResultsCommand::List(options) => list::run(context, options),
        ResultsCommand::Show(options) => show::run(options),
        ResultsCommand::Fetch(options) => fetch::run(context, options),
        ResultsCommand::Junit(options) => junit::run(context, options),
        ResultsCommand::Report(options) => report::run(context, options),
    }
}
