//! The agent's loop: claim, run, deliver.

use std::sync::atomic::{AtomicBool, Ordering};

use protocol::{Machine, Verdict};

use super::exchange::{Claim, Exchange, ExchangeError};
use super::run::{Outcome, RunJob};
use crate::report::Report;

/// Works until there are no more jobs or the machine is to stop. Returns why it ended.
///
/// # Errors
/// If the other side went away: what was not delivered is still in the work directory.
pub fn work(
    exchange: &mut dyn Exchange,
    runner: &mut dyn RunJob,
    machine: &Machine,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&Report),
) -> Result<String, ExchangeError> {
    exchange.ready(machine)?;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok("told to stop".into());
        }
        let assignment = match exchange.claim()? {
            Claim::Job(assignment) => assignment,
            Claim::End(why) => {
                exchange.end()?;
                return Ok(why);
            }
        };
        tell(&Report::Job { id: assignment.job.id.clone(), position: assignment.position });
        exchange.started(&assignment.job)?;
        let mut lost = None;
        let outcome = runner.run(
            &assignment,
            &mut |bytes| {
                // A log that cannot be streamed is in the bundle all the same.
                if lost.is_none() {
                    lost = exchange.log(bytes).err();
                }
            },
            &mut |phase| tell(&Report::Phase { text: phase.to_owned() }),
        );
        match outcome {
            Ok(Outcome::Ran(delivery)) => {
                exchange.deliver(&delivery)?;
                let (id, summary) = (delivery.job.clone(), delivery.summary.clone());
                tell(&Report::Finished { id, verdict: delivery.verdict, summary });
                runner.forget(&delivery);
            }
            Ok(Outcome::Declined(why)) => {
                exchange.decline(&assignment.job, &why)?;
                tell(&Report::Finished { id: assignment.job.id, verdict: Verdict::Neutral, summary: why });
            }
            Ok(Outcome::Stopped) => exchange.decline(&assignment.job, "the machine was told to stop")?,
            Err(problem) => {
                let what = format!("job {}: {problem}", assignment.job.id);
                return Err(ExchangeError { what, advice: "give the machine more memory, or a data partition".into() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Assignment, Delivery};
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

        fn ready(&mut self, machine: &Machine) -> Result<(), ExchangeError> {
            self.note(format!("ready {}", machine.name))
        }

        fn claim(&mut self) -> Result<Claim, ExchangeError> {
            let Some(name) = self.jobs.pop() else { return Ok(Claim::End("all done".into())) };
            let assignment = Assignment { job: Job::of_package(name), tree: None, position: None };
            Ok(Claim::Job(Box::new(assignment)))
        }

        fn started(&mut self, job: &Job) -> Result<(), ExchangeError> {
            self.note(format!("started {}", job.id))
        }

        fn log(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
            self.note(format!("log {}", String::from_utf8_lossy(bytes)))
        }

        fn deliver(&mut self, delivery: &Delivery) -> Result<(), ExchangeError> {
            self.note(format!("deliver {} {}", delivery.job, delivery.verdict))
        }

        fn decline(&mut self, job: &Job, why: &str) -> Result<(), ExchangeError> {
            self.note(format!("decline {}: {why}", job.id))
        }

        fn end(&mut self) -> Result<(), ExchangeError> {
            self.note("end".into())
        }
    }

    /// Every job passes.
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
            phase("running");
            log(b"a");
            log(b"b");
            Ok(Outcome::Ran(Delivery {
                job: assignment.job.id.clone(),
                verdict: Verdict::Pass,
                summary: "1 passed".into(),
                bundle: "/b".into(),
                size: 1,
                sha256: String::new(),
            }))
        }

        fn forget(&mut self, _: &Delivery) {
            self.0 += 1;
        }
    }

    fn run(list: &mut List) -> (Result<String, ExchangeError>, usize) {
        let mut runner = Passes::default();
        let result = work(list, &mut runner, &Machine::default(), &AtomicBool::new(false), &mut |_| {});
        (result, runner.0)
    }

    #[test]
    fn every_job_is_delivered_and_only_then_forgotten() {
        let mut list = List { jobs: vec!["gzip", "sed"], ..List::default() };
        assert_eq!(run(&mut list), (Ok("all done".into()), 2));
        let expected = [
            "ready ",
            "started sed",
            "log a",
            "log b",
            "deliver sed pass",
            "started gzip",
            "log a",
            "log b",
            "deliver gzip pass",
            "end",
        ];
        assert_eq!(list.told, expected);
    }

    #[test]
    fn a_job_that_cannot_run_here_is_given_back() {
        let mut list = List { jobs: vec!["rocfft"], ..List::default() };
        assert!(run(&mut list).0.is_ok());
        assert_eq!(list.told[2], "decline rocfft: no GPU");
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
        let result = work(&mut list, &mut Passes::default(), &Machine::default(), &AtomicBool::new(true), &mut |_| {});
        assert_eq!((result, list.jobs.len()), (Ok("told to stop".into()), 1));
    }
}
