//! Boots the smoke image in QEMU in each of the ways that an image is used. KVM is used where it works; elsewhere, and
//! always in one test, QEMU emulates the processor (TCG).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use diskimage::{fat, gpt};
use rocbed_tests::{Victims, rocbed, smoke_image};
use vm::{Accelerator, Boot, Bus, Disk, Machine};

/// The rest of the line that starts with this text.
fn said<'a>(console: &'a str, beginning: &str) -> &'a str {
    let line = console.lines().find_map(|line| Some(line.split_once(beginning)?.1.trim()));
    line.unwrap_or_else(|| panic!("no line {beginning:?} on the console:\n{console}"))
}

/// Checks that rocbed-init has mounted the root and found the installed files in it.
fn reached_the_root(console: &str) {
    let kernel = said(console, "rocbed-init: kernel ");
    assert!(kernel.ends_with("-amd64"), "{kernel}");
    said(console, "rocbed-init: root: each block is checked (dm-verity) from ");
    let text = rocbed(["plan", "smoke", "--locked", "--json"]).ok();
    let plan: serde_json::Value = serde_json::from_str(&text).expect("a plan in JSON");
    let packages = plan["packages"].as_array().expect("packages");
    let expected = packages.iter().filter(|package| package["role"].is_null()).count();
    assert_eq!(said(console, "rocbed-init: packages "), expected.to_string());
    let ready = said(console, "rocbed-init: ready at ");
    assert!(ready.contains(" s, jobs from "), "{ready}");
    said(console, "rocbed-init: powering off");
}

/// Without KVM, also where it works: the other tests use it there.
#[test]
fn starts_directly_from_kernel_initramfs_and_root() {
    let image = smoke_image().display().to_string();
    let output = rocbed(["boot", &image]).env("ROCBED_ACCEL", "tcg").run();
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("TCG"), "{}", output.stderr);
    reached_the_root(&output.stdout);
    assert_eq!(said(&output.stdout, "rocbed-init: writable "), "none");
}

/// The start above uses Virtio, and the one with large sectors NVMe without Secure Boot. Here the initramfs finds disks
/// behind four kinds of controllers, and among them its own; the kernel takes only signed modules.
#[test]
fn starts_with_secure_boot_from_a_usb_stick_beside_disks_on_every_other_bus() {
    let victims = Victims::default();
    let image = smoke_image().display().to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let screen = directory.path().join("screen.png");
    let call = rocbed(["boot", &image, "--usb", "--secure-boot", "--timeout", "240", "--screenshot"]).arg(&screen);
    let output = victims.plugged_in(call).run();
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
    reached_the_root(&output.stdout);
    let lockdown = said(&output.stdout, "rocbed-init: lockdown ");
    assert!(lockdown.starts_with("integrity: no debugfs, "), "{lockdown}");
    // The firmware's display has room for the large screen (PNG, second edition, 11.2.2).
    let picture = fs::read(&screen).expect("a picture of the display");
    let width = picture.get(16..20).and_then(|bytes| bytes.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
    assert!(width >= Some(1024), "{width:?}");
    // Before the root was mounted, so with drivers in the initramfs.
    let others = said(&output.stdout, "rocbed-init: disks of this machine, read-only: ");
    let others: Vec<_> = others.split(' ').collect();
    assert!(others.len() == 3 && others.contains(&"nvme0n1") && others.contains(&"vda"), "{others:?}");
    assert!(others.iter().any(|name| name.starts_with("sd")), "{others:?}");
    // The stick itself and its partitions for settings and data, but not the root, and no other disk.
    let writable: Vec<_> = said(&output.stdout, "rocbed-init: writable ").split(' ').collect();
    let [stick, esp, data] = writable.as_slice() else { panic!("{writable:?}") };
    assert_eq!((*esp, *data), (&*format!("{stick}1"), &*format!("{stick}3")));
    victims.are_untouched();
}

#[test]
fn starts_from_a_disk_with_large_sectors() {
    let image = rocbed_tests::Temporary::new("images/smoke-4096");
    rocbed(["build", "smoke", "--locked", "--sector-size", "4096", "--output"]).arg(&image).ok();
    let output = rocbed(["boot", &image.to_string_lossy(), "--nvme"]).run();
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
    reached_the_root(&output.stdout);
    assert_eq!(said(&output.stdout, "rocbed-init: lockdown "), "none");
}

/// The firmware checks shim, and shim systemd-boot and the kernel.
#[test]
fn a_changed_program_is_not_started_with_secure_boot() {
    let directory = tempfile::tempdir().expect("a directory");
    let accelerator = Accelerator::probe(None).expect("an accelerator").accelerator;
    let log = directory.path().join("console");
    let mut machine = Machine::new(accelerator).cpus(1).boot(Boot::SecureBoot).log(&log).deadline(PATIENCE);
    // After the first two the firmware tries the next disk; of the last shim speaks in a box, and waits for a key.
    for (number, path) in ["EFI/BOOT/BOOTX64.EFI", "rocbed/vmlinuz", "EFI/BOOT/grubx64.efi"].into_iter().enumerate() {
        let disk = directory.path().join(number.to_string());
        fs::write(&disk, system_partition_with_a_change_in(path)).expect("a disk");
        machine = machine.disk(Disk::snapshot(disk, Bus::Virtio));
    }
    let running = machine.start(|_| ControlFlow::Continue(())).expect("starting QEMU");
    let console = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let began = Instant::now();
    while !console().contains("(0x1A) Security Violation") && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
    }
    running.stop().expect("ending QEMU");
    let console = console();
    for refusal in ["Access Denied", "\\rocbed\\vmlinuz: Security violation", "(0x1A) Security Violation"] {
        assert!(console.contains(refusal), "{refusal} is not on the console:\n{console}");
    }
    assert!(!console.contains("rocbed-init"), "{console}");
}

/// How long the machine may take to refuse three disks.
const PATIENCE: Duration = Duration::from_secs(240);

/// The image's EFI system partition, in which one bit of this file is flipped.
fn system_partition_with_a_change_in(path: &str) -> Vec<u8> {
    let mut disk = fs::File::open(smoke_image().join("disk.img")).expect("the disk");
    let table = gpt::read(&mut disk).expect("a partition table");
    let esp = &table.partitions.first().expect("a partition").1;
    let mut bytes = vec![0; usize::try_from(esp.size).expect("a size")];
    disk.read_exact_at(&mut bytes, esp.start).expect("the partition");
    let file = fat::Volume::open(&disk, esp.start).expect("a file system").read(path).expect("the file");
    let middle = file.len() / 2;
    let part = &file[middle..middle + 256];
    // Files begin where sectors begin.
    let places: Vec<_> = (middle % 512..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(part)).collect();
    assert!(!places.is_empty(), "{path} is not in the partition");
    // The kernel is in the unified kernel image too.
    for at in places {
        bytes[at] ^= 1;
    }
    bytes
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
fn a_shell_at_the_console_is_for_images_that_allow_one_and_cannot_write_to_other_disks() {
    smoke_image();
    // Recipes may have any name, and so may the directories of their images.
    let directory = rocbed_tests::Temporary::directory("names");
    let name = format!("debug größe+{} (1)", "x".repeat(190));
    let (recipe, image) = (directory.join(format!("{name}.toml")), directory.join("images").join(&name));
    std::fs::write(recipe.with_extension("lock"), include_str!("../recipes/smoke.lock")).expect("a lock");
    std::fs::write(&recipe, "inherits = \"smoke\"\n[settings]\ndebug-shell = true\n").expect("a recipe");
    rocbed(["build", "--locked"]).arg(&recipe).current_dir(&*directory).ok();
    // The input waits for the shell. Its answer differs from the input, which the terminal echoes.
    let victims = Victims::default();
    let text = "for d in nvme0n1 vdb sda; do dd if=/dev/zero of=/dev/$d bs=4096 count=9 conv=notrunc,fsync; \
        mount /dev/$d /mnt; echo tried $((1+1)) $d; done; echo $(id -un) has PID 1 is $(cat /proc/1/comm); kill -TERM 1\n";
    let console = type_into(&victims, &image, text);
    for disk in ["nvme0n1", "vdb", "sda"] {
        assert!(console.contains(&format!("tried 2 {disk}")), "{disk}:\n{console}");
    }
    victims.are_untouched();
    assert!(console.contains("root has PID 1 is rocbed-init"), "{console}");
    assert!(console.contains("rocbed-init: going to power off: SIGTERM"), "{console}");
}

/// Starts an image with its console on pipes, types this text once the machine is ready, and returns the complete
/// output.
fn type_into(victims: &Victims, image: &std::path::Path, text: &str) -> String {
    let mut command = victims.plugged_in(rocbed(["boot", "--debug", "--timeout", "240"])).arg(image).into_command();
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
