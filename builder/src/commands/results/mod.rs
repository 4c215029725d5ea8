//! `rocbed results`: the results of a hub's jobs.

mod bug;
mod compare;
mod fetch;
mod history;
mod junit;
mod list;
mod report;
mod show;
mod why;

pub(super) use compare::{jobs as compare_jobs, show as show_comparison};
pub(super) use list::table;

use anyhow::Result;

use crate::cmdline::ResultsCommand;
use crate::context::Context;

/// Runs the command and returns the exit code.
pub fn run(context: &Context, command: &ResultsCommand) -> Result<u8> {
    match command {
        ResultsCommand::History(options) => history::run(context, options),
        ResultsCommand::Compare(options) => return compare::run(options),
        ResultsCommand::Why(options) => return why::run(options),
        ResultsCommand::Bug(options) => bug::run(options),
        ResultsCommand::List(options) => list::run(context, options),
        ResultsCommand::Show(options) => show::run(options),
        ResultsCommand::Fetch(options) => fetch::run(context, options),
        ResultsCommand::Junit(options) => junit::run(context, options),
        ResultsCommand::Report(options) => report::run(context, options),
    }
    .map(|()| 0)
}
