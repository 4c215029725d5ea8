//! The smoke image on loop devices (as root) and in files, checked by the tools of others, and booted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rocbed_tests::{rocbed, rocbed_path, scratch, smoke_image, tool};

/// A directory of this test's own, on a disk.
fn directory(name: &str) -> PathBuf {
    let path = scratch().join("flash").join(name);
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("making {}: {error}", path.display()));
    path
}

/// A loop device over a sparse file, for as long as it lives.
struct Loop(String);

impl Loop {
    fn new(file: &Path, mib: u64, sector_size: &str) -> Self {
        File::create(file).and_then(|file| file.set_len(mib << 20)).expect("making a file");
        let words = ["--find", "--show", "--partscan", "--sector-size", sector_size, &file.to_string_lossy()];
        Self(tool("losetup", words).trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // The kernel lets go of it when its last user does.
        drop(Command::new("losetup").args(["--detach", &self.0]).status());
    }
}

fn flash(device: &str, more: &[&str]) -> String {
    let image = smoke_image().display().to_string();
    rocbed(["flash", &image, device, "--i-know", "--yes"].iter().chain(more)).ok()
}

/// Partition `number` of a flashed file, copied out for tools that look at files.
fn partition(disk: &Path, sector_size: u64, number: usize) -> PathBuf {
    let text = rocbed(["inspect", "--json"]).arg(disk).ok();
    let report: serde_json::Value = serde_json::from_str(&text).expect("a report in JSON");
    let disk_report = report.as_object().and_then(|files| files.values().next()).expect("a disk");
    assert_eq!(disk_report["sector-size"], sector_size);
    let part = &disk_report["partitions"][number - 1];
    let (start, size) = (part["start"].as_u64().expect("a start"), part["size"].as_u64().expect("a size"));
    let target = disk.with_extension(format!("part{number}"));
    let words = [
        format!("if={}", disk.display()),
        format!("of={}", target.display()),
        "bs=1M".into(),
        format!("skip={}", start >> 20),
        format!("count={}", size >> 20),
        "status=none".into(),
    ];
    tool("dd", words);
    target
}

#[test]
fn loop_devices_of_both_sector_sizes_and_three_sizes() {
    let directory = directory("loops");
    for (sector_size, mib) in [("512", 700), ("512", 3001), ("4096", 1500)] {
        let file = directory.join(format!("disk-{sector_size}-{mib}.img"));
        let device = Loop::new(&file, mib, sector_size);
        flash(&device.0, &["--name", "bench-7"]);
        let verified = tool("sgdisk", ["-v", &device.0]);
        assert!(verified.contains("No problems found"), "{verified}");
        let settings = rocbed(["settings", &device.0, "--set", "when-done=power-off"]).ok();
        assert_eq!(settings, "name = bench-7\nwhen-done = power-off\n");
        drop(device);
        let esp = partition(&file, sector_size.parse().expect("a number"), 1);
        tool("fsck.fat", ["-n", &esp.to_string_lossy()]);
        let root = partition(&file, sector_size.parse().expect("a number"), 2);
        tool("e2fsck", ["-fn", &root.to_string_lossy()]);
        let length = fs::metadata(smoke_image().join("root.img")).expect("root.img").len();
        tool(
            "cmp",
            ["-n", &length.to_string(), &root.to_string_lossy(), &smoke_image().join("root.img").to_string_lossy()],
        );
    }
}

#[test]
fn a_writer_that_is_killed_leaves_nothing_that_boots() {
    let directory = directory("killed");
    let target = directory.join("stick.img");
    let start = || -> Child {
        let mut command = Command::new(rocbed_path());
        command.arg("flash").arg(smoke_image()).arg(&target).args(["--file", "--yes", "--quiet"]);
        command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("starting rocbed")
    };
    let mut killed = 0;
    for delay in (20..1020).step_by(100) {
        // Over what an earlier round has left.
        let mut child = start();
        thread::sleep(Duration::from_millis(delay));
        child.kill().expect("killing rocbed");
        if !child.wait().expect("waiting for rocbed").success() {
            killed += 1;
            let output = rocbed(["inspect"]).arg(&target).run();
            // It had ended its work, or there is no partition table.
            assert!(output.code != Some(0) || same_root(&target), "after {delay} ms: {}", output.stdout);
        }
    }
    assert!(killed > 0);
}

fn same_root(disk: &Path) -> bool {
    let root = partition(disk, 512, 2);
    let (one, other) = (fs::read(root).expect("a root"), fs::read(smoke_image().join("root.img")).expect("a root"));
    one.starts_with(&other)
}

#[test]
fn wrong_targets_are_refused_with_what_to_do() {
    let image = smoke_image().display().to_string();
    let directory = directory("wrong");
    let file = directory.join("notes.txt");
    fs::write(&file, "not a disk").expect("writing a file");
    let file = file.display().to_string();
    let disk = format!("{image}/disk.img");
    for (words, says) in [
        (&["/dev/null"][..], "character device"),
        (&["/dev/rocbed-nothing"], "there is no"),
        (&["/"], "is a directory"),
        (&[&file], "--file"),
        (&[&disk, "--file"], "is the image itself"),
        (&["/dev/rocbed-nothing", "--file"], "among the devices"),
        (&[&file, "--file"], "--yes says so"),
        (&[&file, "--file", "--yes", "--size", "1MiB"], "the image needs"),
        (&[&file, "--file", "--yes", "--set", "hubb=x"], "did you mean `hub`?"),
    ] {
        let output = rocbed(["flash", &image].iter().chain(words)).run();
        assert_eq!(output.code, Some(1), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(says), "{words:?}: {}", output.stderr);
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "not a disk");
}

#[test]
fn what_was_written_boots_as_a_usb_stick() {
    let directory = directory("boot");
    let target = directory.join("disk.img").display().to_string();
    flash(&target, &["--file", "--size", "2GiB", "--name", "from-the-stick", "--set", "when-done=power-off"]);
    let words = ["boot", &target, "--usb", "--timeout", "300"];
    let output = rocbed(words).run();
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("rocbed-init: ready at "), "{}", output.stdout);
}
