//! [`Reservations`]: machines that are kept for a job which has waited long for more than one GPU frees.
//!
//! A machine whose GPUs become free one by one would otherwise never have several free at the same time, as long as
//! there are jobs for one. It is kept until what runs there has ended. Only younger jobs of the same or a lower priority
//! wait for that: of the older ones there are not many.

use std::collections::HashMap;

use crate::core::need::Offer;
use crate::core::queue::{Queue, Queued};
use crate::core::worker::Worker;

/// Which worker's machine is kept for which job. A job has one machine at most, and a machine one job.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// Number of the job by worker.
    kept: HashMap<String, i64>,
}

/// Times in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    /// Jobs that were added before this have waited long.
    pub(crate) patience: i64,
    /// Workers heard from since this are online.
    pub(crate) online: i64,
}

impl Reservations {
    /// The job that a worker's machine is kept for.
    pub(crate) fn of(&self, worker: &str) -> Option<i64> {
        self.kept.get(worker).copied()
    }

    /// The worker whose machine is kept for a job.
    pub(crate) fn worker_of(&self, job: i64) -> Option<&str> {
        self.kept.iter().find(|(_, number)| **number == job).map(|(worker, _)| worker.as_str())
    }

    /// Whether a job has to leave this worker's machine to the one that it is kept for.
    pub(crate) fn bars(&self, worker: &str, job: &Queued, queue: &Queue) -> bool {
        let kept_for = self.of(worker).and_then(|number| queue.get(number));
        kept_for.is_some_and(|first| first.rank() < job.rank())
    }

    /// Keeps the machine of a worker that claims a job, if one has waited long that needs more of it than is free.
    pub(crate) fn claimed(
        &mut self,
        worker: &str,
        offer: &Offer,
        queue: &Queue,
        workers: &HashMap<String, Worker>,
        since: Since,
    ) {
        self.kept.retain(|worker, number| {
            let is_able = |job: &Queued, other: &Worker| {
                other.paused.is_none() && other.seen_since(since.online) && suits(job, worker, other)
            };
            queue.get(*number).zip(workers.get(worker)).is_some_and(|(job, other)| is_able(job, other))
        });
        let Some(known) = workers.get(worker).filter(|_| !self.kept.contains_key(worker)) else { return };
        let waits = |job: &&Queued| {
            job.added <= since.patience
                && job.need.is_of_several(&known.machine)
                && !job.need.fits(offer)
                && suits(job, worker, known)
                && self.worker_of(job.number).is_none()
        };
        let first = queue.firsts_for(worker).filter(waits).min_by_key(|job| job.rank());
        if let Some(job) = first {
            self.kept.insert(worker.to_owned(), job.number);
        }
    }
}

/// Whether a worker's machine can run the job once nothing else runs there.
fn suits(job: &Queued, id: &str, worker: &Worker) -> bool {
    job.need.fits_machine(&worker.machine) && !job.excluded.iter().any(|other| other == id)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    use protocol::api::{Claim, Health};
    use protocol::{Job, Machine};

    use super::*;
    use crate::core::need::Need;
    use crate::core::worker::ClockOffset;

    fn worker(seen: i64) -> Worker {
        let gpus = gpu::simulate("gfx90a,gfx90a,gfx90a,gfx90a").expect("targets");
        Worker {
            name: "lab".into(),
            machine: Arc::new(Machine { gpus, memory: 65536, ..Machine::default() }),
            boot: String::new(),
            health: Health::Ready,
            message: String::new(),
            registered: 0,
            seen: Arc::new(AtomicI64::new(seen)),
            paused: None,
            retry: None,
            clock: ClockOffset::new(None),
        }
    }

    fn queued(number: i64, gpus: u32, priority: i32) -> Queued {
        let text = format!(r#"{{"package": "rccl", "gpu": "any", "gpus": {gpus}}}"#);
        let job: Job = serde_json::from_str(&text).expect("a job");
        // Job 1 is of minute 1.
        Queued { number, need: Need::of(&job), priority, excluded: Vec::new(), added: number * 60_000 }
    }

    /// A hub with one or two machines of four GPUs each, where a job takes ten minutes.
    struct Lab {
        queue: Queue,
        reservations: Reservations,
        workers: HashMap<String, Worker>,
        /// The worker, how many GPUs are taken, and until when.
        running: Vec<(&'static str, u32, i64)>,
        last: i64,
    }

    impl Lab {
        fn new(names: &[&str]) -> Self {
            let workers = names.iter().map(|&name| (name.to_owned(), worker(i64::MAX))).collect();
            let (queue, reservations) = (Queue::default(), Reservations::default());
            Self { queue, reservations, workers, running: Vec::new(), last: 0 }
        }

        fn add(&mut self, gpus: u32, priority: i32) -> i64 {
            self.last += 1;
            self.queue.insert(queued(self.last, gpus, priority));
            self.last
        }

        /// What a worker gets in this minute.
        fn claim(&mut self, name: &'static str, minute: i64) -> Option<i64> {
            let machine = &self.workers[name].machine;
            let taken: u32 = self.running.iter().filter(|(worker, ..)| *worker == name).map(|(_, gpus, _)| gpus).sum();
            let free = machine.gpus.gpus.iter().skip(taken as usize).map(|gpu| gpu.id.clone()).collect();
            let offer = Offer::of(machine, &Claim { gpus: Some(free), ..Claim::default() });
            let since = Since { patience: (minute - 30) * 60_000, online: 0 };
            self.reservations.claimed(name, &offer, &self.queue, &self.workers, since);
            let job = self.queue.best(&offer, name, |job| !self.reservations.bars(name, job, &self.queue))?;
            self.queue.remove(job);
            Some(job)
        }

        /// Lets minutes pass in which there is always another job for one GPU; returns the minute in which `job` began.
        fn run_until(&mut self, job: i64, gpus: u32) -> Option<i64> {
            for minute in self.last..self.last + 300 {
                self.running.retain(|(_, _, end)| *end > minute);
                let names: Vec<&'static str> =
                    ["one", "two"].into_iter().filter(|name| self.workers.contains_key(*name)).collect();
                for name in names {
                    while self.queue.len() < 8 {
                        self.add(1, 0);
                    }
                    // Jobs end one after the other, never all at once.
                    if let Some(given) = self.claim(name, minute) {
                        let taken = if given == job { gpus } else { 1 };
                        self.running.push((name, taken, minute + 10));
                        if given == job {
                            return Some(minute);
                        }
                    }
                }
            }
            None
        }
    }

    #[test]
    fn a_job_for_all_gpus_gets_them_beside_a_stream_of_small_ones() {
        for names in [&["one"][..], &["one", "two"]] {
            let mut lab = Lab::new(names);
            while lab.queue.len() < 8 {
                lab.add(1, 0);
            }
            let large = lab.add(4, 0);
            let began = lab.run_until(large, 4).expect("it never began");
            // Half an hour of patience, and the ten minutes of what runs then.
            assert!((large + 30..large + 50).contains(&began), "in minute {began}, of {large}");
        }
    }

    #[test]
    fn only_younger_jobs_of_the_same_priority_wait() {
        let mut lab = Lab::new(&["one"]);
        let (old, large, young, urgent) = (lab.add(1, 0), lab.add(4, 0), lab.add(1, 0), lab.add(1, 5));
        lab.running.push(("one", 1, 1000));
        let mut given = || lab.claim("one", 60);
        assert_eq!([given(), given(), given()], [Some(urgent), Some(old), None]);
        assert_eq!((lab.reservations.of("one"), lab.reservations.worker_of(large)), (Some(large), Some("one")));
        // Without the large one, the other is next.
        lab.queue.remove(large);
        assert_eq!(lab.claim("one", 61), Some(young));
        assert_eq!(lab.reservations.of("one"), None);
    }

    #[test]
    fn no_machine_is_kept_that_does_not_come_or_is_not_needed() {
        let mut lab = Lab::new(&["one", "two"]);
        let large = lab.add(4, 0);
        for name in ["one", "two"] {
            lab.running.push((name, 1, 1000));
        }
        assert_eq!(lab.claim("one", 5), None);
        assert_eq!(lab.reservations.of("one"), None, "it has not waited long");
        assert_eq!((lab.claim("one", 60), lab.claim("two", 60)), (None, None));
        assert_eq!((lab.reservations.of("one"), lab.reservations.of("two")), (Some(large), None));
        lab.workers.insert("one".into(), worker(-1));
        lab.claim("two", 60);
        assert_eq!(lab.reservations.worker_of(large), Some("two"), "the other is offline");
        // A job for one GPU has it as soon as one is free.
        lab.queue.remove(large);
        lab.add(1, 0);
        lab.running.push(("two", 3, 1000));
        assert_eq!((lab.claim("two", 90), lab.reservations.of("two")), (None, None));
    }
}
