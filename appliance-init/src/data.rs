//! Prepares the data partition of the disk that the appliance was started from: the files in [`paths::DATA`] survive
//! a restart.
//!
//! An image has it small and empty. At the first start it grows to the end of the disk and gets an ext4 with a
//! journal; after that it is only mounted. A power cut leaves a complete partition table, and either no file system,
//! in which case the next start makes it again, or a complete one. A partition that holds anything that is not ours,
//! or that is damaged, is left alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use advice::{Advice, Help};
use diskimage::{Guid, gpt};
use fsimage::ext4::{self, Ext4Options, Inodes, Journal, OnErrors};
use progress::Silent;

use crate::foreign;
use crate::start_disk;
use crate::system::{MountMode, System};
use appliance::block::BlockDevice;
use appliance::paths;
use appliance::superblock::Superblock;

/// Names of the partitions of a disk that `rocbed build` makes, in their order.
const LAYOUT: [&str; 3] = ["rocbed-esp", ROOT, DATA];

/// Name of the root partition; its GUID follows from its content.
const ROOT: &str = "rocbed-root";

/// Name of the data partition, and of the file system on it.
const DATA: &str = "rocbed-data";

/// Mount options. ext4's `data=ordered` and barriers make sure that a result that was written stays written.
const OPTIONS: &str = "data=ordered,barrier=1,errors=remount-ro";

/// Size of the journal in bytes: a larger one only takes longer to make on a slow stick.
const JOURNAL: u64 = 16 << 20;

/// Bytes for each inode: bundles are few and large.
const BYTES_PER_INODE: u64 = 2 << 20;

/// The least number of inodes, however small the partition is.
const LEAST_INODES: u64 = 4096;

/// The free space that the next bundle may need, in bytes.
const LEAST_FREE: u64 = 64 << 20;

/// Prepares [`paths::DATA`]. `started` is the partition that the firmware started, if it tells.
///
/// # Errors
/// If results are kept in memory, or there is little room for them.
pub fn prepare(
    disk: &str,
    started: Option<&str>,
    devices: &[BlockDevice],
    dev: &Path,
    system: &mut dyn System,
    say: &mut dyn FnMut(&str),
) -> Result<(), Advice> {
    let on_disk = |device: &&BlockDevice| device.disk.as_deref() == Some(disk);
    let partition = devices.iter().filter(on_disk).find(|device| device.part_label.as_deref() == Some(DATA));
    let Some(partition) = partition else {
        return Err(Advice::new(format!("/dev/{disk} has no data partition"), "write the image to the stick again"));
    };
    // Which of two copies of one image was started only the firmware can tell: the other one may be on a disk of the
    // machine's owner.
    let root = devices.iter().filter(on_disk).find(|device| device.part_label.as_deref() == Some(ROOT));
    let of_image = |device: &&BlockDevice| {
        let is_same = |ours: &BlockDevice| ours.part_uuid.is_some() && ours.part_uuid == device.part_uuid;
        device.disk.as_deref() != Some(disk) && (is_same(partition) || root.is_some_and(is_same))
    };
    let is_told = started.is_some_and(|id| start_disk::disk_of(id, devices) == Some(disk));
    if let Some(other) = devices.iter().find(of_image).filter(|_| !is_told) {
        let other = other.disk.as_deref().unwrap_or(&other.name);
        let what = format!("/dev/{disk} and /dev/{other} hold the same image, and results could go to the wrong one");
        return Err(Advice::new(what, "take one away"));
    }
    Data { partition, disk: dev.join(disk), path: dev.join(&partition.name), system, say }.prepare()
}

struct Data<'a> {
    partition: &'a BlockDevice,
    disk: PathBuf,
    path: PathBuf,
    system: &'a mut dyn System,
    say: &'a mut dyn FnMut(&str),
}

/// The content of the partition.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    /// Nothing that is known.
    Nothing,
    /// Our own file system.
    Ours,
    /// Something that must not be touched: what, and what to do about it.
    Other(Advice),
}

impl Data<'_> {
    fn prepare(&mut self) -> Result<(), Advice> {
        let name = self.path.display().to_string();
        let failed = |what: String| Advice::new(what, Help::none());
        let start = read_start(&self.path).map_err(|error| failed(format!("reading {name}: {error}")))?;
        match content(&start) {
            Content::Ours => {}
            Content::Other(Advice { what, help }) => return Err(Advice::new(format!("{name} {what}"), help)),
            Content::Nothing => {
                // Only before there is a file system: it would not grow along.
                if let Err(problem) = self.grow() {
                    (self.say)(&format!("growing {name}: {problem}; using it as it is"));
                }
                let made = self.format();
                made.map_err(|problem| failed(format!("making a file system on {name}: {problem}")))?;
            }
        }
        let target = Path::new(paths::DATA);
        let mounted = self
            .system
            .create_directory(target)
            .and_then(|()| self.system.mount(&name, target, "ext4", MountMode::Kept, OPTIONS));
        mounted.map_err(|error| {
            let what = format!("mounting {name}: {error}; what is on it was not touched");
            Advice::new(what, "run `e2fsck -f` on it, on another machine")
        })?;
        if let Err(error) = self.system.write_file(Path::new(paths::DATA_IS_KEPT), &name) {
            (self.say)(&format!("writing {}: {error}", paths::DATA_IS_KEPT));
        }
        self.tell_room(&name)
    }

    fn tell_room(&mut self, name: &str) -> Result<(), Advice> {
        let target = Path::new(paths::DATA);
        let room = self
            .system
            .room(target)
            .map_err(|error| Advice::new(format!("asking for the room on {name}: {error}"), Help::none()))?;
        (self.say)(&format!("results are kept on {name}, {} of {} free", shown(room.free), shown(room.total)));
        if room.free < LEAST_FREE {
            let what = format!("{name} has only {} free", shown(room.free));
            return Err(Advice::new(what, format!("take results off it, they are in {}", paths::DATA)));
        }
        Ok(())
    }

    /// Grows the partition to the end of the disk, if the disk has our layout.
    fn grow(&mut self) -> Result<(), String> {
        let disk = OpenOptions::new().read(true).write(true).open(&self.disk).map_err(|error| error.to_string())?;
        let table = gpt::read(&mut &disk).map_err(|error| explain(&error))?;
        let names: Vec<_> = table.partitions.iter().map(|(_, partition)| partition.name.as_str()).collect();
        if names != LAYOUT {
            return Err(format!("the disk has the partitions {}, and not ours", names.join(", ")));
        }
        let is_it = |guid: &Guid| Some(guid.to_string()) == self.partition.part_uuid;
        let found = table.partitions.iter().find(|(_, partition)| is_it(&partition.unique_guid));
        let (number, before) = found.ok_or("the kernel knows another partition table than the disk has")?;
        let Some(growth) = gpt::plan_growth(&mut &disk, *number).map_err(|error| explain(&error))? else {
            return Ok(());
        };
        let (name, after) = (self.path.display(), &growth.partition);
        (self.say)(&format!("growing {name} from {} to {}", shown(before.size), shown(after.size)));
        growth.write(&disk).map_err(|error| explain(&error))?;
        let resized = self.system.resize_partition(&self.disk, *number, after.start, after.size);
        resized.map_err(|error| format!("telling the kernel: {error}; it takes effect at the next start"))
    }

    fn format(&mut self) -> Result<(), String> {
        // Exclusively: the kernel refuses if it is mounted.
        let device = OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(&self.path);
        let device = device.map_err(|error| error.to_string())?;
        let size = (&device).seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        (self.say)(&format!("making a file system of {} on {}", shown(size), self.path.display()));
        let options = options(size).map_err(|error| format!("drawing random numbers: {error}"))?;
        ext4::format(&device, &options, &Silent).map_err(|error| explain(&error))?;
        Ok(())
    }
}

fn options(size: u64) -> io::Result<Ext4Options> {
    let mut random = [[0; 16]; 2];
    let mut source = File::open("/dev/urandom")?;
    for bytes in &mut random {
        source.read_exact(bytes)?;
    }
    let [uuid, hash_seed] = random;
    // The clock has not been set yet, and may show any time.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let inodes = (size / BYTES_PER_INODE).max(LEAST_INODES);
    Ok(Ext4Options {
        label: DATA.into(),
        journal: Journal::Bytes(JOURNAL),
        on_errors: OnErrors::ReadOnly,
        inodes: Inodes::AtLeast(u32::try_from(inodes).unwrap_or(u32::MAX)),
        hash_seed,
        ..Ext4Options::new(Guid::from_random(uuid).to_bytes(), now)
    })
}

fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(foreign::NEEDED);
    File::open(path)?.take(foreign::NEEDED as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Recognizes the content from the first [`foreign::NEEDED`] bytes.
fn content(start: &[u8]) -> Content {
    /// `s_state`: the kernel has found errors (kernel Documentation/filesystems/ext4/super.rst).
    const ERRORS: u8 = 2;
    const STATE: usize = 1024 + 58;
    let not_ours = |what: &str| {
        let what = format!("holds something that is not ours ({what})");
        Content::Other(Advice::new(what, ["write the image again", "erase it with `wipefs -a`"]))
    };
    let Some(superblock) = Superblock::parse(start) else {
        return foreign::kind(start).map_or(Content::Nothing, not_ours);
    };
    let label = superblock.label.as_deref().unwrap_or_default();
    if superblock.kind != "ext4" || label != DATA {
        return not_ours(&format!("{} {label:?}", superblock.kind));
    }
    if start.get(STATE).is_some_and(|state| state & ERRORS != 0) {
        let what = "holds results, and its file system has errors";
        return Content::Other(Advice::new(what, "take the stick to another machine and run `e2fsck -f` on it"));
    }
    Content::Ours
}

fn explain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ ..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}

#[cfg(test)]
mod tests;
