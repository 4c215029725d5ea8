//! Lists the disks of a machine.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::sysfs::Directory;
use super::{Device, Partition, Use};
use crate::contents::{self, Contents};
use crate::uses::Uses;

/// The directories with a machine's devices; tests use others.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `/sys`
    pub sys: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
}

impl Default for Machine {
    /// The directories of this machine.
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into() }
    }
}

/// All whole disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The disks, sorted by name.
    pub devices: Vec<Device>,
}

impl Listing {
    /// The disk with this `MAJOR:MINOR`.
    pub fn disk(&self, number: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.number == number)
    }

    /// The disk that has a partition with this `MAJOR:MINOR`, and that partition.
    pub fn partition(&self, number: &str) -> Option<(&Device, &Partition)> {
        self.devices
            .iter()
            .find_map(|device| Some((device, device.partitions.iter().find(|partition| partition.number == number)?)))
    }
}

impl Machine {
    /// Lists all disks, with their partitions and uses.
    ///
    /// # Errors
    /// If `/sys/class/block` or the list of mounts cannot be read: then no device is known to be safe. Devices that
    /// vanish in the meantime are left out.
    pub fn list(&self) -> io::Result<Listing> {
        let named =
            |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let class = self.sys.join("class/block");
        let mountinfo = self.proc.join("self/mountinfo");
        let mounts = fs::read_to_string(&mountinfo).map_err(|error| named(&mountinfo, error))?;
        // A kernel without swap has no such file.
        let swaps = match fs::read_to_string(self.proc.join("swaps")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(named(&self.proc.join("swaps"), error));
            }
            other => other.unwrap_or_default(),
        };
        let uses = Uses::parse(&mounts, &swaps);
        let mut devices = Vec::new();
        for entry in fs::read_dir(&class).map_err(|error| named(&class, error))? {
            let path = entry.map_err(|error| named(&class, error))?.path();
            devices.extend(Directory::open(&path).and_then(|directory| self.disk(&directory, &uses)));
        }
        devices.sort_by(|a, b| natural(&a.name).cmp(&natural(&b.name)));
        Ok(Listing { devices })
    }

    fn disk(&self, directory: &Directory, uses: &Uses) -> Option<Device> {
        let name = directory.field("DEVNAME")?;
        if directory.field("DEVTYPE").as_deref() != Some("disk") {
            return None;
        }
        let transport = directory.transport(&name);
        let mut partitions: Vec<_> = directory
            .names(".")
            .iter()
            .filter_map(|child| self.partition(&Directory::open(&directory.path().join(child))?))
            .collect();
        partitions.sort_by_key(|partition| partition.start);
        let mut found = Vec::new();
        self.collect_uses(directory, uses, &mut HashSet::new(), &mut found);
        for partition in &partitions {
            if let Some(directory) = Directory::open(&directory.path().join(&partition.name)) {
                self.collect_uses(&directory, uses, &mut HashSet::new(), &mut found);
            }
        }
        let size = directory.number("size")?.saturating_mul(512); // sysfs counts so whatever the sectors are
        Some(Device {
            path: self.dev.join(&name),
            number: number(directory)?,
            size,
            sector_size: directory.number("queue/logical_block_size").unwrap_or(512),
            vendor: directory.first_text(&["device/vendor"], "manufacturer").filter(|vendor| vendor != "ATA"),
            model: directory.first_text(&["device/model", "device/name", "dm/name", "loop/backing_file"], "product"),
            serial: directory.serial_page().or_else(|| directory.first_text(&["device/serial", "serial"], "serial")),
            removable: directory.number("removable") == Some(1)
                || matches!(transport, super::Transport::Usb | super::Transport::Mmc),
            read_only: directory.number("ro") == Some(1),
            sequence: directory.number("diskseq"),
            contents: if size > 0 { self.contents(&name) } else { None },
            transport,
            partitions,
            uses: found,
            name,
        })
    }

    fn partition(&self, directory: &Directory) -> Option<Partition> {
        if directory.field("DEVTYPE").as_deref() != Some("partition") {
            return None;
        }
        let name = directory.field("DEVNAME")?;
        Some(Partition {
            number: number(directory)?,
            start: directory.number("start")?.saturating_mul(512),
            size: directory.number("size")?.saturating_mul(512),
            part_label: directory.field("PARTNAME"),
            contents: self.contents(&name),
            name,
        })
    }

    /// The uses of a device, and of everything that is built on it. `seen` ends loops, which should not exist.
    fn collect_uses(&self, directory: &Directory, uses: &Uses, seen: &mut HashSet<PathBuf>, found: &mut Vec<Use>) {
        let Some(device) = directory.field("DEVNAME") else { return };
        if !seen.insert(directory.path().to_owned()) {
            return;
        }
        let number = number(directory).unwrap_or_default();
        let path = Path::new("/dev").join(&device);
        let mapper = directory.text("dm/name").map(|name| Path::new("/dev/mapper").join(name));
        let is_this = |other: &Path| other == path || mapper.as_deref() == Some(other);
        for mount in &uses.mounts {
            if mount.number == number || is_this(Path::new(&mount.source)) {
                found.push(Use::Mounted { device: device.clone(), at: mount.at.clone() });
            }
        }
        if uses.swaps.iter().any(|swap| is_this(swap)) {
            found.push(Use::Swap { device: device.clone() });
        }
        for holder in directory.names("holders") {
            // The link in `holders` leads to the device; if that is gone, its name still counts as a use.
            let there = Directory::open(&directory.path().join("holders").join(&holder))
                .or_else(|| Directory::open(&self.sys.join("class/block").join(&holder)));
            let by = there.as_ref().and_then(|there| there.text("dm/name")).unwrap_or_else(|| holder.clone());
            let uuid = there.as_ref().and_then(|there| there.text("dm/uuid")).unwrap_or_default();
            let what = match () {
                () if uuid.starts_with("LVM-") => "LVM",
                () if uuid.starts_with("CRYPT-") => "encryption",
                () if holder.starts_with("md") => "RAID",
                () => "device mapper",
            };
            found.push(Use::Held { device: device.clone(), by, what });
            if let Some(there) = there {
                self.collect_uses(&there, uses, seen, found);
            }
        }
    }

    /// The contents of a device, as far as this user may read it.
    fn contents(&self, name: &str) -> Option<Contents> {
        let mut start = Vec::new();
        let mut file = File::open(self.dev.join(name)).ok()?;
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(contents::NEEDED as u64).read_to_end(&mut start).ok()?;
        contents::identify(&start)
    }
}

fn number(directory: &Directory) -> Option<String> {
    Some(format!("{}:{}", directory.field("MAJOR")?, directory.field("MINOR")?))
}

/// A sort key: `sdb` before `sdaa`, `loop2` before `loop10`.
fn natural(name: &str) -> (String, usize, &str) {
    let kind = name.trim_end_matches(|char: char| char.is_ascii_digit());
    (kind.get(..2).unwrap_or(kind).to_owned(), name.len(), name)
}
