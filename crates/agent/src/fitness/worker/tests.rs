use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::*;
use crate::fitness::command::Answer;
use crate::outbox::Load;
use appliance::disk_space::DiskSpace;

const ONE: &str = "0000:03:00.0";
const TWO: &str = "0000:43:00.0";

/// A simulated machine.
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
    /// The GPU with which rocminfo fails, or on which a kernel fails, by its index.
    culprit: Option<usize>,
    wrong: Option<usize>,
    /// The GPU that does not answer.
    dead: Option<&'static str>,
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
            culprit: None,
            wrong: None,
            dead: None,
        }
    }

    /// After a start of the machine.
    fn started(self) -> io::Result<Worker<Self>> {
        let (record, gpus) = (RestartRecord::open(&self.data)?, self.gpus.clone());
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

    fn defect(&mut self, gpu: &Gpu) -> Option<String> {
        (self.dead == Some(gpu.id.as_str())).then(|| "it does not answer".into())
    }

    fn rocminfo(&mut self, only: Option<&[usize]>) -> io::Result<Answer> {
        self.asked += 1;
        let Some(culprit) = self.culprit else { return Ok(self.rocminfo.clone()) };
        let seen = only.map_or_else(|| (0..self.gpus.gpus.len()).collect(), <[usize]>::to_vec);
        let fails = || Answer::Ended { success: false, output: "hsa_init failed\n".into() };
        Ok(if seen.contains(&culprit) { fails() } else { found(seen.len()) })
    }

    fn compute(&mut self, index: usize) -> io::Result<Answer> {
        Ok(Answer::Ended { success: self.wrong != Some(index), output: "waiting for a kernel: unknown error\n".into() })
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
fn ended(verdict: Verdict) -> EndedJob {
    EndedJob { verdict: Some(verdict), ..EndedJob::default() }
}

fn found(gpus: usize) -> Answer {
    Answer::Ended { success: true, output: "  Name:     gfx1030\n".repeat(gpus) }
}

fn words(defects: &[Defect]) -> Vec<&str> {
    defects.iter().map(|defect| defect.advice.what.as_str()).collect()
}

#[test]
fn a_good_machine_is_fit_and_rocm_is_asked_after_each_job_with_a_gpu() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    for _ in 0..3 {
        assert_eq!(words(&worker.qualify(&BTreeSet::new())), [""; 0]);
        assert_eq!(worker.check(ended(Verdict::Pass)), None);
    }
    assert_eq!(worker.probe.asked, 1, "the jobs had no GPU");
    worker.check(EndedJob { gpus: vec![ONE.into()], ..ended(Verdict::Pass) });
    assert_eq!(words(&worker.qualify(&BTreeSet::new())), [""; 0]);
    assert_eq!(worker.probe.asked, 2);
    assert!(!data.path().join(FILE).exists());
    Ok(())
}

#[test]
fn every_reason_is_told_until_it_is_over() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE]).started()?;
    worker.probe.outbox = Load { results: 1000, bytes: 0 };
    (worker.probe.now, worker.probe.memory) = (SystemTime::UNIX_EPOCH, 100);
    worker.probe.rocminfo = found(0);
    let defects = worker.qualify(&BTreeSet::new());
    let starts = ["1000 results", "the clock", "the machine has 100 MiB", "rocminfo finds 0 GPUs"];
    assert_eq!(defects.len(), starts.len(), "{defects:?}");
    for (defect, start) in defects.iter().zip(starts) {
        assert!(defect.advice.what.starts_with(start) && !defect.advice.help.is_empty(), "{defect:?}");
    }
    worker.probe.writable = false;
    assert!(worker.qualify(&BTreeSet::new())[0].advice.what.starts_with("nothing can be written to "));
    worker.probe = Made::with(data.path(), &[ONE]);
    assert!(worker.qualify(&BTreeSet::new()).is_empty());
    Ok(())
}

#[test]
fn pauses_grow_while_a_machine_is_not_fit() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[]).started()?;
    worker.probe.now = SystemTime::UNIX_EPOCH;
    assert!(worker.qualify(&BTreeSet::new())[0].passes);
    assert!(worker.pause() <= FIRST_PAUSE);
    for _ in 0..10 {
        assert!(worker.pause() <= LONGEST_PAUSE);
    }
    assert!(worker.pause() >= LONGEST_PAUSE / 2);
    worker.probe.now = SystemTime::now();
    assert!(worker.qualify(&BTreeSet::new()).is_empty());
    assert!(worker.pause() <= FIRST_PAUSE);
    Ok(())
}

#[test]
fn simulated_gpus_are_not_looked_for() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let simulated = gpu::simulate("gfx1030").map_err(io::Error::other)?;
    let mut worker = Worker::new(Made::with(data.path(), &[]), RestartRecord::open(data.path())?, &simulated);
    worker.record.set_missing(BTreeSet::from([ONE.to_owned()]))?;
    assert!(worker.qualify(&BTreeSet::new()).is_empty());
    assert_eq!(worker.check(ended(Verdict::Fail)), None);
    assert_eq!(worker.probe.asked, 0);
    Ok(())
}

#[test]
fn a_fault_restarts_the_machine_twice_in_a_row_and_no_more() -> io::Result<()> {
    let stuck = |verdict| EndedJob { verdict, stuck: true, contained: true, ..EndedJob::default() };
    for bad in [ended(Verdict::GpuFault), stuck(Some(Verdict::Timeout)), stuck(None)] {
        let data = tempfile::tempdir()?;
        let start = || Made::with(data.path(), &[ONE]).started();
        for _ in 0..MOST_RESTARTS {
            let mut worker = start()?;
            assert!(worker.qualify(&BTreeSet::new()).is_empty());
            assert!(worker.check(bad.clone()).is_some());
        }
        let mut worker = start()?;
        assert!(worker.qualify(&BTreeSet::new()).is_empty());
        assert_eq!(worker.check(bad.clone()), None);
        let defects = worker.qualify(&BTreeSet::new());
        assert!(words(&defects)[0].ends_with("after 2 restarts in a row for the same; it is not restarted again"));
        assert!(!defects[0].passes);
        // A person has looked at it; a job that ends well resets the count.
        let mut worker = start()?;
        assert!(worker.qualify(&BTreeSet::new()).is_empty());
        assert_eq!(worker.check(ended(Verdict::Fail)), None);
        assert!(worker.check(bad.clone()).is_some());
    }
    Ok(())
}

#[test]
fn faults_that_are_the_tests_own_doing_do_not_retire_a_machine() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    for _ in 0..3 * MOST_RESTARTS {
        let mut worker = Made::with(data.path(), &[ONE]).started()?;
        assert!(worker.qualify(&BTreeSet::new()).is_empty());
        let fault = EndedJob { contained: true, ..ended(Verdict::GpuFault) };
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
    // The restart did not help: the other GPU works on, and this one is named.
    let mut worker = Made::with(data.path(), &[ONE]).started()?;
    assert!(worker.qualify(&BTreeSet::new()).is_empty());
    let mut left = inventory(&[ONE]);
    RestartRecord::open(data.path())?.leave_out(&mut left, &[]);
    assert!(left.unusable[0].reasons[0].message.contains("0000:43:00.0 was lost in a job"));
    // Without any other, no job is taken, and there is no other restart.
    for _ in 0..3 {
        let mut worker = Made::with(data.path(), &[]).started()?;
        let defects = worker.qualify(&BTreeSet::new());
        assert_eq!(words(&defects), ["lost in a job, and not back after a restart: GPU 0000:43:00.0"]);
        assert!(defects[0].advice.help.to_string().contains(FILE));
    }
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    assert!(worker.qualify(&BTreeSet::new()).is_empty());
    assert!(RestartRecord::open(data.path())?.missing().is_empty());
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

/// A job in which these GPUs had a fault.
fn fault_of(gpus: &[&str]) -> EndedJob {
    let kinds = || BTreeSet::from([FaultKind::Hang]);
    let faulty = gpus.iter().map(|id| ((*id).to_owned(), kinds())).collect();
    EndedJob { gpus: gpus.iter().map(|id| (*id).to_owned()).collect(), faulty, ..ended(Verdict::GpuFault) }
}

#[test]
fn one_bad_gpu_of_eight_is_left_out_and_the_others_go_on() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let targets = ["gfx1030"; 8].join(",");
    // As the agent does at each start.
    let start = || -> io::Result<(Worker<Made>, Inventory)> {
        let mut inventory = gpu::simulate(&targets).map_err(io::Error::other)?;
        let record = RestartRecord::open(data.path())?;
        record.leave_out(&mut inventory, &[]);
        Ok((Worker::new(Made::with(data.path(), &[]), record, &inventory), inventory))
    };
    for times in 1..=MOST_FAULTS {
        let (mut worker, inventory) = start()?;
        assert_eq!(inventory.gpus.len(), 8);
        assert!(worker.qualify(&BTreeSet::new()).is_empty());
        let why = worker.check(fault_of(&["simulated-3"])).unwrap_or_default();
        assert!(why.starts_with("GPU simulated-3 had a fault (hang)"), "{why}");
        assert_eq!(why.contains("gets no more jobs"), times == MOST_FAULTS, "{why}");
    }
    let (mut worker, inventory) = start()?;
    assert_eq!(inventory.gpus.len(), 7);
    let reason = &inventory.unusable[0].reasons[0];
    assert!(reason.message.contains("simulated-3 gets no jobs: it had faults in 3 jobs"), "{reason:?}");
    assert!(worker.qualify(&BTreeSet::new()).is_empty(), "the seven work");
    assert_eq!(worker.check(EndedJob { gpus: vec!["simulated-4".into()], ..ended(Verdict::Pass) }), None);
    // A person has looked at it.
    assert!(worker.retry_gpus(&[]).contains("simulated-3"));
    let (_, inventory) = start()?;
    assert_eq!((inventory.gpus.len(), inventory.unusable.len()), (8, 0));
    Ok(())
}

#[test]
fn the_only_gpu_is_not_left_out_the_machine_is_unfit() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    for _ in 0..MOST_RESTARTS {
        assert!(Made::with(data.path(), &[ONE]).started()?.check(fault_of(&[ONE])).is_some());
    }
    let mut worker = Made::with(data.path(), &[ONE]).started()?;
    assert_eq!(worker.check(fault_of(&[ONE])), None);
    assert!(
        words(&worker.qualify(&BTreeSet::new()))[0]
            .starts_with("GPU 0000:03:00.0 had a fault (hang), after 2 restarts")
    );
    Ok(())
}

#[test]
fn a_gpu_that_does_not_answer_is_lost_though_kfd_has_it() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    worker.probe.dead = Some(TWO);
    let why = worker.check(ended(Verdict::Pass)).unwrap_or_default();
    assert!(why.starts_with("GPU 0000:43:00.0: it does not answer; GPU 0000:43:00.0 had a fault (GPU lost)"), "{why}");
    Ok(())
}

#[test]
fn the_gpu_that_rocminfo_cannot_handle_is_found_by_trying_without_it() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    worker.probe.culprit = Some(1);
    let defects = worker.qualify(&BTreeSet::new());
    assert_eq!(words(&defects), ["GPU 0000:43:00.0: rocminfo fails with it, and works without it"]);
    assert!(worker.wants_restart().is_some());
    let mut inventory = inventory(&[ONE, TWO]);
    RestartRecord::open(data.path())?.leave_out(&mut inventory, &[]);
    assert_eq!((inventory.gpus.len(), inventory.gpus[0].id.as_str()), (1, ONE));
    // After the restart the other one works, although the culprit is there still.
    let made = Made { culprit: Some(1), ..Made::with(data.path(), &[ONE, TWO]) };
    let mut worker = Worker::new(made, RestartRecord::open(data.path())?, &inventory);
    assert_eq!(words(&worker.qualify(&BTreeSet::new())), Vec::<String>::new());
    assert!(worker.wants_restart().is_none());
    Ok(())
}

#[test]
fn a_gpu_on_which_a_kernel_fails_is_left_out_and_an_only_one_is_unfit() -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE, TWO]).started()?;
    worker.probe.wrong = Some(0);
    assert!(words(&worker.qualify(&BTreeSet::new()))[0].starts_with("a small kernel failed on GPU 0000:03:00.0"));
    assert!(worker.wants_restart().is_some());
    let data = tempfile::tempdir()?;
    let mut worker = Made::with(data.path(), &[ONE]).started()?;
    worker.probe.wrong = Some(0);
    assert!(!worker.qualify(&BTreeSet::new()).is_empty());
    assert!(worker.wants_restart().is_none());
    Ok(())
}
