//! Checks the output of the commands, and that the documentation agrees with it.

use std::fs;
use std::path::Path;

use rocbed_tests::{Call, TestArchive, rocbed, scratch, smoke_image};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}):\n{text}"))
}

#[test]
fn the_reference_is_what_the_program_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let help = "run `cargo xtask docs` and commit what it changes";
    let list = rocbed(["reference"]).ok();
    for name in list.lines() {
        let page = fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}: {help}"));
        // Not assert_eq!, which would print both long texts.
        assert!(rocbed(["reference", name]).ok() == page, "{name}: {help}");
    }
    let files = fs::read_dir(&directory).expect("the reference").map(|entry| entry.expect("a page").file_name());
    let strange: Vec<_> = files.filter(|file| !list.lines().any(|name| *file == *name)).collect();
    assert!(strange.is_empty(), "the program makes no {strange:?}");
    assert!(rocbed(["recipe", "schema"]).ok() == rocbed(["reference", "recipe.schema.json"]).ok());
}

#[test]
fn the_page_of_commands_has_every_help_as_it_is_printed() {
    let page = rocbed(["reference", "commands.md"]).ok();
    let titles: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## rocbed")).collect();
    assert!(titles.len() > 30, "{titles:?}");
    for title in titles {
        let words: Vec<&str> = title.split_ascii_whitespace().chain(["--help"]).collect();
        let help = rocbed(&words).env("COLUMNS", "100").ok();
        assert!(page.contains(&format!("## rocbed{title}\n\n```text\n{}\n```\n", help.trim_end())), "{title}");
    }
}

#[test]
fn shipped_recipes_need_no_checkout() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let list = rocbed(["recipe", "list"]).current_dir(elsewhere.path()).ok();
    for name in ["base", "smoke", "rocm", "rocm-full"] {
        assert!(list.contains(name), "{name} is missing in:\n{list}");
    }
    let plan = json(&rocbed(["plan", "rocm", "--locked", "--json"]).current_dir(elsewhere.path()).ok());
    let packages = plan["packages"].as_array().expect("packages");
    for name in ["libamdhip64-6", "rocminfo", "firmware-amd-graphics", "autopkgtest"] {
        assert!(packages.iter().any(|package| package["name"] == name), "{name} is not in the rocm recipe");
    }
    assert!(!packages.iter().any(|package| package["name"] == "systemd" || package["name"] == "dracut"));
}

#[test]
fn a_ci_system_gets_a_log_in_its_own_style() {
    let archive = TestArchive::new();
    let server = archive.serve();
    // It needs a package that does not exist.
    let recipe = archive.recipe(&server.url(""), "broken", "");
    let build = |words: &[&str], system: &str| {
        let call = rocbed(["build"]).arg(&recipe).args(words).env("ROCBED_CACHE", archive.path().join("cache"));
        let call = if system.is_empty() { call } else { call.env(system, "true") };
        call.current_dir(archive.path()).fails()
    };
    let found = build(&[], "GITHUB_ACTIONS");
    let lines: Vec<&str> = found.lines().collect();
    assert!(lines[0].starts_with("::group::[") && lines[0].ends_with("] looking at the lock"), "{found}");
    assert_eq!(lines[lines.len() - 2], "::endgroup::", "{found}");
    let error = lines[lines.len() - 1];
    assert!(error.starts_with("::error title=rocbed::") && error.contains("no-such-package"), "{found}");
    assert!(error.contains("%0A"), "all of it is in one line: {found}");

    let gitlab = build(&["--ci"], "GITLAB_CI");
    assert!(gitlab.starts_with("\x1b[0Ksection_start:"), "{gitlab}");
    assert!(gitlab.contains(":lock[collapsed=true]\r\x1b[0K[") && gitlab.contains(":lock\r\x1b[0K\n["), "{gitlab}");

    let plain = build(&["--ci"], "CI");
    assert!(plain.lines().all(|line| line.starts_with('[')) && plain.contains(" s] error: "), "{plain}");
    let off = build(&["--ci=off"], "GITHUB_ACTIONS");
    assert!(!off.contains("::") && off.contains("\nerror: ") || off.starts_with("error: "), "{off}");
}

#[test]
fn plan_changes_nothing() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    let cache = archive.path().join("cache");
    let text = rocbed(["plan"]).arg(&recipe).env("ROCBED_CACHE", &cache).ok();
    assert!(text.contains("would be made") && text.contains("to be unpacked"), "{text}");
    assert!(!recipe.with_extension("lock").exists());
}

#[test]
fn diff_tells_images_and_locks_apart_by_package() {
    let old = scratch().join("old.lock");
    let text = include_str!("../recipes/smoke.lock").replace("name = \"hostname\"", "name = \"hostname-of-old\"");
    fs::write(&old, text).expect("writing a lock");
    let new = scratch().join("new.lock");
    fs::write(&new, include_str!("../recipes/smoke.lock")).expect("writing a lock");
    // As diff(1): 1 says that they differ.
    let differ = |call: Call| {
        let output = call.run();
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        output.stdout
    };
    let printed = differ(rocbed(["diff"]).arg(&old).arg(&new));
    assert!(printed.contains("+ hostname ") && printed.contains("- hostname-of-old "), "{printed}");
    assert!(printed.ends_with("1 added, 1 removed\n"), "{printed}");
    let image = smoke_image();
    assert_eq!(rocbed(["diff"]).arg(&image).arg(image.join("disk.img")).ok(), "nothing changed\n");
    let changes = json(&differ(rocbed(["diff", "--json"]).arg(&old).arg(&new)));
    assert_eq!(changes.as_array().map(Vec::len), Some(2));
}

#[test]
fn inspect_reads_the_bytes() {
    let image = smoke_image();
    let report = json(&rocbed(["inspect", "--json", "--files"]).arg(&image).ok());
    let disk = &report["disk.img"];
    assert_eq!(disk["kind"], "disk");
    assert_eq!(disk["partitions"].as_array().map(Vec::len), Some(3));
    let files = disk["partitions"][0]["files"].as_array().expect("paths");
    assert!(files.iter().any(|file| file[0] == "EFI/BOOT/BOOTX64.EFI"), "{files:?}");
    assert_eq!(disk["partitions"][1]["root"]["packages"], report["root.img"]["packages"]);
    let files = report["root.img"]["files"].as_array().expect("paths");
    assert!(files.iter().any(|path| path == "/usr/bin/autopkgtest"));
    let text = rocbed(["inspect"]).arg(&image).ok();
    assert_eq!(text.matches("packages  ").count(), 1, "told once:\n{text}");
    assert!(text.contains("with the same contents as partition 2 of disk.img") && text.lines().count() < 60, "{text}");
    let text = rocbed(["inspect", "--packages"]).arg(&image).ok();
    assert_eq!(text.matches("\n      autopkgtest ").count(), 1, "{text}");
    assert!(report["initrd.img"]["modules"].as_u64().is_some_and(|count| count > 40));
}

#[test]
fn completions_and_man_pages_are_made() {
    assert!(rocbed(["completions", "bash"]).ok().contains("_rocbed"));
    let directory = tempfile::tempdir().expect("a directory");
    rocbed(["man"]).arg(directory.path()).ok();
    let page = fs::read_to_string(directory.path().join("rocbed-build.1")).expect("a man page for build");
    assert!(page.contains("sector\\-size"), "{page}");
}

#[test]
fn the_cache_is_listed_and_pruned() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let cache = archive.path().join("cache");
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    rocbed(["lock"]).arg(&recipe).env("ROCBED_CACHE", &cache).ok();
    let list = rocbed(["cache", "list", "--files"]).env("ROCBED_CACHE", &cache).ok();
    assert!(list.contains("Packages.xz"), "{list}");
    rocbed(["cache", "prune", "--max-size", "0", "--dry-run"]).env("ROCBED_CACHE", &cache).ok();
    assert_eq!(
        json(&rocbed(["cache", "list", "--json"]).env("ROCBED_CACHE", &cache).ok()).as_array().map(Vec::len),
        Some(1)
    );
    let pruned = rocbed(["cache", "prune"]).env("ROCBED_CACHE", &cache).ok();
    assert_eq!(pruned, "", "what was used today stays");
    rocbed(["cache", "prune", "--all"]).env("ROCBED_CACHE", &cache).ok();
    assert_eq!(rocbed(["cache", "list", "--json"]).env("ROCBED_CACHE", &cache).ok(), "[]\n");
}

#[test]
fn the_manifest_names_every_package_of_the_lock() {
    let manifest = json(&fs::read_to_string(smoke_image().join("manifest.json")).expect("a manifest"));
    let packages = manifest["packages"].as_array().expect("packages");
    let purls = packages.iter().filter_map(|package| package["externalRefs"][0]["referenceLocator"].as_str()).count();
    let locked = include_str!("../recipes/smoke.lock").matches("[[package]]").count();
    assert_eq!(purls, locked);
}
