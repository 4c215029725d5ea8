//! Searches on this machine, in testbeds.

use std::fs;
use std::path::Path;

use rocbed_tests::{DatedArchive, app_files, rocbed, source_tree, testbed_recipe};
use serde_json::Value;
use tempfile::TempDir;

use super::{Keeping, found};

/// Testbeds of the smoke recipe's root directory, with the dated archive in place of Debian's, and two results of `app` there:
/// with older packages, and with the newest ones.
struct Testbeds {
    directory: TempDir,
    recipe: String,
    good: String,
    bad: String,
}

impl Testbeds {
    /// Runs a test with these versions, and with the newest ones, with which it fails.
    fn new(archive: &DatedArchive, mirror: &str, test: &str, good: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let recipe = testbed_recipe(directory.path(), archive.signed(), mirror).display().to_string();
        let files = app_files(&[test]);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let tree = source_tree(directory.path(), "app", &files).display().to_string();

        let run = |name: &str, versions: &[&str]| {
            let call = rocbed(["test", &recipe, &tree, "--output", &path(name)]);
            versions.iter().fold(call, |call, version| call.arg(format!("--package-version={version}"))).run()
        };
        let output = run("good", good);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        assert_eq!(run("bad", &[]).code, Some(4));
        let (good, bad) = (path("good/app.tar.zst"), path("bad/app.tar.zst"));
        Self { directory, recipe, good, bad }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

#[test]
fn a_pair_of_upgrades_is_found_in_testbeds_on_this_machine() {
    let archive = DatedArchive::new();
    let server = archive.signed().serve();
    let testbeds = Testbeds::new(&archive, &server.url(""), "pair", &["libb=2", "libc=2", "libd=2"]);
    let state = testbeds.path("state.json");
    let Testbeds { recipe, good, bad, .. } = &testbeds;
    let search = ["bisect", good, bad, "--local", recipe, "--recipe", "smoke", "--offline", "--state", &state, "--yes"];
    let output = rocbed(search).arg("--json").run();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let outcome: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(found(&outcome), ["libb", "libc"]);
    let reproduce = outcome["fails-with"]["reproduce"].as_str().unwrap_or_default();
    assert!(
        reproduce.contains("--package-version=libb=3") && reproduce.contains("--package-version=libd=2"),
        "{reproduce}"
    );

    // A version that is no longer to be had is named, and is no answer.
    fs::remove_file(&state).expect("the search");
    fs::remove_file(archive.signed().path().join("pool/libb_2_amd64.deb")).expect("a package");
    archive.signed().publish("Sat, 31 Oct 2026 08:08:01 UTC", None);
    let output = rocbed(search).run();
    assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
    assert!(
        output.stdout.contains("cannot be tested with the packages as in") && output.stdout.contains("libb"),
        "{}",
        output.stdout
    );
}

#[test]
fn versions_that_the_archive_has_no_more_come_from_the_hub_to_this_machine() {
    let lab = Keeping::start();
    lab.wait_for_old();
    let old = Keeping::OLD.map(|(name, version)| format!("{name}={version}"));
    let testbeds = Testbeds::new(&lab.archive, &lab.server.url(""), "single", &old.each_ref().map(String::as_str));
    lab.remove_old();
    let state = testbeds.path("state.json");
    let Testbeds { recipe, good, bad, .. } = &testbeds;
    let search = [
        "bisect",
        good,
        bad,
        "--local",
        recipe,
        "--recipe",
        &lab.recipe,
        "--state",
        &state,
        "--hub",
        lab.hub.address(),
    ];
    // The plan of somebody without the token.
    let output = rocbed(search).arg("--plan").run();
    let says = "2 kept at the hub, which gives them only to those with its admin token (liba 2, libe 1)";
    assert!(
        output.stdout.contains(says) && output.stderr.contains("--token-file"),
        "{}{}",
        output.stdout,
        output.stderr
    );

    let token = lab.hub.started()["admin-token-path"].as_str().expect("its file");
    let plan = rocbed(search).arg("--token-file").arg(token).arg("--plan").ok();
    let gives = "versions: 2 from the archive, 2 kept at the hub (liba 2, libe 1; ";
    assert!(plan.contains(gives), "{plan}");
    let files = testbeds.directory.path().join("state.packages");
    assert!(!files.exists(), "the plan fetches nothing");

    // Begun without the token, the search ends at once, and is taken up with it.
    let output = rocbed(search).arg("--yes").run();
    assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("it cannot be tested with the packages as in"), "{}", output.stdout);
    let take_up = || rocbed(["bisect", "--continue", "--state", &state, "--token-file", token]);
    // The file of a search may name any hub: the token is sent to none that the user has not named.
    let output = take_up().arg("--plan").run();
    assert!(output.stdout.contains(says) && output.stderr.contains("the token is not sent to"), "{output:?}");
    let take_up = || take_up().args(&["--hub", lab.hub.address()]);
    let plan = take_up().arg("--plan").ok();
    assert!(plan.contains(gives), "{plan}");
    let output = take_up().arg("--json").run();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let outcome: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(found(&outcome), ["liba"]);
    assert_eq!(outcome["without"]["failed"], 0);

    // The command that repeats a run has the files of the hub in it, and works.
    let reproduce = outcome["fails-with"]["reproduce"].as_str().expect("a command");
    let kept = files.join("libe_1_amd64.deb").display().to_string();
    assert!(reproduce.contains(&kept) && reproduce.contains("--package-version=liba=3"), "{reproduce}");
    assert!(Path::new(&kept).exists());
    let words = reproduce.strip_prefix("rocbed ").expect("rocbed").split(' ');
    assert_eq!(rocbed(words).run().code, Some(4), "{reproduce}");
}
