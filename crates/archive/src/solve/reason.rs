//! Reasons why packages are in the set.

use super::{
    Request, SolveError,
    matching::satisfiers,
    request::{Goal, GoalKind},
};
use crate::index::{PackageId, Universe};
use debian::relation::Alternatives;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Reason why a package is in a [`Solution`](super::Solution): the first one found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The package is essential.
    Essential,
    /// The package has priority required.
    Required,
    /// The package satisfies this relation of the request.
    Requested(String),
    /// The package satisfies this relation of another package.
    Needed {
        /// The other package.
        by: PackageId,
        /// Name of the field: `Pre-Depends`, `Depends` or `Recommends`.
        field: &'static str,
        /// The relation, with all alternatives.
        relation: String,
    },
}

/// Finds all packages that are reachable from the goals through their fields. Packages that are not reached were only
/// tried by the solver and are left out; all relations of the reached ones are satisfied, so the rest is consistent.
pub(super) fn reasons(
    universe: &Universe,
    request: &Request,
    goals: &[Goal],
    chosen: &BTreeSet<PackageId>,
) -> Result<Vec<(PackageId, Reason)>, SolveError> {
    let pick = |item: &Alternatives<'_>| {
        let all = item.0.iter().flat_map(|relation| satisfiers(universe, relation, &request.architecture));
        all.into_iter().find(|id| chosen.contains(id))
    };
    let mut found: BTreeMap<PackageId, Reason> = BTreeMap::new();
    let mut queue: VecDeque<PackageId> = VecDeque::new();
    for goal in goals {
        if let Some(id) = pick(&goal.alternatives()?) {
            found.entry(id).or_insert_with(|| {
                queue.push_back(id);
                match goal.kind {
                    GoalKind::Essential => Reason::Essential,
                    GoalKind::Required => Reason::Required,
                    GoalKind::Requested => Reason::Requested(goal.text.clone()),
                }
            });
        }
    }
    let fields: &[&'static str] =
        if request.recommends { &["Pre-Depends", "Depends", "Recommends"] } else { &["Pre-Depends", "Depends"] };
    while let Some(by) = queue.pop_front() {
        let Some(package) = universe.get(by) else { continue };
        for field in fields {
            for item in package.relations(field)?.0 {
                let Some(id) = pick(&item) else { continue };
                found.entry(id).or_insert_with(|| {
                    queue.push_back(id);
                    Reason::Needed { by, field, relation: item.to_string() }
                });
            }
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(id, _)| universe.get(*id).map(|package| package.name()));
    Ok(found)
}
