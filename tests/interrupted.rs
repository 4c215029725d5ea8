//! Builds that are interrupted, compete with others or run out of space: there is never a partial image under a final
//! name, and the next run continues.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rocbed_tests::{Temporary, rocbed, scratch, smoke_image, tool};

/// Checks that an image directory has complete files or nothing.
fn is_whole_or_absent(image: &Path) {
    if image.join("SHA256SUMS").exists() {
        let check = format!("cd {} && sha256sum --check --quiet --strict SHA256SUMS", image.display());
        tool("sh", ["-c", &check]);
    }
    for name in ["disk.img", "root.img", "uki.efi", "initrd.img", "vmlinuz"] {
        let (path, whole) = (image.join(name), smoke_image().join(name));
        if path.exists() {
            tool("cmp", [&path, &whole]);
        }
    }
}

#[test]
fn ctrl_c_at_any_moment_leaves_nothing_half() {
    smoke_image();
    let image = Temporary::new("images/interrupted");
    for milliseconds in [30, 100, 250, 500, 1_000, 2_000, 4_000, 7_000] {
        let build = rocbed(["build", "smoke", "--locked", "--fresh", "--output"]).arg(&image).into_command();
        // Where a shell has started the tests in the background, they and their children ignore the signal.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(build.get_program()).args(build.get_args());
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("starting rocbed");
        sleep(Duration::from_millis(milliseconds));
        let pid = rustix::process::Pid::from_child(&child);
        // The build may have ended by now; then there is nothing to interrupt.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        child.wait().expect("waiting for rocbed");
        is_whole_or_absent(&image);
    }
    rocbed(["build", "smoke", "--locked", "--output"]).arg(&image).ok();
    is_whole_or_absent(&image);
    tool("cmp", [image.join("disk.img"), smoke_image().join("disk.img")]);
    let left = fs::read_dir(&image).expect("reading the image").filter_map(Result::ok);
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("part")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn two_builds_into_one_directory_do_not_meet() {
    smoke_image();
    let image = Temporary::new("images/crowded");
    let mut first = rocbed(["build", "smoke", "--locked", "--fresh", "--output"]).arg(&image).into_command();
    let mut child = first.stderr(Stdio::null()).spawn().expect("starting rocbed");
    let lock = image.join(".lock");
    while !lock.exists() || fs::read(&lock).unwrap_or_default().is_empty() {
        sleep(Duration::from_millis(20));
    }
    let said = rocbed(["build", "smoke", "--locked", "--output"]).arg(&image).fails();
    assert!(said.contains(&child.id().to_string()) && said.contains("--wait"), "{said}");
    rocbed(["build", "smoke", "--locked", "--wait", "--output"]).arg(&image).ok();
    assert!(child.wait().expect("waiting for the first build").success());
    is_whole_or_absent(&image);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half() {
    smoke_image();
    let mount = scratch().join("small");
    fs::create_dir_all(&mount).expect("making a mount point");
    tool("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", &mount.to_string_lossy()]);
    let image = mount.join("smoke");
    let said = rocbed(["build", "smoke", "--locked", "--output"]).arg(&image).run();
    let there = fs::read_dir(&image)
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect::<Vec<_>>());
    tool("umount", [&mount]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("No space left on device") && said.stderr.contains("root.img"), "{}", said.stderr);
    let there = there.expect("reading the image directory");
    assert!(!there.iter().any(|name| name == "SHA256SUMS" || name == "disk.img" || name == "root.img"), "{there:?}");
}

#[test]
fn a_change_of_settings_keeps_the_root_file_system() {
    smoke_image();
    let recipe = scratch().join("settings.toml");
    let image = Temporary::new("images/settings");
    let lock = scratch().join("settings.lock");
    fs::write(&lock, include_str!("../recipes/smoke.lock")).expect("copying the lock");
    let build = |name: &str| {
        fs::write(&recipe, format!("inherits = \"smoke\"\n[settings]\nname = {name:?}\n")).expect("writing the recipe");
        rocbed(["build", "--locked", "--output"]).arg(&image).arg(&recipe).ok();
        fs::metadata(image.join("root.img")).and_then(|metadata| metadata.modified()).expect("root.img is there")
    };
    let (first, second) = (build("one"), build("two"));
    assert_eq!(first, second, "root.img was written again");
    let text = rocbed(["inspect"]).arg(image.join("initrd.img")).ok();
    assert!(text.contains("name = \"two\""), "{text}");
}
