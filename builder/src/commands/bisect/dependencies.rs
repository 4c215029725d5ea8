//! What packages need each other for, from the indexes of a recipe's archive.

use anyhow::Result;
use archive::index::Universe;
use debian::relation::Operator;
use history::groups::Need;

use crate::cmdline::Source;
use crate::context::{Context, mirror};
use crate::{archive as open_archive, recipe};

/// Reads the indexes of a recipe's archive.
pub(super) fn indexes(context: &Context, recipe: &str, source: &Source) -> Result<Universe> {
    let recipe = recipe::load(recipe)?;
    let mut wish = recipe.archive.clone();
    wish.check_valid_until &= !source.ignore_valid_until;
    let fetcher = context.fetcher(source)?;
    Ok(open_archive::open(&wish, &mirror(&recipe, source), &fetcher, &context.reporter)?.universe)
}

/// The dependencies of a version of a package. Those of the archive's newest version stand for one that it does not have:
/// they seldom change, and only decide in which order packages are tried.
pub(super) fn needs(universe: &Universe, name: &str, version: &str) -> Vec<Need> {
    let candidates: Vec<_> = universe.candidates(name).into_iter().filter_map(|id| universe.get(id)).collect();
    let same = candidates.iter().find(|package| package.version() == version);
    let Some(package) = same.or(candidates.first()) else { return Vec::new() };
    let is_same = same.is_some();
    let mut found = Vec::new();
    for field in ["Pre-Depends", "Depends"] {
        let Ok(relations) = package.relations(field) else { continue };
        for relation in relations.0.iter().flat_map(|alternatives| &alternatives.0) {
            let exactly = match relation.version {
                Some((Operator::Equal, version)) if is_same => Some(version.to_owned()),
                _ => None,
            };
            found.push(Need { name: relation.name.to_owned(), exactly });
        }
    }
    found
}
