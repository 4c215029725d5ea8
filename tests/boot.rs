//! The smoke image in QEMU, in each of the ways that an image is used. The machine's KVM is used where it truly works;
//! elsewhere, and always here in one test, QEMU translates (TCG).

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rocbed_tests::{rocbed, smoke_image};

/// Starts the image and returns what it said on its serial console.
fn boot(words: &[&str]) -> String {
    let image = smoke_image().display().to_string();
    let output = rocbed(["boot", &image, "--timeout", "240"].iter().chain(words)).run();
    assert_eq!(output.code, Some(0), "rocbed boot {words:?}:\n{}\n{}", output.stdout, output.stderr);
    output.stdout
}

/// The line that begins so, the rest of it.
fn said<'a>(console: &'a str, beginning: &str) -> &'a str {
    let line = console.lines().find_map(|line| Some(line.split_once(beginning)?.1.trim()));
    line.unwrap_or_else(|| panic!("no line {beginning:?} on the console:\n{console}"))
}

/// rocbed-init has mounted the root and found in it what was installed.
fn reached_the_root(console: &str) {
    let kernel = said(console, "rocbed-init: kernel ");
    assert!(kernel.ends_with("-amd64"), "{kernel}");
    let text = rocbed(["plan", "smoke", "--locked", "--json"]).ok();
    let plan: serde_json::Value = serde_json::from_str(&text).expect("a plan in JSON");
    let packages = plan["packages"].as_array().expect("packages");
    let expected = packages.iter().filter(|package| package["role"] != "build").count();
    assert_eq!(said(console, "rocbed-init: packages "), expected.to_string());
    let ready = said(console, "rocbed-init: ready at ");
    assert!(ready.contains(" s, jobs from "), "{ready}");
    said(console, "rocbed-init: powering off");
}

#[test]
fn starts_directly_from_kernel_initramfs_and_root() {
    reached_the_root(&boot(&[]));
}

#[test]
fn starts_under_uefi_from_a_virtio_disk() {
    reached_the_root(&boot(&["--firmware", "uefi", "--disk", "virtio"]));
}

#[test]
fn starts_under_uefi_from_an_nvme_disk() {
    reached_the_root(&boot(&["--nvme"]));
}

#[test]
fn starts_under_uefi_from_a_usb_stick() {
    reached_the_root(&boot(&["--usb"]));
}

#[test]
fn starts_without_kvm() {
    let image = smoke_image().display().to_string();
    let output = rocbed(["boot", &image]).env("ROCBED_ACCEL", "tcg").run();
    assert!(output.stderr.contains("TCG"), "{}", output.stderr);
    reached_the_root(&output.stdout);
}

#[test]
fn starts_from_a_disk_with_large_sectors() {
    let image = rocbed_tests::scratch().join("images/smoke-4096");
    rocbed(["build", "smoke", "--locked", "--sector-size", "4096", "--output"]).arg(&image).ok();
    let output = rocbed(["boot", &image.to_string_lossy(), "--firmware", "uefi", "--disk", "nvme"]).run();
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
    reached_the_root(&output.stdout);
}

#[test]
fn a_root_of_another_image_is_not_mounted() {
    let image = smoke_image().display().to_string();
    let strange = "root=UUID=00000000-0000-4000-8000-000000000000 rocbed.root-timeout=3 rocbed.panic-timeout=1";
    let output = rocbed(["boot", &image, "--append", strange]).run();
    assert_eq!(output.code, Some(16), "{}", output.stderr);
    assert!(output.stdout.contains("rocbed-init: error"), "{}", output.stdout);
    assert!(output.stdout.contains("rocbed-init: what to do"), "{}", output.stdout);
}

#[test]
fn a_shell_at_the_console_is_for_images_that_allow_one() {
    smoke_image();
    let (recipe, image) = (rocbed_tests::scratch().join("debug.toml"), rocbed_tests::scratch().join("images/debug"));
    std::fs::write(rocbed_tests::scratch().join("debug.lock"), include_str!("../recipes/smoke.lock")).expect("a lock");
    std::fs::write(&recipe, "inherits = \"smoke\"\n[settings]\ndebug-shell = true\n").expect("a recipe");
    rocbed(["build", "--locked", "--output"]).arg(&image).arg(&recipe).ok();
    // What is typed waits for the shell. Its answer is not what was typed, which the terminal shows too.
    let console = type_into(&image, "echo $(id -un) has PID 1 is $(cat /proc/1/comm); kill -TERM 1\n");
    assert!(console.contains("root has PID 1 is rocbed-init"), "{console}");
    assert!(console.contains("rocbed-init: powering off"), "{console}");
}

/// Starts an image with its console on our pipes, types this once the machine is ready, and returns all that was there.
fn type_into(image: &std::path::Path, text: &str) -> String {
    let mut command = rocbed(["boot", "--debug", "--timeout", "240"]).arg(image).into_command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starting rocbed");
    let (mut keyboard, screen) = (child.stdin.take().expect("stdin"), child.stdout.take().expect("stdout"));
    let mut shown = String::new();
    for line in BufReader::new(screen).lines().map_while(Result::ok) {
        if line.contains("rocbed-init: ready at ") {
            keyboard.write_all(text.as_bytes()).expect("typing");
        }
        shown.push_str(&line);
        shown.push('\n');
    }
    assert!(child.wait().expect("its end").success(), "{shown}");
    shown
}
