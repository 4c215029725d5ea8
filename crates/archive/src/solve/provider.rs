//! Interface between the packages and the solver.

use super::{
    Request,
    matching::{matching, satisfiers},
    pool::{Pool, Set},
};
use crate::index::{FieldError, Package, PackageId, Universe};
use debian::relation::Alternatives;
use resolvo::{
    Candidates, Condition, ConditionId, Dependencies, DependencyProvider, HintDependenciesAvailable, Interner,
    KnownDependencies, NameId, Requirement, SolvableId, SolverCache, StringId, VersionSetId, VersionSetUnionId,
};
use std::{cell::RefCell, fmt::Display};

pub(super) struct Provider<'a> {
    pub(super) universe: &'a Universe,
    request: &'a Request,
    pool: RefCell<Pool>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(universe: &'a Universe, request: &'a Request) -> Self {
        Self { universe, request, pool: RefCell::default() }
    }

    pub(super) fn package_id(&self, id: SolvableId) -> Option<PackageId> {
        self.pool.borrow().package(id)
    }

    fn package(&self, id: SolvableId) -> Option<Package<'a>> {
        self.universe.get(self.package_id(id)?)
    }

    /// A requirement for one of `alternatives`, earlier ones preferred.
    pub(super) fn requirement(&self, alternatives: &Alternatives<'_>) -> Requirement {
        let mut wanted: Vec<PackageId> = Vec::new();
        for relation in &alternatives.0 {
            for id in satisfiers(self.universe, relation, &self.request.architecture) {
                if !wanted.contains(&id) {
                    wanted.push(id);
                }
            }
        }
        let text = alternatives.to_string();
        let mut pool = self.pool.borrow_mut();
        // In the solver, a set of packages has one name. Adjacent packages of one name make one set; the order stays.
        let mut sets: Vec<Set> = Vec::new();
        for id in wanted {
            let Some(package) = self.universe.get(id) else { continue };
            let (name, solvable) = (pool.name(package.name()), pool.solvable(id, package.name()));
            match sets.last_mut() {
                Some(set) if set.name == name => set.allowed.push(solvable),
                _ => sets.push(Set { name, allowed: vec![solvable], text: text.clone() }),
            }
        }
        if sets.is_empty() {
            let name = alternatives.0.first().map(|relation| relation.name).unwrap_or_default();
            sets.push(Set { name: pool.name(name), allowed: Vec::new(), text: text.clone() });
        }
        let ids: Vec<_> = sets.into_iter().map(|set| pool.set(set)).collect();
        match ids.as_slice() {
            [one] => Requirement::Single(*one),
            _ => Requirement::Union(pool.union(ids, text)),
        }
    }

    /// For each name that `package` conflicts with, the packages of that name that remain possible.
    fn constraints(&self, package: &Package<'a>) -> Result<Vec<VersionSetId>, FieldError> {
        let mut found = Vec::new();
        for field in ["Conflicts", "Breaks"] {
            for relation in package.relations(field)?.0.into_iter().flat_map(|item| item.0) {
                let architecture = &self.request.architecture;
                if !relation.applies_to(architecture) || !relation.means_architecture(architecture) {
                    continue;
                }
                let mut hit: Vec<(&str, PackageId)> = matching(self.universe, &relation)
                    .into_iter()
                    .filter_map(|id| Some((self.universe.get(id)?.name(), id)))
                    // Policy 7.6.2: a package may conflict with what it provides itself. Of its own name there is
                    // never more than one version anyway.
                    .filter(|(name, _)| *name != package.name())
                    .collect();
                hit.sort_unstable_by(|a, b| a.0.cmp(b.0));
                let mut pool = self.pool.borrow_mut();
                for group in hit.chunk_by(|(a, _), (b, _)| a == b) {
                    let Some((name, _)) = group.first() else { continue };
                    let remaining = self.universe.candidates(name).into_iter();
                    let remaining = remaining.filter(|id| !group.iter().any(|(_, hit)| hit == id));
                    let allowed = remaining.map(|id| pool.solvable(id, name)).collect();
                    let name = pool.name(name);
                    let text = format!("{} {relation}", if field == "Breaks" { "breaks" } else { "conflicts with" });
                    found.push(pool.set(Set { name, allowed, text }));
                }
            }
        }
        Ok(found)
    }

    fn dependencies(&self, package: &Package<'a>) -> Result<KnownDependencies, FieldError> {
        let mut requirements = Vec::new();
        for field in ["Pre-Depends", "Depends"] {
            for item in package.relations(field)?.0 {
                if item.0.iter().any(|relation| relation.applies_to(&self.request.architecture)) {
                    requirements.push(self.requirement(&item).into());
                }
            }
        }
        Ok(KnownDependencies { requirements, constrains: self.constraints(package)? })
    }

    /// Text of the relation that a requirement was made from.
    pub(super) fn requirement_text(&self, requirement: Requirement) -> String {
        let pool = self.pool.borrow();
        match requirement {
            Requirement::Single(set) => pool.set_of(set).map(|set| set.text.clone()).unwrap_or_default(),
            Requirement::Union(union) => pool.union_text(union).to_owned(),
        }
    }

    /// Text of the relation that a constraint was made from, with its verb.
    pub(super) fn constraint_text(&self, set: VersionSetId) -> String {
        self.pool.borrow().set_of(set).map(|set| set.text.clone()).unwrap_or_default()
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.package_id(solvable).map(|id| self.universe.describe(id)).unwrap_or_default()
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.pool.borrow().name_text(name).to_owned()
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        self.constraint_text(version_set)
    }

    fn display_string(&self, string_id: StringId) -> impl Display + '_ {
        self.pool.borrow().string_text(string_id).to_owned()
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.pool.borrow().set_of(version_set).map_or(NameId::from_raw(0), |set| set.name)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.borrow().name_of(solvable)
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.borrow().union_sets(union).into_iter()
    }

    fn resolve_condition(&self, _condition: ConditionId) -> Condition {
        // Debian has no conditional dependencies, so no condition is ever made.
        Condition::Requirement(VersionSetId(0))
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let pool = self.pool.borrow();
        let allowed = pool.set_of(version_set).map(|set| set.allowed.as_slice()).unwrap_or_default();
        candidates.iter().copied().filter(|id| allowed.contains(id) != inverse).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates<SolvableId>> {
        let mut pool = self.pool.borrow_mut();
        let text = pool.name_text(name).to_owned();
        let candidates: Vec<_> =
            self.universe.candidates(&text).into_iter().map(|id| pool.solvable(id, &text)).collect();
        let mut excluded = Vec::new();
        if self.request.exclude.contains(&text) {
            let why = pool.string("the request excludes it".to_owned());
            excluded.extend(candidates.iter().map(|id| (*id, why)));
        }
        Some(Candidates {
            candidates,
            excluded,
            hint_dependencies_available: HintDependenciesAvailable::None,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _solver: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        // Of one name; the solver sorts each name by itself.
        let version = |id: &SolvableId| self.package(*id).map(|package| package.version()).unwrap_or_default();
        let preference = |id: &SolvableId| self.package_id(*id).map(|id| self.universe.preference(id));
        solvables.sort_by(|a, b| {
            preference(a).cmp(&preference(b)).then_with(|| debian::version::compare(version(b), version(a)))
        });
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        let Some(package) = self.package(solvable) else { return Dependencies::Known(KnownDependencies::default()) };
        match self.dependencies(&package) {
            Ok(known) => Dependencies::Known(known),
            Err(error) => Dependencies::Unknown(self.pool.borrow_mut().string(error.to_string())),
        }
    }
}
