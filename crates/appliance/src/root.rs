//! Finds the root among the block devices.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::block::BlockDevice;
use crate::cmdline::RootSpec;
use crate::superblock::{NEEDED, Superblock};

/// Reads superblocks, once for each device.
#[derive(Debug, Default)]
pub struct Superblocks {
    read: HashMap<String, Option<Superblock>>,
}

impl Superblocks {
    /// The superblock of a device whose node is below `dev` (`/dev`). A device that cannot be read is tried again the
    /// next time; until then it has none.
    pub fn of(&mut self, dev: &Path, device: &BlockDevice) -> Option<Superblock> {
        if let Some(known) = self.read.get(&device.name) {
            return known.clone();
        }
        let start = read_start(&dev.join(&device.name)).ok()?;
        let superblock = Superblock::parse(&start);
        self.read.insert(device.name.clone(), superblock.clone());
        superblock
    }
}

fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(NEEDED);
    File::open(path)?.take(NEEDED as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// The devices that match a specification: several, if several disks hold the same image.
pub fn find<'a>(
    spec: &RootSpec,
    devices: &'a [BlockDevice],
    dev: &Path,
    superblocks: &mut Superblocks,
) -> Vec<&'a BlockDevice> {
    let mut on_disk = |device: &BlockDevice, wanted: &dyn Fn(&Superblock) -> bool| {
        superblocks.of(dev, device).is_some_and(|superblock| wanted(&superblock))
    };
    let means = |device: &&BlockDevice| match spec {
        RootSpec::PartUuid(id) => device.part_uuid.as_ref() == Some(id),
        RootSpec::PartLabel(label) => device.part_label.as_ref() == Some(label),
        RootSpec::Device(name) => device.name == *name,
        RootSpec::Number(number) => device.number == *number,
        RootSpec::FsUuid(id) => on_disk(device, &|superblock| superblock.uuid.as_ref() == Some(id)),
        RootSpec::FsLabel(label) => on_disk(device, &|superblock| superblock.label.as_ref() == Some(label)),
    };
    devices.iter().filter(means).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::list;
    use crate::cmdline::CommandLine;
    use crate::fixtures::{add_disk, ext4};

    #[test]
    fn finds_the_root_however_it_is_named() -> io::Result<()> {
        let (sys, dev) = (tempfile::tempdir()?, tempfile::tempdir()?);
        add_disk(sys.path(), "nvme0n1", &[("nvme0n1p1", "aaaa"), ("nvme0n1p2", "BBBB")])?;
        add_disk(sys.path(), "vda", &[])?;
        std::fs::write(dev.path().join("vda"), ext4(0x11, "fresh"))?;
        std::fs::write(dev.path().join("nvme0n1p2"), ext4(0x22, "root"))?;
        let devices = list(&sys.path().join("class/block"));
        let table = [
            ("root=PARTUUID=bbbb", Some("nvme0n1p2")),
            ("root=PARTUUID=cccc", None),
            ("root=/dev/vda", Some("vda")),
            ("root=/dev/vdb", None),
            ("root=254:1", Some("nvme0n1p1")),
            ("root=UUID=11111111-1111-1111-1111-111111111111", Some("vda")),
            ("rocbed.root-uuid=22222222-2222-2222-2222-222222222222", Some("nvme0n1p2")),
            ("root=LABEL=root", Some("nvme0n1p2")),
        ];
        for (text, expected) in table {
            let spec = CommandLine::parse(text).root.expect(text);
            let found = find(&spec, &devices, dev.path(), &mut Superblocks::default());
            let names: Vec<_> = found.iter().map(|device| device.name.as_str()).collect();
            assert_eq!(names, Vec::from_iter(expected), "{text}");
        }
        Ok(())
    }
}
