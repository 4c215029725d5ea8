//! `rocbed results list`: lists the results on a hub.

use anyhow::Result;
use client::ResultQuery;
use jiff::Timestamp;
use protocol::api::ResultInfo;

use crate::cmdline::ResultsList;
use crate::commands::{more, print_json, print_list};
use crate::context::Context;
use crate::hubs::{Rest, connect, pages};
use crate::table::{Cell, Table, of_verdict};
use crate::times::ago;

pub(super) fn run(context: &Context, options: &ResultsList) -> Result<()> {
    let (place, client) = connect(&options.list.at)?;
    let mut query = ResultQuery {
        package: options.package.clone(),
        target: options.target.map(|target| target.without_features().to_string()),
        verdict: options.verdict,
        worker: options.worker.clone(),
        ..ResultQuery::default()
    };
    let (results, rest) = pages(options.list.limit, |most, after| {
        (query.limit, query.after) = (Some(most), after);
        let page = client.results(&query).map_err(|error| place.explain(error))?;
        Ok((page.results, page.next))
    })?;
    if options.list.json {
        print_json(&results)?;
    } else {
        let ResultsList { package, target, verdict, worker, .. } = options;
        let chosen = package.is_some() || target.is_some() || verdict.is_some() || worker.is_some();
        let none = if chosen { "there is no such result" } else { "there are no results yet" };
        print_list(context, &table(&results, Timestamp::now()), none)?;
    }
    if rest == Rest::More {
        context.reporter.say(&more(results.len(), "results"));
    }
    Ok(())
}

/// The results, one row for each.
pub(in crate::commands) fn table(results: &[ResultInfo], now: Timestamp) -> Table {
    let mut table = Table::new(&["JOB", "VERDICT", "VERSION", "GPU", "WORKER", "AGE", "WHAT"])
        .expendable(&["VERSION", "AGE", "GPU", "WORKER"]);
    for result in results {
        table.row([
            result.job.clone().into(),
            Cell::coloured(result.verdict.name(), of_verdict(result.verdict)),
            result.version.clone().unwrap_or_default().into(),
            result.targets.join(", ").into(),
            result.worker_name().into(),
            // By the hub's clock: a worker's may be wrong.
            ago(result.received.unwrap_or(result.finished), now).into(),
            what(result).into(),
        ]);
    }
    table
}

/// Summary of a result. That its GPUs were simulated stands at the beginning, which is seen on a narrow terminal too.
fn what(result: &ResultInfo) -> String {
    let simulated = if result.simulated && !result.targets.is_empty() { "simulated: " } else { "" };
    format!("{simulated}{}", result.summary)
}

/// Targets, and whether they are simulated.
pub(super) fn gpus(targets: &[String], simulated: bool) -> String {
    let targets = targets.join(", ");
    if simulated && !targets.is_empty() { format!("{targets} (simulated)") } else { targets }
}
