//! `rocbed lint` on a package of the test's own, and on packages of the archive.

use std::fs;
use std::path::Path;

use rocbed_tests::{rocbed, tool};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}):\n{text}"))
}

#[test]
fn lint_says_what_is_wrong_explains_it_and_mends_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let tree = directory.path().join("rocfoo");
    let at = |name: &str| tree.join("debian").join(name);
    fs::create_dir_all(at("tests")).expect("a tree");
    let control = "Source: rocfoo\nMaintainer: ROCm Team\n\nPackage: librocfoo1-tests\nArchitecture: any\n\
                   XB-X-ROCm-GPU-Architecture: ${rocm:GPU-Architecture}\n";
    let tests = "# ours\nTest-Command: rocm-test-launcher /usr/libexec/rocm/librocfoo1-tests/run-tests\n\
                 Features: test-name=librocfoo1-tests\nDepends: librocfoo1-tests\nRestrictions: allow-stderr\n";
    fs::write(at("control"), control).expect("control");
    fs::write(at("tests/control"), tests).expect("tests/control");
    let lint = |words: &[&str]| rocbed(["lint"]).arg(&tree).args(words).current_dir(directory.path()).run();

    let found = lint(&[]);
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    assert!(
        found.stdout.contains("control:4:10: error: rocm-test-launcher is in the package pkg-rocm-tools"),
        "{}",
        found.stdout
    );
    assert!(found.stderr.contains("rocfoo: 2 errors; --fix mends 2 of them"), "{}", found.stderr);
    assert!(!found.stdout.contains('\u{1b}'), "no colours without a terminal");
    let report = json(&lint(&["--json", "--level", "note"]).stdout);
    assert_eq!((&report["package"], &report["errors"]), (&"rocfoo".into(), &2.into()));
    let log = json(&lint(&["--format", "sarif"]).stdout);
    assert_eq!((&log["version"], &log["runs"][0]["results"][0]["level"]), (&"2.1.0".into(), &"error".into()));

    let mended = lint(&["--fix"]);
    assert_eq!(mended.code, Some(0), "{}{}", mended.stdout, mended.stderr);
    assert!(mended.stderr.contains("mended debian/tests/control"), "{}", mended.stderr);
    let expected = tests.replace("librocfoo1-tests\nRes", "librocfoo1-tests, pkg-rocm-tools\nRes");
    let expected = expected.replace("allow-stderr\n", "allow-stderr, skippable\n");
    assert_eq!(fs::read_to_string(at("tests/control")).expect("tests/control"), expected);

    let list = rocbed(["lint", "--list"]).ok();
    for line in list.lines().skip(1) {
        let rule = line.split(' ').next().expect("a rule");
        assert!(rocbed(["lint", "--explain", rule]).ok().starts_with(&format!("{rule} (")), "{rule}");
    }
    for words in [&["lint", "--explain", "skipable"][..], &["lint", "no-such-directory"], &["lint", "--level", "fatal"]]
    {
        assert_eq!(rocbed(words).run().code, Some(2), "{words:?}");
    }
}

/// Downloads a file with apt's own downloader.
fn download(url: &str, to: &Path) {
    tool("/usr/lib/apt/apt-helper", ["download-file", url, &to.to_string_lossy()]);
}

/// Path of a source package's `.dsc` below the mirror, and the names of its files, by `Sources`.
fn source(sources: &str, package: &str) -> Option<(String, Vec<String>)> {
    let begin = format!("Package: {package}\n");
    let stanza = sources.split("\n\n").filter(|stanza| stanza.starts_with(&begin)).last()?;
    let directory = stanza.lines().find_map(|line| line.strip_prefix("Directory: "))?;
    let files = stanza.lines().skip_while(|line| *line != "Files:").skip(1).take_while(|line| line.starts_with(' '));
    Some((directory.to_owned(), files.filter_map(|line| Some(line.rsplit(' ').next()?.to_owned())).collect()))
}

/// None of these packages deserves a word: autopkgtest runs their tests as they are meant, and rocfft is what the
/// guidelines describe.
#[test]
fn lint_finds_nothing_in_good_packages_of_the_archive() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let plan = json(&rocbed(["plan", "smoke", "--locked", "--json"]).ok());
    let mirror = plan["mirror"].as_str().expect("a mirror");
    download(&format!("{mirror}/dists/sid/main/source/Sources.xz"), &at("Sources.xz"));
    let sources = tool("xz", ["-dc", &at("Sources.xz").to_string_lossy()]);
    for package in ["dash", "diffutils", "file", "grep", "gzip", "hello", "mawk", "rocfft", "sed"] {
        let (path, files) = source(&sources, package).unwrap_or_else(|| panic!("the archive has no {package}"));
        for file in files.iter().filter(|file| file.ends_with(".dsc") || file.contains(".debian.tar.")) {
            download(&format!("{mirror}/{path}/{file}"), &at(file));
        }
        let dsc = files.iter().find(|file| file.ends_with(".dsc")).expect("a .dsc");
        let found = rocbed(["lint", dsc]).current_dir(directory.path()).run();
        assert_eq!((found.code, found.stdout.as_str()), (Some(0), ""), "{package}: {}", found.stderr);
        assert_eq!(found.stderr, format!("{package}: nothing to complain about\n"));
    }
}
