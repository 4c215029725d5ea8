use super::*;
use crate::system::recording::Recording;
use appliance::fixtures::add_disk;
use appliance::fixtures::ext4;
use testbed::virtual_machine::LABEL;

const DEP: &str = "kernel/block/virtio_blk.ko.xz:\nkernel/fs/jbd2.ko.xz:\nkernel/fs/ext4.ko.xz: kernel/fs/jbd2.ko.xz\n\
    kernel/drivers/net/virtio_net.ko.xz:\nkernel/usb/usb-storage.ko.xz:\n\
    kernel/block/nvme.ko.xz:\nkernel/usb/xhci-pci.ko.xz:\n";
const ALIAS: &str = "alias virtio:d00000002v* virtio_blk\nalias virtio:d00000001v* virtio_net\n\
    alias usb:v* usb_storage\nalias pci:v*bc01sc08i02* nvme\nalias pci:v*bc0Csc03i30* xhci_pci\n";

/// A simulated machine in a directory with `sys` and `dev`.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new(aliases: &[&str]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        for (number, alias) in aliases.iter().enumerate() {
            let device = directory.path().join(format!("sys/devices/pci/{number}"));
            std::fs::create_dir_all(&device)?;
            std::fs::write(device.join("modalias"), alias)?;
            let bus =
                directory.path().join("sys/bus").join(alias.split(':').next().unwrap_or_default()).join("devices");
            std::fs::create_dir_all(&bus)?;
            std::os::unix::fs::symlink(&device, bus.join(number.to_string()))?;
        }
        std::fs::create_dir_all(directory.path().join("dev"))?;
        Ok(Self { directory })
    }

    fn add_stick(path: &Path) -> io::Result<()> {
        add_disk(&path.join("sys"), "sda", &[("sda1", "aaaa"), ("sda2", "bbbb"), ("sda3", "cccc")])?;
        std::fs::write(path.join("dev/sda2"), ext4(0x11, "root"))
    }

    fn reach(&self, line: &str, events: &mut dyn Uevents) -> (Recording, Result<(BlockDevice, String), Fatal>) {
        self.reach_with(Recording::default(), line, None, events)
    }

    fn reach_with(
        &self,
        mut system: Recording,
        line: &str,
        started: Option<&str>,
        events: &mut dyn Uevents,
    ) -> (Recording, Result<(BlockDevice, String), Fatal>) {
        let path = self.directory.path();
        let paths = SystemPaths { sys: path.join("sys"), dev: path.join("dev") };
        let drivers = Drivers::new("/m".into(), kmod::ModuleSet::parse(DEP, ALIAS, "").unwrap());
        let result = Search::new(paths, drivers, &DEFERRED, &mut system, &mut Console::nowhere()).reach_root(
            &CommandLine::parse(line),
            started,
            events,
        );
        let dev = format!("{}/", path.display());
        system.calls = system.calls.iter().map(|call| call.replace(&dev, "/")).collect();
        (system, result)
    }
}

/// Plugs the stick in after a while.
struct LateStick<'a>(&'a Path, u32);

impl Uevents for LateStick<'_> {
    fn next(&mut self, _wait: Duration) -> io::Result<Option<Uevent>> {
        self.1 += 1;
        match self.1 {
            3 => Ok(Some(Uevent::Added { modalias: Some("usb:v1p2".to_owned()) })),
            4 => Machine::add_stick(self.0).map(|()| None),
            _ => Ok(None),
        }
    }
}

/// An event source without events.
struct Silence;

impl Uevents for Silence {
    fn next(&mut self, _wait: Duration) -> io::Result<Option<Uevent>> {
        Ok(None)
    }
}

#[test]
fn a_disk_that_is_there_is_found_at_once() -> io::Result<()> {
    let machine = Machine::new(&["virtio:d00000002v1AF4\n", "virtio:d00000001v1AF4\n"])?;
    add_disk(&machine.directory.path().join("sys"), "vda", &[])?;
    std::fs::write(machine.directory.path().join("dev/vda"), ext4(0x11, "root"))?;
    let (system, result) = machine.reach("root=UUID=11111111-1111-1111-1111-111111111111", &mut Silence);
    assert_eq!(result.map(|(root, kind)| (root.name, kind)).ok(), Some(("vda".to_owned(), "ext4".to_owned())));
    // The network's driver waits for the second stage.
    let expected = [
        "module /m/kernel/block/virtio_blk.ko.xz",
        "read-only /dev/vda",
        "module /m/kernel/fs/jbd2.ko.xz",
        "module /m/kernel/fs/ext4.ko.xz",
    ];
    assert_eq!(system.calls, expected);
    Ok(())
}

#[test]
fn a_root_that_is_there_needs_no_more_drivers() -> io::Result<()> {
    let machine = Machine::new(&["virtio:d00000002v1AF4\n", "usb:v1p1\n"])?;
    add_disk(&machine.directory.path().join("sys"), "vda", &[])?;
    std::fs::write(machine.directory.path().join("dev/vda"), ext4(0x11, "root"))?;
    let (system, result) = machine.reach("root=LABEL=root", &mut Silence);
    assert!(result.is_ok());
    assert!(!system.calls.iter().any(|call| call.contains("usb-storage")), "{:?}", system.calls);
    let (system, _) = machine.reach("root=LABEL=other rocbed.root-timeout=1", &mut Silence);
    assert!(system.calls.iter().any(|call| call.contains("usb-storage")), "{:?}", system.calls);
    Ok(())
}

#[test]
fn an_nvme_drive_is_tried_before_everything_else() -> io::Result<()> {
    let machine = Machine::new(&["pci:v8086d5845bc01sc08i02\n", "pci:v8086d1234bc0Csc03i30\n"])?;
    let (system, _) = machine.reach("root=LABEL=other rocbed.root-timeout=1", &mut Silence);
    let modules: Vec<_> = system.calls.iter().filter(|call| call.starts_with("module ")).collect();
    assert_eq!(modules, ["module /m/kernel/block/nvme.ko.xz", "module /m/kernel/usb/xhci-pci.ko.xz"]);
    Ok(())
}

#[test]
fn a_stick_may_come_late_and_only_its_own_disk_is_writable() -> io::Result<()> {
    let machine = Machine::new(&[])?;
    add_disk(&machine.directory.path().join("sys"), "nvme0n1", &[])?;
    let (system, result) = machine.reach("root=PARTUUID=BBBB", &mut LateStick(machine.directory.path(), 0));
    assert_eq!(result.map(|(root, _)| root.name).ok().as_deref(), Some("sda2"));
    assert_eq!(
        system.calls[..9],
        [
            "read-only /dev/nvme0n1",
            "module /m/kernel/usb/usb-storage.ko.xz",
            "read-only /dev/sda",
            "read-only /dev/sda1",
            "read-only /dev/sda2",
            "read-only /dev/sda3",
            "writable /dev/sda",
            "writable /dev/sda1",
            "writable /dev/sda3",
        ]
    );
    Ok(())
}

#[test]
fn of_two_sticks_with_one_image_the_one_that_was_started_is_ours() -> io::Result<()> {
    let machine = Machine::new(&[])?;
    let path = machine.directory.path();
    Machine::add_stick(path)?;
    add_disk(&path.join("sys"), "sdb", &[("sdb1", "eeee"), ("sdb2", "bbbb"), ("sdb3", "ffff")])?;
    std::fs::write(path.join("dev/sdb2"), ext4(0x11, "root"))?;
    for (started, expected) in [(Some("eeee"), "sdb"), (Some("aaaa"), "sda"), (None, "sda")] {
        let (system, result) = machine.reach_with(Recording::default(), "root=PARTUUID=bbbb", started, &mut Silence);
        assert_eq!(result.map(|(root, _)| root.name).ok(), Some(format!("{expected}2")), "{started:?}");
        let writable: Vec<_> = system.calls.iter().filter_map(|call| call.strip_prefix("writable /dev/")).collect();
        assert_eq!(writable, [expected.to_owned(), format!("{expected}1"), format!("{expected}3")], "{started:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_started_while_a_disk_can_be_written_to_that_is_not_ours() -> io::Result<()> {
    let machine = Machine::new(&[])?;
    let path = machine.directory.path();
    Machine::add_stick(path)?;
    add_disk(&path.join("sys"), "nvme0n1", &[])?;
    let failing = |call: &str| {
        // The recording has the place that stands for /dev.
        let call: &'static str = Box::leak(format!("read-only {}", path.join(call).display()).into_boxed_str());
        Recording { fails: vec![call], ..Recording::default() }
    };
    let (_, result) = machine.reach_with(failing("dev/nvme0n1"), "root=PARTUUID=bbbb", None, &mut Silence);
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "setting /dev/nvme0n1 read-only: Input/output error (os error 5)");
    assert!(error.advice.help.to_string().contains("take this disk out"), "{error:?}");
    // Our own disk may be written to anyway.
    let (_, result) = machine.reach_with(failing("dev/sda"), "root=PARTUUID=bbbb", None, &mut Silence);
    assert!(result.is_ok());
    Ok(())
}

#[test]
fn a_root_that_never_comes_is_an_error_that_lists_what_did() -> io::Result<()> {
    let machine = Machine::new(&[])?;
    Machine::add_stick(machine.directory.path())?;
    let (_, result) = machine.reach("root=PARTUUID=dddd rocbed.root-timeout=5", &mut Silence);
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "the root PARTUUID=dddd did not show up in 5 s");
    assert_eq!(error.details[..2], ["seen these block devices:", "/dev/sda 100 MiB"]);
    assert_eq!(error.details[3], "/dev/sda2 1 MiB PARTUUID=bbbb");
    Ok(())
}

#[test]
fn no_root_on_the_command_line_is_said() -> io::Result<()> {
    let (_, result) = Machine::new(&[])?.reach("quiet", &mut Silence);
    assert_eq!(result.unwrap_err().to_string(), "the kernel command line names no root");
    Ok(())
}

#[test]
fn mounts_the_image_under_memory() {
    let root = BlockDevice {
        name: "sda2".into(),
        number: "8:2".into(),
        size: 0,
        read_only: false,
        disk: None,
        part_uuid: None,
        part_label: None,
    };
    let mut system = Recording::default();
    mount_root(&root, "ext4", &CommandLine::default(), None, &mut system).unwrap();
    let mounts: Vec<_> = system.calls.iter().filter(|call| call.starts_with("mount")).collect();
    assert_eq!(
        mounts,
        [
            "mount /dev/sda2 /run/rocbed/root ext4 ReadOnly",
            "mount tmpfs /run/rocbed/overlay tmpfs Writable mode=755",
            "mount rocbed-root /newroot overlay Writable \
             lowerdir=/run/rocbed/root,upperdir=/run/rocbed/overlay/upper,workdir=/run/rocbed/overlay/work",
        ]
    );
    let mut system = Recording { fails: vec!["mount /dev/sda2"], ..Recording::default() };
    let error = mount_root(&root, "ext4", &CommandLine::default(), None, &mut system).unwrap_err();
    assert!(error.to_string().starts_with("mounting /dev/sda2 (ext4) on /run/rocbed/root: "), "{error}");
}

#[test]
fn kernel_file_systems_come_first_and_may_be_there_already() {
    let mut system = Recording { fails: vec!["mount proc"], ..Recording::default() };
    let error = mount_kernel_file_systems(&mut system).unwrap_err();
    assert!(error.to_string().starts_with("mounting proc on /proc: "), "{error}");
    let mut system = Recording::default();
    mount_kernel_file_systems(&mut system).unwrap();
    assert_eq!(system.calls.iter().filter(|call| call.starts_with("mount")).count(), 4);
}

#[test]
fn only_the_disk_of_a_bare_testbed_becomes_writable() -> io::Result<()> {
    let machine = Machine::new(&[])?;
    let path = machine.directory.path();
    for (name, uuid, label) in
        [("vda", 0x11, "any"), ("vdb", 0x22, LABEL), ("vdc", 0x33, "any"), ("vdd", 0x55, LABEL), ("vde", 0x55, LABEL)]
    {
        add_disk(&path.join("sys"), name, &[])?;
        std::fs::write(path.join("dev").join(name), ext4(uuid, label))?;
    }
    let port = path.join("sys/bus/virtio/devices/virtio2");
    std::fs::create_dir_all(&port)?;
    std::fs::write(port.join("device"), "0x0003\n")?;
    let reach = |line: &str| {
        let paths = SystemPaths { sys: path.join("sys"), dev: path.join("dev") };
        let drivers = Drivers::new("/m".into(), kmod::ModuleSet::default());
        let mut system = Recording::default();
        let found = Search::new(paths, drivers, &DEFERRED, &mut system, &mut Console::nowhere())
            .reach_testbed_disk(&CommandLine::parse(line), &mut Silence);
        let writable: Vec<_> = system.calls.into_iter().filter(|call| call.starts_with("writable")).collect();
        (found.map(|disk| disk.map(|disk| disk.name)), writable)
    };
    let (found, writable) = reach("rocbed.testbed-disk=22222222-2222-2222-2222-222222222222");
    assert_eq!(found.ok().flatten().as_deref(), Some("vdb"));
    assert_eq!(writable.len(), 1, "{writable:?}");
    assert!(writable[0].ends_with("/vdb"), "{writable:?}");
    let (found, writable) = reach("quiet");
    assert_eq!((found.ok(), writable.len()), (Some(None), 0));
    let (found, writable) = reach("rocbed.testbed-disk=44444444-4444-4444-4444-444444444444");
    assert!(found.is_err_and(|error| error.to_string().contains("did not show up")));
    assert!(writable.is_empty());
    for (id, why) in [("3", "the label rocbed-testbed"), ("5", "vdd and vde both have the file system")] {
        let digits = |count| id.repeat(count);
        let uuid = [8, 4, 4, 4, 12].map(digits).join("-");
        let (found, writable) = reach(&format!("rocbed.testbed-disk={uuid}"));
        let error = found.map_err(|error| error.to_string()).err();
        assert!(error.as_deref().is_some_and(|text| text.contains(why)), "{error:?}");
        assert!(writable.is_empty(), "{writable:?}");
    }
    std::fs::remove_dir_all(&port)?;
    let (found, writable) = reach("rocbed.testbed-disk=22222222-2222-2222-2222-222222222222");
    assert!(found.is_err_and(|error| error.to_string().contains("has no virtio-serial port")));
    assert!(writable.is_empty());
    Ok(())
}

#[test]
fn changes_of_a_bare_testbed_go_to_its_disk() {
    let disk = |name: &str| BlockDevice {
        name: name.into(),
        number: "8:2".into(),
        size: 0,
        read_only: false,
        disk: None,
        part_uuid: None,
        part_label: None,
    };
    let mut system = Recording::default();
    mount_root(&disk("vda"), "ext4", &CommandLine::default(), Some(&disk("vdb")), &mut system).unwrap();
    assert!(
        system.calls.iter().any(|call| call == "mount /dev/vdb /run/rocbed/overlay ext4 Writable"),
        "{:?}",
        system.calls
    );
    assert!(!system.calls.iter().any(|call| call.contains("tmpfs")), "{:?}", system.calls);
}
