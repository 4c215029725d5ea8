//! Proxy configuration for apt in testbeds: this machine's, because the testbed shares this machine's network.

use anyhow::{Context as _, Result};

use crate::mirror;
use crate::recipe::{ExtraFile, ExtraKind, Recipe};

/// Sorted after the image's own configuration.
const CONFIGURATION: &str = "etc/apt/apt.conf.d/91rocbed";

/// Adds a file to the recipe that tells apt the proxies for its sources, if there are any.
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
