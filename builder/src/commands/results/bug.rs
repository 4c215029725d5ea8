//! `rocbed results bug`: the text of a bug report.

use anyhow::Result;
use safetext::printable;

use crate::cmdline::ResultsBug;
use crate::commands::print;
use crate::hubs::connect;

pub(super) fn run(options: &ResultsBug) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let mut text = Vec::new();
    client.bug(&options.job, &mut text).map_err(|error| place.explain(error))?;
    let text = String::from_utf8_lossy(&text);
    let lines: String = text.lines().map(|line| format!("{}\n", printable(line))).collect();
    print(&format!("{lines}Page: {}\n", printable(&place.job_page(&options.job))))
}
