//! Tests of own packages, with packages that are made here.

use std::fs;
use std::path::Path;

use anyhow::Result;
use debian::deb::fixtures;
use protocol::{Job, Source};
use sha256::Digest;

use super::*;

/// Writes a `.deb` with these fields into a directory, and returns its path.
fn deb(directory: &Path, name: &str, package: &str, version: &str, fields: &[&str]) -> String {
    let control = format!("Package: {package}\nVersion: {version}\n{}\nDescription: test\n", fields.join("\n"));
    let control = fixtures::tar(&[fixtures::directory("./"), fixtures::file("./control", &control)]);
    let data = fixtures::tar(&[fixtures::directory("./")]);
    let bytes = fixtures::ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)]);
    let path = directory.join(name);
    fs::write(&path, bytes).expect("a package");
    path.display().to_string()
}

/// Writes a `.changes` or `.dsc` that names files beside it.
fn naming(directory: &Path, name: &str, fields: &str, files: &[&str]) -> String {
    let mut text = format!("{fields}Checksums-Sha256:\n");
    for file in files {
        let bytes = fs::read(directory.join(file)).expect("a file");
        text.push_str(&format!(" {} {} {file}\n", Digest::of(&bytes), bytes.len()));
    }
    fs::write(directory.join(name), text).expect("a file");
    directory.join(name).display().to_string()
}

fn read(words: &[&str]) -> Result<OwnPackages> {
    OwnPackages::read(words.iter().copied())
}

fn problem(words: &[&str]) -> String {
    format!("{}", crate::error::report(&read(words).expect_err("a mistake")))
}

#[test]
fn an_upload_is_its_packages_and_its_tests() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let amd64 = "Architecture: amd64";
    deb(path, "libdemo1_2-1_amd64.deb", "libdemo1", "2-1", &[amd64, "Source: demo"]);
    deb(path, "libdemo1-dbgsym_2-1_amd64.deb", "libdemo1-dbgsym", "2-1", &[amd64, "Source: demo"]);
    fs::write(path.join("demo_2.orig.tar.gz"), "x")?;
    naming(
        path,
        "demo_2-1.dsc",
        "Format: 3.0 (quilt)\nSource: demo\nVersion: 2-1\nTestsuite: autopkgtest\n",
        &["demo_2.orig.tar.gz"],
    );
    let files = ["demo_2-1.dsc", "demo_2.orig.tar.gz", "libdemo1_2-1_amd64.deb", "libdemo1-dbgsym_2-1_amd64.deb"];
    let changes = naming(path, "demo_2-1_amd64.changes", "Source: demo\nVersion: 2-1\n", &files);
    let own = read(&[&changes])?;
    assert_eq!(own.source_names().into_iter().collect::<Vec<_>>(), ["demo"]);
    let mut job = Job::of_package("demo");
    own.give_to(&mut job, "demo");
    assert_eq!(job.source, Source::Path("demo_2-1.dsc".into()));
    let names: Vec<_> = job.packages.iter().map(PackageFile::name).collect();
    assert_eq!(names, ["libdemo1_2-1_amd64.deb", "demo_2-1.dsc", "demo_2.orig.tar.gz"]);
    assert_eq!(job.check().map_err(|error| error.to_string()), Ok(()));
    assert_eq!(own.paths_of(&job).count(), 3);
    // Compared is with the same tests and the archive's packages.
    let archive = to_compare(&job)?;
    assert_eq!((archive.source, archive.id.as_str()), (job.source.clone(), "demo-archive"));
    assert_eq!(
        archive.packages.iter().map(PackageFile::name).collect::<Vec<_>>(),
        ["demo_2-1.dsc", "demo_2.orig.tar.gz"]
    );
    // Another package's tests with them.
    let mut other = Job::of_package("other");
    own.give_to(&mut other, "other");
    assert_eq!((other.source, other.packages.len()), (Source::Package("other".into()), 1));

    fs::write(path.join("demo_2.orig.tar.gz"), "y")?;
    let error = problem(&[&changes]);
    assert!(
        error.contains("demo_2.orig.tar.gz is not the file that") && error.contains("help: build the package"),
        "{error}"
    );
    fs::remove_file(path.join("libdemo1_2-1_amd64.deb"))?;
    fs::write(path.join("demo_2.orig.tar.gz"), "x")?;
    assert!(problem(&[&changes]).contains("is not there"), "{}", problem(&[&changes]));
    Ok(())
}

#[test]
fn of_a_directory_the_newest_packages_for_this_architecture_are_taken() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    deb(path, "a_1.deb", "a", "1", &["Architecture: amd64"]);
    deb(path, "a_10.deb", "a", "10", &["Architecture: amd64"]);
    deb(path, "a_9.deb", "a", "9", &["Architecture: amd64"]);
    deb(path, "b.deb", "b", "1", &["Architecture: arm64"]);
    deb(path, "c.deb", "c", "1", &["Architecture: all"]);
    let own = read(&[&path.display().to_string()])?;
    let names: Vec<_> = own.binary_files().iter().map(|file| file.name().to_owned()).collect();
    assert_eq!(names, ["a_10.deb", "c.deb"]);
    let error = problem(&[&path.join("a_1.deb").display().to_string(), &path.join("a_9.deb").display().to_string()]);
    assert!(error.contains("are both the package a") && error.contains("help: name one of them"), "{error}");
    Ok(())
}

#[test]
fn a_recipe_names_packages_by_paths_and_patterns() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    for (file, version) in [("a_1.deb", "1"), ("a_10.deb", "10"), ("a_9.deb", "9")] {
        deb(path, file, "a", version, &["Architecture: amd64"]);
    }
    deb(path, "b_1.deb", "b", "1", &["Architecture: arm64"]);
    deb(path, "c-dbgsym_1.deb", "c-dbgsym", "1", &["Architecture: amd64"]);
    naming(path, "a_10_amd64.changes", "Source: a\nVersion: 10\n", &["a_10.deb"]);
    let read = |names: &[&str]| OwnPackages::read_paths(&names.iter().map(|name| path.join(name)).collect::<Vec<_>>());
    for (names, expected) in [
        (&["*.deb"][..], &["a_10.deb"][..]),
        (&["a_9.deb"], &["a_9.deb"]),
        (&["a_10_amd64.changes"], &["a_10.deb"]),
        (&["*.changes"], &["a_10.deb"]),
        (&["a_?.deb"], &["a_9.deb"]),
    ] {
        let files: Vec<_> = read(names)?.binary_files().iter().map(|file| file.name().to_owned()).collect();
        assert_eq!(files, expected, "{names:?}");
    }
    let problem = |names: &[&str]| format!("{}", crate::error::report(&read(names).expect_err("a mistake")));
    assert!(problem(&["x*.deb"]).contains("x*.deb") && problem(&["x*.deb"]).contains("help: build the packages first"));
    assert!(problem(&["b_1.deb"]).contains("is for arm64"));
    Ok(())
}

#[test]
fn what_cannot_be_tested_is_told_with_what_to_do() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let arm = deb(path, "b_1_arm64.deb", "b", "1", &["Architecture: arm64"]);
    let error = problem(&[&arm]);
    assert!(error.contains("is for arm64, and tests run on amd64"), "{error}");
    fs::write(path.join("x.tar.gz"), "x")?;
    let dsc = naming(path, "x_1.dsc", "Format: 3.0 (native)\nSource: x\nVersion: 1\n", &["x.tar.gz"]);
    assert!(problem(&[&dsc]).contains("x 1 has no tests"), "{}", problem(&[&dsc]));
    let changes = naming(path, "x_1_source.changes", "Source: x\nVersion: 1\n", &["x_1.dsc", "x.tar.gz"]);
    assert!(problem(&[&changes]).contains("has no binary packages of x"), "{}", problem(&[&changes]));
    assert!(problem(&[&path.display().to_string()]).contains("no package for amd64"));
    assert!(problem(&["/nonexistent/x.deb"]).contains("reading the package /nonexistent/x.deb"));
    Ok(())
}

#[test]
fn words_are_told_apart() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let tree = directory.path().join("tree/debian");
    fs::create_dir_all(&tree)?;
    fs::write(tree.join("control"), "")?;
    for own in ["x.deb", "../x_amd64.changes", "x.dsc", &directory.path().display().to_string()] {
        assert!(is_own(own), "{own}");
    }
    let tree = directory.path().join("tree").display().to_string();
    for other in ["gzip", "https://x/y.dsc", &tree, "jobs.toml", "debs"] {
        assert!(!is_own(other), "{other}");
    }
    Ok(())
}

#[test]
fn an_apt_source_is_read_with_its_key() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----";
    fs::write(path("own.asc"), key)?;
    let source = "Types: deb\nURIs: https://apt.example/x\nSuites: sid\nComponents: main\n";
    fs::write(path("own.sources"), format!("# mine\n{source}Signed-By: own.asc\n"))?;
    let [read] = <[_; 1]>::try_from(read_apt_source(&path("own.sources"))?).expect("one source");
    assert_eq!(read.signed_by, protocol::SignedBy::Key(key.into()));
    // As apt has it in one file.
    fs::write(path("again.sources"), read.paragraph())?;
    assert_eq!(read_apt_source(&path("again.sources"))?, [read]);

    let problem = |text: &str| {
        fs::write(path("bad.sources"), text).expect("a file");
        format!("{}", crate::error::report(&read_apt_source(&path("bad.sources")).expect_err(text)))
    };
    assert!(problem("").contains("has no source that is enabled"));
    assert!(problem(source).contains("trusted = true"));
    assert!(problem(&format!("{source}Trusted: yes\nPDiffs: no\n")).contains("field PDiffs"));
    fs::write(path("own.asc"), "not a key")?;
    assert!(problem(&format!("{source}Signed-By: own.asc\n")).contains("help: write one with `gpg"));
    Ok(())
}
