//! `rocbed test --compare`: the same tests with the archive's packages and with own ones. The archive and a PPA are here, so that
//! testbeds wait for no index of Debian's.

use std::path::Path;

use protocol::api::Comparison;
use rocbed_tests::{Ppa, TestArchive, rocbed, source_tree, testbed_recipe};

/// A package with tests that need `libgreet`, of which the archive has 2.1: one passes with this version only, one never.
fn tree(directory: &Path) -> String {
    let is_old = "#!/bin/sh\ndpkg --compare-versions \"$(dpkg-query -W -f '${Version}' libgreet)\" lt 2.2\n";
    let files = [
        ("tests/control", "Tests: passes breaks fails\nDepends: libgreet\n"),
        ("tests/passes", "#!/bin/sh\ntrue\n"),
        ("tests/breaks", is_old),
        ("tests/fails", "#!/bin/sh\nfalse\n"),
    ];
    source_tree(directory, "app", &files).display().to_string()
}

#[test]
fn what_a_ppa_breaks_is_told_from_what_is_broken_without_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = testbed_recipe(directory.path(), &archive, &server.url("")).display().to_string();
    let (tree, ppa) = (tree(directory.path()), Ppa::new("libgreet", "2.2"));
    let results = directory.path().join("results");
    let call = rocbed(["test", &recipe, &tree, "--compare", "--apt-source", &ppa.source(), "--json", "--output"]);
    let output = call.arg(&results).run();
    assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
    let comparison: Comparison = serde_json::from_str(&output.stdout).expect("a comparison");
    let told: Vec<_> = comparison.tests.iter().map(|test| (test.test.as_str(), test.compared.name())).collect();
    let expected =
        [("breaks", "regressed"), ("", "still-failing"), ("fails", "still-failing"), ("passes", "still-passing")];
    assert_eq!(told, expected);
    let changed: Vec<String> = comparison.changed.iter().map(ToString::to_string).collect();
    assert_eq!(changed, ["libgreet 2.1 -> 2.2"], "{}", output.stderr);
    let requests = ppa.requests();
    for path in
        ["/owner/name/ubuntu/dists/noble/InRelease", "/owner/name/ubuntu/pool/main/l/libgreet/libgreet_2.2_amd64.deb"]
    {
        assert!(requests.iter().any(|request| request == path), "{requests:?}");
    }
    for bundle in ["archive/app-archive.tar.zst", "own/app.tar.zst"] {
        assert!(results.join(bundle).exists(), "{}", output.stderr);
    }

    // The same package as a file, and only a test that fails in both.
    let call = rocbed(["test", &recipe, &tree, &ppa.deb(), "--compare", "--", "--test-name=fails"]);
    let output = call.run();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    for says in [
        "with the archive's packages:\nfails  fail ",
        "with own packages:\nfails  fail ",
        "changed: libgreet 2.1 -> 2.2\n",
    ] {
        assert!(output.stdout.contains(says), "{}", output.stdout);
    }
    assert!(output.stdout.ends_with("\n2 still failing\n"), "{}", output.stdout);
}
