//! `rocbed reference`: prints the reference pages.

use advice::WithHelp as _;
use anyhow::{Context as _, Result};

use super::print;
use crate::cmdline::Reference;
use crate::reference;

/// Prints a page, or the names of all pages.
pub fn run(options: &Reference) -> Result<()> {
    let names = || reference::names().collect::<Vec<_>>();
    let Some(name) = &options.page else { return print(&(names().join("\n") + "\n")) };
    let page = reference::page(name)
        .with_context(|| {
            let meant = nearest::nearest(name, names()).first().map(|name| format!("; did you mean {name}?"));
            format!("there is no page {name}{}", meant.unwrap_or_default())
        })
        .help("`rocbed reference` lists them")?;
    print(&page)
}
