//! The order in which packages are unpacked and configured.

use super::{SolveError, matching::satisfiers};
use crate::index::{PackageId, Universe};
use std::collections::{BTreeMap, BTreeSet};

/// One step of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put the package's files in place.
    Unpack(PackageId),
    /// Run its maintainer script, after which others may rely on it.
    Configure(PackageId),
}

/// A relation that could not be honoured because packages need each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The package that goes first.
    pub package: PackageId,
    /// The package it needs, which is configured later.
    pub needs: PackageId,
    /// The relation is a Pre-Depends. Among the packages of a first installation this can happen.
    pub pre: bool,
}

/// How to install a set of packages on an empty system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every package is unpacked once and configured once, later. What a package Pre-Depends on is configured before it
    /// is unpacked, what it Depends on before it is configured: Debian Policy 7.2.
    pub steps: Vec<Step>,
    /// The exceptions, where cycles had to be broken.
    pub broken: Vec<Broken>,
}

impl Plan {
    /// The packages in the order in which they are configured, for those who unpack everything first.
    pub fn configure_order(&self) -> impl Iterator<Item = PackageId> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Configure(id) => Some(*id),
            Step::Unpack(_) => None,
        })
    }
}

#[derive(Default)]
struct Needs {
    depends: BTreeSet<usize>,
    pre_depends: BTreeSet<usize>,
}

/// Plans the installation of `set`. Packages are numbered by name, so the order does not depend on anything else.
pub(super) fn plan(universe: &Universe, architecture: &str, set: &[PackageId]) -> Result<Plan, SolveError> {
    let numbers: BTreeMap<PackageId, usize> = set.iter().enumerate().map(|(number, id)| (*id, number)).collect();
    let mut needs = Vec::new();
    for (own, id) in set.iter().enumerate() {
        let mut one = Needs::default();
        if let Some(package) = universe.get(*id) {
            for (field, list) in [("Pre-Depends", &mut one.pre_depends), ("Depends", &mut one.depends)] {
                for item in package.relations(field)?.0 {
                    let all = item.0.iter().flat_map(|relation| satisfiers(universe, relation, architecture));
                    let first = all.into_iter().find_map(|id| numbers.get(&id).copied());
                    list.extend(first.filter(|number| *number != own));
                }
            }
        }
        needs.push(one);
    }
    let mut state =
        State { set, needs: &needs, unpacked: BTreeSet::new(), configured: BTreeSet::new(), plan: Plan::default() };
    // Groups of packages that need each other come out so that each group needs earlier ones only. Inside of a group
    // nothing but the cycle itself has to be broken.
    for group in groups(&needs) {
        state.install(&group);
    }
    Ok(state.plan)
}

struct State<'a> {
    set: &'a [PackageId],
    needs: &'a [Needs],
    unpacked: BTreeSet<usize>,
    configured: BTreeSet<usize>,
    plan: Plan,
}

impl State<'_> {
    fn install(&mut self, group: &BTreeSet<usize>) {
        loop {
            let to_unpack: Vec<_> = group.difference(&self.unpacked).copied().collect();
            let to_configure: Vec<_> =
                group.iter().copied().filter(|n| self.unpacked.contains(n) && !self.configured.contains(n)).collect();
            if to_unpack.is_empty() && to_configure.is_empty() {
                return;
            }
            if let Some(number) = to_unpack.iter().find(|n| self.open(**n, true) == 0) {
                self.unpack(*number);
            } else if let Some(number) = to_configure.iter().find(|n| self.open(**n, false) == 0) {
                self.configure(*number);
            } else if let Some(number) = to_configure.iter().min_by_key(|n| self.badness(**n)) {
                // As dpkg does, take a package out of the cycle that loses least.
                self.configure(*number);
            } else if let Some(number) = to_unpack.iter().min_by_key(|n| self.open(**n, true)) {
                self.unpack(*number);
            }
        }
    }

    fn needs_of(&self, number: usize, pre: bool) -> impl Iterator<Item = usize> + '_ {
        let needs = self.needs.get(number).map(|needs| if pre { &needs.pre_depends } else { &needs.depends });
        needs.into_iter().flatten().copied()
    }

    /// How many needs are not configured yet.
    fn open(&self, number: usize, pre: bool) -> usize {
        self.needs_of(number, pre).filter(|need| !self.configured.contains(need)).count()
    }

    /// Needs that are not even unpacked weigh most.
    fn badness(&self, number: usize) -> (usize, usize, usize) {
        let missing = self.needs_of(number, false).filter(|need| !self.unpacked.contains(need)).count();
        (missing, self.open(number, false), number)
    }

    fn unpack(&mut self, number: usize) {
        self.note_broken(number, true);
        self.unpacked.insert(number);
        self.plan.steps.extend(self.set.get(number).map(|id| Step::Unpack(*id)));
    }

    fn configure(&mut self, number: usize) {
        self.note_broken(number, false);
        self.configured.insert(number);
        self.plan.steps.extend(self.set.get(number).map(|id| Step::Configure(*id)));
    }

    fn note_broken(&mut self, number: usize, pre: bool) {
        let open: Vec<_> = self.needs_of(number, pre).filter(|need| !self.configured.contains(need)).collect();
        for need in open {
            if let (Some(package), Some(needs)) = (self.set.get(number), self.set.get(need)) {
                self.plan.broken.push(Broken { package: *package, needs: *needs, pre });
            }
        }
    }
}

/// Strongly connected components, those that are needed first (Tarjan's algorithm, without recursion since a chain of
/// dependencies from outside may be long).
fn groups(needs: &[Needs]) -> Vec<BTreeSet<usize>> {
    let edges: Vec<Vec<usize>> =
        needs.iter().map(|needs| needs.pre_depends.union(&needs.depends).copied().collect()).collect();
    let mut found = Vec::new();
    let mut index: Vec<Option<usize>> = vec![None; edges.len()];
    let mut low = vec![0; edges.len()];
    let (mut stack, mut on_stack, mut next) = (Vec::new(), BTreeSet::new(), 0);
    for start in 0..edges.len() {
        let mut work = vec![(start, 0)];
        while let Some((node, edge)) = work.pop() {
            if edge == 0 {
                if index[node].is_some() {
                    continue;
                }
                index[node] = Some(next);
                low[node] = next;
                next += 1;
                stack.push(node);
                on_stack.insert(node);
            }
            if let Some(target) = edges[node].get(edge).copied() {
                work.push((node, edge + 1));
                match index[target] {
                    None => work.push((target, 0)),
                    Some(at) if on_stack.contains(&target) => low[node] = low[node].min(at),
                    Some(_) => {}
                }
                continue;
            }
            // All edges seen: hand the lowest number up, or close the group.
            if let Some((parent, _)) = work.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
            if Some(low[node]) == index[node] {
                let mut group = BTreeSet::new();
                while let Some(member) = stack.pop() {
                    on_stack.remove(&member);
                    group.insert(member);
                    if member == node {
                        break;
                    }
                }
                found.push(group);
            }
        }
    }
    found
}
