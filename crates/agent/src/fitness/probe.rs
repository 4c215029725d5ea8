//! [`Probe`]: what QUALIFY and CHECK measure, small enough for a test double to stand in for a machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use gpu::{Gpu, Inventory, Sources, Sysfs};

use super::command::{Answer, Limited};
use super::compute::Compute;
use crate::outbox::{self, Load};
use appliance::disk_space::DiskSpace;
use appliance::paths;
use machineinfo::Memory;

/// Time limit for rocminfo(1); with working GPUs it answers within a second or two.
const ROCMINFO: Duration = Duration::from_secs(60);

/// A file that is written and removed again; one left by a power cut is overwritten.
const FILE: &str = "fitness-test";

/// Measures the state of a machine.
pub trait Probe {
    /// The data directory.
    fn data(&self) -> &Path;

    /// Whether what is written to the data directory survives a restart. If not, the machine must not restart itself for
    /// something that it has to remember.
    fn remembers(&self) -> bool {
        true
    }

    /// Writes a file to the data directory, and returns the disk space there.
    ///
    /// # Errors
    /// If the file cannot be written.
    fn room(&mut self) -> io::Result<DiskSpace>;

    /// The number and size of undelivered results.
    ///
    /// # Errors
    /// If the outbox cannot be read.
    fn outbox(&mut self) -> io::Result<Load>;

    /// The current time.
    fn now(&mut self) -> SystemTime;

    /// The time when the image was built: that of dpkg's status file.
    ///
    /// # Errors
    /// If there is no such file.
    fn image_made(&mut self) -> io::Result<SystemTime>;

    /// The machine's memory, in MiB.
    ///
    /// # Errors
    /// If /proc cannot be read.
    fn memory(&mut self) -> io::Result<u64>;

    /// The GPUs that are there now; never simulated ones.
    fn gpus(&mut self) -> Inventory;

    /// The defect of a GPU that KFD still has: it does not answer on the bus, has no link, or sleeps for good.
    fn defect(&mut self, gpu: &Gpu) -> Option<String>;

    /// Runs rocminfo(1) with a time limit. `only` restricts it to these GPUs, by their indexes in ROCm's order;
    /// `None` means all.
    ///
    /// # Errors
    /// If it is installed but cannot be started.
    fn rocminfo(&mut self, only: Option<&[usize]>) -> io::Result<Answer>;

    /// Runs a small kernel on the GPU with this index, with a time limit.
    ///
    /// # Errors
    /// If HIP is installed but the program cannot be started.
    fn compute(&mut self, index: usize) -> io::Result<Answer>;
}

/// The machine that this runs on.
#[derive(Debug)]
pub struct ThisMachine {
    data: PathBuf,
    image: PathBuf,
    rocminfo: Limited,
    compute: Compute,
}

impl ThisMachine {
    /// Uses this data directory and the mount point of the image. Programs are ended once `stop` is set.
    pub fn new(data: &Path, image: &Path, stop: Arc<AtomicBool>) -> Self {
        let rocminfo = Limited::new("rocminfo", ROCMINFO, Arc::clone(&stop));
        let compute = Compute::new(Path::new(paths::GPU_CHECK), "hipcc", stop);
        Self { data: data.to_owned(), image: image.to_owned(), rocminfo, compute }
    }
}

impl Probe for ThisMachine {
    fn data(&self) -> &Path {
        &self.data
    }

    fn remembers(&self) -> bool {
        Path::new(appliance::paths::DATA_IS_KEPT).exists()
    }

    fn room(&mut self) -> io::Result<DiskSpace> {
        let path = self.data.join(FILE);
        durable::replace(&path, b"can be written\n", durable::Readers::Owner)?;
        durable::remove(&path)?;
        DiskSpace::of(&self.data)
    }

    fn outbox(&mut self) -> io::Result<Load> {
        outbox::load(&self.data)
    }

    fn now(&mut self) -> SystemTime {
        SystemTime::now()
    }

    fn image_made(&mut self) -> io::Result<SystemTime> {
        fs::metadata(self.image.join("var/lib/dpkg/status"))?.modified()
    }

    fn memory(&mut self) -> io::Result<u64> {
        Ok(Memory::read()?.total >> 20)
    }

    fn gpus(&mut self) -> Inventory {
        gpu::detect(&Sources::of_this_machine())
    }

    fn defect(&mut self, gpu: &Gpu) -> Option<String> {
        gpu::defect(&Sysfs::default(), gpu)
    }

    fn rocminfo(&mut self, only: Option<&[usize]>) -> io::Result<Answer> {
        let numbers = |only: &[usize]| only.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        self.rocminfo.set("ROCR_VISIBLE_DEVICES", only.map(numbers));
        self.rocminfo.ask()
    }

    fn compute(&mut self, index: usize) -> io::Result<Answer> {
        self.compute.ask(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_looked_at() -> io::Result<()> {
        let (data, image) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let mut machine = ThisMachine::new(data.path(), image.path(), Arc::default());
        let room = machine.room()?;
        assert!(room.free > 0 && room.free <= room.total, "{room:?}");
        assert_eq!(fs::read_dir(data.path())?.count(), 0);
        assert!(machine.memory()? > 0);
        assert_eq!(machine.image_made().map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        fs::create_dir_all(image.path().join("var/lib/dpkg"))?;
        fs::write(image.path().join("var/lib/dpkg/status"), "")?;
        assert!(machine.image_made()? > SystemTime::UNIX_EPOCH);
        assert_eq!(machine.outbox()?, Load::default());
        fs::create_dir(data.path().join("outbox"))?;
        fs::write(data.path().join("outbox/l1.tar.zst"), "bundle")?;
        fs::write(data.path().join("outbox/l1.json"), "{}")?;
        assert_eq!(machine.outbox()?, Load { results: 1, bytes: 8 });
        Ok(())
    }

    #[test]
    fn a_directory_that_cannot_be_made_cannot_be_written_to() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let file = data.path().join("file");
        fs::write(&file, "")?;
        assert!(ThisMachine::new(&file.join("data"), data.path(), Arc::default()).room().is_err());
        Ok(())
    }
}
