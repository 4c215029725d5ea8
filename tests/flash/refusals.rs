//! Devices and files that are not written, each with its reason.

use std::collections::BTreeSet;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;

use rocbed_tests::Output;
use rustix::fs::OFlags;

use super::*;

/// The refusals seen so far, by the words that distinguish each.
#[derive(Default)]
struct Refused(BTreeSet<String>);

impl Refused {
    /// Runs `rocbed flash` of the smoke image with these arguments; the output must contain all of `says`.
    fn flash(&mut self, words: &[&str], says: &[&str]) {
        self.check(&rocbed(["flash"]).arg(smoke_image()).args(words).run(), says);
    }

    /// Like `flash`, for a device that is mounted meanwhile, in a mount namespace of its own.
    fn flash_mounted(&mut self, partition: &Path, at: &str, device: &str, says: &[&str]) {
        let script = "mount -t ext4 -o ro,noload \"$1\" \"$2\" && exec \"$3\" flash \"$4\" \"$5\" --yes --i-know";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", script, "sh"]).arg(partition).arg(at).arg(rocbed_path());
        let output = unshare.arg(smoke_image()).arg(device).output().expect("unshare (package util-linux), as root");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (code, stdout, stderr) = (output.status.code(), text(&output.stdout), text(&output.stderr));
        self.check(&Output { code, stdout, stderr }, says);
    }

    fn check(&mut self, output: &Output, says: &[&str]) {
        assert_eq!(output.code, Some(1), "{says:?}: {}", output.stderr);
        for text in says {
            assert!(output.stderr.contains(text), "{says:?}: {}", output.stderr);
        }
        assert!(self.0.insert(says[0].to_owned()), "{says:?} twice");
    }
}

#[test]
fn more_than_twenty_ways_to_pick_a_wrong_device_are_refused_each_with_its_reason() {
    let directory = directory("wrong");
    let image = smoke_image().join("disk.img");
    let mut refused = Refused::default();
    let at = |name: &str| {
        let path = directory.join(name);
        fs::remove_file(&path).unwrap_or_default(); // an earlier run's
        path.display().to_string()
    };

    // Paths that are not devices.
    let (file, pipe, socket, link) = (at("notes.txt"), at("pipe"), at("socket"), at("link"));
    fs::write(&file, "not a disk").expect("writing a file");
    tool("mkfifo", [&pipe]);
    let _listener = UnixListener::bind(&socket).expect("a socket");
    symlink(&image, &link).expect("a link");
    refused.flash(&["/dev/null"], &["/dev/null is a character device", "--list"]);
    refused.flash(&["/dev/rocbed-nothing"], &["there is no /dev/rocbed-nothing", "--list"]);
    refused.flash(&["/"], &["/ is a directory, not a device", "--list"]);
    refused.flash(&[&pipe], &[&format!("{pipe} is a pipe or a socket"), "--list"]);
    refused.flash(&[&socket], &[&format!("{socket} is a pipe or a socket"), "--list"]);
    refused.flash(&[&file], &[&format!("{file} is a file, not a device"), "--file"]);

    // Files in the wrong place.
    let disk = image.display().to_string();
    refused.flash(&["/dev/rocbed-nothing", "--file"], &["/dev/rocbed-nothing would be a file among the devices"]);
    refused.flash(&["/sys/rocbed.img", "--file"], &["/sys/rocbed.img would be a file among the devices"]);
    refused.flash(&[&disk, "--file"], &[&format!("{disk} is the image itself")]);
    refused.flash(&[&link, "--file", "--yes"], &[&format!("{link} is the image itself")]);
    refused.flash(&[&file, "--file"], &[&format!("whether to overwrite {file}"), "--yes overwrites"]);
    refused.flash(&[&file, "--file", "--yes", "--size", "1MiB"], &["the image needs", "--size is 1048576"]);
    let output = rocbed(["flash"]).arg(smoke_image()).args(&[&*file, "--file", "--yes", "--set", "hubb=x"]).fails();
    assert!(output.contains("did you mean `hub`?"), "{output}");
    assert_eq!(fs::read_to_string(&file).expect("the file"), "not a disk");

    // Devices that would be suitable, except for one property.
    let content = directory.join("disk.img");
    let device = Loop::new(&content, 700, 512);
    let marked = File::options().read(true).write(true).open(&content).expect("the disk");
    marked.write_all_at(b"holiday pictures", 0).expect("marking the disk");
    let path = &*device.0;
    refused.flash(&[device.name()], &[&format!("there is no {}", device.name()), &format!("did you mean {path}?")]);
    refused.flash(&[path], &[&format!("{path} ("), "is not removable", "--i-know"]);
    refused.flash(&[path, "--i-know"], &[&format!("whether to overwrite {path}"), "--yes overwrites"]);
    let swapped = rocbed(["flash", path]).arg(smoke_image()).args(&["--i-know", "--yes"]).fails();
    assert!(swapped.contains(&format!("{path} is a device, not an image")), "{swapped}");
    assert!(swapped.contains(&format!("rocbed flash {} {path}", smoke_image().display())), "{swapped}");
    refused.flash(&[path, "--i-know", "--yes", "--file"], &["is a device, and --file was given", "leave --file away"]);
    let exclusive = OFlags::EXCL.bits().cast_signed();
    let taken = File::options().read(true).custom_flags(exclusive).open(path).expect("the device, for us alone");
    refused.flash(&[path, "--i-know", "--yes"], &["is in use by another program", "fuser"]);
    drop(taken);
    let small = Loop::new(&directory.join("small.img"), 64, 512);
    refused.flash(&[&small.0, "--i-know", "--yes"], &["is too small: it has 67108864 bytes (64 MiB)"]);
    let strange = Loop::new(&directory.join("strange.img"), 700, 2048);
    refused.flash(&[&strange.0, "--i-know", "--yes"], &["has sectors of 2048 bytes; images are for 512 and 4096"]);
    let free = (0..64).rev().map(|number| format!("loop{number}")).find(|name| is_free(name)).expect("a loop device");
    refused.flash(&[&format!("/dev/{free}"), "--i-know"], &[&format!("there is no medium in /dev/{free}"), "slot"]);

    // A disk with an image, its partitions, and their uses.
    let whole = Loop::of(&image, &["--read-only"]);
    let part = directory.join("part");
    let _ = fs::remove_file(&part);
    let number = Path::new("/sys/class/block").join(format!("{}p2/dev", whole.name()));
    if !number.exists() {
        // For kernels that do not read this kind of table by themselves.
        tool("partx", ["--add", "--nr", "2", &whole.0]);
    }
    let number = fs::read_to_string(number).expect("a partition");
    let (major, minor) = number.trim().split_once(':').expect("its number");
    tool("mknod", [&*part.to_string_lossy(), "b", major, minor]);
    let link = at("by-id");
    symlink(&part, &link).expect("a link");
    let whole = &*whole.0;
    let is_part = format!("{whole}p2 is a partition of {whole}");
    refused.flash(&[whole, "--i-know", "--yes"], &["is write-protected", "switch on the side"]);
    refused.flash(&[&part.to_string_lossy(), "--i-know", "--yes"], &[&is_part, &format!("give {whole}")]);
    refused.flash(&[&link, "--i-know", "--yes"], &["takes the whole disk", &is_part]);
    let mounted = format!("{whole}p2 is mounted at /mnt");
    refused.flash_mounted(&part, "/mnt", whole, &["is in use", &mounted, "umount /mnt"]);
    let system = format!("{whole} holds this system");
    for at in ["/home", "/usr/local"] {
        let why = format!("{at} is on {}p2", whole.trim_start_matches("/dev/"));
        refused.flash_mounted(&part, at, whole, &[&why, &system, "never written, whatever options are given"]);
    }

    let mut start = [0; 16];
    marked.read_exact_at(&mut start, 0).expect("the disk");
    assert_eq!(&start, b"holiday pictures");
    println!("{} ways: {:#?}", refused.0.len(), refused.0);
    assert!(refused.0.len() > 20);
}

/// Whether no process uses the loop device.
fn is_free(name: &str) -> bool {
    fs::read_to_string(format!("/sys/class/block/{name}/size")).is_ok_and(|size| size.trim() == "0")
}
