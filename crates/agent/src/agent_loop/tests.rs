mod several;
mod times;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::Delivery;
use crate::fitness::{AlwaysFit, Defect};
use crate::job_source::Progress;
use crate::run::RunError;
use crate::running::{InterruptedJob, MAX_LOSSES_PER_MACHINE};

/// What a source was told.
#[derive(Clone, Default)]
struct Notes {
    told: Arc<Mutex<Vec<String>>>,
    fails: &'static str,
}

impl Notes {
    fn note(&self, text: String) -> Result<(), Advice> {
        let fails = !self.fails.is_empty() && text.starts_with(self.fails);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        if fails { Err(Advice::new("gone", "wait")) } else { Ok(()) }
    }
}

impl Progress for Notes {
    fn log(&mut self, bytes: &[u8]) -> Result<(), Advice> {
        self.note(format!("log {}", String::from_utf8_lossy(bytes)))
    }
}

/// Two jobs; remembers what it is told, and fails where it is told to.
#[derive(Default)]
struct List {
    jobs: Vec<&'static str>,
    /// How many seconds each of them usually takes.
    usual: Option<u64>,
    notes: Notes,
}

impl List {
    fn of(jobs: &[&'static str]) -> Self {
        Self { jobs: jobs.to_vec(), ..Self::default() }
    }

    fn failing(jobs: &[&'static str], fails: &'static str) -> Self {
        Self { notes: Notes { fails, ..Notes::default() }, ..Self::of(jobs) }
    }

    fn note(&self, text: String) -> Result<(), Advice> {
        self.notes.note(text)
    }

    fn told(&self) -> Vec<String> {
        self.notes.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl JobSource for List {
    fn name(&self) -> String {
        "a list".into()
    }

    fn ready(&mut self, machine: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice> {
        let interrupted: String = interrupted.iter().map(|job| format!(", left {}", job.record.job)).collect();
        self.note(format!("ready{}{interrupted}", machine.name))
    }

    fn health(&mut self, health: Health, _: &str) -> Result<(), Advice> {
        self.note(health.name().into())
    }

    fn claim(&mut self, _: &Room<'_>) -> Result<Claim, Advice> {
        let Some(name) = self.jobs.pop() else { return Ok(Claim::End("all done".into())) };
        let usual_seconds = self.usual;
        Ok(Claim::Job(Box::new(Assignment { usual_seconds, ..Assignment::new(Job::of_package(name)) })))
    }

    fn started(&mut self, assignment: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        self.note(format!("started {}", assignment.job.id))?;
        Ok(Box::new(self.notes.clone()))
    }

    fn deliver(&mut self, _: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        self.note(format!("deliver {} {}", delivery.job, delivery.verdict))
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        self.note(format!("give back {}, {}: {message}", assignment.job.id, reason.name()))
    }

    fn end(&mut self, end: &End) -> Result<(), Advice> {
        self.note(format!("{end:?}"))
    }
}

/// Every job passes, but some.
#[derive(Default)]
struct Passes(AtomicUsize);

impl RunJob for Passes {
    fn run(
        &self,
        assignment: &Assignment,
        _: &Share,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        if assignment.job.id == "rocfft" {
            return Ok(Outcome::Declined("no GPU".into()));
        }
        if assignment.job.id == "cancelled" {
            assignment.interrupt.interrupt("nobody wants it");
            return Ok(Outcome::Stopped { stuck: false });
        }
        phase("running");
        log(b"a");
        log(b"b");
        let delivery = Delivery {
            job: assignment.job.id.clone(),
            verdict: Verdict::Pass,
            summary: "1 passed".into(),
            bundle: "/b".into(),
            size: 1,
            sha256: sha256::Digest::of(""),
        };
        Ok(Outcome::Ran { delivery, stuck: assignment.job.id == "hangs", faults: runner::GpuFaults::default() })
    }

    fn forget(&self, _: &Delivery) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Unfit as often as it says; stuck machines are restarted.
struct Body(u32);

impl Fitness for Body {
    fn qualify(&mut self, _: &BTreeSet<String>) -> Vec<Defect> {
        self.0 = self.0.saturating_sub(1);
        let defect = Defect::new("the GPU is gone", "look at it");
        if self.0 > 0 { vec![defect] } else { Vec::new() }
    }

    fn check(&mut self, ended: EndedJob) -> Option<String> {
        ended.stuck.then(|| "a test hangs".into())
    }

    fn pause(&mut self) -> Duration {
        Duration::ZERO
    }
}

struct Run {
    end: Result<End, Advice>,
    forgotten: usize,
    reports: Vec<Report>,
}

fn run_with(list: &mut List, fitness: &mut dyn Fitness, journal: Option<&mut Journal>, stop: bool) -> Run {
    let (runner, reports) = (Passes::default(), Mutex::new(Vec::new()));
    let end = AgentLoop {
        source: list,
        runner: &runner,
        fitness,
        journal,
        machine: &Machine::default(),
        at_once: AtOnce::default(),
        when_done: WhenDone::Wait,
        schedule: Schedule::default(),
        stop: &AtomicBool::new(stop),
        tell: &|report| reports.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone()),
    }
    .run();
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    Run { end, forgotten: runner.0.load(Ordering::SeqCst), reports }
}

fn run(list: &mut List) -> (Result<End, Advice>, usize) {
    let run = run_with(list, &mut AlwaysFit, None, false);
    (run.end, run.forgotten)
}

fn done() -> End {
    End::Done("all done".into())
}

#[test]
fn every_job_is_delivered_and_only_then_forgotten() {
    let mut list = List::of(&["gzip", "sed"]);
    assert_eq!(run(&mut list), (Ok(done()), 2));
    let expected = [
        "ready",
        "qualifying",
        "ready",
        "started sed",
        "log a",
        "log b",
        "deliver sed pass",
        "ready",
        "started gzip",
        "log a",
        "log b",
        "deliver gzip pass",
        "ready",
        "off",
        "Done(\"all done\")",
    ];
    assert_eq!(list.told(), expected);
}

#[test]
fn a_job_that_is_not_completed_is_given_back_with_the_reason() {
    for (job, told) in [
        ("rocfft", "give back rocfft, cannot-run: no GPU"),
        ("cancelled", "give back cancelled, cancelled: nobody wants it"),
    ] {
        let mut list = List::of(&[job]);
        assert!(run(&mut list).0.is_ok());
        assert_eq!(list.told()[4], told);
    }
}

#[test]
fn what_was_not_delivered_is_kept() {
    let mut list = List::failing(&["gzip"], "deliver");
    let (result, forgotten) = run(&mut list);
    assert_eq!((result.is_err(), forgotten), (true, 0));
}

#[test]
fn a_log_that_cannot_be_streamed_stops_nothing() {
    let mut list = List::failing(&["gzip"], "log");
    assert!(run(&mut list).0.is_ok());
    assert_eq!(list.told().iter().filter(|told| told.starts_with("log")).count(), 1);
}

#[test]
fn a_machine_that_is_to_stop_takes_no_job() {
    let mut list = List::of(&["gzip"]);
    let run = run_with(&mut list, &mut AlwaysFit, None, true);
    assert_eq!((run.end, list.jobs.len()), (Ok(End::Stopped), 1));
}

#[test]
fn an_unfit_machine_says_so_and_takes_nothing_until_it_is_fit() {
    let mut list = List::of(&["gzip"]);
    let run = run_with(&mut list, &mut Body(3), None, false);
    assert_eq!(list.told()[1..6], ["qualifying", "unfit", "unfit", "ready", "started gzip"]);
    let conditions = run.reports.iter().filter(|report| matches!(report, Report::Condition { .. })).count();
    // The same is not told twice.
    assert_eq!(conditions, 2, "{:?}", run.reports);
}

#[test]
fn what_passes_is_waited_for_before_a_machine_is_switched_off() {
    /// Unfit once, for good or not; a good while passes between looks.
    struct Late(bool, u32);

    impl Fitness for Late {
        fn qualify(&mut self, _: &BTreeSet<String>) -> Vec<Defect> {
            self.1 += 1;
            let defect =
                if self.0 { Defect::passing("the clock is slow", "wait") } else { Defect::new("no GPU", "look") };
            if self.1 == 1 { vec![defect] } else { Vec::new() }
        }

        fn check(&mut self, _: EndedJob) -> Option<String> {
            None
        }

        fn pause(&mut self) -> Duration {
            Duration::from_millis(1)
        }
    }

    let told = |passes| {
        let mut list = List::default();
        let end = AgentLoop {
            source: &mut list,
            runner: &Passes::default(),
            fitness: &mut Late(passes, 0),
            journal: None,
            machine: &Machine::default(),
            at_once: AtOnce::default(),
            when_done: WhenDone::PowerOff,
            schedule: Schedule::default(),
            stop: &AtomicBool::new(false),
            tell: &|_| {},
        }
        .run();
        (end, list.told())
    };
    let (end, health) = told(true);
    assert_eq!((end, &health[1..4]), (Ok(done()), &["qualifying", "qualifying", "ready"].map(String::from)[..]));
    let (end, health) = told(false);
    assert_eq!(end, Ok(End::Done("the machine is unfit: no GPU; look".into())));
    assert_eq!(health[1..4], ["qualifying", "unfit", "off"]);
}

#[test]
fn a_machine_that_hangs_is_restarted_after_the_result_is_safe() {
    let mut list = List::of(&["gzip", "hangs"]);
    let run = run_with(&mut list, &mut Body(0), None, false);
    assert_eq!((run.end, list.jobs.len()), (Ok(End::Restart("a test hangs".into())), 1));
    assert_eq!(list.told()[list.told().len() - 3..], ["deliver hangs pass", "rebooting", "Restart(\"a test hangs\")"]);
}

#[test]
fn what_killed_the_machine_twice_is_not_run_a_third_time() -> std::io::Result<()> {
    let data = tempfile::tempdir()?;
    let record =
        RunningJob { job: "gzip".into(), lease: None, source: String::new(), gpus: vec![], boot: String::new() };
    for time in 0..MAX_LOSSES_PER_MACHINE {
        Journal::open_in_boot(data.path(), time.to_string())?.begin(record.clone())?;
        let mut journal = Journal::open_in_boot(data.path(), "after".into())?;
        let mut list = List::default();
        let run = run_with(&mut list, &mut AlwaysFit, Some(&mut journal), false);
        assert_eq!(list.told()[0], "ready, left gzip");
        assert!(matches!(&run.reports[0], Report::Problem(problem) if problem.what.contains("gzip")));
    }
    let mut list = List::of(&["gzip"]);
    let mut journal = Journal::open_in_boot(data.path(), "last".into())?;
    run_with(&mut list, &mut AlwaysFit, Some(&mut journal), false);
    assert!(list.told()[3].starts_with("give back gzip, machine-killer: "), "{:?}", list.told());
    Ok(())
}

/// Prints lines that look like those of autopkgtest.
struct Chatter;

impl RunJob for Chatter {
    fn run(
        &self,
        assignment: &Assignment,
        share: &Share,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        for number in 0..100_000 {
            phase(&format!("test {number}{}", "x".repeat(4000)));
        }
        Passes::default().run(assignment, share, log, phase)
    }

    fn forget(&self, _: &Delivery) {}
}

#[test]
fn a_test_does_not_flood_the_console() {
    let reports = Mutex::new(Vec::new());
    let end = AgentLoop {
        source: &mut List::of(&["gzip"]),
        runner: &Chatter,
        fitness: &mut AlwaysFit,
        journal: None,
        machine: &Machine::default(),
        at_once: AtOnce::default(),
        when_done: WhenDone::Wait,
        schedule: Schedule::default(),
        stop: &AtomicBool::new(false),
        tell: &|report| reports.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone()),
    }
    .run();
    assert_eq!(end, Ok(done()));
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    let phases: Vec<_> = reports
        .iter()
        .filter_map(|report| match report {
            Report::Phase { text, .. } => Some(text),
            _ => None,
        })
        .collect();
    // A burst, and two in each second that the loop above takes.
    assert!((30..1000).contains(&phases.len()), "{}", phases.len());
    assert!(phases.iter().all(|text| text.chars().count() < 250));
}
