use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::*;
use crate::fitness::command::Answer;
use crate::outbox::Load;
use appliance::disk_space::DiskSpace;

const ONE: &str = "0000:03:00.0";
const TWO: &str = "0000:43:00.0";

/// A machine as a test says.
#[derive(Debug)]
struct Made {
    data: PathBuf,
    writable: bool,
    outbox: Load,
    now: SystemTime,
    memory: u64,
    gpus: Inventory,
    rocminfo: Answer,
    asked: u32,
}

impl Made {
    fn with(data: &Path, gpus: &[&str]) -> Self {
        Self {
            data: data.to_owned(),
            writable: true,
            outbox: Load::default(),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
            memory: 1024,
            gpus: inventory(gpus),
            rocminfo: found(gpus.len()),
            asked: 0,
        }
    }

    /// After a start of the machine.
    fn started(self) -> io::Result<Worker<Self>> {
        let (record, gpus) = (Record::open(&self.data)?, self.gpus.clone());
        Ok(Worker::new(self, record, &gpus))
    }
}

impl Probe for Made {
    fn data(&self) -> &Path {
        &self.data
    }

    fn room(&mut self) -> io::Result<DiskSpace> {
        if self.writable {
            Ok(DiskSpace { free: 1 << 30, total: 1 << 31 })
        } else {
            Err(io::Error::from_raw_os_error(30))
        }
    }

    fn outbox(&mut self) -> io::Result<Load> {
        Ok(self.outbox)
    }

    fn now(&mut self) -> SystemTime {
        self.now
    }

    fn image_made(&mut self) -> io::Result<SystemTime> {
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(50))
    }

    fn memory(&mut self) -> io::Result<u64> {
        Ok(self.memory)
    }

    fn gpus(&mut self) -> Inventory {
        self.gpus.clone()
    }

    fn rocminfo(&mut self) -> io::Result<Answer> {
        self.asked += 1;
        Ok(self.rocminfo.clone())
    }
}

/// GPUs that are there, at these addresses.
fn inventory(addresses: &[&str]) -> Inventory {
    let mut inventory = gpu::simulate(&"gfx1030,".repeat(addresses.len().max(1))).unwrap_or_default();
    inventory.simulated = false;
    inventory.gpus.truncate(addresses.len());
    for (gpu, address) in inventory.gpus.iter_mut().zip(addresses) {
        (gpu.id, gpu.simulated, gpu.pci_address) = ((*address).to_owned(), false, address.parse().ok());
    }
    inventory
}

/// The end of a job that has left no process behind.
fn ended(verdict: Verdict) -> Ended {
    Ended { verdict: Some(verdict), ..Ended::default() }
}

fn found(gpus: usize) -> Answer {
    Answer::Ended { success: true, output: "  Name:     gfx1030\n".repeat(gpus) }
}

fn words(defects: &[Defect]) -> Vec<&str> {
    defects.iter().map(|defect| defect.what.as_str()).collect()
}

#[test]
fn a_good_machine_is_fit_and_rocm_is_asked_once() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    for _ in 0..3 {
        assert_eq!(words(&worker.qualify()), [""; 0]);
        assert_eq!(worker.check(ended(Verdict::Pass)), None);
    }
    assert_eq!(worker.probe.asked, 1);
    assert!(!data.path().join(FILE).exists());
    Ok(())
}

#[test]
fn every_reason_is_told_until_it_is_over() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE]).started()?;
    worker.probe.outbox = Load { parcels: 1000, bytes: 0 };
    (worker.probe.now, worker.probe.memory) = (SystemTime::UNIX_EPOCH, 100);
    worker.probe.rocminfo = found(0);
    let defects = worker.qualify();
    let starts = ["1000 results", "the clock", "the machine has 100 MiB", "rocminfo finds 0 GPUs"];
    assert_eq!(defects.len(), starts.len(), "{defects:?}");
    for (defect, start) in defects.iter().zip(starts) {
        assert!(defect.what.starts_with(start) && !defect.advice.is_empty(), "{defect:?}");
    }
    worker.probe.writable = false;
    assert!(worker.qualify()[0].what.starts_with("nothing can be written to "));
    worker.probe = Made::with(data.path(), &[ONE]);
    assert!(worker.qualify().is_empty());
    Ok(())
}

#[test]
fn pauses_grow_while_a_machine_is_not_fit() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[]).started()?;
    worker.probe.now = SystemTime::UNIX_EPOCH;
    assert!(worker.qualify()[0].passes);
    assert!(worker.pause() <= FIRST_PAUSE);
    for _ in 0..10 {
        assert!(worker.pause() <= LONGEST_PAUSE);
    }
    assert!(worker.pause() >= LONGEST_PAUSE / 2);
    worker.probe.now = SystemTime::now();
    assert!(worker.qualify().is_empty());
    assert!(worker.pause() <= FIRST_PAUSE);
    Ok(())
}

#[test]
fn simulated_gpus_are_not_looked_for() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let simulated = gpu::simulate("gfx1030").map_err(io::Error::other)?;
    let mut worker = Worker::new(Made::with(data.path(), &[]), Record::open(data.path())?, &simulated);
    worker.record.set_missing(BTreeSet::from([ONE.to_owned()]))?;
    assert!(worker.qualify().is_empty());
    assert_eq!(worker.check(ended(Verdict::Fail)), None);
    assert_eq!(worker.probe.asked, 0);
    Ok(())
}

#[test]
fn a_fault_restarts_the_machine_twice_in_a_row_and_no_more() -> io::Result<()> {
    let stuck = |verdict| Ended { verdict, stuck: true, contained: true };
    for bad in [ended(Verdict::GpuFault), stuck(Some(Verdict::Timeout)), stuck(None)] {
        let data = tempfile::tempdir()?;
        let start = || Made::with(data.path(), &[ONE]).started();
        for _ in 0..MOST_RESTARTS {
            let mut worker = start()?;
            assert!(worker.qualify().is_empty());
            assert!(worker.check(bad).is_some());
        }
        let mut worker = start()?;
        assert!(worker.qualify().is_empty());
        assert_eq!(worker.check(bad), None);
        let defects = worker.qualify();
        assert!(words(&defects)[0].ends_with("after 2 restarts in a row for the same; it is not restarted again"));
        assert!(!defects[0].passes);
        // Somebody has looked at it; a job that ends well breaks the row.
        let mut worker = start()?;
        assert!(worker.qualify().is_empty());
        assert_eq!(worker.check(ended(Verdict::Fail)), None);
        assert!(worker.check(bad).is_some());
    }
    Ok(())
}

#[test]
fn faults_that_are_the_tests_own_doing_do_not_retire_a_machine() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    for _ in 0..3 * MOST_RESTARTS {
        let mut worker = Made::with(data.path(), &[ONE]).started()?;
        assert!(worker.qualify().is_empty());
        let fault = Ended { contained: true, ..ended(Verdict::GpuFault) };
        assert_eq!(worker.check(fault).as_deref(), Some("a test made the GPU fault"));
    }
    Ok(())
}

#[test]
fn a_gpu_that_is_gone_is_missed_until_it_is_back() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    worker.probe.gpus = inventory(&[ONE]);
    let why = worker.check(ended(Verdict::Pass));
    assert_eq!(why.as_deref(), Some("GPU 0000:43:00.0 is gone"));
    // The restart did not help: no job is taken, and there is no other restart.
    for _ in 0..3 {
        let mut worker = Made::with(data.path(), &[ONE]).started()?;
        let defects = worker.qualify();
        assert_eq!(words(&defects), ["lost in a job, and not back after a restart: GPU 0000:43:00.0"]);
        assert!(defects[0].advice.contains(FILE));
    }
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    assert!(worker.qualify().is_empty());
    assert!(Record::open(data.path())?.missing().is_empty());
    Ok(())
}

#[test]
fn why_a_gpu_is_gone_is_told() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[TWO]).started()?;
    worker.probe.gpus = inventory(&[]);
    worker.probe.gpus.unusable.push(gpu::UnusableGpu {
        name: "Navi 21".into(),
        pci_address: TWO.parse().ok(),
        pci_id: None,
        driver: None,
        likely_target: None,
        reasons: vec![gpu::Reason {
            kind: gpu::ReasonKind::NoDriver,
            message: "it does not answer".into(),
            remedy: String::new(),
            evidence: Vec::new(),
        }],
    });
    let why = worker.check(ended(Verdict::GpuFault));
    assert_eq!(why.as_deref(), Some("GPU 0000:43:00.0 is gone: it does not answer"));
    Ok(())
}

#[test]
fn what_cannot_be_written_down_is_told() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE]).started()?;
    std::fs::create_dir(data.path().join(FILE))?;
    let why = worker.check(ended(Verdict::GpuFault)).unwrap_or_default();
    assert!(why.contains("cannot be written down"), "{why}");
    Ok(())
}
