use super::*;
use crate::allocation::Allocation;
use crate::running::{Losses, RunningJob};
use protocol::{ResultList, Verdict};

const LIST: &str =
    "[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n[[job]]\npath = \"trees/mine\"\nid = \"mine\"\n";

/// A stick with a list of three jobs, one of them with its tree.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new(list: &str) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::create_dir_all(directory.path().join("esp/trees/mine"))?;
        fs::write(directory.path().join("esp/jobs.toml"), list)?;
        Ok(Self { directory })
    }

    fn start(&self, when_done: WhenDone) -> Result<Option<Stick>, Advice> {
        let (esp, data) = (self.directory.path().join("esp"), self.directory.path().join("data"));
        Stick::open(&StickPaths { esp: &esp, data: &data }, true, when_done, &Arc::default())
    }

    fn started(&self) -> Stick {
        self.start(WhenDone::PowerOff).unwrap().unwrap()
    }

    fn summary(&self) -> ResultList {
        let results = fs::read_dir(self.directory.path().join("data/results")).unwrap();
        let [directory] = results.map(|entry| entry.unwrap().path()).collect::<Vec<_>>().try_into().unwrap();
        serde_json::from_slice(&fs::read(directory.join("results.json")).unwrap()).unwrap()
    }

    /// Runs a job as the agent does.
    fn deliver(&self, stick: &mut Stick, assignment: &Assignment) {
        let bundle = self.directory.path().join("made.tar.zst");
        fs::write(&bundle, &assignment.job.id).unwrap();
        let (job, summary) = (assignment.job.id.clone(), "1 passed".to_owned());
        let delivery =
            Delivery { job, verdict: Verdict::Pass, summary, bundle, size: 4, sha256: sha256::Digest::of("") };
        drop(stick.started(assignment).unwrap());
        stick.deliver(assignment, &delivery).unwrap();
    }
}

/// Asks for a job for an idle machine with a GPU.
fn claimed(stick: &mut Stick) -> Claim {
    let machine = protocol::Machine { gpus: gpu::simulate("gfx1030").unwrap(), ..protocol::Machine::default() };
    stick.claim(&Room::all_of(&Allocation::new(&machine, None))).unwrap()
}

fn claim(stick: &mut Stick) -> Option<Box<Assignment>> {
    match claimed(stick) {
        Claim::Job(assignment) => Some(assignment),
        Claim::Nothing | Claim::RetryGpus(_) => None,
        Claim::End(why) => {
            assert!(why.contains("results are on the stick"), "{why}");
            None
        }
    }
}

#[test]
fn every_job_is_run_once_whatever_restarts() {
    let machine = Machine::new(LIST).unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut stick = machine.started();
        let assignment = claim(&mut stick).unwrap();
        machine.deliver(&mut stick, &assignment);
        seen.push((assignment.job.id.clone(), assignment.position));
        // Another one is begun, and the power goes.
        claim(&mut stick);
    }
    let position = |number| Some((number, 3));
    assert_eq!(seen, [("gzip".into(), position(1)), ("sed".into(), position(2)), ("mine".into(), position(3))]);
    assert!(claim(&mut machine.started()).is_none());
    let summary = machine.summary();
    let bundles: Vec<_> = summary.jobs.iter().filter_map(|listed| listed.bundle.as_deref()).collect();
    assert_eq!(bundles, ["gzip.tar.zst", "sed.tar.zst", "mine.tar.zst"]);
    assert_eq!(summary.jobs[0].verdict, Some(Verdict::Pass));
}

#[test]
fn another_list_has_results_of_its_own() {
    let machine = Machine::new(LIST).unwrap();
    let mut stick = machine.started();
    let assignment = claim(&mut stick).unwrap();
    machine.deliver(&mut stick, &assignment);
    fs::write(machine.directory.path().join("esp/jobs.toml"), "[[job]]\npackage = \"gzip\"\ntimeout = 9\n").unwrap();
    let mut stick = machine.started();
    let assignment = claim(&mut stick).unwrap();
    assert_eq!(assignment.job.id, "gzip");
    machine.deliver(&mut stick, &assignment);
    assert_eq!(fs::read_dir(machine.directory.path().join("data/results")).unwrap().count(), 2);
}

#[test]
fn what_ran_when_the_machine_died_is_written_down_and_run_again() {
    let machine = Machine::new(LIST).unwrap();
    let mut stick = machine.started();
    let source = stick.name();
    let record = RunningJob { job: "gzip".into(), lease: None, source, gpus: vec![], boot: String::new() };
    let losses = Losses { alone: 1, beside: 0 };
    let interrupted = InterruptedJob { record, losses, others: 0, rebooted: true };
    stick.ready(&protocol::Machine::default(), std::slice::from_ref(&interrupted)).unwrap();
    assert!(machine.summary().jobs[0].interruptions[0].starts_with("the machine stopped or hung while job gzip ran"));
    let assignment = claim(&mut stick).unwrap();
    assert_eq!(assignment.job.id, "gzip");
    machine.deliver(&mut stick, &assignment);
    assert_eq!((machine.summary().jobs.len(), machine.summary().jobs[0].interruptions.len()), (1, 1));
    // That of a hub's job says nothing here.
    let other = InterruptedJob { record: RunningJob { source: "the hub".into(), ..interrupted.record }, ..interrupted };
    stick.ready(&protocol::Machine::default(), &[other]).unwrap();
    assert_eq!(machine.summary().jobs[0].interruptions.len(), 1);
}

#[test]
fn a_job_that_is_not_for_this_machine_is_for_another() {
    let machine = Machine::new(LIST).unwrap();
    let mut stick = machine.started();
    let assignment = claim(&mut stick).unwrap();
    stick.give_back(&assignment, GiveBackReason::CannotRun, "it needs gfx90a").unwrap();
    assert_eq!(machine.summary().jobs[0].summary, "it needs gfx90a");
    let sed = claim(&mut stick).unwrap();
    assert_eq!(sed.job.id, "sed");
    // The machine had no memory for it; later it may.
    stick.give_back(&sed, GiveBackReason::Other, "no memory").unwrap();
    assert_eq!(claim(&mut stick).unwrap().tree, Some(machine.directory.path().join("esp/trees/mine")));
    assert_eq!(claim(&mut stick).unwrap().job.id, "sed");
    // The stick in another machine.
    assert_eq!(claim(&mut machine.started()).unwrap().job.id, "gzip");
}

#[test]
fn an_idle_machine_waits_unless_it_is_to_power_off() {
    let machine = Machine::new("[[job]]\npackage = \"gzip\"\n").unwrap();
    let mut stick = machine.start(WhenDone::Wait).unwrap().unwrap();
    let assignment = claim(&mut stick).unwrap();
    machine.deliver(&mut stick, &assignment);
    stick.stop.store(true, Ordering::Relaxed);
    assert!(matches!(claimed(&mut stick), Claim::Nothing));
    stick.when_done = WhenDone::PowerOff;
    assert!(matches!(claimed(&mut stick), Claim::End(_)));
    // Power is not switched off where that would lose the results.
    stick.lasting = false;
    assert!(matches!(claimed(&mut stick), Claim::Nothing));
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let what = |list: &str| Machine::new(list).unwrap().start(WhenDone::Wait).unwrap_err().what;
    assert!(what("[[job]\n").starts_with("jobs.toml on the stick: line 1"));
    assert_eq!(what("[[job]]\npath = \"not/there\"\nid = \"a\"\n"), "job a: not/there is not on the stick");
    for path in ["/etc", "../etc", "a/../../etc"] {
        let told = what(&format!("[[job]]\npath = \"{path}\"\nid = \"a\"\n"));
        assert_eq!(told, format!("job a: {path} does not lie below jobs.toml"));
    }
    let machine = Machine::new("").unwrap();
    fs::remove_file(machine.directory.path().join("esp/jobs.toml")).unwrap();
    assert!(machine.start(WhenDone::Wait).unwrap().is_none());
}

#[test]
fn damaged_results_are_not_written_over() {
    let machine = Machine::new(LIST).unwrap();
    let mut stick = machine.started();
    let assignment = claim(&mut stick).unwrap();
    machine.deliver(&mut stick, &assignment);
    let path = stick.results.directory().join("results.json");
    fs::write(&path, "{").unwrap();
    assert!(machine.start(WhenDone::Wait).unwrap_err().what.starts_with("opening the results: "));
    assert_eq!(fs::read(&path).unwrap(), b"{");
}
