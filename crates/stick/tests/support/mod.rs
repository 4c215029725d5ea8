//! Support for tests: small images, and disks that fail.
#![allow(dead_code)] // each test program uses some of it

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use diskimage::gpt::{Attributes, types};
use diskimage::layout::{Layout, PartitionSpec, layout};
use diskimage::{Guid, SectorSize, fat, gpt};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};
use progress::Silent;
use sha256::Digest;
use stick::disk::Disk;

pub const MIB: u64 = 1 << 20;

/// Bytes that look random and are the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Writes an image as `rocbed build` lays it out, for sectors of 512 bytes: a boot program, a root of 9 MiB with a gap,
/// an empty data partition of 6 MiB.
pub fn image(path: &Path, seed: u64) -> Layout {
    let time = Timestamp::from_seconds(1_700_000_000);
    let directory = Metadata::root(0o755, time);
    let mut tree = FileTree::new(directory.clone());
    tree.create_directories("EFI/BOOT", &directory).unwrap();
    let kind = NodeKind::File(Content::from(noise(seed, 700_000)));
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node { kind, metadata: Metadata::root(0o755, time) }).unwrap();
    let guid = |name: &str| Guid::from_digest(&[seed as u8; 32].into(), name);
    let spec = |type_guid, name: &str, size| PartitionSpec {
        type_guid,
        unique_guid: guid(name),
        name: name.into(),
        size,
        attributes: Attributes::default(),
    };
    let specs = [
        spec(types::ESP, "rocbed-esp", 34 * MIB),
        spec(types::ROOT_X86_64, "rocbed-root", 9 * MIB),
        spec(types::LINUX_GENERIC, "rocbed-data", 6 * MIB),
    ];
    let layout = layout(&specs).unwrap();
    let disk = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    disk.set_len(layout.disk_size).unwrap();
    let options = fat::FatOptions {
        size: 34 * MIB,
        sector_size: SectorSize::Bytes512,
        volume_id: seed as u32,
        label: Some("ROCBED".into()),
        timestamp: time,
    };
    fat::write(&tree, &disk, layout.partitions[0].start, &options, &Silent).unwrap();
    let root = layout.partitions[1].start;
    disk.write_all_at(&noise(seed + 1, 3_000_000), root).unwrap();
    disk.write_all_at(&noise(seed + 2, 100_000), root + 8 * MIB).unwrap();
    gpt::write(&disk, guid("disk"), SectorSize::Bytes512, &layout.partitions).unwrap();
    layout
}

/// Writes `SHA256SUMS` for files of a directory.
pub fn sums(directory: &Path, names: &[&str]) {
    let line = |name: &&str| {
        let digest = Digest::of(fs::read(directory.join(name)).unwrap());
        format!("{digest}  {name}\n")
    };
    fs::write(directory.join("SHA256SUMS"), names.iter().map(line).collect::<String>()).unwrap();
}

/// The faults of a disk in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// The number of bytes after which the power is cut.
    pub cut_after: Option<u64>,
    /// The real size in bytes; data that is written beyond reappears at the start.
    pub real_size: Option<u64>,
    /// A byte that does not keep what is written to it.
    pub bad_byte: Option<u64>,
}

/// A disk in memory with a cache of its own: what was not flushed may be there or not after a power cut.
pub struct Memory {
    sector_size: SectorSize,
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    durable: Vec<u8>,
    cached: Vec<(u64, Vec<u8>)>,
    written: u64,
    random: u64,
}

impl Memory {
    pub fn new(content: Vec<u8>, sector_size: SectorSize, faults: Faults) -> Self {
        let state = State { durable: content, cached: Vec::new(), written: 0, random: faults.cut_after.unwrap_or(1) };
        Self { sector_size, faults, state: Mutex::new(state) }
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.state.lock().unwrap().written
    }

    /// The content after the power cut.
    pub fn after_cut(self) -> Vec<u8> {
        let mut state = self.state.into_inner().unwrap();
        for (at, bytes) in std::mem::take(&mut state.cached) {
            for (index, block) in bytes.chunks(4096).enumerate() {
                state.random =
                    state.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if state.random >> 63 == 1 {
                    let start = at as usize + index * 4096;
                    state.durable[start..start + block.len()].copy_from_slice(block);
                }
            }
        }
        state.durable
    }
}

impl Disk for Memory {
    fn size(&self) -> u64 {
        self.state.lock().unwrap().durable.len() as u64
    }

    fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.flush()?;
        let state = self.state.lock().unwrap();
        let at = (at % self.faults.real_size.unwrap_or(u64::MAX)) as usize;
        buffer.copy_from_slice(&state.durable[at..at + buffer.len()]);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        assert!(at.is_multiple_of(self.sector_size.bytes()) && (bytes.len() as u64).is_multiple_of(512));
        let mut state = self.state.lock().unwrap();
        let left = self.faults.cut_after.map_or(u64::MAX, |cut| cut.saturating_sub(state.written));
        let part = bytes.len().min(left as usize) / 512 * 512;
        let mut kept = bytes[..part].to_vec();
        if let Some(bad) = self.faults.bad_byte.filter(|bad| (at..at + part as u64).contains(bad)) {
            kept[(bad - at) as usize] ^= 4;
        }
        state.written += bytes.len() as u64;
        state.cached.push((at % self.faults.real_size.unwrap_or(u64::MAX), kept));
        if part < bytes.len() { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.write_at(&vec![0; (range.end - range.start) as usize], range.start)
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if self.faults.cut_after.is_some_and(|cut| state.written > cut) {
            return Err(io::Error::other("the power is gone"));
        }
        for (at, bytes) in std::mem::take(&mut state.cached) {
            state.durable[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}
