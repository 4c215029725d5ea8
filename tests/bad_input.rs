//! Error messages for users: each says what failed, on what, and what to do.

use std::fs;
use std::path::Path;

use rocbed_tests::{Server, TestArchive, rocbed, tool};

/// Runs `rocbed COMMAND RECIPE` with its own cache, which must fail; returns its output.
fn fails(archive: &TestArchive, command: &str, recipe: &Path) -> String {
    let cache = archive.path().join("cache");
    rocbed([command]).arg(recipe).env("ROCBED_CACHE", cache).current_dir(archive.path()).fails()
}

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_good_archive_is_locked() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    rocbed(["lock"]).arg(&recipe).env("ROCBED_CACHE", archive.path().join("cache")).ok();
    let lock = fs::read_to_string(recipe.with_extension("lock")).expect("a lock was written");
    says(&lock, &["name = \"greeter\"", "name = \"libgreet\"", "name = \"dpkg\"", "name = \"linux-binary-7.2-amd64\""]);
    assert!(!lock.contains("linux-image"), "the package that wants an initramfs generator stays out:\n{lock}");
}

#[test]
fn a_mirror_that_is_not_there_is_named() {
    let archive = TestArchive::new();
    let recipe = archive.recipe("http://127.0.0.1:9/debian", "greeter", "");
    says(&fails(&archive, "lock", &recipe), &["http://127.0.0.1:9/debian/dists/sid/InRelease"]);
}

#[test]
fn an_archive_signed_by_someone_else_is_refused() {
    let (archive, other) = (TestArchive::new(), TestArchive::new());
    let server = other.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    says(&fails(&archive, "lock", &recipe), &["InRelease", "key"]);
    assert!(!recipe.with_extension("lock").exists());
}

#[test]
fn a_release_file_changed_after_signing_is_refused() {
    let archive = TestArchive::new();
    let path = archive.path().join("dists/sid/InRelease");
    let text = fs::read_to_string(&path).expect("a Release file").replace("Components: main", "Components: evil");
    fs::write(&path, text).expect("tampering");
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    says(&fails(&archive, "lock", &recipe), &["InRelease", "signature"]);
}

#[test]
fn a_release_file_past_its_time_is_refused_unless_the_recipe_allows_it() {
    let archive = TestArchive::new();
    archive.publish("Fri, 02 Oct 2026 08:00:00 UTC", Some("Fri, 09 Oct 2026 08:00:00 UTC"));
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    says(&fails(&archive, "lock", &recipe), &["2026-10-09", "check-valid-until"]);
    let recipe = archive.recipe(&server.url(""), "greeter", "check-valid-until = false");
    rocbed(["lock"]).arg(&recipe).env("ROCBED_CACHE", archive.path().join("cache")).ok();
}

#[test]
fn a_mirror_that_is_behind_the_lock_is_told() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "check-valid-until = false");
    let update = |date: &str| {
        archive.publish(date, None);
        let cache = archive.path().join(format!("cache of {date}"));
        rocbed(["lock", "--update"]).arg(&recipe).env("ROCBED_CACHE", cache).run().stderr
    };
    for date in ["Fri, 02 Oct 2026 08:00:00 UTC", "Sat, 03 Oct 2026 08:00:00 UTC"] {
        let said = update(date);
        assert!(!said.contains("go back"), "{said}");
    }
    says(
        &update("Fri, 02 Oct 2026 20:00:00 UTC"),
        &["2026-10-02T20:00:00Z", "later one, of 2026-10-03T08:00:00Z: packages may go back", "--mirror"],
    );
}

#[test]
fn an_index_cut_short_is_refused() {
    let archive = TestArchive::new();
    let path = archive.path().join("dists/sid/main/binary-amd64/Packages.xz");
    let bytes = fs::read(&path).expect("an index");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("cutting it short");
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    says(&fails(&archive, "lock", &recipe), &["Packages.xz"]);
}

#[test]
fn a_deb_with_a_flipped_bit_is_refused_and_not_kept() {
    let archive = TestArchive::new();
    let deb = archive.path().join("pool/greeter_1.0_amd64.deb");
    let mut bytes = fs::read(&deb).expect("a package");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&deb, bytes).expect("flipping a bit");
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    let said = fails(&archive, "build", &recipe);
    says(&said, &["greeter 1.0", "greeter_1.0_amd64.deb"]);
    let digest = tool("sha256sum", [&deb]);
    let wrong = digest.split(' ').next().expect("a digest");
    let lock = fs::read_to_string(recipe.with_extension("lock")).expect("a lock");
    let greeter = lock.split("[[package]]").find(|text| text.contains("\"greeter\"")).expect("greeter is locked");
    let right = greeter.split("sha256 = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a digest");
    for digest in [wrong, right] {
        let stored = archive.path().join("cache/sha256").join(&digest[..2]).join(digest);
        assert!(!stored.exists(), "{} was kept", stored.display());
    }
}

#[test]
fn a_stored_package_with_a_flipped_bit_is_fetched_anew() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let cache = archive.path().join("cache");
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    let build = |options: &[&str]| {
        let call = rocbed(["build", "--fresh"]).args(options).arg(&recipe).env("ROCBED_CACHE", &cache);
        // These packages do not contain a system, so the build fails in any case, after all of them are unpacked.
        call.current_dir(archive.path()).fails()
    };
    let asked = || server.requests().iter().filter(|path| path.ends_with("greeter_1.0_amd64.deb")).count();
    assert!(!build(&[]).contains("damaged"));
    assert_eq!(asked(), 1);
    let deb = fs::read(archive.path().join("pool/greeter_1.0_amd64.deb")).expect("a package");
    let digest = tool("sha256sum", [archive.path().join("pool/greeter_1.0_amd64.deb")]);
    let digest = digest.split(' ').next().expect("a digest");
    let stored = cache.join("sha256").join(&digest[..2]).join(digest);
    // In the middle, and in the part of the last file that no checksum of the compression covers.
    for place in [deb.len() / 2, deb.len() - 1] {
        let damage = || {
            let mut bytes = deb.clone();
            bytes[place] ^= 1;
            fs::remove_file(&stored).expect("removing the right one");
            fs::write(&stored, bytes).expect("flipping a bit");
        };
        damage();
        let before = asked();
        says(&build(&["--locked"]), &["the stored file of greeter is damaged; fetching it anew"]);
        assert_eq!(asked(), before + 1);
        assert_eq!(fs::read(&stored).expect("it is stored"), deb);
        damage();
        says(&build(&["--locked", "--offline"]), &["greeter is damaged", "offline", "greeter 1.0"]);
        assert!(!stored.exists(), "a damaged file is not kept");
        build(&["--locked"]);
    }
}

#[test]
fn a_dependency_that_cannot_be_met_is_told_link_by_link() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "broken", "");
    says(&fails(&archive, "lock", &recipe), &["broken", "no-such-package (>= 3)"]);
}

#[test]
fn an_unknown_package_is_answered_with_names_like_it() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "libgret", "");
    says(&fails(&archive, "lock", &recipe), &["libgret", "libgreet"]);
}

#[test]
fn a_recipe_error_points_at_its_line() {
    let archive = TestArchive::new();
    let recipe = archive.recipe("http://127.0.0.1:9", "greeter", "sute = \"sid\"");
    says(&fails(&archive, "plan", &recipe), &["test.toml:5:1", "unknown key `sute`", "did you mean `suite`?", "^"]);
}

#[test]
fn a_lock_that_the_recipe_has_outgrown_stops_a_locked_build() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let cache = archive.path().join("cache");
    let recipe = archive.recipe(&server.url(""), "libgreet", "");
    rocbed(["lock"]).arg(&recipe).env("ROCBED_CACHE", &cache).ok();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    let said =
        rocbed(["build", "--locked"]).arg(&recipe).env("ROCBED_CACHE", &cache).current_dir(archive.path()).fails();
    says(&said, &["rocbed lock"]);
    let lock = fs::read_to_string(recipe.with_extension("lock")).expect("the lock stays");
    assert!(!lock.contains("greeter"), "the lock must not change:\n{lock}");
    let printed = rocbed(["lock"]).arg(&recipe).env("ROCBED_CACHE", &cache).ok();
    assert_eq!(printed, "+ greeter 1.0\n");
}

#[test]
fn offline_names_what_is_missing() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let cache = archive.path().join("cache");
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    rocbed(["lock"]).arg(&recipe).env("ROCBED_CACHE", &cache).ok();
    let asked = server.requests().len();
    let call = rocbed(["build", "--offline"]).arg(&recipe).env("ROCBED_CACHE", &cache).current_dir(archive.path());
    says(&call.fails(), &["offline", "greeter"]);
    assert_eq!(server.requests().len(), asked, "offline asks nobody");
}

#[test]
fn a_pinned_package_that_the_mirror_dropped_comes_from_the_snapshot_service() {
    let archive = TestArchive::new();
    let mirror = archive.serve();
    let pool = archive.path().join("pool");
    let kept = archive.path().join("kept");
    let snapshot_pool = kept.clone();
    let snapshot = Server::start(move |path| {
        let name = path.strip_prefix("/20261030T080801Z/pool/")?;
        fs::read(snapshot_pool.join(name)).ok()
    });
    let recipe = archive.recipe(&mirror.url(""), "greeter", "");
    let text = fs::read_to_string(&recipe)
        .expect("the recipe")
        .replace("snapshot = \"\"", &format!("snapshot = {:?}", snapshot.url("")));
    fs::write(&recipe, text).expect("naming the snapshot service");
    let cache = archive.path().join("cache");
    rocbed(["lock"]).arg(&recipe).env("ROCBED_CACHE", &cache).ok();
    fs::rename(&pool, &kept).expect("the mirror drops everything");
    // These packages do not contain a system, so the build fails later, after everything was downloaded.
    let said =
        rocbed(["build", "--locked"]).arg(&recipe).env("ROCBED_CACHE", &cache).current_dir(archive.path()).fails();
    assert!(!said.contains("fetching"), "{said}");
    let asked = snapshot.requests();
    assert!(asked.iter().any(|path| path.ends_with("greeter_1.0_amd64.deb")), "{asked:?}");
    let plan = rocbed(["plan", "--locked"]).arg(&recipe).env("ROCBED_CACHE", &cache).ok();
    says(&plan, &["all packages are in the cache"]);
}

#[test]
fn an_image_that_is_none_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = rocbed(["inspect"]).arg(directory.path()).fails();
    says(&said, &["rocbed build"]);
    let junk = directory.path().join("junk.img");
    fs::write(&junk, vec![7; 4096]).expect("writing junk");
    says(&rocbed(["inspect"]).arg(&junk).fails(), &["junk.img", "neither"]);
    says(&rocbed(["boot"]).arg(directory.path()).fails(), &["SHA256SUMS", "rocbed build"]);
}
