//! [`Environment`]: what may decide whether a test passes, and what differs between two of them.

use std::collections::BTreeMap;

use protocol::JobResult;
use protocol::api::{ChangeKind, Difference};
use serde::{Deserialize, Serialize};

/// What a test ran with. A value that is not known is empty, and never counts as a difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Environment {
    /// Release of the kernel.
    pub kernel: String,
    /// Versions of the GPU's firmware.
    pub firmware: BTreeMap<String, String>,
    /// The image that the machine was booted from.
    pub image: String,
    /// The kernel's command line.
    pub command_line: String,
    /// The machine, with its GPU.
    pub machine: String,
    /// Source packages with their versions; `None` if they are not known.
    pub packages: Option<BTreeMap<String, String>>,
}

impl Environment {
    /// The environment of a result, without its packages. `machine` is what people call the machine.
    pub fn of(result: &JobResult, machine: &str) -> Self {
        let image =
            result.machine.image.as_ref().map(|image| format!("{} {}", image.name, image.root).trim().to_owned());
        let gpus: Vec<&str> = result.used_gpus().map(|gpu| gpu.unique_id.as_deref().unwrap_or(&gpu.id)).collect();
        Self {
            kernel: result.machine.kernel.clone(),
            firmware: result.used_gpus().flat_map(|gpu| gpu.firmware.clone()).collect(),
            image: image.unwrap_or_default(),
            command_line: result.machine.command_line.clone().unwrap_or_default(),
            machine: format!("{machine} {}", gpus.join(" ")).trim().to_owned(),
            packages: None,
        }
    }
}

/// What differs between a run that passed and one that failed: kernel, firmware, image, command line and machine first,
/// then source packages by name.
pub fn differences(good: &Environment, bad: &Environment) -> Vec<Difference> {
    let difference = |kind: ChangeKind, name: &str, from: Option<&String>, to: Option<&String>| Difference {
        kind,
        name: name.to_owned(),
        from: from.cloned(),
        to: to.cloned(),
        cleared_by: None,
        passed_with: Vec::new(),
    };
    let mut found = Vec::new();
    let value = |kind: ChangeKind, from: &String, to: &String| {
        let differ = from != to && !from.is_empty() && !to.is_empty();
        differ.then(|| difference(kind, kind.name(), Some(from), Some(to)))
    };
    found.extend(value(ChangeKind::Kernel, &good.kernel, &bad.kernel));
    if !good.firmware.is_empty() && !bad.firmware.is_empty() {
        for (name, from, to) in changed(&good.firmware, &bad.firmware) {
            found.push(difference(ChangeKind::Firmware, name, from, to));
        }
    }
    found.extend(value(ChangeKind::Image, &good.image, &bad.image));
    found.extend(value(ChangeKind::CommandLine, &good.command_line, &bad.command_line));
    found.extend(value(ChangeKind::Machine, &good.machine, &bad.machine));
    if let (Some(before), Some(after)) = (&good.packages, &bad.packages) {
        for (name, from, to) in changed(before, after) {
            found.push(difference(ChangeKind::Package, name, from, to));
        }
    }
    found
}

type Changed<'a> = (&'a str, Option<&'a String>, Option<&'a String>);

fn changed<'a>(before: &'a BTreeMap<String, String>, after: &'a BTreeMap<String, String>) -> Vec<Changed<'a>> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let all = names.into_iter().map(|name| (name.as_str(), before.get(name), after.get(name)));
    all.filter(|(_, from, to)| from != to).collect()
}

/// Whether an environment has the new value of a difference.
fn has(environment: &Environment, difference: &Difference) -> bool {
    let new = difference.to.as_ref();
    match difference.kind {
        ChangeKind::Kernel => new == Some(&environment.kernel),
        ChangeKind::Image => new == Some(&environment.image),
        ChangeKind::CommandLine => new == Some(&environment.command_line),
        ChangeKind::Machine => new == Some(&environment.machine),
        ChangeKind::Firmware => !environment.firmware.is_empty() && environment.firmware.get(&difference.name) == new,
        ChangeKind::Package => {
            environment.packages.as_ref().is_some_and(|packages| packages.get(&difference.name) == new)
        }
    }
}

/// Marks the differences that a run which passed had as well. A run of the same test on the same target clears them;
/// another test or target (`label`) only gives a hint, as it may not use the changed package.
pub fn clear(differences: &mut [Difference], passed: &Environment, job: &str, label: Option<&str>) {
    /// Most hints for a difference.
    const MOST: usize = 5;
    for difference in differences.iter_mut().filter(|difference| has(passed, difference)) {
        match label {
            None => {
                difference.cleared_by.get_or_insert_with(|| job.to_owned());
            }
            Some(label) => {
                let label = label.to_owned();
                if difference.passed_with.len() < MOST && !difference.passed_with.contains(&label) {
                    difference.passed_with.push(label);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packages(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    }

    fn good() -> Environment {
        Environment {
            kernel: "7.2.13".into(),
            firmware: [("MEC".to_owned(), "0x50".to_owned())].into(),
            image: "a".into(),
            machine: "epyc-1".into(),
            packages: Some(packages(&[("rocr-runtime", "6.4.3-5"), ("llvm", "1:21.1.4-1"), ("glibc", "2.42-1")])),
            ..Environment::default()
        }
    }

    fn told(differences: &[Difference]) -> Vec<String> {
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn machine_and_packages_are_told_apart() {
        let bad = Environment {
            kernel: "7.3.1".into(),
            firmware: [("MEC".to_owned(), "0x51".to_owned())].into(),
            packages: Some(packages(&[
                ("rocr-runtime", "7.2.4-1"),
                ("llvm", "1:21.1.4-1"),
                ("glibc", "2.42-1"),
                ("new", "1"),
            ])),
            ..good()
        };
        assert_eq!(
            told(&differences(&good(), &bad)),
            ["kernel 7.2.13 -> 7.3.1", "MEC 0x50 -> 0x51", "new none -> 1", "rocr-runtime 6.4.3-5 -> 7.2.4-1"]
        );
    }

    #[test]
    fn what_is_not_known_is_no_difference() {
        let unknown = Environment { kernel: "7.2.13".into(), ..Environment::default() };
        assert_eq!(differences(&good(), &unknown), []);
        assert_eq!(differences(&unknown, &good()), []);
    }

    #[test]
    fn a_run_that_passed_clears_what_it_had() {
        let bad = Environment {
            packages: Some(packages(&[("rocr-runtime", "7.2.4-1"), ("llvm", "1:21.1.5-1"), ("glibc", "2.42-1")])),
            ..good()
        };
        let mut changed = differences(&good(), &bad);
        let between = Environment {
            packages: Some(packages(&[("rocr-runtime", "6.4.3-5"), ("llvm", "1:21.1.5-1"), ("glibc", "2.42-1")])),
            ..good()
        };
        clear(&mut changed, &between, "rocfft-7", None);
        clear(&mut changed, &bad, "rocrand-3", Some("rocrand"));
        clear(&mut changed, &bad, "rocrand-4", Some("rocrand"));
        let cleared: Vec<_> = changed.iter().map(|one| (one.name.as_str(), one.cleared_by.as_deref())).collect();
        assert_eq!(cleared, [("llvm", Some("rocfft-7")), ("rocr-runtime", None)]);
        assert_eq!(changed[1].passed_with, ["rocrand"]);
    }

    proptest! {
        #[test]
        fn a_run_like_the_bad_one_clears_everything_and_one_like_the_good_one_nothing(
            before in prop::collection::btree_map("[a-d]", "[1-3]", 0..5),
            after in prop::collection::btree_map("[a-d]", "[1-3]", 0..5),
        ) {
            let of = |packages| Environment { packages: Some(packages), ..good() };
            let (before, after) = (of(before), of(after));
            let mut changed = differences(&before, &after);
            clear(&mut changed, &before, "good", None);
            prop_assert!(changed.iter().all(|one| one.cleared_by.is_none()));
            clear(&mut changed, &after, "bad", None);
            prop_assert!(changed.iter().all(|one| one.cleared_by.is_some()));
        }
    }
}
