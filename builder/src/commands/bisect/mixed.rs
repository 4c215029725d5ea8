//! Locks between two: some groups of packages as in the one, the others as in the other.

use std::collections::BTreeSet;

use history::bisect::Upgraded;
use history::groups::Group;

use crate::lock::{Lock, LockedPackage};

/// The lock with these groups as in `bad` and everything else as in `good`. Packages that are in no group are the same in both.
/// With none and with all groups it is one of the two.
pub(super) fn mixed(good: &Lock, bad: &Lock, groups: &[Group], upgraded: &Upgraded) -> Lock {
    if upgraded.is_empty() {
        return good.clone();
    }
    if upgraded.len() == groups.len() {
        return bad.clone();
    }
    let of_upgraded = groups.iter().enumerate().filter(|(number, _)| upgraded.contains(number));
    let new: BTreeSet<&str> =
        of_upgraded.flat_map(|(_, group)| &group.packages).map(|package| package.name.as_str()).collect();
    let take = |lock: &Lock, is_new: bool| -> Vec<LockedPackage> {
        lock.packages.iter().filter(|package| new.contains(package.name.as_str()) == is_new).cloned().collect()
    };
    let packages = [take(good, false), take(bad, true)].concat();
    let mut extra = bad.extra_archives.clone();
    let is_new = |name: &str| bad.extra_archives.iter().any(|other| other.name == name);
    extra.extend(good.extra_archives.iter().filter(|archive| !is_new(&archive.name)).cloned());
    Lock::new(bad.request, bad.archive.clone(), extra, packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::{lock, package};
    use history::groups::PackageChange;

    fn group(name: &str, from: Option<&str>, to: Option<&str>) -> Group {
        let change = PackageChange { name: name.into(), from: from.map(str::to_owned), to: to.map(str::to_owned) };
        Group { sources: Vec::new(), packages: vec![change] }
    }

    #[test]
    fn each_group_is_as_in_one_of_the_two() {
        let good = lock(vec![package("dpkg", "1"), package("linux-image-7.2", "7.2"), package("firmware-amd", "1")]);
        let bad = lock(vec![package("dpkg", "1"), package("linux-image-7.3", "7.3"), package("firmware-amd", "2")]);
        let groups = [
            Group {
                packages: [
                    group("linux-image-7.2", Some("7.2"), None).packages,
                    group("linux-image-7.3", None, Some("7.3")).packages,
                ]
                .concat(),
                sources: Vec::new(),
            },
            group("firmware-amd", Some("1"), Some("2")),
        ];
        let told = |set: &[usize]| {
            let lock = mixed(&good, &bad, &groups, &set.iter().copied().collect());
            // It can be written and read like any other.
            assert_eq!(Lock::parse(&lock.to_text().expect("text"), "x").expect("a lock"), lock);
            lock.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect::<Vec<_>>()
        };
        assert_eq!(told(&[0]), ["dpkg 1", "firmware-amd 1", "linux-image-7.3 7.3"]);
        assert_eq!(told(&[1]), ["dpkg 1", "firmware-amd 2", "linux-image-7.2 7.2"]);
        assert_eq!(mixed(&good, &bad, &groups, &[0, 1].into()), bad);
        assert_eq!(mixed(&good, &bad, &groups, &Upgraded::new()), good);
    }
}
