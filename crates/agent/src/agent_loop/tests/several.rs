//! Several jobs at once: which runs when, and what becomes of the others when one of them hurts the machine.

use gpu::FaultKind;
use protocol::JobList;

use super::*;
use crate::allocation::Offer;
use crate::backlog::Backlog;

/// Gives out the jobs of a list that fit, and remembers what it is told.
struct Lister {
    jobs: Backlog,
    notes: Notes,
    offers: Vec<Offer>,
}

impl Lister {
    fn of(toml: &str) -> Self {
        let jobs = JobList::parse(toml.as_bytes()).expect("a list").job.into_iter().collect();
        Self { jobs, notes: Notes::default(), offers: Vec::new() }
    }

    fn told(&self) -> Vec<String> {
        self.notes.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The place of a message among all that were told.
    fn place(&self, message: &str) -> usize {
        let told = self.told();
        told.iter().position(|text| text.starts_with(message)).unwrap_or_else(|| panic!("no {message}: {told:#?}"))
    }
}

impl JobSource for Lister {
    fn name(&self) -> String {
        "a list".into()
    }

    fn ready(&mut self, _: &Machine, _: &[InterruptedJob]) -> Result<(), Advice> {
        Ok(())
    }

    fn health(&mut self, health: Health, message: &str) -> Result<(), Advice> {
        self.notes.note(format!("{}: {message}", health.name()))
    }

    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice> {
        self.offers.extend(room.offer());
        match self.jobs.take_first(room) {
            Some(job) => Ok(Claim::Job(Box::new(Assignment::new(job)))),
            None if self.jobs.is_empty() => Ok(Claim::End("all done".into())),
            None => {
                thread::sleep(Duration::from_millis(1));
                Ok(Claim::Nothing)
            }
        }
    }

    fn started(&mut self, assignment: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        self.notes.note(format!("started {}", assignment.job.id))?;
        Ok(Box::new(()))
    }

    fn deliver(&mut self, _: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        self.notes.note(format!("delivered {} {}", delivery.job, delivery.verdict))
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        self.notes.note(format!("gave back {}, {}: {message}", assignment.job.id, reason.name()))
    }

    fn end(&mut self, _: &End) -> Result<(), Advice> {
        Ok(())
    }
}

/// Runs jobs until so many run at the same time, or until they are interrupted. One that is called `faults` has a fault
/// of its GPU then.
struct Meeting {
    wanted: usize,
    /// GPUs of the jobs that run.
    present: Mutex<Vec<String>>,
    arrived: AtomicUsize,
    /// What the source was told: one that is called `late` runs until it hears of a restart, and one that is called
    /// `outlasts` until `next` has begun.
    notes: Notes,
}

impl Meeting {
    fn of(wanted: usize, source: &Lister) -> Self {
        Self { wanted, present: Mutex::default(), arrived: AtomicUsize::new(0), notes: source.notes.clone() }
    }
}

impl RunJob for Meeting {
    fn run(
        &self,
        assignment: &Assignment,
        share: &Share,
        _: &mut dyn FnMut(&[u8]),
        _: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        let (id, flag) = (assignment.job.id.clone(), assignment.interrupt.flag());
        {
            let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(share.ids().iter().all(|gpu| !present.contains(gpu)), "{id}: {present:?}");
            present.extend(share.ids());
        }
        self.arrived.fetch_add(1, Ordering::SeqCst);
        while self.arrived.load(Ordering::SeqCst) < self.wanted && !flag.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        while id.starts_with("endless") && !flag.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        let is_told = |begin: &str| {
            let told = self.notes.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.iter().any(|text| text.starts_with(begin))
        };
        for (name, told) in [("late", "rebooting: takes no jobs"), ("outlasts", "started next")] {
            while id.starts_with(name) && !is_told(told) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.present.lock().unwrap_or_else(PoisonError::into_inner).retain(|gpu| !share.ids().contains(gpu));
        if flag.load(Ordering::SeqCst) {
            return Ok(Outcome::Stopped { stuck: false });
        }
        let is_faulty = id == "faults";
        let verdict = if is_faulty { Verdict::GpuFault } else { Verdict::Pass };
        let guilty = share.ids().into_iter().filter(|_| is_faulty);
        let serious = guilty.map(|gpu| (gpu, BTreeSet::from([FaultKind::Hang]))).collect();
        let (summary, bundle, sha256) = (String::new(), "/b".into(), sha256::Digest::of(""));
        Ok(Outcome::Ran {
            delivery: Delivery { job: id, verdict, summary, bundle, size: 1, sha256 },
            stuck: false,
            faults: runner::GpuFaults { serious, contained: false },
        })
    }

    fn forget(&self, _: &Delivery) {}
}

/// A fault needs a restart.
#[derive(Default)]
struct Careful {
    /// GPUs that were busy whenever the machine was looked at.
    busy: Vec<BTreeSet<String>>,
}

impl Fitness for Careful {
    fn qualify(&mut self, busy: &BTreeSet<String>) -> Vec<Defect> {
        self.busy.push(busy.clone());
        Vec::new()
    }

    fn check(&mut self, ended: EndedJob) -> Option<String> {
        (ended.verdict == Some(Verdict::GpuFault)).then(|| format!("{:?} had a fault", ended.gpus))
    }

    fn pause(&mut self) -> Duration {
        Duration::ZERO
    }
}

fn machine(gpus: usize) -> Machine {
    let gpus = gpu::simulate(&"gfx1030,".repeat(gpus)).expect("targets");
    Machine { gpus, processors: 2, memory: 1 << 16, ..Machine::default() }
}

fn run_on(
    machine: &Machine,
    source: &mut Lister,
    runner: &Meeting,
    patience: Duration,
    journal: Option<&mut Journal>,
) -> (Result<End, Advice>, Careful) {
    let mut fitness = Careful::default();
    let end = AgentLoop {
        source,
        runner,
        fitness: &mut fitness,
        journal,
        machine,
        at_once: AtOnce { most: None, patience },
        when_done: WhenDone::Wait,
        schedule: Schedule::default(),
        stop: &AtomicBool::new(false),
        tell: &|_| {},
    }
    .run();
    (end, fitness)
}

fn jobs(names: &[&str]) -> String {
    names.iter().map(|name| format!("[[job]]\npackage = \"{name}\"\ngpu = \"any\"\n")).collect()
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn eight_jobs_meet_on_eight_gpus() {
    let mut source = Lister::of(&jobs(&["job-a", "job-b", "job-c", "job-d", "job-e", "job-f", "job-g", "job-h"]));
    let meeting = Meeting::of(8, &source);
    let (end, _) = run_on(&machine(8), &mut source, &meeting, LONG, None);
    assert_eq!(end, Ok(done()));
    assert_eq!(source.told().iter().filter(|text| text.starts_with("delivered")).count(), 8);
    let free: Vec<usize> = source.offers.iter().take(8).map(|offer| offer.gpus.len()).collect();
    assert_eq!(free, [8, 7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn nothing_is_tried_on_gpus_that_jobs_have() {
    let mut source = Lister::of(&jobs(&["outlasts", "job-a", "next"]));
    let meeting = Meeting::of(2, &source);
    let (end, fitness) = run_on(&machine(2), &mut source, &meeting, LONG, None);
    assert_eq!(end, Ok(done()));
    assert_eq!(fitness.busy[..2], [BTreeSet::new(), BTreeSet::from(["simulated-0".to_owned()])]);
}

#[test]
fn a_job_for_two_gpus_runs_when_both_are_free() {
    let text = jobs(&["job-a", "job-b"]) + "[[job]]\npackage = \"two\"\ngpu = \"any\"\ngpus = 2\n" + &jobs(&["job-c"]);
    let mut source = Lister::of(&text);
    let meeting = Meeting::of(2, &source);
    assert_eq!(run_on(&machine(2), &mut source, &meeting, LONG, None).0, Ok(done()));
    assert!(source.place("started two") > source.place("delivered job-a"), "{:?}", source.told());
    assert!(source.place("started two") > source.place("delivered job-b"), "{:?}", source.told());
}

#[test]
fn a_fault_ends_one_job_and_the_restart_waits_for_the_other() {
    let mut source = Lister::of(&jobs(&["faults", "late", "next"]));
    let meeting = Meeting::of(2, &source);
    let (end, _) = run_on(&machine(2), &mut source, &meeting, LONG, None);
    let why = "[\"simulated-0\"] had a fault";
    assert_eq!(end, Ok(End::Restart(why.into())));
    let said = format!("rebooting: takes no jobs, and restarts once a job has ended: {why}");
    assert!(source.place("delivered faults gpu-fault") < source.place(&said));
    assert!(source.place("delivered late pass") > source.place("rebooting: takes no jobs"));
    assert_eq!(source.jobs.len(), 1, "no more is taken: {:?}", source.told());
}

#[test]
fn what_a_restart_cannot_wait_for_is_given_back() {
    let mut source = Lister::of(&jobs(&["faults", "endless"]));
    let meeting = Meeting::of(2, &source);
    let (end, _) = run_on(&machine(2), &mut source, &meeting, Duration::from_millis(50), None);
    assert!(matches!(end, Ok(End::Restart(_))));
    let place = source.place("gave back endless, shutting-down: the machine has to be restarted: ");
    assert!(place > source.place("delivered faults"));
}

#[test]
fn all_jobs_are_recorded_while_they_run() -> std::io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut journal = Journal::open_in_boot(data.path(), "one".into())?;
    let mut source = Lister::of(&jobs(&["job-a", "job-b", "job-c"]));
    let meeting = Meeting::of(3, &source);
    let (end, _) = run_on(&machine(3), &mut source, &meeting, LONG, Some(&mut journal));
    assert_eq!(end, Ok(done()));
    assert!(Journal::open_in_boot(data.path(), "two".into())?.interrupted().is_empty());
    // Two that the machine died of twice run alone after that.
    for boot in ["three", "four"] {
        let mut journal = Journal::open_in_boot(data.path(), boot.into())?;
        for job in ["job-a", "job-b"] {
            let (job, source) = (job.to_owned(), "a list".to_owned());
            journal.begin(RunningJob { job, lease: None, source, gpus: Vec::new(), boot: String::new() })?;
        }
        Journal::open_in_boot(data.path(), format!("after {boot}"))?.settle()?;
    }
    let mut journal = Journal::open_in_boot(data.path(), "five".into())?;
    let mut source = Lister::of(&jobs(&["job-a", "job-b"]));
    let meeting = Meeting::of(1, &source);
    let (end, _) = run_on(&machine(3), &mut source, &meeting, LONG, Some(&mut journal));
    assert_eq!(end, Ok(done()));
    assert!(source.place("started job-b") > source.place("delivered job-a"), "{:?}", source.told());
    Ok(())
}

#[test]
fn if_the_other_side_goes_away_nothing_goes_on() {
    let mut source = Lister::of(&jobs(&["job-a", "endless"]));
    source.notes.fails = "delivered job-a";
    let meeting = Meeting::of(2, &source);
    let (end, _) = run_on(&machine(2), &mut source, &meeting, LONG, None);
    assert_eq!(end, Err(Advice::new("gone", "wait")));
}
