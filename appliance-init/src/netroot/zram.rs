//! A block device in compressed memory (kernel Documentation/admin-guide/blockdev/zram.rst), for a root that came
//! over the network.
//!
//! Why zram: the root is an ext4 file system that is mounted by its UUID, as on a disk, and takes half of its size in
//! memory. A root in one compressed file could not be mounted, and one in a tmpfs takes all of its size.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::image::{BLOCK, Target};

/// The device's name.
pub const NAME: &str = "zram0";

/// Size of the pages that zram compresses, in bytes.
const PAGE: usize = 4096;

/// The largest number of writer threads: each compresses 200 MiB/s and more, and further ones do not help.
const MOST_WRITERS: usize = 4;

/// The device, while it is filled.
pub struct Zram {
    /// `/sys/block/zram0`.
    settings: PathBuf,
    /// `/dev/zram0`.
    device: PathBuf,
    /// The memory that it may take, in bytes; the rest is left for everything else.
    limit: u64,
    /// The compression algorithm, by the kernel's name; `None` for the kernel's default.
    algorithm: Option<&'static str>,
    writers: Vec<JoinHandle<()>>,
    blocks: Option<SyncSender<(u64, Aligned)>>,
    spare: Option<Receiver<Aligned>>,
    failed: Arc<Mutex<Option<io::Error>>>,
    at: u64,
}

impl Zram {
    /// Uses a device that exists and is empty, as after loading the module. `sys` and `dev` are `/sys` and `/dev`.
    pub fn new(sys: &Path, dev: &Path, limit: u64, algorithm: Option<&'static str>) -> Self {
        Self {
            settings: sys.join("block").join(NAME),
            device: dev.join(NAME),
            limit,
            algorithm,
            writers: Vec::new(),
            blocks: None,
            spare: None,
            failed: Arc::default(),
            at: 0,
        }
    }

    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        let path = self.settings.join(name);
        let failed = |error| io::Error::other(format!("setting {} to {value}: {error}", path.display()));
        std::fs::write(&path, value).map_err(failed)
    }

    fn failure(&self) -> io::Result<()> {
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The memory that the device takes, in bytes: the third number in `mm_stat`.
    pub fn memory(sys: &Path) -> Option<u64> {
        let text = std::fs::read_to_string(sys.join("block").join(NAME).join("mm_stat")).ok()?;
        text.split_ascii_whitespace().nth(2)?.parse().ok()
    }
}

impl Target for Zram {
    fn begin(&mut self, size: u64) -> io::Result<()> {
        if let Some(algorithm) = self.algorithm {
            // If the kernel was built without the algorithm, its default is used.
            let _ = self.set("comp_algorithm", algorithm);
        }
        self.set("disksize", &size.next_multiple_of(PAGE as u64).to_string())?;
        self.set("mem_limit", &self.limit.to_string())?;
        let device = Arc::new(open(&self.device)?);
        let count = thread::available_parallelism().map_or(1, usize::from).min(MOST_WRITERS);
        let (sender, blocks) = sync_channel::<(u64, Aligned)>(count);
        let (used, spare) = channel();
        let blocks = Arc::new(Mutex::new(blocks));
        for _ in 0..count {
            let (device, blocks, used) = (Arc::clone(&device), Arc::clone(&blocks), used.clone());
            let failed = Arc::clone(&self.failed);
            let writer = move || {
                loop {
                    let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((at, block)) = next else { return };
                    if let Err(error) = device.write_all_at(block.bytes(), at) {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                    // The reader may have ended.
                    let _ = used.send(block);
                }
            };
            self.writers.push(thread::Builder::new().name("root writer".into()).spawn(writer)?);
        }
        (self.blocks, self.spare) = (Some(sender), Some(spare));
        Ok(())
    }

    fn write(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>> {
        self.failure()?;
        let Some(blocks) = &self.blocks else { return Err(io::Error::other("written to before it was begun")) };
        let mut aligned = self.spare.as_ref().and_then(|spare| spare.try_recv().ok()).unwrap_or_default();
        aligned.fill(&block);
        let length = block.len() as u64;
        blocks.send((self.at, aligned)).map_err(|_| io::Error::other("the threads that write have ended"))?;
        self.at = self.at.saturating_add(length);
        Ok(block)
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.blocks.take());
        for writer in self.writers.drain(..) {
            writer.join().map_err(|_| io::Error::other("a thread that writes has panicked"))?;
        }
        self.failure()
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        // The error has been reported; the threads end when there are no more blocks.
        let _ = self.end();
    }
}

/// Opens the device with direct I/O, because the page cache would hold everything a second time; through the page
/// cache on a file system that does not support that.
fn open(path: &Path) -> io::Result<File> {
    let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let opened = match OpenOptions::new().write(true).custom_flags(direct).open(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => OpenOptions::new().write(true).open(path),
        other => other,
    };
    opened.map_err(|error| io::Error::other(format!("opening {}: {error}", path.display())))
}

/// A block aligned for direct I/O: at the start of a page, and whole pages long (`open(2)`, `O_DIRECT`).
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Default for Aligned {
    fn default() -> Self {
        let memory = vec![0; BLOCK + PAGE];
        // It never moves: the vector keeps its size.
        let start = memory.as_ptr().align_offset(PAGE).min(PAGE);
        Self { memory, start, length: 0 }
    }
}

impl Aligned {
    /// Takes a block of at most [`BLOCK`] bytes; the rest of the last page is zero.
    fn fill(&mut self, block: &[u8]) {
        self.length = block.len().min(BLOCK).next_multiple_of(PAGE);
        let Some(place) = self.memory.get_mut(self.start..self.start.saturating_add(self.length)) else { return };
        let (head, tail) = place.split_at_mut(block.len().min(place.len()));
        if let Some(block) = block.get(..head.len()) {
            head.copy_from_slice(block);
        }
        tail.fill(0);
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A simulated machine whose empty device is a file.
    fn machine() -> io::Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir_all(directory.path().join("block/zram0"))?;
        std::fs::write(directory.path().join("zram0"), "")?;
        Ok(directory)
    }

    #[test]
    fn blocks_arrive_in_their_places() -> io::Result<()> {
        let machine = machine()?;
        let root: Vec<u8> = (0..(7 * BLOCK + 5000) as u32).map(|number| (number / 7 % 251) as u8).collect();
        let mut zram = Zram::new(machine.path(), machine.path(), 99, Some("zstd"));
        zram.begin(root.len() as u64)?;
        for block in root.chunks(BLOCK) {
            zram.write(block.to_vec())?;
        }
        zram.end()?;
        let written = std::fs::read(machine.path().join("zram0"))?;
        assert!(written.starts_with(&root) && written[root.len()..].iter().all(|byte| *byte == 0));
        let setting = |name| std::fs::read_to_string(machine.path().join("block/zram0").join(name));
        assert_eq!((setting("mem_limit")?, setting("comp_algorithm")?), ("99".into(), "zstd".into()));
        assert_eq!(setting("disksize")?, (root.len().next_multiple_of(PAGE)).to_string());
        Ok(())
    }

    #[test]
    fn what_cannot_be_written_is_told() -> io::Result<()> {
        let machine = machine()?;
        std::fs::remove_file(machine.path().join("zram0"))?;
        std::os::unix::fs::symlink("/dev/full", machine.path().join("zram0"))?;
        let mut zram = Zram::new(machine.path(), machine.path(), 99, Some("zstd"));
        zram.begin(1 << 40)?;
        let failed = (0..1000).find_map(|_| zram.write(vec![1; BLOCK]).err()).or_else(|| zram.end().err());
        assert_eq!(failed.map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
        Ok(())
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Zram::new(directory.path(), directory.path(), 1, None).begin(1).unwrap_err().to_string();
        assert!(error.contains("block/zram0/disksize"), "{error}");
    }
}
