//! [`Group`]: packages that have to be upgraded together, for a search by [`crate::bisect`].
//!
//! Two lists of installed packages differ by packages that were upgraded, added or removed. Packages of one source belong
//! together, and so do packages that need each other in an exact version. A package that is only in one of the lists comes
//! and goes with what needs it. The groups are sorted so that the users of a package come after it: then a prefix of them
//! can be installed.

mod images;

use std::collections::{BTreeMap, BTreeSet};

use protocol::{InstalledPackage, PackageList, SourceChange};
use serde::{Deserialize, Serialize};

use crate::bisect::Upgraded;

pub use images::image_groups;

/// A binary package that differs between two lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackageChange {
    /// Name of the binary package.
    pub name: String,
    /// The version before; missing if it was not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version after; missing if it is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Packages that are upgraded together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Group {
    /// The source packages with their versions.
    pub sources: Vec<SourceChange>,
    /// The binary packages.
    pub packages: Vec<PackageChange>,
}

/// What differs between two lists of installed packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grouped {
    /// The groups, users of a package after it.
    pub groups: Vec<Group>,
    /// Source packages that take effect at the next boot only: the kernel, firmware and microcode. Upgrading them in a
    /// testbed changes nothing.
    pub at_boot: Vec<SourceChange>,
}

/// A package that a version of another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Name of the binary package, which may be virtual.
    pub name: String,
    /// The exact version, for a dependency of the form `name (= version)`.
    pub exactly: Option<String>,
}

/// A package of which another version is installed than was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deviation {
    /// Name of the binary package.
    pub name: String,
    /// The version that was asked for.
    pub wanted: String,
    /// The version that was installed; missing if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let installed = self.installed.as_deref().unwrap_or("not installed");
        write!(f, "{} was {installed} instead of {}", self.name, self.wanted)
    }
}

impl PackageChange {
    /// The version to be installed.
    pub fn version(&self, upgraded: bool) -> Option<&str> {
        if upgraded { self.to.as_deref() } else { self.from.as_deref() }
    }

    /// Whether it is in both lists.
    fn is_in_both(&self) -> bool {
        self.from.is_some() && self.to.is_some()
    }
}

impl Group {
    /// The source packages for people: `rocr-runtime 6.4.3-5 -> 7.2.4-1, hipcc none -> 7.2`.
    pub fn words(&self) -> String {
        self.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// The versions to be installed so that just these groups are upgraded, by binary package.
pub fn versions(groups: &[Group], upgraded: &Upgraded) -> BTreeMap<String, String> {
    let each = groups.iter().enumerate().flat_map(|(number, group)| {
        let is_new = upgraded.contains(&number);
        group
            .packages
            .iter()
            .filter_map(move |package| Some((package.name.clone(), package.version(is_new)?.to_owned())))
    });
    each.collect()
}

/// The groups that are upgraded in a list; `None` if a group is neither as before nor as after.
pub fn upgraded_in(groups: &[Group], installed: &PackageList) -> Option<Upgraded> {
    let is = |group: &Group, upgraded: bool| {
        let set = if upgraded { Upgraded::from([0]) } else { Upgraded::new() };
        deviations(std::slice::from_ref(group), &set, installed).is_empty()
    };
    let mut found = Upgraded::new();
    for (number, group) in groups.iter().enumerate() {
        match (is(group, false), is(group, true)) {
            (true, _) => {}
            (false, true) => {
                found.insert(number);
            }
            (false, false) => return None,
        }
    }
    Some(found)
}

/// Packages of the groups that were not installed as they were asked for. One that is in one of the ends only may be
/// there or not, as others need it or do not; but not in a third version.
pub fn deviations(groups: &[Group], upgraded: &Upgraded, installed: &PackageList) -> Vec<Deviation> {
    let there: BTreeMap<&str, &str> =
        installed.packages().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    let mut found = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        for package in &group.packages {
            let wanted = package.version(upgraded.contains(&number));
            let (Some(expected), now) =
                (wanted.or(package.from.as_deref()).or(package.to.as_deref()), there.get(package.name.as_str()))
            else {
                continue;
            };
            let is_right = match now {
                Some(version) => *version == expected,
                None => !package.is_in_both(),
            };
            if !is_right {
                found.push(Deviation {
                    name: package.name.clone(),
                    wanted: expected.to_owned(),
                    installed: now.map(|version| (*version).to_owned()),
                });
            }
        }
    }
    found
}

/// Groups what differs between the lists of a run that passed and of one that failed. `needs` gives the dependencies of
/// a version of a package, as far as they are known.
pub fn group(good: &PackageList, bad: &PackageList, needs: &dyn Fn(&str, &str) -> Vec<Need>) -> Grouped {
    let changes = changes(good, bad);
    let (at_boot, changes): (Vec<Changed>, Vec<Changed>) =
        changes.into_iter().partition(|changed| is_of_the_boot(&changed.package.name));
    let mut sets = Sets::new(changes.len());
    let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, changed) in changes.iter().enumerate() {
        for source in &changed.sources {
            let first = *by_source.entry(&source.source).or_insert(at);
            sets.join(first, at);
        }
    }
    let Relations { uses, exact } = relations(&changes, needs);
    for (user, used) in exact {
        sets.join(user, used);
    }
    follow(&changes, &uses, &mut sets);
    Grouped { groups: sorted(&changes, &uses, &mut sets), at_boot: sources(at_boot.iter()) }
}

/// Which of the packages that differ need each other: pairs of the places of a user and of what it needs.
struct Relations {
    uses: BTreeSet<(usize, usize)>,
    /// Those in which the user needs one of the two versions exactly.
    exact: BTreeSet<(usize, usize)>,
}

/// How packages that differ need each other, with their versions before and after.
fn relations(changes: &[Changed], needs: &dyn Fn(&str, &str) -> Vec<Need>) -> Relations {
    let by_name: BTreeMap<&str, usize> =
        changes.iter().enumerate().map(|(at, changed)| (changed.package.name.as_str(), at)).collect();
    let mut found = Relations { uses: BTreeSet::new(), exact: BTreeSet::new() };
    for (user, changed) in changes.iter().enumerate() {
        let versions = [&changed.package.from, &changed.package.to];
        for need in versions.into_iter().flatten().flat_map(|version| needs(&changed.package.name, version)) {
            let Some(used) = by_name.get(need.name.as_str()).copied().filter(|used| *used != user) else { continue };
            found.uses.insert((user, used));
            let of_used = changes.get(used).map(|changed| &changed.package);
            let is_exact = need.exactly.is_some()
                && of_used.is_some_and(|used| need.exactly == used.from || need.exactly == used.to);
            if is_exact {
                found.exact.insert((user, used));
            }
        }
    }
    found
}

/// A changed package with its sources before and after.
struct Changed {
    package: PackageChange,
    sources: Vec<SourceChange>,
}

fn changes(good: &PackageList, bad: &PackageList) -> Vec<Changed> {
    let by_name = |list: &'_ PackageList| -> BTreeMap<String, InstalledPackage> {
        list.packages().map(|package| (package.name.clone(), package.clone())).collect()
    };
    let (before, after) = (by_name(good), by_name(bad));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let (old_sources, new_sources) = (good.sources(), bad.sources());
    let mut found = Vec::new();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        let version = |package: Option<&InstalledPackage>| package.map(|package| package.version.clone());
        if version(old) == version(new) {
            continue;
        }
        let sources: BTreeSet<&str> = [old, new].into_iter().flatten().map(|package| package.source.as_str()).collect();
        let sources = sources.into_iter().map(|source| {
            let (from, to) = (old_sources.get(source).cloned(), new_sources.get(source).cloned());
            SourceChange { source: source.to_owned(), from, to }
        });
        found.push(Changed {
            package: PackageChange { name: name.clone(), from: version(old), to: version(new) },
            sources: sources.collect(),
        });
    }
    found
}

/// Whether a package takes effect at the next boot only.
fn is_of_the_boot(name: &str) -> bool {
    ["linux-image-", "linux-binary-", "linux-modules-", "firmware-"].iter().any(|start| name.starts_with(start))
        || name.ends_with("-microcode")
}

/// Joins a group without any upgrade to the only one that uses it, or that it uses.
fn follow(changes: &[Changed], uses: &BTreeSet<(usize, usize)>, sets: &mut Sets) {
    for at in 0..changes.len() {
        let group = sets.of(at);
        let members: Vec<usize> = (0..changes.len()).filter(|other| sets.of(*other) == group).collect();
        let is_upgrade = |member: &usize| changes.get(*member).is_some_and(|changed| changed.package.is_in_both());
        if members.iter().any(is_upgrade) {
            continue;
        }
        let mut others = |users: bool| -> BTreeSet<usize> {
            let pairs = uses.iter().map(|(user, used)| if users { (*used, *user) } else { (*user, *used) });
            let found = pairs.filter(|(own, _)| members.contains(own)).map(|(_, other)| sets.of(other));
            found.filter(|other| *other != group).collect()
        };
        let (users, used) = (others(true), others(false));
        let one = [users, used].into_iter().find(|found| !found.is_empty()).filter(|found| found.len() == 1);
        if let Some(other) = one.and_then(|found| found.first().copied()) {
            sets.join(at, other);
        }
    }
}

/// The groups, each after those that it uses; by name where that does not decide.
fn sorted(changes: &[Changed], uses: &BTreeSet<(usize, usize)>, sets: &mut Sets) -> Vec<Group> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..changes.len() {
        members.entry(sets.of(at)).or_default().push(at);
    }
    let mut below: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (user, used) in uses {
        let (user, used) = (sets.of(*user), sets.of(*used));
        if user != used {
            below.entry(user).or_default().insert(used);
        }
    }
    let mut order: Vec<usize> = Vec::new();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for group in members.keys() {
        // Depth first, without recursion: a chain of dependencies may be long.
        let mut stack = vec![(*group, false)];
        while let Some((at, is_done)) = stack.pop() {
            if is_done {
                order.push(at);
            } else if seen.insert(at) {
                stack.push((at, true));
                stack.extend(below.get(&at).into_iter().flatten().rev().map(|used| (*used, false)));
            }
        }
    }
    let group = |at: &usize| {
        let of_group = || members.get(at).into_iter().flatten().filter_map(|member| changes.get(*member));
        Group { sources: sources(of_group()), packages: of_group().map(|changed| changed.package.clone()).collect() }
    };
    order.iter().map(group).collect()
}

fn sources<'a>(changes: impl Iterator<Item = &'a Changed>) -> Vec<SourceChange> {
    let all: BTreeMap<&str, &SourceChange> =
        changes.flat_map(|changed| &changed.sources).map(|source| (source.source.as_str(), source)).collect();
    all.into_values().cloned().collect()
}

/// Disjoint sets of numbers.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// The smallest member of the set.
    fn of(&mut self, member: usize) -> usize {
        let mut at = member;
        while let Some(above) = self.0.get(at).copied().filter(|above| *above != at) {
            at = above;
        }
        if let Some(own) = self.0.get_mut(member) {
            *own = at;
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        if let Some(above) = self.0.get_mut(one.max(other)) {
            *above = one.min(other);
        }
    }
}

#[cfg(test)]
#[path = "groups/tests.rs"]
mod tests;
