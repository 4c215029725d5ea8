//! Explains why a package is in an image: the chain of dependencies from the recipe to it.

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use archive::index::{PackageId, Preference, Universe};
use archive::solve::{Reason, Solution};
use serde::Serialize;

/// Explanation of why a package is included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Why {
    /// Package name.
    pub package: String,
    /// Package version.
    pub version: String,
    /// Name of the archive that it is from.
    pub archive: String,
    /// Why it is from there, if that is not the recipe's main archive; the versions that others have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_reason: Option<String>,
    /// Chain from the recipe to the package; each link is required by the one before.
    pub chain: Vec<Link>,
    /// All packages of the set that depend on it, or on what it provides.
    pub wanted_by: Vec<String>,
}

/// A link of the chain: a package, and what requires it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// Package name.
    pub package: String,
    /// `recipe`, `Essential`, `Priority: required`, or the field of the package before.
    pub by: String,
    /// The relation as written there; empty for packages that are included by default.
    pub relation: String,
}

/// Follows the reasons of a solution back to the recipe. Fails if the package is not included. `main` is the name of the main archive.
pub fn why(universe: &Universe, solution: &Solution, name: &str, main: &str) -> Result<Why> {
    let named = |id: PackageId| universe.get(id).map(|package| package.name()).unwrap_or_default();
    let found = solution.packages.iter().map(|(id, reason)| (*id, reason)).find(|(id, _)| named(*id) == name);
    let Some((mut id, mut reason)) = found else {
        let near = nearest::nearest(name, solution.packages.iter().map(|(id, _)| named(*id)));
        let help = match near.as_slice() {
            [] => "rocbed plan --json lists the packages".to_owned(),
            near => format!("packages that are in: {}", near.join(", ")),
        };
        bail!(Advice::new(format!("{name} is not a package of this recipe"), help));
    };
    let package = universe.get(id).context("the solver chose a package of another archive")?;
    let (version, archive) = (package.version().to_owned(), package.archive().to_owned());
    let archive_reason = archive_reason(universe, id, main);
    let wanted_by = dependents(universe, solution, id)?;
    let mut chain = Vec::new();
    loop {
        let link = |by: &str, relation: &str| Link {
            package: named(id).to_owned(),
            by: by.to_owned(),
            relation: relation.to_owned(),
        };
        match reason {
            Reason::Essential => chain.push(link("Essential", "")),
            Reason::Required => chain.push(link("Priority: required", "")),
            Reason::Requested(relation) => chain.push(link("recipe", relation)),
            Reason::Needed { by, field, relation } => {
                chain.push(link(field, relation));
                let before = solution.packages.iter().find(|(other, _)| *other == *by);
                // Reasons are found breadth first from the recipe, so they have no cycles.
                if let Some((next, its_reason)) = before {
                    (id, reason) = (*next, its_reason);
                    continue;
                }
            }
        }
        chain.reverse();
        return Ok(Why { package: name.to_owned(), version, archive, archive_reason, chain, wanted_by });
    }
}

/// Why a package is from its archive, if that is not the main one.
fn archive_reason(universe: &Universe, id: PackageId, main: &str) -> Option<String> {
    let package = universe.get(id).filter(|package| package.archive() != main)?;
    let why = match universe.preference(id) {
        Preference::First => "the recipe's own packages come first",
        Preference::Named => "the recipe names it for that archive",
        Preference::Needed => {
            "what the recipe names for that archive needs it, and no other archive has one that will do"
        }
        _ => "its version is the highest",
    };
    let others = universe.named(package.name()).filter_map(|id| universe.get(id));
    let others = others.filter(|other| other.archive() != package.archive());
    let mut others: Vec<_> = others.map(|other| format!("{} has {}", other.archive(), other.version())).collect();
    others.sort();
    others.dedup();
    let others = if others.is_empty() { "no other archive has it".to_owned() } else { others.join(", ") };
    Some(format!("{why}; {others}"))
}

/// Names of the packages in the set whose Pre-Depends, Depends or Recommends this one satisfies.
fn dependents(universe: &Universe, solution: &Solution, id: PackageId) -> Result<Vec<String>> {
    let Some(package) = universe.get(id) else { return Ok(Vec::new()) };
    let provides = package.relations("Provides")?;
    let provided: Vec<&str> = provides.0.iter().flat_map(|item| &item.0).map(|relation| relation.name).collect();
    let mut names = Vec::new();
    for other in solution.packages.iter().filter_map(|(other, _)| universe.get(*other)) {
        for field in ["Pre-Depends", "Depends", "Recommends"] {
            let relations = other.relations(field)?;
            let mut relations = relations.0.iter().flat_map(|item| &item.0);
            if relations.any(|relation| {
                (relation.name == package.name() && relation.accepts_version(package.version()))
                    || provided.contains(&relation.name)
            }) {
                names.push(other.name().to_owned());
                break;
            }
        }
    }
    Ok(names)
}

impl Why {
    /// Formats the explanation for people.
    pub fn text(&self) -> String {
        let mut lines = vec![match &self.archive_reason {
            None => format!("{} {} is in:", self.package, self.version),
            Some(_) => format!("{} {} of {} is in:", self.package, self.version, self.archive),
        }];
        let mut before = "";
        for link in &self.chain {
            lines.push(match (link.by.as_str(), link.relation.as_str()) {
                ("recipe", relation) => format!("  the recipe asks for {relation}"),
                (by, "") => format!("  {} is in every system ({by})", link.package),
                (field, relation) if relation == link.package => format!("  {before} {field}: {relation}"),
                (field, relation) => format!("  {before} {field}: {relation}, which {} satisfies", link.package),
            });
            before = &link.package;
        }
        lines.extend(self.archive_reason.iter().map(|reason| format!("  from {}: {reason}", self.archive)));
        let last = self.chain.iter().rev().nth(1).map(|link| link.package.as_str());
        let others: Vec<&str> = self.wanted_by.iter().map(String::as_str).filter(|name| Some(*name) != last).collect();
        if !others.is_empty() {
            lines.push(format!("also wanted by: {}", others.join(", ")));
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::index::IndexText;
    use archive::solve::{Base, Request, solve};

    fn solved() -> (Universe, Solution) {
        let index = "Package: rocminfo\nVersion: 7\nArchitecture: amd64\nDepends: libhsa (>= 7), python3:any\n\n\
                     Package: libhsa\nVersion: 7.2\nArchitecture: amd64\nDepends: libc6 | libc-dev\n\n\
                     Package: libc6\nVersion: 3\nArchitecture: amd64\n\n\
                     Package: python3\nVersion: 3\nArchitecture: amd64\nMulti-Arch: allowed\nDepends: libc6\n\n\
                     Package: dpkg\nVersion: 1\nArchitecture: amd64\nEssential: yes\n\n";
        let text = IndexText { archive: "sid".into(), component: "main".into(), text: index.as_bytes().to_vec() };
        let universe = Universe::new(vec![text], "amd64").unwrap();
        let request = Request { base: Base::Essential, ..Request::new(["rocminfo"]) };
        let solution = solve(&universe, &request).unwrap();
        (universe, solution)
    }

    #[test]
    fn the_chain_leads_from_the_recipe_to_the_package() {
        let (universe, solution) = solved();
        let text = why(&universe, &solution, "libc6", "sid").unwrap().text();
        assert_eq!(
            text,
            "libc6 3 is in:\n  the recipe asks for rocminfo\n  rocminfo Depends: libhsa (>= 7), which libhsa satisfies\n  \
             libhsa Depends: libc6 | libc-dev, which libc6 satisfies\nalso wanted by: python3\n"
        );
        let text = why(&universe, &solution, "dpkg", "sid").unwrap().text();
        assert_eq!(text, "dpkg 1 is in:\n  dpkg is in every system (Essential)\n");
    }

    #[test]
    fn a_package_that_is_not_in_gets_suggestions() {
        let (universe, solution) = solved();
        let error = crate::error::report(&why(&universe, &solution, "rocmifno", "sid").unwrap_err()).to_string();
        assert!(error.contains("not a package of this recipe") && error.contains("rocminfo"), "{error}");
    }
}
