//! Dependency solver: chooses a consistent set of packages, with the reason for each.
//!
//! The rules are those of Debian Policy 7 for one machine architecture: Depends, Pre-Depends, alternatives, versioned
//! Provides, Conflicts, Breaks, architecture qualifiers. Choices are made as apt makes them: the highest version, the
//! first alternative, a real package rather than one that provides its name. The result depends only on the request
//! and the packages. Tests check it with a second implementation, which shares no matching code (`tests/closure`).

mod explain;
mod matching;
mod pool;
mod provider;
mod reason;
mod refused;
mod request;

pub use reason::Reason;
pub use refused::RefusedPackage;
pub use request::{Base, Request, SolveError};

use crate::index::{PackageId, Universe};
use matching::satisfiers;
use provider::Provider;
use resolvo::{ConditionalRequirement, Problem, SolvableId, Solver, UnsolvableOrCancelled};
use std::collections::BTreeSet;

/// A set of packages that can be installed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The packages by name, each with the first reason for which it is included.
    pub packages: Vec<(PackageId, Reason)>,
}

/// Finds the packages to install for `request`.
pub fn solve(universe: &Universe, request: &Request) -> Result<Solution, SolveError> {
    let goals = request.goals(universe)?;
    let mut chosen = attempt(universe, request, &goals, &[])?;
    if request.recommends {
        chosen = with_recommends(universe, request, &goals, chosen)?;
    }
    let packages = reason::reasons(universe, request, &goals, &chosen)?;
    Ok(Solution { packages })
}

/// Solves for `goals` and further relations, given as text.
fn attempt(
    universe: &Universe,
    request: &Request,
    goals: &[request::Goal],
    extra: &[String],
) -> Result<BTreeSet<PackageId>, SolveError> {
    let provider = Provider::new(universe, request);
    let mut requirements: Vec<ConditionalRequirement> = Vec::new();
    for goal in goals {
        requirements.push(provider.requirement(&goal.alternatives()?).into());
    }
    for text in extra {
        requirements.push(provider.requirement(&request::alternatives(text)?).into());
    }
    let mut solver = Solver::new(provider);
    match solver.solve(Problem::<SolvableId>::new().requirements(requirements)) {
        Ok(found) => Ok(found.into_iter().filter_map(|id| solver.provider().package_id(id)).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => Err(explain::explain(&conflict, &solver)),
        // Not reached: the provider never cancels.
        Err(UnsolvableOrCancelled::Cancelled(_)) => {
            Err(SolveError::Unsolvable { chain: Vec::new(), refused: Vec::new() })
        }
    }
}

/// Adds what chosen packages recommend, round by round, as far as it can be installed.
fn with_recommends(
    universe: &Universe,
    request: &Request,
    goals: &[request::Goal],
    mut chosen: BTreeSet<PackageId>,
) -> Result<BTreeSet<PackageId>, SolveError> {
    let mut tried: BTreeSet<String> = BTreeSet::new();
    let mut kept: Vec<String> = Vec::new();
    loop {
        let mut wanted = Vec::new();
        let mut ids: Vec<_> = chosen.iter().copied().collect();
        ids.sort_by_key(|id| universe.get(*id).map(|package| package.name().to_owned()));
        for package in ids.iter().filter_map(|id| universe.get(*id)) {
            for item in package.relations("Recommends")?.0 {
                let found: Vec<_> =
                    item.0.iter().flat_map(|relation| satisfiers(universe, relation, &request.architecture)).collect();
                if !found.is_empty() && !found.iter().any(|id| chosen.contains(id)) && tried.insert(item.to_string()) {
                    wanted.push(item.to_string());
                }
            }
        }
        if wanted.is_empty() {
            return Ok(chosen);
        }
        let all: Vec<_> = kept.iter().chain(&wanted).cloned().collect();
        if let Ok(better) = attempt(universe, request, goals, &all) {
            (kept, chosen) = (all, better);
            continue;
        }
        for text in wanted {
            kept.push(text);
            match attempt(universe, request, goals, &kept) {
                Ok(better) => chosen = better,
                // A recommendation that cannot be installed is left out.
                Err(_) => drop(kept.pop()),
            }
        }
    }
}
