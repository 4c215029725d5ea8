//! Tests with wrong devices, and the message for each.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use advice::{Advice, Advise};
use stick::devices::{Device, Listing, Machine, Transport};
use stick::refuse::{Node, Refusal, TargetRequirements, check};
use stick::target::choose;
use tempfile::TempDir;

/// A directory in the form of /sys, /proc and /dev.
struct Fake {
    directory: TempDir,
    mounts: Vec<String>,
    swaps: Vec<String>,
}

/// A simulated disk.
struct Disk<'a> {
    name: &'a str,
    number: &'a str,
    /// The path below `devices`.
    at: &'a str,
    mib: u64,
    files: &'a [(&'a str, &'a str)],
    /// Name, number, first MiB.
    partitions: &'a [(&'a str, &'a str, u64)],
}

impl Fake {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["sys/class/block", "proc/self", "dev"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        Self { directory, mounts: Vec::new(), swaps: Vec::new() }
    }

    fn sys(&self) -> PathBuf {
        self.directory.path().join("sys")
    }

    fn add(&self, disk: &Disk<'_>) {
        let path = self.sys().join("devices").join(disk.at).join("block").join(disk.name);
        self.device(&path, disk.name, disk.number, "disk", &[("size", &(disk.mib * 2048).to_string())]);
        for (file, text) in disk.files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{text}\n")).unwrap();
        }
        for (name, number, start) in disk.partitions {
            let files = [("size", "2048"), ("start", &*(start * 2048).to_string())];
            self.device(&path.join(name), name, number, "partition", &files);
        }
    }

    fn device(&self, path: &Path, name: &str, number: &str, kind: &str, files: &[(&str, &str)]) {
        fs::create_dir_all(path).unwrap();
        let (major, minor) = number.split_once(':').unwrap();
        let uevent = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE={kind}\n");
        fs::write(path.join("uevent"), uevent).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        symlink(path, self.sys().join("class/block").join(name)).unwrap();
    }

    fn hold(&self, device: &str, holder: &str) {
        let class = self.sys().join("class/block");
        let holders = class.join(device).join("holders");
        fs::create_dir_all(&holders).unwrap();
        symlink(class.join(holder).canonicalize().unwrap(), holders.join(holder)).unwrap();
    }

    fn mount(&mut self, number: &str, source: &str, at: &str) {
        self.mounts.push(format!("30 1 {number} / {at} rw - ext4 {source} rw\n"));
    }

    fn machine(&self) -> Machine {
        let path = self.directory.path();
        fs::write(path.join("proc/self/mountinfo"), self.mounts.concat()).unwrap();
        fs::write(path.join("proc/swaps"), format!("Filename Type Size\n{}", self.swaps.concat())).unwrap();
        Machine { sys: path.join("sys"), proc: path.join("proc"), dev: path.join("dev") }
    }

    fn list(&self) -> Listing {
        self.machine().list().unwrap()
    }
}

const USB: &str = "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0";
const ATA: &str = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0";

/// A stick with a partition and its maker's data.
fn stick<'a>() -> Disk<'a> {
    let files = &[
        ("removable", "1"),
        ("ro", "0"),
        ("queue/logical_block_size", "512"),
        ("device/vendor", "SanDisk "),
        ("device/model", "Ultra USB 3.0   "),
    ];
    Disk { name: "sdb", number: "8:16", at: USB, mib: 8192, files, partitions: &[("sdb1", "8:17", 1)] }
}

/// The machine's own disk.
fn fixed<'a>() -> Disk<'a> {
    let files = &[("removable", "0"), ("ro", "0"), ("device/vendor", "ATA     "), ("device/model", "Samsung SSD 860")];
    let partitions = &[("sda1", "8:1", 1), ("sda2", "8:2", 600), ("sda3", "8:3", 900)];
    Disk { name: "sda", number: "8:0", at: ATA, mib: 500_000, files, partitions }
}

fn usual() -> Fake {
    let fake = Fake::new();
    fake.add(&stick());
    fake.add(&fixed());
    let usb = fake.sys().join("devices").join("pci0000:00/0000:00:14.0/usb2/2-1");
    fs::write(usb.join("idVendor"), "0781\n").unwrap();
    fs::write(usb.join("serial"), "4C530001\n").unwrap();
    fake
}

const REQUIREMENTS: TargetRequirements = TargetRequirements { size: 1 << 30, fixed: false, file: false, image: None };

fn refusal_with(fake: &Fake, node: &str, wanted: &TargetRequirements) -> Refusal {
    check(Path::new("/dev/given"), &Node::Block(node.into()), &fake.list(), wanted).unwrap_err()
}

fn refusal(fake: &Fake, node: &str) -> String {
    with_help(&refusal_with(fake, node, &REQUIREMENTS))
}

/// What a user sees of an error: the message and its help.
fn with_help(error: &impl Advise) -> String {
    Advice::of(error).in_one_line()
}

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn a_stick_is_listed_with_what_tells_it_from_others() {
    let listing = usual().list();
    let names: Vec<_> = listing.devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["sda", "sdb"]);
    let Device { size, transport, removable, serial, .. } = listing.disk("8:16").unwrap();
    assert_eq!((*size, *transport, *removable), (8 << 30, Transport::Usb, true));
    assert_eq!(serial.as_deref(), Some("4C530001"));
    assert_eq!(listing.disk("8:16").unwrap().title(), "SanDisk Ultra USB 3.0");
    assert_eq!(listing.disk("8:0").unwrap().title(), "Samsung SSD 860");
    assert_eq!(listing.disk("8:0").unwrap().transport, Transport::Ata);
    check(Path::new("/dev/sdb"), &Node::Block("8:16".into()), &listing, &REQUIREMENTS).unwrap();
}

#[test]
fn what_is_on_a_device_is_read_from_it() {
    let fake = usual();
    let mut start = vec![0; 70_000];
    start[82..90].copy_from_slice(b"FAT32   ");
    start[71..82].copy_from_slice(b"HOLIDAYS   ");
    fs::write(fake.machine().dev.join("sdb1"), start).unwrap();
    let contents = fake.list().disk("8:16").unwrap().partitions[0].contents.clone().unwrap();
    assert_eq!((contents.kind, contents.label.as_deref()), ("vfat", Some("HOLIDAYS")));
}

#[test]
fn paths_that_are_no_device() {
    let fake = usual();
    let listing = fake.list();
    let told = |path: &str, node: Node| with_help(&check(Path::new(path), &node, &listing, &REQUIREMENTS).unwrap_err());
    // 1 to 6
    says(&told("sdb", Node::Missing), &["there is no sdb", "did you mean", "/dev/sdb"]);
    says(&told("/dev/sdc", Node::Missing), &["there is no /dev/sdc", "rocbed flash --list"]);
    says(&told("/mnt", Node::Directory), &["is a directory"]);
    says(&told("/dev/null", Node::Character), &["character device"]);
    says(&told("/run/pipe", Node::Other), &["a pipe or a socket"]);
    says(&told("notes.txt", Node::File { device: 1, inode: 2 }), &["notes.txt is a file", "--file"]);
    // 7: unplugged since
    says(&told("/dev/sdq", Node::Block("65:0".into())), &["no longer has", "unplugged"]);
}

#[test]
fn files_in_the_wrong_place() {
    let listing = usual().list();
    let image = Node::File { device: 1, inode: 2 };
    let wanted = TargetRequirements { file: true, image: Some(image.clone()), ..REQUIREMENTS };
    let told = |path: &str, node: &Node| with_help(&check(Path::new(path), node, &listing, &wanted).unwrap_err());
    // 8 to 10
    says(&told("/dev/sdx", &Node::Missing), &["among the devices"]);
    says(&told("images/smoke/disk.img", &image), &["is the image itself"]);
    says(&told("/dev/sdb", &Node::Block("8:16".into())), &["is a device, and --file was given"]);
    let new = check(Path::new("stick.img"), &Node::Missing, &listing, &wanted).unwrap();
    assert_eq!(new, None);
}

#[test]
fn a_partition() {
    says(&refusal(&usual(), "8:17"), &["/dev/sdb1 is a partition of", "takes the whole disk", "give "]);
}

#[test]
fn the_disk_of_the_running_system() {
    for (at, shown) in [("/", "/ is on sda2"), ("/boot/efi", "/boot/efi is on sda2"), ("/usr", "/usr is on sda2")] {
        let mut fake = usual();
        fake.mount("8:2", "/dev/sda2", at);
        let wanted = TargetRequirements { fixed: true, ..REQUIREMENTS };
        says(&with_help(&refusal_with(&fake, "8:0", &wanted)), &["holds this system", shown, "never written"]);
    }
}

#[test]
fn the_disk_below_encryption_and_lvm_that_holds_the_system() {
    let mut fake = usual();
    let mapped = |name, number, files| Disk { name, number, at: "virtual", mib: 1000, files, partitions: &[] };
    fake.add(&mapped("dm-0", "253:0", &[("dm/name", "crypt"), ("dm/uuid", "CRYPT-LUKS2-x")]));
    fake.add(&mapped("dm-1", "253:1", &[("dm/name", "vg-root"), ("dm/uuid", "LVM-y")]));
    fake.hold("sda3", "dm-0");
    fake.hold("dm-0", "dm-1");
    says(&refusal(&fake, "8:0"), &["is in use: /dev/sda3 is part of crypt (encryption)", "cryptsetup close crypt"]);
    says(&refusal(&fake, "253:1"), &["made of other disks"]);
    fake.mount("253:1", "/dev/mapper/vg-root", "/");
    says(&refusal(&fake, "8:0"), &["holds this system: / is on dm-1"]);
}

#[test]
fn btrfs_is_found_by_its_source() {
    let mut fake = usual();
    fake.mount("0:33", "/dev/sda2", "/");
    says(&refusal(&fake, "8:0"), &["holds this system"]);
}

#[test]
fn swap_mounts_and_members() {
    let mut fake = usual();
    fake.swaps.push("/dev/sdb1 partition 1000 0 -2\n".into());
    says(&refusal(&fake, "8:16"), &["swaps to /dev/sdb1", "swapoff /dev/sdb1"]);
    let mut fake = usual();
    fake.mount("8:17", "/dev/sdb1", "/media/me/HOLIDAYS");
    says(&refusal(&fake, "8:16"), &["/dev/sdb1 is mounted at /media/me/HOLIDAYS", "umount /media/me/HOLIDAYS"]);
    for (name, uuid, what, help) in [
        ("dm-0", "LVM-x", "LVM", "vgchange -an"),
        ("dm-0", "other", "device mapper", "dmsetup remove"),
        ("md127", "", "RAID", "mdadm --stop"),
    ] {
        let fake = usual();
        let files = &[("dm/uuid", uuid)];
        fake.add(&Disk { name, number: "253:0", at: "virtual", mib: 1000, files, partitions: &[] });
        fake.hold("sdb1", name);
        says(&refusal(&fake, "8:16"), &["is in use", what, help]);
    }
}

/// The stick, with one thing different.
fn changed(change: impl Fn(&mut Disk<'_>)) -> String {
    let fake = Fake::new();
    let mut disk = stick();
    change(&mut disk);
    fake.add(&disk);
    refusal(&fake, disk.number)
}

#[test]
fn what_cannot_take_an_image() {
    says(&changed(|disk| disk.mib = 0), &["there is no medium"]);
    says(&changed(|disk| disk.mib = 1000), &["too small", "1000 MiB", "1024 MiB"]);
    says(&changed(|disk| disk.files = &[("ro", "1")]), &["write-protected", "switch"]);
    says(&changed(|disk| disk.files = &[("queue/logical_block_size", "520")]), &["sectors of 520 bytes"]);
    says(&changed(|disk| disk.name = "sr0"), &["an optical drive"]);
    says(&changed(|disk| disk.name = "fd0"), &["a floppy drive"]);
    says(&changed(|disk| disk.name = "zram0"), &["memory"]);
    says(&changed(|disk| disk.name = "md0"), &["made of other disks"]);
}

#[test]
fn a_disk_that_is_built_in_needs_a_word_more() {
    let fake = usual();
    let path = Path::new("/dev/sda");
    says(&refusal(&fake, "8:0"), &["Samsung SSD 860", "not removable", "--i-know"]);
    check(path, &Node::Block("8:0".into()), &fake.list(), &TargetRequirements { fixed: true, ..REQUIREMENTS }).unwrap();
}

#[test]
fn without_the_lists_nothing_is_safe() {
    let fake = usual();
    let machine = fake.machine();
    fs::remove_file(machine.proc.join("self/mountinfo")).unwrap();
    let error = with_help(&choose(&machine, Path::new("/dev/null"), &REQUIREMENTS).unwrap_err());
    says(&error, &["looking at the devices", "mountinfo"]);
}
