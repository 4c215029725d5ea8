//! Each rule on the smallest package that it is about, and packages that nothing is to be said about.

use lint::{Memory, Report, Severity, check, fix};

/// A library of the stack, as the ROCm team packages it.
const CONTROL: &str = "Source: rocfoo\nMaintainer: Debian ROCm Team <x@example.org>\n\nPackage: librocfoo1\n\
    Architecture: amd64 arm64\nXB-X-ROCm-GPU-Architecture: ${rocm:GPU-Architecture}\n\n\
    Package: librocfoo1-tests\nArchitecture: amd64 arm64\nDepends: librocfoo1 (= ${binary:Version}), ${misc:Depends}\n";
const GOOD: &str = "Test-Command: rocm-test-launcher /usr/libexec/rocm/librocfoo1-tests/run-tests\n\
    Features: test-name=librocfoo1-tests\nDepends: librocfoo1-tests, pkg-rocm-tools\n\
    Restrictions: allow-stderr, skippable\nArchitecture: amd64 arm64\n";
const RUN_TESTS: &str = "#!/bin/sh\nset -e\nif [ -n \"$AUTOPKGTEST_ARTIFACTS\" ]; then\n    \
    export GTEST_OUTPUT=\"${GTEST_OUTPUT:-xml:$AUTOPKGTEST_ARTIFACTS/}\"\nfi\n\
    exec /usr/libexec/rocm/librocfoo1-tests/rocfoo-test \"$@\"\n";

fn library(tests: &str) -> Memory {
    let mut tree = Memory::default();
    tree.add("debian/control", CONTROL)
        .add("debian/tests/control", tests)
        .add("debian/librocfoo1-tests.install", "debian/bin/run-tests usr/libexec/rocm/librocfoo1-tests\n")
        .add_program("debian/bin/run-tests", RUN_TESTS);
    tree
}

/// A package that has nothing to do with GPUs.
fn tool(tests: &str, script: &str) -> Memory {
    let mut tree = Memory::default();
    tree.add("debian/control", "Source: foo\n\nPackage: foo\nArchitecture: any\n")
        .add("debian/tests/control", tests)
        .add_program("debian/tests/smoke", script);
    tree
}

fn ids(report: &Report) -> Vec<&str> {
    report.open().map(|finding| finding.rule.id).collect()
}

#[test]
fn tests_made_as_the_guidelines_say_are_fine() {
    let report = check(&library(GOOD));
    assert_eq!(report.findings, [], "{:#?}", report.findings);
    let report = check(&tool("Tests: smoke\nDepends: @\n", "#!/bin/sh\nset -e\nfoo --all\n"));
    assert_eq!(report.findings, []);
}

#[test]
fn a_finding_has_a_place_a_test_and_a_message() {
    let report = check(&library(&GOOD.replace("allow-stderr", "allow-stdrr")));
    let finding = report.findings.iter().find(|finding| finding.rule.id == "unknown-restriction").expect("a finding");
    assert_eq!((finding.file.as_str(), finding.start, finding.end), ("debian/tests/control", (4, 15), (4, 26)));
    assert_eq!(finding.test.as_deref(), Some("librocfoo1-tests"));
    assert!(finding.message.contains("did you mean allow-stderr?"), "{}", finding.message);
}

/// Changes of the good control file, and the rules that they are against.
#[test]
fn mistakes_in_a_control_file_of_the_stack_are_found() {
    let launcher = "rocm-test-launcher ";
    for (from, to, expected) in [
        ("Restrictions:", "Restriction:", vec!["allow-stderr-missing", "skip-not-declared", "unknown-field"]),
        ("skippable", "skipable", vec!["skip-not-declared", "unknown-restriction"]),
        (", skippable", "", vec!["skip-not-declared"]),
        ("allow-stderr, ", "", vec!["allow-stderr-missing"]),
        (", pkg-rocm-tools", "", vec!["launcher-not-installed"]),
        ("librocfoo1-tests, pkg", "librocfoo1, pkg", vec!["tests-package-not-installed"]),
        ("librocfoo1-tests, pkg", "other, pkg", vec!["package-not-installed", "tests-package-not-installed"]),
        (launcher, "", vec!["launcher-missing"]),
        ("run-tests\n", "run-tests || true\n", vec!["always-passes"]),
        ("run-tests\n", "run-tests | tee log\n", vec!["always-passes"]),
        ("run-tests\n", "rocfoo-test\n", vec!["reports-missing"]),
        ("run-tests\n", "rocfoo-test --gtest_output=xml:/tmp/x\n", vec!["reports-elsewhere"]),
        ("run-tests\n", "run-tests --a=\"#1\"\n", vec!["hash-in-value"]),
        ("Features: test-name=librocfoo1-tests\n", "", vec!["unnamed-command"]),
        ("test-name=librocfoo1-tests", "test-name", vec!["test-name-feature"]),
        ("test-name=librocfoo1-tests", "test-name=a/b", vec!["test-name"]),
        ("skippable\n", "skippable, needs-root\n", vec!["needs-root"]),
        ("skippable\n", "skippable, isolation-machine\n", vec!["isolation"]),
        ("skippable\n", "skippable, build-needed\n", vec!["build-needed"]),
        ("skippable\n", "skippable, skip-not-installable\n", vec!["deprecated-restriction"]),
        ("skippable\n", "skippable\nClasses: GPU\n", vec!["class"]),
        ("skippable\n", "skippable\nClasses: gfx10x\n", vec!["class"]),
        ("Architecture: amd64 arm64", "Architecture: all", vec!["architecture-field"]),
        ("Architecture: amd64 arm64", "Architecture: amd64 !arm64", vec!["architecture-field"]),
        ("Architecture: amd64 arm64\n", "", vec!["architecture-missing"]),
        ("pkg-rocm-tools", "pkg-rocm-tools <!nocheck>", vec!["depends-syntax"]),
        ("Test-Command: ", "Test-Command: ROCR_VISIBLE_DEVICES=0 ", vec!["visible-devices"]),
        ("Test-Command: ", "Test-Command: /opt/rocm/bin/x && ", vec!["no-such-path"]),
        ("Test-Command: ", "Tests: a\nTest-Command: ", vec!["missing-test", "no-test", "test-name-feature"]),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let report = check(&library(&GOOD.replacen(from, to, 1)));
        let mut found = ids(&report);
        found.sort_unstable();
        assert_eq!(found, expected, "{from:?} -> {to:?}: {:#?}", report.findings);
    }
}

#[test]
fn mistakes_in_scripts_are_found() {
    for (script, expected) in [
        ("set -e\nfoo\n", vec!["no-shebang"]),
        ("#!/usr/bin/python\nprint()\n", vec!["interpreter"]),
        ("#!/bin/sh\r\nfoo\r\n", vec!["carriage-returns"]),
        ("#!/bin/sh\nfoo\ntrue\n", vec!["always-passes"]),
        ("#!/bin/sh -e\nfoo\ntrue\n", vec![]),
        ("#!/bin/sh\nmake check || true\n", vec!["failure-ignored", "undeclared-command"]),
        ("#!/bin/sh\nrm x || true\nfoo\n", vec![]),
        ("#!/bin/sh\nset -e\nfoo-test 2>&1 | tee log\n", vec!["failure-ignored"]),
        ("#!/bin/bash\nset -eo pipefail\nfoo-test 2>&1 | tee log\n", vec![]),
        ("#!/bin/sh\nwget https://example.org/data.bin\n", vec!["downloads"]),
        ("#!/bin/sh\ncurl http://localhost:80/\n", vec![]),
        ("#!/bin/sh\ntimeout 4h foo\n", vec!["timeout"]),
        ("#!/bin/sh\ntimeout -k 5 2h foo\n", vec![]),
        ("#!/bin/sh\nfoo || exit 77\n", vec!["skip-not-declared"]),
        ("#!/bin/sh\n# exit 77: make\ncat <<EOF\ncmake\nEOF\n", vec![]),
        ("#!/bin/sh\necho \"cmake; make\"\n", vec![]),
    ] {
        let report = check(&tool("Tests: smoke\n", script));
        let mut found = ids(&report);
        found.sort_unstable();
        assert_eq!(found, expected, "{script:?}: {:#?}", report.findings);
    }
}

#[test]
fn what_a_test_of_the_stack_does_to_a_machine_is_found() {
    let tests = "Tests: gpu\nDepends: @, pkg-rocm-tools\nRestrictions: skippable, allow-stderr\n";
    for (line, expected) in [
        ("chmod a+rw /dev/kfd", "device-access"),
        ("sudo usermod -a -G render,video debci", "device-access"),
        ("rocm-smi --setperflevel high", "changes-machine"),
        ("echo 1 > /sys/class/drm/card0/device/reset", "changes-machine"),
        ("modprobe amdgpu", "changes-machine"),
        ("export HIP_VISIBLE_DEVICES=1", "visible-devices"),
        ("./obj-x86_64-linux-gnu/clients/rocfoo-test", "no-such-path"),
        ("/usr/libexec/rocm/librocfoo1-tests/rocfoo-test", "reports-missing"),
        ("GTEST_OUTPUT=xml:out/ foo", "reports-elsewhere"),
    ] {
        let mut tree = library(tests);
        tree.add_program("debian/tests/gpu", &format!("#!/bin/sh\nset -e\nrocm-test-launcher true\n{line}\n"));
        let report = check(&tree);
        let finding = report.open().find(|finding| finding.rule.id == expected);
        let finding = finding.unwrap_or_else(|| panic!("{line}: {:#?}", report.findings));
        assert_eq!((finding.file.as_str(), finding.test.as_deref()), ("debian/tests/gpu", Some("gpu")));
    }
}

#[test]
fn what_is_installed_where_is_found() {
    let mut tree = library(GOOD);
    tree.add("debian/librocfoo1-tests.install", "debian/bin/run-tests usr/bin\nusr/bin/x usr/libexec/rocm/y\n")
        .add_program("debian/bin/run-tests", "#!/bin/sh\n/usr/libexec/rocm/librocfoo1-tests/rocfoo-test\n");
    let report = check(&tree);
    assert_eq!(ids(&report), ["arguments-dropped", "reports-missing", "install-path"]);
}

#[test]
fn a_package_that_names_no_gpu_is_told_so_and_classes_settle_it() {
    let bare = CONTROL.replace("XB-X-ROCm-GPU-Architecture: ${rocm:GPU-Architecture}\n", "");
    let mut tree = library(GOOD);
    tree.add("debian/control", &bare);
    assert_eq!(ids(&check(&tree)), ["gpu-need"]);
    tree.add("debian/tests/control", &format!("{GOOD}Classes: gpu\n"));
    assert_eq!(ids(&check(&tree)), Vec::<&str>::new());
    let mut tree = library(GOOD);
    tree.add("debian/control", &CONTROL.replace("XB-X-ROCm", "X-ROCm"));
    assert_eq!(ids(&check(&tree)), ["gpu-architecture-field", "gpu-need"]);
}

#[test]
fn an_essential_package_and_a_hint_need_no_dependency() {
    let tests = "Tests: smoke\nDepends: perl\n";
    let script = "#!/bin/sh\nset -e\nfoo\n";
    assert_eq!(ids(&check(&tool(tests, script))), ["package-not-installed"]);
    let mut tree = tool(tests, script);
    tree.add("debian/control", "Source: foo\n\nPackage: foo\nEssential: yes\nArchitecture: any\n");
    assert_eq!(ids(&check(&tree)), Vec::<&str>::new());
    let hint = "Tests: hint\nDepends: other\nRestrictions: hint-testsuite-triggers\n";
    assert_eq!(ids(&check(&tool(hint, script))), Vec::<&str>::new());
}

#[test]
fn overrides_silence_with_a_reason_and_are_checked_themselves() {
    let mut tree = library(&GOOD.replace("skippable", "skippable, needs-root"));
    tree.add(
        lint::OVERRIDES,
        "# why\nneeds-root librocfoo1-tests: it resets a counter that only root may\nno-tests: x\nneed-root: x\nclass\n",
    );
    let report = check(&tree);
    assert_eq!(ids(&report), ["override-unused", "override", "override"]);
    let silenced = report.findings.iter().find(|finding| finding.rule.id == "needs-root").expect("it is still told");
    assert_eq!(silenced.silenced.as_deref(), Some("it resets a counter that only root may"));
    assert_eq!(report.count(Severity::Warning), 1);
    assert!(report.findings.iter().any(|finding| finding.message.contains("did you mean needs-root?")));
}

#[test]
fn a_control_file_that_cannot_be_read_is_an_error_at_its_line() {
    let report = check(&library("Tests: a\nno colon here\n"));
    let finding = report.findings.iter().find(|finding| finding.rule.id == "control-syntax").expect("a finding");
    assert_eq!(finding.start, (2, 1));
}

#[test]
fn fixes_mend_what_is_mechanical_and_keep_the_rest() -> Result<(), Box<dyn std::error::Error>> {
    let before = "# tests of rocfoo\nTest-Command: /usr/libexec/rocm/librocfoo1-tests/run-tests  # all\nDepends:\n librocfoo1,\n\
                  # for the reports\n jq,\nRestriction: allow-stdrr\nClasses: GFX1030\n\nTest-Command: rocminfo --help\n\
                  Depends: @, rocminfo\nRestrictions: needs-recommends\n";
    let after = "# tests of rocfoo\nTest-Command: rocm-test-launcher /usr/libexec/rocm/librocfoo1-tests/run-tests  # all\nDepends:\n librocfoo1,\n\
                 # for the reports\n jq,\n pkg-rocm-tools,\n librocfoo1-tests,\nRestrictions: allow-stderr, skippable\nClasses: gfx1030\n\
                 Features: test-name=librocfoo1-tests\nArchitecture: amd64 arm64\n\nTest-Command: rocminfo --help\n\
                 Depends: @, rocminfo, @recommends@\nRestrictions: superficial\n";
    let mut tree = library(before);
    let fixed = fix(&mut tree, Severity::Note).map_err(|(file, error)| format!("{file}: {error}"))?;
    assert_eq!(fixed.files, ["debian/tests/control"]);
    assert_eq!(tree.text("debian/tests/control"), Some(after));
    let again = fix(&mut tree, Severity::Note).map_err(|(file, error)| format!("{file}: {error}"))?;
    assert_eq!((again.files.len(), again.findings), (0, 0));
    assert_eq!(check(&tree).count(Severity::Error), 0);
    Ok(())
}

// Three seconds without optimisation: it is about the limits of what is looked through.
#[test]
fn a_control_file_that_names_a_large_script_a_hundred_thousand_times_is_checked_within_limits() {
    let stanza = format!("Tests: {}\n\n", "smoke ".repeat(100));
    let tests = stanza.repeat((1 << 20) / stanza.len());
    let script = "curl http://example.org/\r\n".repeat(40_000);
    let report = check(&tool(&tests, &script));
    assert!(report.cut && report.findings.len() == 1_000, "{}", report.findings.len());
    let texts: usize = report.findings.iter().map(|finding| finding.message.len()).sum();
    assert!(texts < 1 << 20);
}
