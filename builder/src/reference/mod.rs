//! The pages of `docs/reference/`, generated from the program's own data so that they stay up to date.

mod api;
mod commands;
mod lint;
mod messages;
mod recipe;
mod settings;
mod types;

use serde::Serialize;

/// A page or a schema: its file name and the function that generates it.
type Page = (&'static str, fn() -> String);

/// All pages.
const PAGES: &[Page] = &[
    ("commands.md", commands::markdown),
    ("recipe.md", || recipe::markdown(&crate::recipe::schema())),
    ("recipe.schema.json", || json(&crate::recipe::schema())),
    ("settings.md", settings::markdown),
    ("messages.md", messages::markdown),
    ("lint.md", lint::markdown),
    ("job-list.md", job_list),
    ("job-list.schema.json", || json(&protocol::schema::job_list())),
    ("result.md", result),
    ("result.schema.json", || json(&protocol::schema::result())),
    ("api.md", || api::markdown(&hub::openapi())),
    ("openapi.json", || json(&hub::openapi())),
];

/// The names of all pages.
pub fn names() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(name, _)| *name)
}

/// The text of a page; `None` if there is no such page.
pub fn page(name: &str) -> Option<String> {
    PAGES.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}

fn json(value: &impl Serialize) -> String {
    // These types contain nothing that JSON cannot represent.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn job_list() -> String {
    types::page(
        "Job lists",
        "What `rocbed boot --jobs`, `rocbed jobs add`, a stick's `jobs.toml` and a list on a web server have in them: \
         TOML or JSON, told apart by the first character. Fields that are not known are passed over. \
         [job-list.schema.json](job-list.schema.json) says the same to editors; [the appliance](../appliance.md) says \
         what comes of a job.",
        protocol::schema::job_list().as_value(),
    )
}

fn result() -> String {
    types::page(
        "Results",
        "`result.json` of a bundle, what `--json` prints for a job, and `result` in the hub's API. Later versions may \
         have more fields. [result.schema.json](result.schema.json) says the same to programs.",
        protocol::schema::result().as_value(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_says_something_and_every_link_to_a_type_leads_there() {
        for (name, make) in PAGES {
            let text = make();
            assert!(text.ends_with('\n') && text.len() > 500, "{name}:\n{text}");
            assert!(!name.ends_with(".md") || !text.contains("{}"), "{name} has a hole");
            for anchor in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
                let heading = |line: &str| types::anchor(line.trim_start_matches('#').trim()) == anchor;
                assert!(text.lines().filter(|line| line.starts_with('#')).any(heading), "{name}: #{anchor}");
            }
        }
    }
}
