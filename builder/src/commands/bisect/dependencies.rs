//! Which package needs which, from the indexes of a recipe's archives: packages that belong together are tried together.

use std::collections::BTreeSet;

use anyhow::Result;
use archive::index::Universe;
use debian::relation::Operator;
use history::groups::Need;

use crate::archive as open_archive;
use crate::cmdline::Source;
use crate::context::Context;
use crate::package_sources::PackageSources;
use crate::recipe::{self, Recipe};

/// Which packages indexes are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PackagesOf {
    /// Those that apt in testbeds of a recipe can install.
    Testbed,
    /// Those of which its images are built.
    Image,
}

/// Reads the indexes of a recipe's archives.
pub(super) fn indexes(context: &Context, recipe: &str, source: &Source, of: PackagesOf) -> Result<Universe> {
    let mut recipe = recipe::load(recipe)?;
    if of == PackagesOf::Testbed {
        recipe = in_testbeds(recipe);
    }
    let sources = PackageSources::of(&recipe, source)?;
    let fetcher = context.fetcher(source)?;
    let archive = open_archive::open_all(sources.wanted(), sources.local_index(), &fetcher, &context.reporter)?;
    Ok(archive.universe)
}

/// A recipe without what apt in testbeds cannot install: local packages, and archives that it does not know.
fn in_testbeds(mut recipe: Recipe) -> Recipe {
    recipe.extra_archives.retain(|extra| extra.in_apt);
    recipe.packages.local.clear();
    recipe
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
            let mut need = |name: &str| found.push(Need { name: name.to_owned(), exactly: exactly.clone() });
            need(relation.name);
            if universe.named(relation.name).next().is_none() {
                let providers = universe.providers(relation.name).into_iter();
                let names: BTreeSet<&str> =
                    providers.filter_map(|(id, _)| universe.get(id)).map(|package| package.name()).collect();
                names.into_iter().for_each(need);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn testbeds_have_the_extra_archives_that_apt_knows() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("own.toml");
        std::fs::write(
            &path,
            "inherits = 'smoke'\n[packages]\nlocal = ['gone.deb']\n[[extra-archive]]\nname = 'experimental'\n\
             [[extra-archive]]\nname = 'trixie'\napt = false\n",
        )?;
        let recipe = in_testbeds(recipe::load(&path.display().to_string())?);
        let names: Vec<&str> = recipe.extra_archives.iter().map(|extra| extra.name.as_str()).collect();
        assert_eq!((names, recipe.packages.local.len()), (vec!["experimental"], 0));
        Ok(())
    }
}
