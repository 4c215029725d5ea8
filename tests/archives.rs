//! Archives made by other tools than Debian's. apt accepts packages from all of these.

use std::fs;
use std::path::{Path, PathBuf};

use rocbed_tests::{Call, TestArchive, rocbed, tool};

const FIELDS: &str =
    "Suite: unstable\nCodename: sid\nDate: Fri, 30 Oct 2026 08:08:01 UTC\nArchitectures: amd64\nComponents: main\n";
const INDEX: &str = "dists/sid/main/binary-amd64/Packages";

fn locked(archive: &TestArchive, mirror: &str, more: &str) -> Call {
    let recipe = archive.recipe(mirror, "greeter", more);
    let _ = fs::remove_file(recipe.with_extension("lock"));
    rocbed(["lock"]).arg(recipe).env("ROCBED_CACHE", archive.path().join("cache"))
}

/// Locks the archive by both kinds of addresses.
fn both_lock(archive: &TestArchive, more: &str) {
    let server = archive.serve();
    for mirror in [format!("file://{}", archive.path().display()), server.url("")] {
        locked(archive, &mirror, more).ok();
        let lock = fs::read_to_string(archive.path().join("test.lock")).expect("a lock");
        assert!(lock.contains("name = \"libgreet\""), "{lock}");
        let _ = fs::remove_dir_all(archive.path().join("cache"));
    }
}

fn at(archive: &TestArchive, name: &str) -> PathBuf {
    archive.path().join(name)
}

fn gzip(path: &Path) {
    tool("gzip", ["--keep", "--force", &path.to_string_lossy()]);
}

#[test]
fn indexes_may_be_compressed_by_gzip_alone() {
    let archive = TestArchive::new();
    gzip(&at(&archive, INDEX));
    // The uncompressed file is listed, as most tools do, but does not exist.
    archive.sign("dists/sid", FIELDS, &["main/binary-amd64/Packages", "main/binary-amd64/Packages.gz"]);
    fs::remove_file(at(&archive, INDEX)).expect("removing an index");
    both_lock(&archive, "");
}

#[test]
fn a_compressed_index_that_is_missing_is_had_in_another_form() {
    let archive = TestArchive::new();
    fs::remove_file(at(&archive, &format!("{INDEX}.xz"))).expect("removing an index");
    both_lock(&archive, "");
}

#[test]
fn an_index_that_is_larger_than_listed_is_refused() {
    let archive = TestArchive::new();
    gzip(&at(&archive, INDEX));
    fs::write(at(&archive, INDEX), "Package: small\n").expect("writing an index");
    archive.sign("dists/sid", FIELDS, &["main/binary-amd64/Packages", "main/binary-amd64/Packages.gz"]);
    let said = locked(&archive, &archive.serve().url(""), "").fails();
    assert!(said.contains("larger than the Release file says: over 15 bytes"), "{said}");
}

#[test]
fn the_signature_may_be_apart_but_only_where_there_is_no_inrelease() {
    let archive = TestArchive::new();
    archive.sign_apart("dists/sid");
    both_lock(&archive, "");
    fs::write(at(&archive, "dists/sid/InRelease"), "Origin: somebody else\n").expect("writing InRelease");
    let said = locked(&archive, &archive.serve().url(""), "").fails();
    assert!(said.contains("InRelease is not a signed message"), "{said}");
    fs::remove_file(at(&archive, "dists/sid/InRelease")).expect("removing InRelease");
    fs::remove_file(at(&archive, "dists/sid/Release.gpg")).expect("removing a signature");
    let said = locked(&archive, &archive.serve().url(""), "").fails();
    assert!(said.contains("Release.gpg") && said.contains("404"), "{said}");
    fs::remove_file(at(&archive, "dists/sid/Release")).expect("removing a Release file");
    let said = locked(&archive, &archive.serve().url(""), "").fails();
    assert!(said.contains("InRelease") && said.contains("404"), "{said}");
}

#[test]
fn packages_for_all_architectures_may_be_in_an_index_of_their_own() {
    let archive = TestArchive::new();
    let text = fs::read_to_string(at(&archive, INDEX)).expect("an index");
    let (all, rest): (Vec<&str>, Vec<&str>) =
        text.split("\n\n").partition(|stanza| stanza.contains("Package: libgreet"));
    let all = all.join("\n\n").replace("Architecture: amd64", "Architecture: all") + "\n\n";
    fs::write(at(&archive, INDEX), rest.join("\n\n")).expect("writing an index");
    fs::create_dir(at(&archive, "dists/sid/main/binary-all")).expect("a directory");
    fs::write(at(&archive, "dists/sid/main/binary-all/Packages"), all).expect("writing an index");
    let files = ["main/binary-amd64/Packages", "main/binary-all/Packages"];
    archive.sign("dists/sid", &FIELDS.replace("Architectures: amd64", "Architectures: all amd64"), &files);
    both_lock(&archive, "");
}

#[test]
fn an_archive_may_be_flat() {
    let archive = TestArchive::new();
    fs::copy(at(&archive, INDEX), at(&archive, "Packages")).expect("an index");
    gzip(&at(&archive, "Packages"));
    archive.sign("", "Date: Fri, 30 Oct 2026 08:08:01 UTC\n", &["Packages", "Packages.gz"]);
    both_lock(&archive, "suite = \"./\"");
    let said = locked(&archive, &archive.serve().url(""), "suite = \"./\"\ncomponents = [\"main\"]").fails();
    assert!(said.contains("flat"), "{said}");
}

#[test]
fn names_in_the_pool_are_asked_for_as_apt_asks() {
    let archive = TestArchive::new();
    let server = archive.serve();
    locked(&archive, &server.url(""), "").ok();
    let lock = archive.path().join("test.lock");
    let text = fs::read_to_string(&lock).expect("a lock");
    let text = text.replace("pool/libgreet_2.1_amd64.deb", "pool/lib greet#?_1%3a2.1+b~_ö.deb");
    fs::write(&lock, text).expect("a lock");
    let build = rocbed(["build", "--locked", "--output"])
        .arg(archive.path().join("image"))
        .arg(archive.path().join("test.toml"));
    let said = build.env("ROCBED_CACHE", archive.path().join("other-cache")).fails();
    let expected = "/pool/lib%20greet%23%3f_1%253a2.1%2bb%7e_%c3%b6.deb";
    assert!(server.requests().iter().any(|path| path == expected), "{:?}", server.requests());
    // If a package is gone from the mirror, the next lock has another version of it.
    assert!(said.contains("404 (not found)") && said.contains("rocbed lock --update"), "{said}");
}

#[test]
fn an_archive_past_its_time_names_what_takes_it() {
    let archive = TestArchive::new();
    archive.publish("Fri, 30 Oct 2026 08:08:01 UTC", Some("Sat, 31 Oct 2026 08:08:01 UTC"));
    let mirror = archive.serve().url("");
    let said = locked(&archive, &mirror, "").fails();
    assert!(said.contains("--ignore-valid-until") && said.contains("check-valid-until = false"), "{said}");
    locked(&archive, &mirror, "").arg("--ignore-valid-until").ok();
}
