//! Searches over images: planned from their locks, and with machines that boot what is built for them.

use rocbed_tests::{Server, TestArchive, rocbed, source_tree};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

use super::refusal;

#[test]
fn a_search_over_images_is_planned_from_their_locks() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    // A later lock, with another kernel and another gzip.
    let lock = include_str!("../../recipes/smoke.lock");
    let gzip =
        lock.replace("gzip_1.14-1_amd64", "gzip_1.14-2_amd64").replace("version = \"1.14-1\"", "version = \"1.14-2\"");
    fs::write(path("good.lock"), lock).expect("a lock");
    fs::write(path("bad.lock"), gzip.replace("7.2.13", "7.3.1")).expect("a lock");
    let (good, bad) = (path("good.lock"), path("bad.lock"));
    let search = ["bisect", "rocfft", "--test", "upstream", "--plan", "--image", &good, "--image", &bad];
    let plan = rocbed(search).arg("--recipe").arg("smoke").ok();
    for says in [
        "packages differ, in 2 groups:",
        "1  gzip 1.14-1 -> 1.14-2",
        "2  linux 7.2.13-1 -> 7.3.1-1, linux-signed-amd64 7.2.13-1 -> 7.3.1-1",
        "at most 4 runs for one group, 6 for two, as virtual machines that boot images which are built for it",
    ] {
        assert!(plan.contains(says), "{plan}");
    }
    assert!(refusal(rocbed(search)).contains("--recipe"));

    // Images in a row.
    for name in ["a", "b", "c"] {
        fs::create_dir(path(name)).expect("an image");
        fs::write(directory.path().join(name).join("SHA256SUMS"), "").expect("its sums");
    }
    let (a, b, c) = (path("a"), path("b"), path("c"));
    let row = ["bisect", "rocfft", "--plan", "--image", &a, "--image", &b, "--image", &c, "--gpu=gfx1030"];
    let plan = rocbed(row).args(&["--test", "upstream", "--memory", "4GiB"]).ok();
    assert!(plan.contains("3 images, from a to c") && plan.contains("at most 4 runs, as virtual machines"), "{plan}");
    assert!(refusal(rocbed(row)).contains("--test"));
    let mixed = ["bisect", "rocfft", "--plan", "--image", &a, "--image", &bad];
    assert!(refusal(rocbed(mixed)).contains("two locks of one recipe"));
}

/// Two locks of a recipe for which an archive beside sid had other packages: a library, firmware, and the metapackage of the
/// kernel, by which the one lock has sid's and the other one that of Debian 13.
struct TwoLocks {
    /// apt in testbeds takes libraries from there.
    _archive: (TestArchive, Server),
    directory: TempDir,
    /// What `uname -r` says with the first.
    kernel: String,
}

/// The packages of a recipe, by name.
fn packages(words: &[&str]) -> Vec<String> {
    let plan = rocbed(["plan", "--json", "--ignore-valid-until"]).args(words).ok();
    let plan: Value = serde_json::from_str(&plan).unwrap_or_else(|error| panic!("{error}: {plan}"));
    let names = plan["packages"].as_array().expect("packages").iter();
    names.filter_map(|package| package["name"].as_str().map(str::to_owned)).collect()
}

/// What names of packages with a kernel begin with; its release follows.
const KERNELS: [&str; 2] = ["linux-image-", "linux-binary-"];

/// The package with the kernel, and the kernel's release.
fn kernel(packages: &[String]) -> (String, String) {
    let release = |name: &&String| {
        let release = KERNELS.iter().find_map(|begin| name.strip_prefix(begin))?;
        // Not a package that only names the newest one, such as linux-image-amd64.
        release.starts_with(|first: char| first.is_ascii_digit()).then(|| release.to_owned())
    };
    let found = packages.iter().find_map(|name| Some((name.clone(), release(&name)?)));
    found.unwrap_or_else(|| panic!("no kernel in {packages:?}"))
}

impl TwoLocks {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("13.toml"), "inherits = \"smoke\"\n[archive]\nsuite = \"trixie\"\n").expect("a recipe");
        let (old, _) = kernel(&packages(&[&path("13.toml")]));
        let (_, release) = kernel(&packages(&["smoke"]));
        let archive = TestArchive::new();
        let publish = |version: &str, kernel: &str| {
            archive.add_deb_with("libgreet", version, "", &[("/usr/lib/greet", version)]);
            archive.add_deb_with("firmware-greet", version, "", &[("/usr/lib/firmware/greet.bin", version)]);
            archive.add_deb_with("linux-image-amd64", version, &format!("Depends: {kernel}\n"), &[]);
            archive.publish("Fri, 30 Oct 2026 08:08:01 UTC", None);
        };
        let server = archive.serve();
        let (mirror, key) = (server.url(""), archive.path().join("key.asc").display().to_string());
        let recipe = format!(
            "inherits = 'smoke'\n[packages]\ninstall = ['libgreet', 'firmware-greet']\n[image]\nsecure-boot = false\n\
             [[extra-archive]]\nname = 'trixie'\npackages = [{old:?}]\napt = false\n\
             [[extra-archive]]\nname = 'ours'\nsuite = 'sid'\nmirror = {mirror:?}\nkeyrings = [{key:?}]\n\
             packages = ['libgreet', 'firmware-greet', 'linux-image-amd64']\n"
        );
        fs::write(path("own.toml"), recipe).expect("a recipe");
        for (name, version, kernel) in
            [("good.lock", "8-1", &format!("linux-image-{release}")), ("bad.lock", "9-1", &old)]
        {
            publish(version, kernel);
            rocbed(["lock", "--ignore-valid-until", &path("own.toml"), "--lock", &path(name)]).ok();
        }
        Self { kernel: release, _archive: (archive, server), directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A source tree with a test for each thing that is new: it fails where it is.
    fn tree(&self) -> String {
        let tests = [
            ("kernel", format!("test $(uname -r) = {}", self.kernel)),
            ("firmware", "grep 8-1 /usr/lib/firmware/greet.bin".to_owned()),
            ("never", "false".to_owned()),
        ];
        let each =
            tests.map(|(name, command)| format!("Test-Command: {command}\nFeatures: test-name={name}\nDepends:\n"));
        source_tree(self.directory.path(), "greet", &[("tests/control", &each.join("\n"))]).display().to_string()
    }

    /// Searches with machines for what a test fails with; returns the exit status and the outcome.
    fn bisect(&self, words: &[&str], state: &str) -> (Option<i32>, Value) {
        let (good, bad, recipe) = (self.path("good.lock"), self.path("bad.lock"), self.path("own.toml"));
        let images = ["--image", &good, "--image", &bad, "--recipe", &recipe];
        let call = rocbed(["bisect", "--yes", "--json", "--ignore-valid-until", "--state", &self.path(state)])
            .args(words)
            .args(&images);
        let output = call.run();
        eprintln!("{}{}", output.stderr, output.stdout);
        let outcome = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout));
        (output.code, outcome)
    }
}

/// This field of each.
fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|one| one[field].as_str()).collect()
}

/// The sources of the groups that were found.
fn sources(outcome: &Value) -> Vec<Vec<&str>> {
    let groups = outcome["groups"].as_array().expect("groups").iter();
    groups.map(|group| names(&group["sources"], "source")).collect()
}

/// Twelve images are built and booted, half of them by mixed locks, and 110 MB of Debian 13's kernel are fetched, which no other
/// test needs.
#[test]
#[ignore = "twelve boots of images that are built for it: six minutes of processor time without KVM"]
fn kernel_and_firmware_are_told_apart_from_packages() {
    let locks = TwoLocks::new();
    let tree = locks.tree();
    // The firmware, from two results: the packages of testbeds are innocent.
    let result = |lock: &str, code: i32| {
        let (recipe, lock, to) = (locks.path("own.toml"), locks.path(lock), locks.path(&format!("{lock}.result")));
        let test = ["test", "--ignore-valid-until", &recipe, &tree, "--lock", &lock, "--output", &to];
        let output = rocbed(test).args(&["--", "--test-name=firmware"]).run();
        assert_eq!(output.code, Some(code), "{}", output.stderr);
        format!("{to}/greet.tar.zst")
    };
    let (good, bad) = (result("good.lock", 0), result("bad.lock", 4));
    let (recipe, lock, state) = (locks.path("own.toml"), locks.path("bad.lock"), locks.path("packages.json"));
    let local = ["--local", &recipe, "--lock", &lock, "--ignore-valid-until", "--yes", "--state", &state];
    let output = rocbed(["bisect", &good, &bad]).args(&local).run();
    assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
    // Those of the archive that is beside sid are looked at too.
    let versions = output.stderr.lines().find(|line| line.contains("versions: ")).unwrap_or_default();
    assert!(versions.ends_with(" from the archive"), "{}", output.stderr);
    for says in [
        "fails with all packages as in the run that passed",
        "takes effect at the next boot only: firmware-greet 8-1 -> 9-1",
        "next: rocbed bisect",
    ] {
        assert!(output.stdout.contains(says), "{}", output.stdout);
    }
    let (code, outcome) = locks.bisect(&[&good, &bad], "firmware.json");
    assert_eq!((code, sources(&outcome)), (Some(0), vec![vec!["firmware-greet"]]), "{outcome:#}");
    // Anybody can build that image again.
    let reproduce = outcome["fails-with"]["reproduce"].as_str().unwrap_or_default();
    let lock = reproduce.split(' ').find_map(|word| word.strip_prefix("--lock=")).unwrap_or_default();
    assert!(lock.starts_with(&locks.path("firmware.")) && Path::new(lock).exists(), "{reproduce}");

    // The kernel, from a source tree. What only the old one needs comes with it.
    let (code, outcome) = locks.bisect(&[&tree, "--test", "kernel"], "kernel.json");
    let found = sources(&outcome);
    assert_eq!((code, found.len()), (Some(0), 1), "{outcome:#}");
    assert!(found[0].contains(&"linux-signed-amd64") && !found[0].contains(&"libgreet"), "{outcome:#}");
    // Neither.
    let (code, outcome) = locks.bisect(&[&tree, "--test", "never"], "never.json");
    assert_eq!((code, &outcome["outcome"]), (Some(4), &Value::from("fails-with-old-packages")), "{outcome:#}");
}
