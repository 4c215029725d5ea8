//! The proxy for apt in testbeds: this machine's, as the testbed's network is this machine's.

use anyhow::{Context as _, Result};

use crate::mirror;
use crate::recipe::{ExtraFile, ExtraKind, Recipe};

/// Comes after the image's own.
const CONFIGURATION: &str = "etc/apt/apt.conf.d/91rocbed";

/// The recipe with a file that tells apt of the proxies for its sources, if there are any.
pub fn told(mut recipe: Recipe) -> Result<Recipe> {
    let uris = recipe.apt_sources.iter().flat_map(|source| source.uris.iter().map(String::as_str));
    let text = mirror::configuration_for(&mirror::proxies().proxies, uris)
        .context("naming the proxy for apt in the testbed")?;
    if !text.is_empty() {
        recipe.files.push(ExtraFile {
            path: CONFIGURATION.to_owned(),
            kind: ExtraKind::File(text.into_bytes()),
            mode: 0o644,
            owner: "root".to_owned(),
            group: "root".to_owned(),
        });
    }
    Ok(recipe)
}
