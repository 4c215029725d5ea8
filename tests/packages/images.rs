//! The container images of the hub and of the builder, made and then run by a user with podman.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rocbed_tests::{rocbed_path, scratch, tool};

use crate::podman::Podman;

/// Where it is in containers that must not reach anything.
const ALONE: [&str; 3] = ["--network", "none", "--read-only"];

/// Makes the images of the programs under test into a directory.
fn make(name: &str) -> Vec<PathBuf> {
    let rocbed = rocbed_path();
    let programs = rocbed.parent().expect("a directory");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let output = scratch().join("packages").join(name);
    let words = ["oci", "--quick", "--programs", &text(programs), "--output", &text(&output)];
    let made = tool(&text(&programs.join("xtask")), words);
    made.lines().filter(|line| line.ends_with(".oci.tar")).map(PathBuf::from).collect()
}

/// The image whose file has this name, made once.
fn image(name: &str) -> &'static Path {
    static IMAGES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let images = IMAGES.get_or_init(|| make("oci"));
    let named = |path: &&PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().contains(name));
    images.iter().find(named).expect("an image")
}

#[test]
fn the_hubs_image_takes_jobs_without_root_or_rights() {
    let podman = Podman::new();
    let name = podman.load(image("rocbed-hub-"));
    let mut words =
        vec!["run", "--detach", "--name", "hub", "--volume", "data:/var/lib/rocbed/hub", "--cap-drop", "all"];
    words.extend(ALONE);
    words.extend([&*name, "--url", "http://hub.example:8420"]);
    podman.run(&words);
    // It has no shell to wait in.
    let added = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let output = podman.output(&["exec", "hub", "rocbed", "jobs", "add", "gzip"]);
        output.status.success().then_some(output)
    });
    let log = podman.run(&["logs", "hub"]);
    assert!(added.is_some(), "{log}");
    assert!(podman.run(&["exec", "hub", "rocbed", "jobs", "list"]).contains("gzip"));
    assert!(log.contains("http://hub.example:8420") && !log.contains("rocbed-admin-"), "{log}");
    podman.run(&["stop", "hub"]);
    assert_eq!(podman.run(&["inspect", "--format", "{{.State.ExitCode}}", "hub"]).trim(), "0");
    // Another container goes on with the same data.
    podman.run(&["rm", "hub"]);
    podman.run(&words);
    let listed = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let output = podman.output(&["exec", "hub", "rocbed", "jobs", "list"]);
        String::from_utf8_lossy(&output.stdout).contains("gzip")
    });
    assert!(listed, "{}", podman.run(&["logs", "hub"]));
}

#[test]
fn the_builders_image_plans_and_builds_without_root() {
    let podman = Podman::new();
    let name = podman.load(image("rocbed-builder-"));
    let run = |words: &[&str]| podman.output(&[&["run", "--rm", "--network", "none", &name], words].concat());
    let plan = run(&["rocbed", "plan", "smoke", "--offline", "--locked"]);
    assert!(String::from_utf8_lossy(&plan.stdout).contains("root       to be unpacked"), "{plan:?}");
    // A whole build takes a minute, and tests/container.rs has some. What the sandbox needs is looked at before packages are: the
    // build gets as far as missing these.
    let build = run(&["rocbed", "build", "smoke", "--offline", "--locked"]);
    let said = String::from_utf8_lossy(&build.stderr);
    assert!(said.contains("fetching the packages") && !said.contains("namespace"), "{said}");
    // CI systems run jobs by a shell, and users add packages.
    let shell = run(&[
        "sh",
        "-euc",
        "rocbed --version; test -x /usr/lib/rocbed/rocbed-init; apt-get --version; cat /etc/os-release",
    ]);
    assert!(String::from_utf8_lossy(&shell.stdout).contains("Debian"), "{shell:?}");
}

#[test]
fn images_are_the_same_bytes_the_second_time() {
    let first = image("rocbed-builder-");
    let second = make("oci-again");
    for path in &second {
        let first = first.with_file_name(path.file_name().expect("a name"));
        tool("cmp", [&first, path]);
    }
    assert_eq!(second.len(), 2);
}
