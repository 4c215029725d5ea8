//! [`Probe`]: what QUALIFY and CHECK look at, small enough that a double can stand in for a machine.

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
use appliance::memory;

/// A GPU that works answers within a second or two.
const ROCMINFO: Duration = Duration::from_secs(60);

/// Where the program is made that runs a kernel on a GPU.
const COMPUTE: &str = "/run/rocbed/gpu-check";

/// Written and removed again; one that a power cut left is only written over.
const FILE: &str = "fitness-test";

/// Looks at a machine.
pub trait Probe {
    /// The data directory.
    fn data(&self) -> &Path;

    /// Writes a file to the data directory, and asks for the room in it.
    ///
    /// # Errors
    /// If it cannot be written.
    fn room(&mut self) -> io::Result<DiskSpace>;

    /// How much waits to be delivered.
    ///
    /// # Errors
    /// If it cannot be read.
    fn outbox(&mut self) -> io::Result<Load>;

    /// The time.
    fn now(&mut self) -> SystemTime;

    /// When the image was made: the time of dpkg's status file.
    ///
    /// # Errors
    /// If there is none.
    fn image_made(&mut self) -> io::Result<SystemTime>;

    /// The memory, in MiB.
    ///
    /// # Errors
    /// If /proc cannot be read.
    fn memory(&mut self) -> io::Result<u64>;

    /// The GPUs that are there now; never simulated ones.
    fn gpus(&mut self) -> Inventory;

    /// What is wrong with a GPU on the bus that KFD still has: it does not answer, has no link, or sleeps for good.
    fn defect(&mut self, gpu: &Gpu) -> Option<String>;

    /// What rocminfo(1) says, within a limit of time. `only` are the GPUs that it sees, by their numbers in ROCm's order; all
    /// without it.
    ///
    /// # Errors
    /// If it cannot be started for another reason than that it is not installed.
    fn rocminfo(&mut self, only: Option<&[usize]>) -> io::Result<Answer>;

    /// What comes of a small kernel on the GPU of this number, within a limit of time.
    ///
    /// # Errors
    /// If it cannot be started for another reason than that HIP is not installed.
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
    /// With this data directory, and the image mounted there. Programs are ended once `stop` is set.
    pub fn new(data: &Path, image: &Path, stop: Arc<AtomicBool>) -> Self {
        let rocminfo = Limited::new("rocminfo", ROCMINFO, Arc::clone(&stop));
        let compute = Compute::new(Path::new(COMPUTE), "hipcc", stop);
        Self { data: data.to_owned(), image: image.to_owned(), rocminfo, compute }
    }
}

impl Probe for ThisMachine {
    fn data(&self) -> &Path {
        &self.data
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
        Ok(memory::total_mib(&fs::read_to_string("/proc/meminfo")?))
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
        assert_eq!(machine.outbox()?, Load { parcels: 1, bytes: 8 });
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
