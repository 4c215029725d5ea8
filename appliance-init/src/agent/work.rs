//! The agent's loop: QUALIFY, claim, run, deliver, CHECK.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use protocol::api::{GiveBackReason, Health};
use protocol::{Machine, Verdict};

use super::exchange::{Assignment, Claim, End, Exchange, ExchangeError};
use super::fitness::{Defect, Fitness};
use super::run::{Outcome, RunJob, grant};
use super::running::{Journal, KILLS, Record};
use crate::report::Report;
use crate::settings::WhenDone;

/// A job that this machine could not run so often for reasons of its own is given to others only.
const FAILURES: u32 = 3;

/// After a job that could not be run the machine rests: it would get the same job again at once.
const REST: Duration = Duration::from_secs(10);

/// All who have a part in the work.
pub struct Crew<'a> {
    /// Where jobs come from and results go.
    pub exchange: &'a mut dyn Exchange,
    /// Runs them.
    pub runner: &'a mut dyn RunJob,
    /// Looks after the machine.
    pub fitness: &'a mut dyn Fitness,
    /// Remembers what runs, where the machine is one that comes back.
    pub journal: Option<&'a mut Journal>,
    /// What the machine is.
    pub machine: &'a Machine,
    /// What a machine does that cannot take jobs.
    pub when_done: WhenDone,
    /// Becomes true when the machine is to stop.
    pub stop: &'a AtomicBool,
    /// Tells PID 1.
    pub tell: &'a mut dyn FnMut(&Report),
}

/// Works until there are no more jobs or the machine is to end. Returns why it ended.
///
/// # Errors
/// If the other side went away for good: what was not delivered is still in the data directory.
pub fn work(mut crew: Crew<'_>) -> Result<End, ExchangeError> {
    let left = crew.journal.as_ref().and_then(|journal| journal.left());
    if let Some(left) = &left {
        let advice = "look at the machine's health; the job is given back".to_owned();
        (crew.tell)(&Report::Problem { what: left.describe(), advice });
    }
    crew.exchange.ready(crew.machine, left.as_ref())?;
    crew.note(Journal::settle);
    crew.exchange.health(Health::Qualifying, "")?;
    let end = crew.rounds()?;
    match &end {
        End::Done(why) => crew.exchange.health(Health::Off, why)?,
        End::Stopped => crew.exchange.health(Health::Off, "the machine was told to stop")?,
        End::Restart(why) => crew.exchange.health(Health::Rebooting, why)?,
    }
    crew.exchange.end(&end)?;
    Ok(end)
}

impl Crew<'_> {
    fn rounds(&mut self) -> Result<End, ExchangeError> {
        let mut failures = BTreeMap::new();
        loop {
            if let Some(end) = self.qualify()? {
                return Ok(end);
            }
            let assignment = loop {
                if self.stopped() {
                    return Ok(End::Stopped);
                }
                match self.exchange.claim()? {
                    Claim::Job(assignment) => break assignment,
                    Claim::Nothing => {}
                    Claim::End(why) => return Ok(End::Done(why)),
                }
            };
            if let Some(why) = self.one(&assignment, &mut failures)? {
                return Ok(End::Restart(why));
            }
        }
    }

    /// Waits until the machine is fit, or it is to end.
    fn qualify(&mut self) -> Result<Option<End>, ExchangeError> {
        let mut unfit = false;
        loop {
            if self.stopped() {
                return Ok(Some(End::Stopped));
            }
            let defects = self.fitness.qualify();
            if defects.is_empty() {
                if unfit {
                    (self.tell)(&Report::condition("health", String::new()));
                }
                self.exchange.health(Health::Ready, "")?;
                return Ok(None);
            }
            let text = defects.iter().map(Defect::to_string).collect::<Vec<_>>().join("; ");
            (self.tell)(&Report::condition("health", format!("unfit: {text}")));
            self.exchange.health(Health::Unfit, &text)?;
            if self.when_done == WhenDone::PowerOff {
                return Ok(Some(End::Done(format!("the machine is unfit: {text}"))));
            }
            unfit = true;
            self.wait(self.fitness.pause());
        }
    }

    /// Does one job. Returns why the machine has to be restarted, if it has.
    fn one(
        &mut self,
        assignment: &Assignment,
        failures: &mut BTreeMap<String, u32>,
    ) -> Result<Option<String>, ExchangeError> {
        let job = &assignment.job;
        let (id, position) = (job.id.clone(), assignment.position);
        (self.tell)(&Report::Job { id: id.clone(), position });
        let kills = self.journal.as_ref().map_or(0, |journal| journal.times(&id));
        if kills >= KILLS {
            let why = format!("this machine stopped or hung {kills} times while the job ran");
            self.exchange.give_back(assignment, GiveBackReason::MachineKiller, &why)?;
            (self.tell)(&Report::Finished { id, verdict: Verdict::Neutral, summary: why });
            return Ok(None);
        }
        let gpus = grant(job, self.machine).unwrap_or_default();
        let record = Record {
            job: id.clone(),
            lease: assignment.lease.clone(),
            source: self.exchange.name(),
            gpus: gpus.iter().map(|gpu| gpu.id.clone()).collect(),
            boot: String::new(),
        };
        self.note(|journal| journal.begin(record));
        let outcome = self.run(assignment)?;
        let (mut verdict, mut stuck) = (None, false);
        match outcome {
            Ok(Outcome::Ran { delivery, stuck: is_stuck }) => {
                self.exchange.deliver(assignment, &delivery)?;
                failures.remove(&id);
                (verdict, stuck) = (Some(delivery.verdict), is_stuck);
                let summary = delivery.summary.clone();
                (self.tell)(&Report::Finished { id, verdict: delivery.verdict, summary });
                self.runner.forget(&delivery);
            }
            Ok(Outcome::Declined(why)) => {
                self.exchange.give_back(assignment, GiveBackReason::CannotRun, &why)?;
                (self.tell)(&Report::Finished { id, verdict: Verdict::Neutral, summary: why });
            }
            Ok(Outcome::Stopped { stuck: is_stuck }) => {
                stuck = is_stuck;
                let (reason, why) = match assignment.interrupt.why() {
                    Some(why) => (GiveBackReason::Cancelled, why),
                    None => (GiveBackReason::ShuttingDown, "the machine was told to stop"),
                };
                self.exchange.give_back(assignment, reason, why)?;
                (self.tell)(&Report::Finished { id, verdict: Verdict::Neutral, summary: why.to_owned() });
            }
            Err(problem) => {
                let count = failures.entry(id.clone()).or_insert(0);
                *count += 1;
                let reason = if *count >= FAILURES { GiveBackReason::CannotRun } else { GiveBackReason::Other };
                self.exchange.give_back(assignment, reason, &problem)?;
                (self.tell)(&Report::Finished { id, verdict: Verdict::TestbedFailed, summary: problem });
                self.wait(REST);
            }
        }
        self.note(|journal| journal.end(verdict.is_some()));
        Ok(self.fitness.check(verdict, stuck))
    }

    /// Runs it, and passes on what it says.
    fn run(&mut self, assignment: &Assignment) -> Result<Result<Outcome, String>, ExchangeError> {
        self.exchange.started(assignment)?;
        let (exchange, mut lost) = (RefCell::new(&mut *self.exchange), None);
        let outcome = self.runner.run(
            assignment,
            &mut |bytes| {
                // A log that cannot be streamed is in the bundle all the same.
                if lost.is_none() {
                    lost = exchange.borrow_mut().log(bytes).err();
                }
            },
            &mut |phase| {
                exchange.borrow_mut().phase(phase);
                (self.tell)(&Report::Phase { text: phase.to_owned() });
            },
        );
        Ok(outcome)
    }

    /// Writes something down. Without it the work goes on: only less is known after an accident.
    fn note(&mut self, write: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        let Some(journal) = self.journal.as_mut() else { return };
        if let Err(error) = write(journal) {
            let advice = "a crash would not be known after the restart: make room on the data partition".to_owned();
            (self.tell)(&Report::Problem { what: format!("writing down which job runs: {error}"), advice });
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn wait(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time && !self.stopped() {
            thread::sleep(time.min(Duration::from_millis(100)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Delivery;
    use crate::agent::fitness::AsItIs;
    use crate::agent::running::Left;
    use protocol::Job;

    /// Two jobs; remembers what it is told, and fails where it is told to.
    #[derive(Default)]
    struct List {
        jobs: Vec<&'static str>,
        told: Vec<String>,
        fails: &'static str,
    }

    impl List {
        fn note(&mut self, text: String) -> Result<(), ExchangeError> {
            let fails = !self.fails.is_empty() && text.starts_with(self.fails);
            self.told.push(text);
            if fails { Err(ExchangeError { what: "gone".into(), advice: "wait".into() }) } else { Ok(()) }
        }
    }

    impl Exchange for List {
        fn name(&self) -> String {
            "a list".into()
        }

        fn ready(&mut self, machine: &Machine, left: Option<&Left>) -> Result<(), ExchangeError> {
            let left = left.map(|left| format!(", left {}", left.record.job)).unwrap_or_default();
            self.note(format!("ready{}{left}", machine.name))
        }

        fn health(&mut self, health: Health, _: &str) -> Result<(), ExchangeError> {
            self.note(health.name().into())
        }

        fn claim(&mut self) -> Result<Claim, ExchangeError> {
            let Some(name) = self.jobs.pop() else { return Ok(Claim::End("all done".into())) };
            Ok(Claim::Job(Box::new(Assignment::new(Job::of_package(name)))))
        }

        fn started(&mut self, assignment: &Assignment) -> Result<(), ExchangeError> {
            self.note(format!("started {}", assignment.job.id))
        }

        fn log(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
            self.note(format!("log {}", String::from_utf8_lossy(bytes)))
        }

        fn deliver(&mut self, _: &Assignment, delivery: &Delivery) -> Result<(), ExchangeError> {
            self.note(format!("deliver {} {}", delivery.job, delivery.verdict))
        }

        fn give_back(
            &mut self,
            assignment: &Assignment,
            reason: GiveBackReason,
            message: &str,
        ) -> Result<(), ExchangeError> {
            self.note(format!("give back {}, {}: {message}", assignment.job.id, reason.name()))
        }

        fn end(&mut self, end: &End) -> Result<(), ExchangeError> {
            self.note(format!("{end:?}"))
        }
    }

    /// Every job passes, but some.
    #[derive(Default)]
    struct Passes(usize);

    impl RunJob for Passes {
        fn run(
            &mut self,
            assignment: &Assignment,
            log: &mut dyn FnMut(&[u8]),
            phase: &mut dyn FnMut(&str),
        ) -> Result<Outcome, String> {
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
                sha256: String::new(),
            };
            Ok(Outcome::Ran { delivery, stuck: assignment.job.id == "hangs" })
        }

        fn forget(&mut self, _: &Delivery) {
            self.0 += 1;
        }
    }

    /// Unfit as often as it says; stuck machines are restarted.
    struct Body(u32);

    impl Fitness for Body {
        fn qualify(&mut self) -> Vec<Defect> {
            self.0 = self.0.saturating_sub(1);
            let defect = Defect { what: "the GPU is gone".into(), advice: "look at it".into() };
            if self.0 > 0 { vec![defect] } else { Vec::new() }
        }

        fn check(&mut self, _: Option<Verdict>, stuck: bool) -> Option<String> {
            stuck.then(|| "a test hangs".into())
        }

        fn pause(&self) -> Duration {
            Duration::ZERO
        }
    }

    struct Run {
        end: Result<End, ExchangeError>,
        forgotten: usize,
        reports: Vec<Report>,
    }

    fn run_with(list: &mut List, fitness: &mut dyn Fitness, journal: Option<&mut Journal>, stop: bool) -> Run {
        let (mut runner, mut reports) = (Passes::default(), Vec::new());
        let end = work(Crew {
            exchange: list,
            runner: &mut runner,
            fitness,
            journal,
            machine: &Machine::default(),
            when_done: WhenDone::Wait,
            stop: &AtomicBool::new(stop),
            tell: &mut |report| reports.push(report.clone()),
        });
        Run { end, forgotten: runner.0, reports }
    }

    fn run(list: &mut List) -> (Result<End, ExchangeError>, usize) {
        let run = run_with(list, &mut AsItIs, None, false);
        (run.end, run.forgotten)
    }

    fn done() -> Result<End, ExchangeError> {
        Ok(End::Done("all done".into()))
    }

    #[test]
    fn every_job_is_delivered_and_only_then_forgotten() {
        let mut list = List { jobs: vec!["gzip", "sed"], ..List::default() };
        assert_eq!(run(&mut list), (done(), 2));
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
        assert_eq!(list.told, expected);
    }

    #[test]
    fn a_job_that_is_not_completed_is_given_back_with_the_reason() {
        for (job, told) in [
            ("rocfft", "give back rocfft, cannot-run: no GPU"),
            ("cancelled", "give back cancelled, cancelled: nobody wants it"),
        ] {
            let mut list = List { jobs: vec![job], ..List::default() };
            assert!(run(&mut list).0.is_ok());
            assert_eq!(list.told[4], told);
        }
    }

    #[test]
    fn what_was_not_delivered_is_kept() {
        let mut list = List { jobs: vec!["gzip"], fails: "deliver", ..List::default() };
        let (result, forgotten) = run(&mut list);
        assert_eq!((result.is_err(), forgotten), (true, 0));
    }

    #[test]
    fn a_log_that_cannot_be_streamed_stops_nothing() {
        let mut list = List { jobs: vec!["gzip"], fails: "log", ..List::default() };
        assert!(run(&mut list).0.is_ok());
        assert_eq!(list.told.iter().filter(|told| told.starts_with("log")).count(), 1);
    }

    #[test]
    fn a_machine_that_is_to_stop_takes_no_job() {
        let mut list = List { jobs: vec!["gzip"], ..List::default() };
        let run = run_with(&mut list, &mut AsItIs, None, true);
        assert_eq!((run.end, list.jobs.len()), (Ok(End::Stopped), 1));
    }

    #[test]
    fn an_unfit_machine_says_so_and_takes_nothing_until_it_is_fit() {
        let mut list = List { jobs: vec!["gzip"], ..List::default() };
        let run = run_with(&mut list, &mut Body(3), None, false);
        assert_eq!(list.told[1..6], ["qualifying", "unfit", "unfit", "ready", "started gzip"]);
        let conditions = run.reports.iter().filter(|report| matches!(report, Report::Condition { .. })).count();
        assert_eq!(conditions, 3, "{:?}", run.reports);
    }

    #[test]
    fn a_machine_that_hangs_is_restarted_after_the_result_is_safe() {
        let mut list = List { jobs: vec!["gzip", "hangs"], ..List::default() };
        let run = run_with(&mut list, &mut Body(0), None, false);
        assert_eq!((run.end, list.jobs.len()), (Ok(End::Restart("a test hangs".into())), 1));
        assert_eq!(list.told[list.told.len() - 3..], ["deliver hangs pass", "rebooting", "Restart(\"a test hangs\")"]);
    }

    #[test]
    fn what_killed_the_machine_twice_is_not_run_a_third_time() -> std::io::Result<()> {
        let data = tempfile::tempdir()?;
        let record =
            Record { job: "gzip".into(), lease: None, source: String::new(), gpus: vec![], boot: String::new() };
        for time in 0..KILLS {
            Journal::open_in_boot(data.path(), time.to_string())?.begin(record.clone())?;
            let mut journal = Journal::open_in_boot(data.path(), "after".into())?;
            let mut list = List::default();
            let run = run_with(&mut list, &mut AsItIs, Some(&mut journal), false);
            assert_eq!(list.told[0], "ready, left gzip");
            assert!(matches!(&run.reports[0], Report::Problem { what, .. } if what.contains("gzip")));
        }
        let mut list = List { jobs: vec!["gzip"], ..List::default() };
        let mut journal = Journal::open_in_boot(data.path(), "last".into())?;
        run_with(&mut list, &mut AsItIs, Some(&mut journal), false);
        assert!(list.told[3].starts_with("give back gzip, machine-killer: "), "{:?}", list.told);
        Ok(())
    }
}
