//! Dependencies between packages, as far as needed to order dpkg's work on a solved set.

use std::collections::{BTreeSet, HashMap};

use debian::deb::Deb;

/// The packages of a set, by real and provided names.
pub(crate) struct Set<'a> {
    debs: &'a [Deb],
    names: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Set<'a> {
    pub(crate) fn new(debs: &'a [Deb]) -> Self {
        let mut names: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, deb) in debs.iter().enumerate() {
            names.entry(deb.name()).or_default().push(at);
        }
        // Real packages first: a dependency on an existing name means that package.
        for (at, deb) in debs.iter().enumerate() {
            for provided in deb.control.get("Provides").unwrap_or_default().split(',') {
                let name = provided.split(['(', ':']).next().unwrap_or_default().trim();
                if !name.is_empty() {
                    names.entry(name).or_default().push(at);
                }
            }
        }
        Self { debs, names }
    }

    /// The packages that must be there before this one can be configured (Depends and Pre-Depends) or unpacked. Of
    /// alternatives, the first that is in the set.
    pub(crate) fn needs(&self, at: usize, fields: &[&str]) -> BTreeSet<usize> {
        let Some(deb) = self.debs.get(at) else { return BTreeSet::new() };
        fields
            .iter()
            .flat_map(|field| deb.control.relations(field).0)
            .filter_map(|alternatives| {
                alternatives.0.iter().find_map(|relation| self.names.get(relation.name)?.first().copied())
            })
            .collect()
    }

    /// These packages, and all their dependencies, transitively.
    pub(crate) fn closure(&self, start: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut closure = BTreeSet::new();
        let mut open: Vec<usize> = start.into_iter().collect();
        while let Some(at) = open.pop() {
            if closure.insert(at) {
                open.extend(self.needs(at, &["Pre-Depends", "Depends"]));
            }
        }
        closure
    }
}
