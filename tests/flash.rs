//! Writes the smoke image to loop devices (as root) and to files, checks it with other tools, and boots it. Also tests
//! interrupted writes, and everything that must not be written to.

#[path = "flash/refusals.rs"]
mod refusals;

use std::fs::{self, File};
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use diskimage::{SectorSize, gpt};
use progress::Silent;
use rocbed_tests::{Random, Temporary, rocbed, rocbed_path, smoke_image, tool};
use stick::disk::{Disk, FileDisk};
use stick::image::Image;
use stick::source::Source;
use stick::write::write;
use vm::{Accelerator, Boot, Bus, Machine};

const MIB: u64 = 1 << 20;

/// A directory for this test, on a disk.
fn directory(name: &str) -> Temporary {
    Temporary::directory(Path::new("flash").join(name))
}

/// A loop device for a sparse file, until this is dropped.
struct Loop(String);

impl Loop {
    /// Creates an empty device.
    fn new(file: &Path, mib: u64, sector_size: u32) -> Self {
        File::create(file).and_then(|file| file.set_len(mib << 20)).expect("making a file");
        Self::of(file, &["--sector-size", &sector_size.to_string()])
    }

    /// Creates a device with the content of a file.
    fn of(file: &Path, words: &[&str]) -> Self {
        let file = &*file.to_string_lossy();
        let words = ["--find", "--show", "--partscan"].iter().chain(words).chain([&file]);
        Self(tool("losetup", words).trim().to_owned())
    }

    /// `loop3`
    fn name(&self) -> &str {
        self.0.trim_start_matches("/dev/")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // The kernel releases it when its last user does.
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

fn flash(device: &str, more: &[&str]) -> String {
    let image = smoke_image().display().to_string();
    rocbed(["flash", &image, device, "--i-know", "--yes"].iter().chain(more)).ok()
}

/// Copies partition `number` of a flashed file, for tools that need a file.
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

/// Starts a machine from sticks; returns its output until one of these words appears.
fn starts(sticks: &[&Path], sector_size: u32, until: &'static [&'static str]) -> String {
    let accelerator = Accelerator::probe(None).expect("an accelerator").accelerator;
    let machine = Machine::new(accelerator).cpus(1).boot(Boot::Uefi).deadline(Duration::from_secs(300));
    let stick = |path: &&Path| vm::Disk::snapshot(path, Bus::UsbStorage).block_size(sector_size);
    let machine = sticks.iter().map(stick).fold(machine, Machine::disk);
    let said = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&said);
    let running = machine.start(move |line| {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&format!("{line}\n"));
        if until.iter().any(|text| line.contains(text)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let exit = running.and_then(vm::Running::wait).expect("a virtual machine");
    let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(exit.end, vm::End::Stopped, "{said}\n{}", exit.messages);
    said
}

#[test]
fn what_is_written_to_devices_of_both_sector_sizes_and_three_sizes_starts_as_a_stick() {
    let directory = directory("loops");
    let other = directory.join("other.img");
    flash(&other.to_string_lossy(), &["--file", "--name", "other"]);
    tool("mdel", ["-i", &format!("{}@@1M", other.display()), "::EFI/BOOT/BOOTX64.EFI"]);
    for (sector_size, mib) in [(512, 700), (512, 3001), (4096, 1500)] {
        let file = directory.join(format!("disk-{sector_size}-{mib}.img"));
        let device = Loop::new(&file, mib, sector_size);
        flash(&device.0, &["--name", "bench-7"]);
        let verified = tool("sgdisk", ["-v", &device.0]);
        assert!(verified.contains("No problems found"), "{verified}");
        let settings = rocbed(["settings", &device.0, "--set", "gpu=gfx942"]).ok();
        assert_eq!(settings, "name = bench-7\ngpu = gfx942\n");
        let inspected = rocbed(["inspect", "--json", &device.0]).ok();
        let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("a report in JSON");
        let report = &inspected[device.name()];
        assert_eq!((&report["kind"], &report["size"]), (&"disk".into(), &(mib << 20).into()), "{report}");
        assert_eq!(report["partitions"][0]["files"][0][0], "rocbed.toml", "{report}");
        drop(device);
        let esp = partition(&file, sector_size.into(), 1);
        tool("fsck.fat", ["-n", &esp.to_string_lossy()]);
        let root = partition(&file, sector_size.into(), 2);
        tool("e2fsck", ["-fn", &root.to_string_lossy()]);
        let length = fs::metadata(smoke_image().join("root.img")).expect("root.img").len();
        tool(
            "cmp",
            ["-n", &length.to_string(), &root.to_string_lossy(), &smoke_image().join("root.img").to_string_lossy()],
        );
        // With the settings, and with a data partition on the rest of the device. There is also another stick with the
        // same image and other settings, which the kernel may see first and the firmware cannot start.
        let sticks = match sector_size {
            512 => vec![other.as_path(), &file],
            _ => vec![file.as_path()],
        };
        let said = starts(&sticks, sector_size, &["rocbed-init: ready at "]);
        let disk = if said.contains(" is /dev/sdb2 with ext4") { "sdb" } else { "sda" };
        let data = format!("results are kept on /dev/{disk}3");
        for text in ["gfx942", "host name bench-7", "making a file system of ", &data] {
            assert!(said.contains(text), "{sector_size}, {mib} MiB: no {text}:\n{said}");
        }
        for file in [&file, &esp, &root] {
            fs::remove_file(file).expect("removing what the next device does not need");
        }
    }
}

/// A stick on which `look` is called whenever a given number of bytes has been written: its content is as if it were
/// unplugged at that moment.
///
/// The bytes come from the real writer, and each call sees exactly what a writer that ends there leaves, as an
/// unplugged device takes nothing more. So one run tests all cuts. Devices with a cache, which may lose a part of it,
/// are tested with images of another size in the crate `stick`.
struct Watched<'a> {
    disk: FileDisk,
    written: Mutex<u64>,
    cuts: &'a [u64],
    look: &'a (dyn Fn(u64) + Sync),
}

impl Watched<'_> {
    /// Passes on this many bytes, in parts that end where `look` is called.
    fn in_parts(&self, length: u64, mut part: impl FnMut(Range<u64>) -> io::Result<()>) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, end) = (*written, *written + length);
        for cut in self.cuts.iter().filter(|cut| (start..end).contains(cut)) {
            part(*written - start..cut - start)?;
            *written = *cut;
            (self.look)(*cut);
        }
        part(*written - start..length)?;
        *written = end;
        Ok(())
    }
}

impl Disk for Watched<'_> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.disk.sector_size()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.disk.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.in_parts(bytes.len() as u64, |part| {
            self.disk.write_at(&bytes[part.start as usize..part.end as usize], at + part.start)
        })
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.in_parts(range.end - range.start, |part| {
            if part.is_empty() { Ok(()) } else { self.disk.zero(range.start + part.start..range.start + part.end) }
        })
    }

    fn flush(&self) -> io::Result<()> {
        Ok(()) // readers see the page cache too
    }
}

/// Writes the smoke image to a file of this size; returns how many bytes were written, including zeros.
fn write_and_look(path: &Path, size: u64, cuts: &[u64], look: &(dyn Fn(u64) + Sync)) -> u64 {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).expect("a file");
    file.set_len(size).expect("a file");
    let disk = FileDisk::file(file, SectorSize::Bytes512, false).expect("a file");
    let disk = Watched { disk, written: Mutex::new(0), cuts, look };
    let source = Source::open(&smoke_image().join("disk.img"), None).expect("the image");
    let mut image = Image::open(source.reader().expect("the image"), source.map.as_ref()).expect("the image");
    let fit = image.fit(size, SectorSize::Bytes512, &[], 1_800_000_000).expect("room for the image");
    write(image, &fit, &disk, false, &AtomicBool::new(false), &Silent).expect("writing the image");
    disk.written.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether two disks have the same content in a range.
fn same(one: &File, other: &File, range: &Range<u64>) -> bool {
    let (mut left, mut right) = (vec![0; 4 * MIB as usize], vec![0; 4 * MIB as usize]);
    (range.start..range.end).step_by(left.len()).all(|at| {
        let length = (range.end - at).min(left.len() as u64) as usize;
        one.read_exact_at(&mut left[..length], at).expect("a disk");
        other.read_exact_at(&mut right[..length], at).expect("a disk");
        left[..length] == right[..length]
    })
}

#[test]
fn cut_off_at_any_byte_a_stick_is_the_old_one_or_the_new_one_or_does_not_start() {
    let directory = directory("cut");
    let [new, old, target] = ["new.img", "old.img", "stick.img"].map(|name| directory.join(name));
    for path in [&new, &old, &target] {
        // There may be a file from an earlier run.
        let _ = fs::remove_file(path);
    }
    let size = fs::metadata(smoke_image().join("disk.img")).expect("the image").len() + 100 * MIB;
    let total = write_and_look(&new, size, &[], &|_| ());
    let open = |path: &Path| File::options().read(true).write(true).open(path).expect("a disk");
    let table = gpt::read(&mut open(&new)).expect("a partition table");
    let parts: Vec<_> = table.partitions[..2].iter().map(|(_, part)| part.start..part.start + part.size).collect();
    // The old image has exactly the same partition table, so only the content differs.
    tool("cp", ["--sparse=always", &new.to_string_lossy(), &old.to_string_lossy()]);
    for part in &parts {
        for at in (part.start..part.end).step_by(MIB as usize) {
            open(&old).write_all_at(b"old", at + 4000).expect("changing the old stick");
        }
    }
    tool("cp", ["--sparse=always", &old.to_string_lossy(), &target.to_string_lossy()]);

    let mut random = Random::announced();
    let edge = 2 * MIB + MIB / 2;
    // Most important are the first MiB and the last, which contain the tables and are written twice each.
    let mut cuts: Vec<_> = (0..48)
        .map(|number| match number % 4 {
            0 => random.below(edge),
            1 => total - 1 - random.below(edge),
            _ => random.below(total),
        })
        .collect();
    // Three cuts are also booted: without tables, half written, and complete except for the tables.
    let tried = [3 * MIB + random.below(MIB), total / 2 + random.below(MIB), total - 3 * MIB + random.below(MIB / 2)];
    cuts.extend(tried);
    for cut in &mut cuts {
        *cut = *cut / 512 * 512;
    }
    let tried = tried.map(|cut| cut / 512 * 512);
    cuts.sort_unstable();
    cuts.dedup();
    assert!(cuts.len() >= 50, "{cuts:?}");
    let seen = Mutex::new([0; 3]);
    write_and_look(&target, size, &cuts, &|cut| {
        let disk = open(&target);
        let is = |other: &Path| parts.iter().all(|part| same(&disk, &open(other), part));
        let which = match gpt::read(&mut &disk) {
            Err(_) => 0,
            Ok(_) if is(&old) => 1,
            Ok(_) if is(&new) => 2,
            Ok(table) => panic!("cut off at byte {cut} of {total} it has a partition table: {:?}", table.copies),
        };
        seen.lock().unwrap_or_else(PoisonError::into_inner)[which] += 1;
        if let Some(number) = tried.iter().position(|tried| *tried == cut) {
            assert_eq!(which, 0, "cut off at byte {cut} of {total}");
            let kept = directory.join(format!("tried-{number}.img"));
            tool("cp", ["--sparse=always", &target.to_string_lossy(), &kept.to_string_lossy()]);
        }
    });
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} cuts: nothing, the old one, the new one: {seen:?}", cuts.len());
    assert!(seen[0] >= 20 && seen[1] > 0 && seen[2] > 0, "{seen:?}");
    assert!(parts.iter().all(|part| same(&open(&target), &open(&new), part)));

    // With all three plugged in, the firmware finds nothing to start.
    let tried = [0, 1, 2].map(|number| directory.join(format!("tried-{number}.img")));
    let said = starts(&tried.each_ref().map(PathBuf::as_path), 512, NOTHING);
    assert_eq!(said.matches("BdsDxe: failed to load").count(), 3, "{said}");
    for text in ["rocbed-init", "EFI stub", "Linux version"] {
        assert!(!said.contains(text), "{text}:\n{said}");
    }
}

/// Messages of OVMF when it has tried everything.
const NOTHING: &[&str] = &["UEFI Interactive Shell", "No bootable option or device was found", "rocbed-init"];

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
    for delay in (20..1020).step_by(200) {
        // Over what an earlier round has left. The image is first read to its end, and nothing is written meanwhile.
        let changed = || fs::metadata(&target).and_then(|metadata| metadata.modified()).ok();
        let before = changed();
        let mut child = start();
        while changed() == before && child.try_wait().expect("looking at rocbed").is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(delay));
        child.kill().expect("killing rocbed");
        if !child.wait().expect("waiting for rocbed").success() {
            killed += 1;
            let output = rocbed(["inspect"]).arg(&target).run();
            // The write was complete, or there is no partition table.
            assert!(output.code != Some(0) || same_root(&target), "after {delay} ms: {}", output.stdout);
        }
    }
    assert!(killed > 0);
}

/// A copy of the smoke image with all its files.
fn copy_of_image(name: &str) -> Temporary {
    let copy = directory(name);
    for file in fs::read_dir(smoke_image()).expect("an image").flatten() {
        let (from, to) = (file.path(), copy.join(file.file_name()));
        tool("cp", ["--sparse=always", &from.to_string_lossy(), &to.to_string_lossy()]);
    }
    copy
}

#[test]
fn an_image_with_other_settings_is_still_whole_and_goes_onto_a_stick() {
    let (image, directory) = (copy_of_image("set"), directory("set-stick"));
    let stick = directory.join("stick.img");
    for (settings, expected) in [("hub=http://hub.example:8420", ""), ("name=bench-7", "name = bench-7\n")] {
        let shown = rocbed(["settings", "--set", settings]).arg(&image).ok();
        assert_eq!(shown, format!("hub = http://hub.example:8420\n{expected}"));
        let sums = fs::read_to_string(image.join("SHA256SUMS")).expect("digests");
        tool(
            "sh",
            ["-c", "cd \"$1\" && sha256sum --check --strict --quiet SHA256SUMS", "sh", &image.to_string_lossy()],
        );
        assert_eq!(
            sums.lines().count(),
            fs::read_to_string(smoke_image().join("SHA256SUMS")).expect("digests").lines().count()
        );
    }
    for from in [image.to_path_buf(), image.join("disk.img.zst")] {
        rocbed(["flash", "--file", "--yes"]).arg(&from).arg(&stick).ok();
        assert_eq!(rocbed(["settings"]).arg(&stick).ok(), "hub = http://hub.example:8420\nname = bench-7\n");
    }
    let diff = rocbed(["diff"]).arg(smoke_image()).arg(&image).run();
    assert_eq!(diff.code, Some(1), "{}", diff.stderr);
    assert!(diff.stdout.contains("! disk.img: same size, other content\n"), "{}", diff.stdout);
    assert!(
        diff.stdout.ends_with("packages: nothing changed; files: 4 differ; paths of the root: 0 differ\n"),
        "{}",
        diff.stdout
    );
    let inspected = rocbed(["inspect"]).arg(image.join("disk.img.zst")).ok();
    assert!(inspected.contains("rocbed-esp") && inspected.contains("rocbed.toml"), "{inspected}");
}

#[test]
fn nothing_is_erased_for_an_image_that_is_damaged() {
    let (image, directory) = (copy_of_image("damaged"), directory("damaged-stick"));
    let stick = directory.join("stick.img");
    for name in ["disk.img", "disk.img.zst"] {
        let path = image.join(name);
        let length = fs::metadata(&path).expect("a disk").len();
        let file = File::options().read(true).write(true).open(&path).expect("a disk");
        let mut byte = [0];
        file.read_exact_at(&mut byte, length / 2).expect("reading");
        file.write_all_at(&[byte[0] ^ 1], length / 2).expect("writing");
        fs::write(&stick, "holiday pictures").expect("a file");
        let said = rocbed(["flash", "--file", "--yes"]).arg(&path).arg(&stick).fails();
        assert!(said.contains("is as it was"), "{said}");
        assert_eq!(fs::read_to_string(&stick).expect("the file"), "holiday pictures", "{name}");
    }
    let said = rocbed(["settings", "--set", "name=x"]).arg(&image).fails();
    assert!(said.contains("damaged, or changed by another program"), "{said}");
}

fn same_root(disk: &Path) -> bool {
    let root = partition(disk, 512, 2);
    let (one, other) = (fs::read(root).expect("a root"), fs::read(smoke_image().join("root.img")).expect("a root"));
    one.starts_with(&other)
}
