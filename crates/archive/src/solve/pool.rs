//! The solver's ids for names, packages and sets of packages. They are assigned as the solver asks, always in the same
//! order, so they do not depend on the order of the indexes.

use crate::index::PackageId;
use resolvo::{NameId, SolvableId, StringId, VersionSetId, VersionSetUnionId};
use std::collections::HashMap;

/// Packages of one name.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) name: NameId,
    pub(super) allowed: Vec<SolvableId>,
    /// Text of the relation it comes from.
    pub(super) text: String,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    names: Vec<String>,
    name_ids: HashMap<String, NameId>,
    solvables: Vec<(PackageId, NameId)>,
    solvable_ids: HashMap<PackageId, SolvableId>,
    sets: Vec<Set>,
    unions: Vec<(Vec<VersionSetId>, String)>,
    strings: Vec<String>,
}

impl Pool {
    pub(super) fn name(&mut self, name: &str) -> NameId {
        if let Some(id) = self.name_ids.get(name) {
            return *id;
        }
        let id = NameId::from_raw(self.names.len() as u32);
        self.names.push(name.to_owned());
        self.name_ids.insert(name.to_owned(), id);
        id
    }

    pub(super) fn solvable(&mut self, package: PackageId, name: &str) -> SolvableId {
        if let Some(id) = self.solvable_ids.get(&package) {
            return *id;
        }
        let name = self.name(name);
        let id = SolvableId::from_raw(self.solvables.len() as u32);
        self.solvables.push((package, name));
        self.solvable_ids.insert(package, id);
        id
    }

    pub(super) fn set(&mut self, set: Set) -> VersionSetId {
        self.sets.push(set);
        VersionSetId((self.sets.len() - 1) as u32)
    }

    pub(super) fn union(&mut self, sets: Vec<VersionSetId>, text: String) -> VersionSetUnionId {
        self.unions.push((sets, text));
        VersionSetUnionId((self.unions.len() - 1) as u32)
    }

    pub(super) fn string(&mut self, text: String) -> StringId {
        self.strings.push(text);
        StringId((self.strings.len() - 1) as u32)
    }

    // The solver asks only for ids that it got from here, so the defaults below are never used.

    pub(super) fn name_text(&self, id: NameId) -> &str {
        self.names.get(id.into_raw() as usize).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn package(&self, id: SolvableId) -> Option<PackageId> {
        self.solvables.get(id.into_raw() as usize).map(|(package, _)| *package)
    }

    pub(super) fn name_of(&self, id: SolvableId) -> NameId {
        self.solvables.get(id.into_raw() as usize).map_or(NameId::from_raw(0), |(_, name)| *name)
    }

    pub(super) fn set_of(&self, id: VersionSetId) -> Option<&Set> {
        self.sets.get(id.0 as usize)
    }

    pub(super) fn union_sets(&self, id: VersionSetUnionId) -> Vec<VersionSetId> {
        self.unions.get(id.0 as usize).map(|(sets, _)| sets.clone()).unwrap_or_default()
    }

    pub(super) fn union_text(&self, id: VersionSetUnionId) -> &str {
        self.unions.get(id.0 as usize).map(|(_, text)| text.as_str()).unwrap_or_default()
    }

    pub(super) fn string_text(&self, id: StringId) -> &str {
        self.strings.get(id.0 as usize).map(String::as_str).unwrap_or_default()
    }
}
