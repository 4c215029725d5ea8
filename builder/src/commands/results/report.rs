//! `rocbed results report`: a result's page as one file.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use client::Client;
use protocol::api::check_id;

use crate::cmdline::ResultsReport;
use crate::commands::print;
use crate::context::Context;
use crate::hubs::{HubAccess, connect};

/// The link to the style sheet in the hub's pages.
const STYLE_LINK: &str = "<link rel=\"stylesheet\" href=\"/static/style.css\">";

pub(super) fn run(context: &Context, options: &ResultsReport) -> Result<()> {
    // The id becomes part of a URL, and perhaps of a path.
    check_id("the job's id", &options.job)?;
    let (place, client) = connect(&options.at)?;
    let page = fetch(&place, &client, &format!("/jobs/{}", options.job))?;
    let style = fetch(&place, &client, "/static/style.css")?;
    let path = options.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.html", options.job)));
    let report = self_contained(&page, &style, client.address());
    durable::replace(&path, report.as_bytes(), durable::Readers::Everyone)
        .with_context(|| format!("writing {}", path.display()))?;
    context.reporter.say("the page needs no hub; only its links do");
    print(&format!("{}\n", path.display()))
}

fn fetch(place: &HubAccess, client: &Client, path: &str) -> Result<String> {
    let mut bytes = Vec::new();
    client.page(path, &mut bytes).map_err(|error| place.explain(error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The page with its style sheet embedded, without live updates, and with absolute links to the hub.
fn self_contained(page: &str, style: &str, hub: &str) -> String {
    let styled = page.replace(STYLE_LINK, &format!("<style>\n{style}</style>"));
    let lines = styled.lines().filter(|line| !line.contains("<script ") && !line.contains("<link rel=\"icon\""));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    text.replace("href=\"/", &format!("href=\"{hub}/")).replace("src=\"/", &format!("src=\"{hub}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_needs_nothing_else() {
        let page = format!(
            "<link rel=\"icon\" href=\"/static/icon.svg\">\n{STYLE_LINK}\n<script src=\"/static/live.js\" defer></script>\n\
             <a href=\"/jobs\">Jobs</a> <a href=\"#log\">Log</a>\n"
        );
        assert_eq!(
            self_contained(&page, "p { margin: 0 }\n", "http://hub:8420"),
            "<style>\np { margin: 0 }\n</style>\n<a href=\"http://hub:8420/jobs\">Jobs</a> <a href=\"#log\">Log</a>\n"
        );
    }
}
