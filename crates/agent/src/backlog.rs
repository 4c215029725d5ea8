//! [`Backlog`]: the jobs of a list that have not begun.

use std::collections::VecDeque;

use protocol::Job;

use super::job_source::Room;

/// After so many jobs from behind it have begun, the first one of a list is waited for.
const MOST_OVERTAKING: u32 = 16;

/// The jobs of a list that have not begun, in its order. One that fits what is free may overtake others, which would leave
/// GPUs idle for no reason; but the first is not overtaken for ever. A job for all GPUs would otherwise wait for the end of
/// all that want one, and a list can grow.
#[derive(Debug, Clone, Default)]
pub struct Backlog {
    jobs: VecDeque<Job>,
    /// How many jobs have overtaken the first one.
    overtaking: u32,
}

impl Backlog {
    /// Takes the first job that need not wait for others: it can begin, or cannot run here at all.
    pub fn take_first(&mut self, room: &Room<'_>) -> Option<Job> {
        let most = if self.overtaking < MOST_OVERTAKING { self.jobs.len() } else { 1 };
        let place = self.jobs.iter().take(most).position(|job| room.suits(job))?;
        self.overtaking = if place == 0 { 0 } else { self.overtaking.saturating_add(1) };
        self.jobs.remove(place)
    }

    /// Takes the place of these jobs with those of a list that was read again.
    pub fn replace(&mut self, jobs: VecDeque<Job>) {
        if self.jobs.front().map(|job| &job.id) != jobs.front().map(|job| &job.id) {
            self.overtaking = 0;
        }
        self.jobs = jobs;
    }

    /// Adds a job behind all others.
    pub fn push_back(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// How many jobs there are.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

impl FromIterator<Job> for Backlog {
    fn from_iter<T: IntoIterator<Item = Job>>(jobs: T) -> Self {
        Self { jobs: jobs.into_iter().collect(), overtaking: 0 }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{JobList, Machine};

    use super::*;
    use crate::allocation::{Allocation, Fit};

    fn job(id: &str, gpus: u32) -> Job {
        let text = format!("[[job]]\nid = {id:?}\npackage = \"rccl\"\ngpu = \"any\"\ngpus = {gpus}");
        JobList::parse(text.as_bytes()).expect("a list").job.remove(0)
    }

    fn allocation() -> Allocation {
        let gpus = gpu::simulate("gfx90a,gfx90a,gfx90a,gfx90a").expect("targets");
        Allocation::new(&Machine { gpus, processors: 8, memory: 65536, ..Machine::default() }, None)
    }

    fn take(backlog: &mut Backlog, allocation: &Allocation) -> Option<Job> {
        backlog.take_first(&Room::all_of(allocation))
    }

    #[test]
    fn a_job_for_all_gpus_begins_in_a_list_that_never_ends() {
        let mut allocation = allocation();
        let mut backlog = Backlog::from_iter([job("all", 4), job("small-0", 1)]);
        let (mut running, mut begun, mut added) = (VecDeque::from(["before".to_owned()]), 0, 0);
        if let Fit::Now(share) = allocation.fit(&job("before", 1), false) {
            allocation.take("before", share, false);
        }
        while begun < 1000 {
            added += 1;
            backlog.push_back(job(&format!("small-{added}"), 1));
            match take(&mut backlog, &allocation) {
                Some(job) if job.id == "all" => break,
                Some(job) => {
                    let Fit::Now(share) = allocation.fit(&job, false) else { panic!("{} does not fit", job.id) };
                    allocation.take(&job.id, share, false);
                    running.push_back(job.id);
                    begun += 1;
                }
                None => allocation.release(&running.pop_front().expect("something runs")),
            }
        }
        assert_eq!((begun, running.len()), (MOST_OVERTAKING, 0));
        // And then the others go on.
        assert!(take(&mut backlog, &allocation).is_some());
    }

    #[test]
    fn a_list_that_is_read_again_has_not_forgotten_who_waited() {
        let mut allocation = allocation();
        if let Fit::Now(share) = allocation.fit(&job("before", 1), false) {
            allocation.take("before", share, false);
        }
        let list = || VecDeque::from(vec![job("all", 4), job("small", 1)]);
        let mut backlog = Backlog::default();
        let mut begun = 0;
        for _ in 0..100 {
            backlog.replace(list());
            begun += u32::from(take(&mut backlog, &allocation).is_some());
        }
        assert_eq!(begun, MOST_OVERTAKING);
        backlog.replace(vec![job("another", 4), job("small", 1)].into());
        assert!(take(&mut backlog, &allocation).is_some(), "another one has not waited");
    }
}
