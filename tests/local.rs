//! Tests of `rocbed test`: the real autopkgtest in real testbeds on the smoke recipe's root directory.

#[path = "local/compare.rs"]
mod compare;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rocbed_tests::{Output, Trees, command_tree, real_mirror, rocbed, source_tree, tool};
use serde_json::Value;
use tempfile::TempDir;

/// A run of `rocbed test smoke`, with its results in a directory.
struct Tested {
    output: Output,
    result: Value,
    directory: TempDir,
}

/// Runs the tests of a package, or of a source tree in `fixtures/trees`.
fn test(package: &str, words: &[&str]) -> Tested {
    let directory = tempfile::tempdir().expect("a directory");
    let call = rocbed(["test", "smoke", package, "--json", "--output"]).arg(directory.path());
    let output = words.iter().fold(call, rocbed_tests::Call::arg).run();
    let result = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("no result ({error}): {:?}\n{}", output.code, output.stderr));
    Tested { output, result, directory }
}

fn tree(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees").join(name).display().to_string()
}

impl Tested {
    /// Name and outcome of each test of a run.
    fn outcomes(&self, run: usize) -> Vec<(&str, &str)> {
        let tests = self.result["runs"][run]["tests"].as_array().expect("tests");
        tests.iter().filter_map(|test| Some((test["name"].as_str()?, test["outcome"].as_str()?))).collect()
    }

    fn file(&self, path: &str) -> String {
        let path = self.directory.path().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.output.stderr))
    }

    fn bundle(&self) -> PathBuf {
        let names =
            fs::read_dir(self.directory.path()).expect("the results").map(|entry| entry.expect("an entry").path());
        let mut bundles: Vec<_> = names.filter(|path| path.to_string_lossy().ends_with(".tar.zst")).collect();
        assert_eq!(bundles.len(), 1, "one bundle: {bundles:?}");
        bundles.remove(0)
    }
}

#[test]
fn a_package_of_the_archive_passes() {
    let tested = test("gzip", &["--ignore-valid-until", "--mirror", &real_mirror()]);
    assert_eq!(tested.output.code, Some(0), "{}", tested.output.stderr);
    assert_eq!(tested.result["verdict"], "pass");
    assert_eq!(tested.result["runs"][0]["package"]["name"], "gzip");
    let outcomes = tested.outcomes(0);
    assert!(!outcomes.is_empty() && outcomes.iter().all(|(_, outcome)| *outcome == "pass"), "{outcomes:?}");
    assert!(tested.file("log").contains("apt-get"));

    // What was installed was recorded in the testbed.
    let result: protocol::JobResult = serde_json::from_value(tested.result.clone()).expect("a result");
    let (run, lists) = (&result.runs[0], result.installed.resolve().expect("lists"));
    let package = run.package.as_ref().expect("a package");
    let binary = |name: &str| lists.values().all(|list| list.packages().any(|package| package.name == name));
    assert!(!lists.is_empty() && binary("gzip") && binary("dpkg"), "{:?}", run.tests);
    assert_eq!(run.tested.as_ref(), Some(&package.version));
    assert!(run.archives.iter().any(|archive| archive.codename == "sid" && !archive.date.is_empty()), "{run:?}");
    assert!(run.tests.iter().all(|test| test.installed.is_some_and(|digest| lists.contains_key(&digest))), "{run:?}");
}

/// The image's gzip with another version, as somebody builds it before an upload.
fn own_gzip(directory: &Path, mirror: &str) -> PathBuf {
    let lock = include_str!("../recipes/smoke.lock");
    let version = lock.split("name = \"gzip\"").nth(1).and_then(|rest| rest.split("version = \"").nth(1));
    let version = version.and_then(|rest| rest.split('"').next()).expect("the lock's gzip");
    let (theirs, unpacked) = (directory.join("gzip.archive"), directory.join("gzip.d"));
    let url = format!("{mirror}/pool/main/g/gzip/gzip_{version}_amd64.deb");
    tool("curl", ["--silent", "--show-error", "--fail", "--location", "--output", &theirs.display().to_string(), &url]);
    tool("dpkg-deb", ["--raw-extract".as_ref(), theirs.as_os_str(), unpacked.as_os_str()]);
    let control = unpacked.join("DEBIAN/control");
    let fields = fs::read_to_string(&control).expect("the control file");
    fs::write(&control, fields.replace(&format!("Version: {version}\n"), "Version: 1.14-1+local1\n"))
        .expect("writing it");
    let own = directory.join("gzip_1.14-1+local1_amd64.deb");
    tool("dpkg-deb", ["--root-owner-group".as_ref(), "--build".as_ref(), unpacked.as_os_str(), own.as_os_str()]);
    own
}

#[test]
fn own_packages_are_what_was_tested() {
    let (directory, mirror) = (tempfile::tempdir().expect("a directory"), real_mirror());
    let own = own_gzip(directory.path(), &mirror).display().to_string();
    // The package's tests are its source's, which the file names.
    let tested = test(&own, &["--ignore-valid-until", "--mirror", &mirror]);
    assert_eq!(tested.output.code, Some(0), "{}", tested.output.stderr);
    let result: protocol::JobResult = serde_json::from_value(tested.result.clone()).expect("a result");
    let (run, lists) = (&result.runs[0], result.installed.resolve().expect("lists"));
    assert_eq!(run.package.as_ref().map(|package| package.name.as_str()), Some("gzip"));
    assert_eq!(run.tested.as_deref(), Some("1.14-1+local1"));
    let tested_gzip = |list: &protocol::PackageList| list.version_of("gzip").as_deref() == Some("1.14-1+local1");
    assert!(!lists.is_empty() && lists.values().all(tested_gzip), "{:?}", run.tests);
    let [local] = result.installed.local.as_slice() else { panic!("{:?}", result.installed.local) };
    assert_eq!(local.file, "gzip_1.14-1+local1_amd64.deb");
    assert_eq!(local.sha256.to_string(), tool("sha256sum", [&own]).split_whitespace().next().expect("a digest"));
    assert_eq!(result.job.departures(), ["packages"]);
}

#[test]
fn a_version_that_no_archive_has_is_told() {
    let words = ["--package-version", "gzip=1.2.3", "--ignore-valid-until", "--mirror", &real_mirror()];
    let tested = test("gzip", &words);
    assert_eq!(tested.result["verdict"], "testbed-failed", "{}", tested.output.stderr);
    let problem = tested.result["problem"].as_str().expect("a problem");
    assert!(problem.contains("Version '1.2.3' for 'gzip' was not found"), "{problem}");
}

#[test]
fn a_source_tree_passes_as_both_users() {
    let tested = test(&tree("passes"), &["--as", "user,root", "--", "--env=ROCBED_TEST_WORD=word"]);
    assert_eq!(tested.output.code, Some(0), "{}", tested.output.stderr);
    assert_eq!(tested.outcomes(0), [("cases", "pass"), ("who", "pass"), ("nothing", "pass")]);
    assert_eq!(tested.file("user/who-stdout"), "running as tester\n");
    assert_eq!(tested.file("root/who-stdout"), "running as root\n");
    assert_eq!(tested.file("user/artifacts/who/word"), "word\n");
    let cases = &tested.result["runs"][0]["tests"][0]["cases"];
    assert_eq!((cases["total"].as_u64(), cases["skipped"].as_u64()), (Some(3), Some(1)));
    assert_eq!(tested.result["runs"][0]["tests"][2]["reason"], "superficial");
    assert!(tested.file("junit.xml").contains("name=\"DISABLED_Huge\""));
    assert!(!tested.file("log").contains("apt-get"), "nothing in it has dependencies");
    let bundle = fs::File::open(tested.bundle()).expect("the bundle");
    let contents = bundle::read(bundle).expect("a bundle");
    assert_eq!(serde_json::to_value(&contents.result).expect("JSON"), tested.result);
}

#[test]
fn a_source_tree_at_an_address_is_fetched() {
    let directory = tempfile::tempdir().expect("a directory");
    let trees = Trees::new();
    let address = trees.url_here(&command_tree(directory.path(), "elsewhere", "true"));
    let tested = test(&address, &[]);
    assert_eq!(tested.output.code, Some(0), "{}", tested.output.stderr);
    assert_eq!(tested.outcomes(0), [("only", "pass")]);
    assert_eq!(tested.result["job"]["url"], address);
    let output = rocbed(["test", "smoke", "file:///srv/elsewhere.tar"]).run();
    assert!(output.stderr.contains("names a file of the machine"), "{}", output.stderr);
}

#[test]
fn a_source_tree_fails_in_every_way() {
    let tested = test(&tree("fails"), &[]);
    assert_eq!(tested.output.code, Some(6), "{}", tested.output.stderr);
    assert_eq!(tested.result["verdict"], "fail");
    let expected =
        [("machine", "skip"), ("exit-status", "fail"), ("stderr", "fail"), ("works", "pass"), ("sometimes", "flaky")];
    assert_eq!(tested.outcomes(0), expected);
    assert_eq!(tested.result["runs"][0]["tests"][1]["reason"], "non-zero exit status 3");
    assert_eq!(tested.result["runs"][0]["tests"][1]["cases"]["failed"], 1);
    assert!(tested.file("junit.xml").contains("device.cpp:17"));
}

#[test]
fn a_test_that_hangs_is_ended_with_what_it_had() {
    let tested = test(&tree("hangs"), &["--timeout", "30s"]);
    assert_eq!(tested.output.code, Some(4), "{}", tested.output.stderr);
    assert_eq!(tested.result["verdict"], "timeout");
    assert_eq!(tested.outcomes(0), [("first", "pass"), ("endless", "fail")]);
    assert_eq!(tested.result["runs"][0]["tests"][1]["reason"], "timed out");
    assert_eq!(tested.file("user/endless-stdout"), "this much was done\n");
    let artifacts = ["user/artifacts/partial", "user/artifacts/endless/partial"];
    assert!(artifacts.iter().any(|path| tested.directory.path().join(path).exists()), "{}", tested.output.stderr);
}

#[test]
fn tests_that_want_a_gpu_are_skipped_without_one() {
    let tested = test(&tree("skips"), &[]);
    assert_eq!(tested.output.code, Some(8), "{}", tested.output.stderr);
    assert_eq!(tested.result["verdict"], "neutral");
    assert!(tested.result["warnings"].is_null(), "without a GPU, that is as it should be");
}

#[test]
fn what_there_is_is_kept_when_somebody_gets_impatient() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("user/log");
    let call = rocbed(["test", "smoke", "--quiet", "--output"]).arg(directory.path()).arg(tree("hangs"));
    let mut process = call.into_command().stdout(Stdio::piped()).spawn().expect("starting rocbed");
    // Does not wait for the tests' own timeout of four hours.
    while !fs::read_to_string(&log).unwrap_or_default().contains("this much was done") {
        assert!(process.try_wait().expect("its state").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(100));
    }
    let pid = process.id().to_string();
    tool("kill", ["-INT", &pid]);
    let output = process.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(16));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("endless  unfinished"), "{table}");
    assert!(directory.path().join("hangs.tar.zst").exists());
    let place = directory.path().display().to_string();
    let processes = tool("ps", ["-eo", "args"]);
    assert!(!processes.contains(&place), "something of it still runs:\n{processes}");
}

#[test]
fn the_table_is_for_people() {
    let output = rocbed(["test", "smoke"]).arg(tree("fails")).arg("--quiet").run();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{}", output.stdout);
    assert!(lines[1].starts_with("exit-status  fail  "), "{}", output.stdout);
    assert!(lines[5].starts_with("rocbed-fails 1.0: fail in "), "{}", output.stdout);
}

#[test]
fn mistakes_cost_nothing() {
    for (words, says) in [
        (&["test", "smoke", "./nowhere"][..], "finding the source tree ./nowhere"),
        (&["test", "smoke", "No-Package"], "not the name of a source package"),
        (&["test", "smoke", "gzip", "--gpu=0000:ff:00.0"], "no GPU"),
        (&["test", "smoke", "gzip", "--compare"], "--compare: gzip is tested with the archive's packages both times"),
        (&["test", "smoke", "gzip", "--overlay-dir", "/nonexistent"], "/nonexistent"),
        (&["test", "nosuch", "gzip"], "nosuch"),
        // Without systemd there is no control group; with it there is one, and still no such recipe.
        (&["test", "nosuch", "gzip", "--memory", "1G"], "help: "),
    ] {
        let output = rocbed(words).run();
        assert_eq!(output.code, Some(20), "{}", output.stderr);
        assert!(output.stderr.contains(says), "{}", output.stderr);
    }
}

/// Tests a source tree that is made of these files in its `debian`.
fn test_of(name: &str, files: &[(&str, &str)], words: &[&str]) -> Tested {
    let directory = tempfile::tempdir().expect("a directory");
    let tree = source_tree(directory.path(), name, files);
    test(&tree.display().to_string(), words)
}

#[test]
fn a_program_that_ends_with_minus_one_has_failed_and_not_its_testbed() {
    let control = "Tests: a b after\nDepends:\n";
    let files =
        [("tests/control", control), ("tests/a", "#!/bin/sh\nexit 255\n"), ("tests/b", "#!/bin/sh\nexit 254\n")];
    let tested = test_of("minus-one", &[&files[..], &[("tests/after", "#!/bin/sh\ntrue\n")]].concat(), &[]);
    assert_eq!(tested.output.code, Some(4), "{}", tested.output.stderr);
    assert_eq!(tested.outcomes(0), [("a", "fail"), ("b", "fail"), ("after", "pass")]);
    assert_eq!(tested.result["runs"][0]["tests"][0]["reason"], "non-zero exit status 253");
}

#[test]
fn two_tests_reports_of_one_name_are_both_kept() {
    let script = |case: &str, end: &str| {
        format!(
            "#!/bin/sh\necho '<testsuite><testcase name=\"{case}\"/></testsuite>' > $AUTOPKGTEST_ARTIFACTS/r.xml\n{end}\n"
        )
    };
    let (first, second) = (script("of-first", "exit 1"), script("of-second", ""));
    let control = "Tests: first second\nDepends:\n";
    let tested =
        test_of("same-name", &[("tests/control", control), ("tests/first", &first), ("tests/second", &second)], &[]);
    assert!(tested.file("user/artifacts/first/r.xml").contains("of-first"));
    assert!(tested.file("user/artifacts/second/r.xml").contains("of-second"));
    let counts: Vec<_> = [0, 1].map(|test| tested.result["runs"][0]["tests"][test]["cases"]["total"].as_u64()).into();
    assert_eq!(counts, [Some(1), Some(1)]);
}

/// A real GoogleTest program with cases of each kind that it deals out to shards. Linked statically, as testbeds have
/// another C++ library.
fn googletest_program(directory: &Path) -> Vec<u8> {
    let (source, program) = (directory.join("sum.cc"), directory.join("sum"));
    fs::write(&source, include_str!("fixtures/sum.cc")).expect("writing its source");
    let words = ["-static", "-O0", "-s", "-o"].map(std::ffi::OsStr::new);
    let end = ["-lgtest", "-lgtest_main", "-pthread"].map(std::ffi::OsStr::new);
    tool("g++", [&words[..], &[program.as_os_str(), source.as_os_str()], &end[..]].concat());
    fs::read(program).expect("the program")
}

#[test]
fn a_googletest_program_runs_in_parts_that_are_one_result() {
    let (directory, results) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let control = "Tests: sum chosen\nDepends:\n";
    let whole = "#!/bin/sh\nexec debian/tests/program --gtest_output=xml:$AUTOPKGTEST_ARTIFACTS/sum.xml\n";
    // It leaves out most of its cases in two parts, as a test that chooses them by itself may.
    let chosen = "#!/bin/sh\ntest \"$GTEST_SHARD_INDEX\" = 0 || filter=Sum.OfOne\n\
         exec debian/tests/program --gtest_filter=\"${filter:-*}\" --gtest_output=xml:$AUTOPKGTEST_ARTIFACTS/sum.xml\n";
    let tree = source_tree(
        directory.path(),
        "in-parts",
        &[("tests/control", control), ("tests/sum", whole), ("tests/chosen", chosen)],
    );
    let program = tree.join("debian/tests/program");
    fs::write(&program, googletest_program(directory.path())).expect("the program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let tested = |name: &str, words: &[&str]| {
        let call = rocbed(["test", "smoke", "--shards=3", "--json"]).arg(&tree);
        let call = call.arg("--output").arg(results.path().join(name));
        let output = words.iter().fold(call, rocbed_tests::Call::arg).run();
        let result: protocol::JobResult = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("no result ({error}): {}", output.stderr));
        (output, result)
    };
    let (output, result) = tested("whole", &["--", "--test-name=sum"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let [test] = result.runs[0].tests.as_slice() else { panic!("{:?}", result.runs) };
    let cases = test.cases.expect("its cases");
    // One is disabled, and one skips itself.
    assert_eq!((cases.total, cases.failed, result.warnings.len()), (12, 0, 0), "{test:?} {:?}", result.warnings);
    let ids: Vec<&str> = result.parts.iter().map(|part| part.job.as_str()).collect();
    assert_eq!(ids, ["in-parts.1of3", "in-parts.2of3", "in-parts.3of3"]);
    let junit = fs::read_to_string(results.path().join("whole/junit.xml")).expect("the cases");
    assert_eq!(junit.matches("name=\"AreTheirOwnSum/").count(), 5, "{junit}");
    assert!(results.path().join("whole/part-3/junit.xml").exists());
    // What was installed is in the joined result, as a search for the reason of a failure needs it.
    let lists = result.installed.resolve().expect("lists of packages");
    assert!(test.installed.as_ref().is_some_and(|digest| lists.contains_key(digest)), "{:?}", test.installed);
    // A directory that is in use is refused before a part runs.
    let call = rocbed(["test", "smoke", "--shards=3"]).arg(&tree).arg("--output").arg(results.path().join("whole"));
    let output = call.run();
    assert_eq!(output.code, Some(20), "{}", output.stderr);
    assert!(output.stderr.contains("name a new directory for the results"), "{}", output.stderr);

    // Parts without some cases have passed, and are not the whole.
    let (output, result) = tested("chosen", &["--", "--test-name=chosen"]);
    assert_eq!((result.verdict, output.code), (protocol::Verdict::Pass, Some(16)), "{}", output.stderr);
    assert!(result.warnings.iter().any(|warning| warning.contains("is not counted")), "{:?}", result.warnings);
}

#[test]
fn a_control_file_that_makes_no_sense_is_the_packages_fault() {
    let tested = test_of("broken", &[("tests/control", "Tests: a\nthis is no field\n"), ("tests/a", "")], &[]);
    assert_eq!(tested.output.code, Some(12), "{}", tested.output.stderr);
    assert_eq!(tested.result["verdict"], "fail");
    let report = tested.file("junit.xml");
    assert!(report.contains("badpkg") && (report.contains("<failure") || report.contains("<error")), "{report}");
}

#[test]
fn what_is_left_running_holds_nobody_up() {
    let control =
        "Test-Command: sleep 10000 & echo done\nFeatures: test-name=only\nRestrictions: allow-stderr\nDepends:\n";
    let tested = test_of("leaves", &[("tests/control", control)], &["--", "--setup-commands=sleep 10000 &"]);
    assert_eq!(tested.output.code, Some(0), "{}", tested.output.stderr);
}

#[test]
fn nothing_of_this_machines_is_needed_to_run_tests() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("results");
    let call = rocbed(["test", "smoke"]).arg(tree("passes")).arg("--output").arg(&output);
    let ended = call.env("PATH", "/nonexistent").env("PYTHONHOME", "/nonexistent").run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let log = fs::read_to_string(output.join("log")).expect("the log");
    let lock = include_str!("../recipes/smoke.lock");
    let version = lock.split("name = \"autopkgtest\"").nth(1).and_then(|rest| rest.split("version = \"").nth(1));
    let version = version.and_then(|rest| rest.split('"').next()).expect("the lock's autopkgtest");
    assert!(log.contains(&format!("version {version}")), "it is the image's own, {version}:\n{log}");
}

#[test]
fn apt_in_testbeds_has_the_mirror_of_a_build() {
    let plan: Value = serde_json::from_str(&rocbed(["plan", "smoke", "--json"]).ok()).expect("a plan");
    let mirror = plan["mirror"].as_str().expect("its mirror");
    let directory = tempfile::tempdir().expect("a directory");
    let command = "cat /etc/apt/sources.list.d/*";
    let show = command_tree(directory.path(), "sources", command).display().to_string();
    let tested = test(&show, &[]);
    let sources = tested.file("user/only-stdout");
    assert!(sources.contains(&format!("URIs: {mirror}\n")), "{sources}");
    assert!(!sources.contains("Check-Valid-Until: no"), "{sources}");
    let sources = test(&show, &["--ignore-valid-until"]).file("user/only-stdout");
    assert!(sources.contains("Check-Valid-Until: no"), "{sources}");
}

#[test]
fn a_testbed_has_as_much_room_as_it_is_given() {
    let directory = tempfile::tempdir().expect("a directory");
    let command = "head -c 100M /dev/zero > /var/tmp/much";
    let fill = command_tree(directory.path(), "fill", command).display().to_string();
    let small = test(&fill, &["--overlay-size", "50M"]);
    assert_eq!(small.result["verdict"], "fail", "{}", small.output.stderr);
    assert!(small.file("log").contains("give it more with --overlay-size"), "{}", small.file("log"));
    let room = directory.path().join("room");
    fs::create_dir(&room).expect("a directory");
    let large = test(&fill, &["--overlay-dir", &room.display().to_string()]);
    assert_eq!(large.output.code, Some(0), "{}", large.output.stderr);
    assert_eq!(fs::read_dir(&room).expect("the directory").count(), 0, "nothing of it stays");
}

#[test]
fn a_source_that_is_not_made_of_files_is_refused_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = command_tree(directory.path(), "odd", "true");
    let control = made.join("debian/tests/control");
    fs::remove_file(&control).expect("removing it");
    tool("mkfifo", [&control]);
    tool(
        "tar",
        ["-C".as_ref(), directory.path(), "-cf".as_ref(), &directory.path().join("pipe.tar"), Path::new("odd")],
    );
    fs::remove_file(&control).expect("removing it");
    std::os::unix::fs::symlink("/dev/zero", &control).expect("a link");
    tool(
        "tar",
        ["-C".as_ref(), directory.path(), "-cf".as_ref(), &directory.path().join("zero.tar"), Path::new("odd")],
    );
    for (name, says) in
        [("pipe.tar", "debian/tests/control is an entry of the kind"), ("zero.tar", "not a regular file")]
    {
        let output = rocbed(["test", "smoke"]).arg(directory.path().join(name)).run();
        assert_eq!(output.code, Some(20), "{}", output.stderr);
        assert!(output.stderr.contains(says), "{}", output.stderr);
    }
}

#[test]
fn sigkill_leaves_neither_autopkgtest_nor_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("user/log");
    let call = rocbed(["test", "smoke", "--quiet", "--output"]).arg(directory.path()).arg(tree("hangs"));
    let mut process = call.into_command().stdout(Stdio::null()).spawn().expect("starting rocbed");
    while !fs::read_to_string(&log).unwrap_or_default().contains("this much was done") {
        assert!(process.try_wait().expect("its state").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(100));
    }
    process.kill().expect("killing it");
    process.wait().expect("its end");
    let cache = PathBuf::from(rocbed(["cache", "path"]).ok().trim());
    let place = directory.path().display().to_string();
    let left = || {
        let entries = fs::read_dir(&cache).expect("the cache").flatten();
        let mut left: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("rocbed-test."))
            .collect();
        left.extend(tool("ps", ["-eo", "args"]).lines().filter(|line| line.contains(&place)).map(str::to_owned));
        left
    };
    // A testbed has to be closed first, which never takes this long.
    for _ in 0..600 {
        if left().is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("left behind: {:?}", left());
}
