use proptest::prelude::*;

use super::*;

/// A list from `NAME VERSION [SOURCE]` lines.
fn list(lines: &[&str]) -> PackageList {
    let line = |line: &&str| {
        let mut words = line.split(' ');
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        let source = words.next().unwrap_or(name);
        InstalledPackage {
            name: name.into(),
            architecture: "amd64".into(),
            version: version.into(),
            source: source.into(),
            source_version: version.into(),
        }
    };
    lines.iter().map(line).collect()
}

/// Dependencies from lines like those of a control file: `hip 2: runtime, llvm (= 3)`.
fn index(lines: &'static [&'static str]) -> impl Fn(&str, &str) -> Vec<Need> {
    move |name, version| {
        let begin = format!("{name} {version}: ");
        let found = lines.iter().filter_map(|line| line.strip_prefix(&begin)).flat_map(|rest| rest.split(", "));
        let need = |text: &str| match text.split_once(" (= ") {
            Some((name, version)) => Need { name: name.into(), exactly: Some(version.trim_end_matches(')').into()) },
            None => Need { name: text.into(), exactly: None },
        };
        found.map(need).collect()
    }
}

fn words(grouped: &Grouped) -> Vec<String> {
    grouped.groups.iter().map(Group::words).collect()
}

#[test]
fn the_packages_of_a_source_are_one_group_and_its_users_come_after_it() {
    let good = list(&["hip 1", "a-runtime 1 runtime", "z-runtime-dev 1 runtime", "same 1", "blas 1"]);
    let bad = list(&["hip 2", "a-runtime 2 runtime", "z-runtime-dev 2 runtime", "same 1", "blas 2"]);
    let grouped = group(&good, &bad, &index(&["blas 2: hip", "hip 1: z-runtime-dev"]));
    assert_eq!(words(&grouped), ["runtime 1 -> 2", "hip 1 -> 2", "blas 1 -> 2"]);
    assert_eq!(grouped.groups[0].packages.len(), 2);
}

#[test]
fn an_exact_dependency_joins_two_sources() {
    let good = list(&["clang 1", "llvm 1", "tool 1"]);
    let bad = list(&["clang 2", "llvm 2", "tool 2"]);
    let grouped = group(&good, &bad, &index(&["clang 2: llvm (= 2)", "tool 2: llvm (= 17)"]));
    assert_eq!(words(&grouped), ["clang 1 -> 2, llvm 1 -> 2", "tool 1 -> 2"]);
}

#[test]
fn what_is_new_or_gone_belongs_to_what_needs_it() {
    let good = list(&["hip 1", "blas 1", "oldlib 1"]);
    let bad = list(&["hip 2", "blas 2", "newlib 5"]);
    let grouped = group(&good, &bad, &index(&["hip 2: newlib", "blas 1: oldlib"]));
    assert_eq!(words(&grouped), ["blas 1 -> 2, oldlib 1 -> none", "hip 1 -> 2, newlib none -> 5"]);
    // Where nobody is known to need it, it is a group of its own.
    let grouped = group(&good, &bad, &|_, _| Vec::new());
    assert_eq!(words(&grouped), ["blas 1 -> 2", "hip 1 -> 2", "newlib none -> 5", "oldlib 1 -> none"]);
}

#[test]
fn a_library_whose_package_has_a_new_name_stays_with_its_source() {
    let good = list(&["libhip6 1 hip", "hipcc 1 hip"]);
    let bad = list(&["libhip7 2 hip", "hipcc 2 hip"]);
    let grouped = group(&good, &bad, &|_, _| Vec::new());
    assert_eq!(words(&grouped), ["hip 1 -> 2"]);
    let all = |upgraded: &[usize]| versions(&grouped.groups, &upgraded.iter().copied().collect());
    let told = |versions: BTreeMap<String, String>| {
        versions.into_iter().map(|(name, version)| format!("{name}={version}")).collect::<Vec<_>>()
    };
    assert_eq!(told(all(&[])), ["hipcc=1", "libhip6=1"]);
    assert_eq!(told(all(&[0])), ["hipcc=2", "libhip7=2"]);
}

#[test]
fn a_kernel_in_a_testbed_is_no_suspect() {
    let good = list(&["linux-image-7.2-amd64 7.2-1 linux", "firmware-amd-graphics 1 firmware-nonfree", "hip 1"]);
    let bad = list(&["linux-image-7.3-amd64 7.3-1 linux", "firmware-amd-graphics 2 firmware-nonfree", "hip 2"]);
    let grouped = group(&good, &bad, &|_, _| Vec::new());
    assert_eq!(words(&grouped), ["hip 1 -> 2"]);
    let at_boot: Vec<String> = grouped.at_boot.iter().map(ToString::to_string).collect();
    assert_eq!(at_boot, ["firmware-nonfree 1 -> 2", "linux 7.2-1 -> 7.3-1"]);
}

#[test]
fn another_version_than_was_asked_for_is_seen() {
    let (good, bad) = (list(&["hip 1", "blas 1"]), list(&["hip 2", "blas 2", "newlib 5"]));
    let groups = group(&good, &bad, &|_, _| Vec::new()).groups;
    let told = |upgraded: &[usize], installed: &[&str]| {
        let upgraded = upgraded.iter().copied().collect();
        deviations(&groups, &upgraded, &list(installed)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(&[0], &["hip 1", "blas 2", "other 7"]), [""; 0]);
    assert_eq!(told(&[0], &["hip 2", "blas 2"]), ["hip was 2 instead of 1"]);
    assert_eq!(told(&[], &["hip 1"]), ["blas was not installed instead of 1"]);
    assert_eq!(upgraded_in(&groups, &list(&["hip 1", "blas 2"])), Some([0].into()));
    assert_eq!(upgraded_in(&groups, &list(&["hip 3", "blas 2"])), None);
    // What others bring along is no deviation.
    assert_eq!(told(&[0, 1], &["hip 2", "blas 2", "newlib 5"]), [""; 0]);
    assert_eq!(told(&[0, 1], &["hip 2", "blas 2", "newlib 6"]), ["newlib was 6 instead of 5"]);
}

proptest! {
    #[test]
    fn every_change_is_in_one_group_and_users_come_after_what_they_use(
        before in prop::collection::btree_map("[a-f]", "[1-3]", 0..6),
        after in prop::collection::btree_map("[a-f]", "[1-3]", 0..6),
    ) {
        let list = |packages: &BTreeMap<String, String>| {
            let lines: Vec<String> = packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
            list(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        };
        // Each uses the one whose name is the next letter.
        let next = |name: &str| char::from(name.as_bytes()[0] + 1).to_string();
        let needs = |name: &str, _: &str| vec![Need { name: next(name), exactly: None }];
        let (good, bad) = (list(&before), list(&after));
        let groups = group(&good, &bad, &needs).groups;
        let mut names: Vec<&str> =
            groups.iter().flat_map(|group| &group.packages).map(|package| package.name.as_str()).collect();
        let of = |wanted: &str| {
            groups.iter().position(|group| group.packages.iter().any(|package| package.name == wanted))
        };
        for name in &names {
            if let Some(used) = of(&next(name)) {
                prop_assert!(Some(used) <= of(name), "{}: {:?}", name, groups);
            }
        }
        names.sort_unstable();
        let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed: Vec<&String> = all.into_iter().filter(|name| before.get(*name) != after.get(*name)).collect();
        prop_assert_eq!(names, changed);
        let everything = (0..groups.len()).collect();
        prop_assert_eq!(deviations(&groups, &Upgraded::new(), &good), []);
        prop_assert_eq!(deviations(&groups, &everything, &bad), []);
    }
}
