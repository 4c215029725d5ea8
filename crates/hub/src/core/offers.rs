//! Commands about jobs that are offered to workers of debci. An offer is a lease: nobody else gets the job meanwhile, the
//! job comes back when the lease runs out, and it gets one result at most.

use std::collections::BTreeMap;
use std::time::Duration;

use debci::{JobLine, PRIORITIES, RunId};
use gpu::Target;
use protocol::{GpuNeed, Job, JobResult, RunAs, Source};
use rusqlite::{OptionalExtension, params};

use crate::clock::{deadline_at, millis};
use crate::core::state::State;
use crate::core::{Failure, Tx};
use crate::error::HubError;
use crate::store::columns::Json;

/// The name under which all workers of debci have leases. No machine can register with it.
pub(crate) const OFFERED: &str = "debci-workers";

/// Most jobs of one need that are looked at in one round.
const LOOK: usize = 100;
/// The bits of a run id: numbers that every program can read exactly, and of which nobody guesses one that is in use.
const RUN_BITS: u64 = (1 << 53) - 1;

/// Which jobs are offered, and how.
#[derive(Debug, Clone)]
pub(crate) struct OfferRules {
    /// Address of the broker, without a password.
    pub(crate) server: String,
    /// The suite that the workers test in.
    pub(crate) suite: String,
    pub(crate) backend: String,
    /// Architectures that the workers have, each with its queue. The first that fits is taken.
    pub(crate) architectures: Vec<String>,
    /// How long a job that a machine of the hub could run waits for that; `None` is for ever.
    pub(crate) after: Option<Duration>,
    /// How long an offer waits for a worker.
    pub(crate) wait: Duration,
    /// How long the worker may take then.
    pub(crate) limit: Duration,
}

/// A queued job that may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) number: i64,
    /// Whether a machine of the hub could run it.
    pub(crate) has_own: bool,
}

/// A job that is offered, until the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) run: RunId,
    pub(crate) queue: String,
    pub(crate) line: String,
    pub(crate) priority: u8,
    /// When no worker gets it any more, in milliseconds since 1970.
    pub(crate) waits_until: i64,
}

/// What a run id stands for.
#[derive(Debug, Clone)]
pub(crate) struct OfferedJob {
    /// Number of the job.
    pub(crate) number: i64,
    pub(crate) job: Job,
    pub(crate) lease: String,
    pub(crate) architecture: String,
    pub(crate) suite: String,
}

/// What a lease is for, as pages show it.
pub(crate) fn offered_in(queue: &str) -> String {
    format!("offered to workers of debci in {queue}")
}

impl OfferRules {
    /// The architecture in whose queue a job can be, of those with room for one more. `None` for a job that a line of debci
    /// cannot say, or that needs a GPU that none of the architectures names.
    fn architecture(&self, job: &Job, rooms: &BTreeMap<String, usize>) -> Option<&str> {
        let is_sayable = matches!(job.source, Source::Package(_))
            && job.gpus <= 1
            && job.memory.is_none()
            && job.gpu_memory.is_none()
            && job.env.is_empty()
            && job.tests.is_empty()
            && job.run_as == [RunAs::User];
        if !is_sayable {
            return None;
        }
        let fits = |name: &&String| {
            let target = name.split_once('+').and_then(|(_, target)| target.parse::<Target>().ok());
            match (&job.gpu, target) {
                (GpuNeed::None | GpuNeed::IfThere, None) => !name.contains('+'),
                (GpuNeed::Any, Some(_)) => true,
                (GpuNeed::Targets(wanted), Some(target)) => wanted.iter().any(|wanted| target.satisfies(wanted)),
                _ => false,
            }
        };
        let has_room = |name: &&String| rooms.get(*name).is_some_and(|room| *room > 0);
        self.architectures.iter().filter(fits).find(has_room).map(String::as_str)
    }

    /// The line of a job. `None` if what would be read from it is another job.
    fn line(&self, job: &Job, run: RunId) -> Option<String> {
        let line = JobLine {
            package: job.source.name().to_owned(),
            suite: self.suite.clone(),
            run,
            trigger: None,
            pins: job.pin.clone(),
            apt_sources: Vec::new(),
            signing_keys: Vec::new(),
            autopkgtest: None,
            backend: Some(self.backend.clone()),
            unknown: Vec::new(),
        };
        let text = line.to_string();
        JobLine::parse(text.as_bytes()).is_ok_and(|read| read == line).then_some(text)
    }
}

impl State {
    /// Queued jobs that may be offered: those that no registered worker could run, and with `others` the rest too, which
    /// come first at the workers themselves.
    pub(crate) fn candidates(&self, others: bool) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (need, jobs) in self.queue.firsts(LOOK) {
            let able: Vec<&String> = self
                .workers
                .iter()
                .filter(|(_, worker)| need.fits_machine(&worker.machine))
                .map(|(id, _)| id)
                .collect();
            for job in jobs {
                let has_own = able.iter().any(|id| !job.excluded.contains(id));
                if !has_own || others {
                    found.push((job.priority, Candidate { number: job.number, has_own }));
                }
            }
        }
        found.sort_by_key(|(priority, candidate)| (std::cmp::Reverse(*priority), candidate.number));
        found.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// How many jobs are offered.
    pub(crate) fn offers(&self) -> usize {
        self.leases.values().filter(|live| live.worker == OFFERED).count()
    }
}

impl Tx<'_> {
    /// Takes jobs out of the hub's queue for workers of debci, as many as each architecture has room for. They are on disk
    /// before the broker gets them.
    pub(crate) fn offer_to_debci(
        &mut self,
        rules: &OfferRules,
        candidates: &[Candidate],
        mut rooms: BTreeMap<String, usize>,
    ) -> Result<usize, Failure> {
        let mut count = 0;
        for candidate in candidates {
            if rooms.values().all(|room| *room == 0) {
                break;
            }
            // Meanwhile a worker may have got it, or it was cancelled.
            if self.state.queue.get(candidate.number).is_none() {
                continue;
            }
            let (Json(job), added, is_of_debci): (Json<Job>, i64, bool) = self
                .db
                .prepare_cached(
                    "SELECT job, added, EXISTS (SELECT 1 FROM debci_jobs d WHERE d.job = j.number)
                     FROM jobs j WHERE number = ?1",
                )?
                .query_row([candidate.number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let has_waited = rules.after.is_some_and(|after| self.now.saturating_sub(added) >= millis(after));
            // What a debci server has asked for does not go on to others: they would not know what it wants of testbeds.
            if is_of_debci || candidate.has_own && !has_waited {
                continue;
            }
            let Some(architecture) = rules.architecture(&job, &rooms).map(str::to_owned) else { continue };
            if self.offer_one(rules, candidate.number, &job, &architecture)? {
                count += 1;
                rooms.entry(architecture).and_modify(|room| *room = room.saturating_sub(1));
            }
        }
        Ok(count)
    }

    /// Returns false if no line can say the job.
    fn offer_one(&mut self, rules: &OfferRules, number: i64, job: &Job, architecture: &str) -> Result<bool, Failure> {
        let run = random_run()?;
        let Some(line) = rules.line(job, run) else { return Ok(false) };
        let claimed = self.grant(number, OFFERED, &run.to_string())?;
        let queue = debci::queue_name(architecture, &rules.backend);
        let waits_until = self.now.saturating_add(millis(rules.wait));
        let until = waits_until.saturating_add(millis(rules.limit));
        self.db
            .prepare_cached(
                "INSERT INTO debci_offers (run, server, lease, architecture, queue, line, priority, waits_until, until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                run.0.cast_signed(),
                rules.server,
                claimed.lease,
                architecture,
                queue,
                line,
                job.priority.clamp(0, PRIORITIES.into()),
                waits_until,
                until
            ])?;
        if let Some(live) = self.state.leases.get_mut(&claimed.lease) {
            live.deadline = deadline_at(&*self.config.clock, until);
            live.phase = offered_in(&queue);
        }
        Ok(true)
    }

    /// Offers that the broker has not confirmed, and whose jobs still wait for a result.
    pub(crate) fn unstored_offers(&mut self, server: &str) -> Result<Vec<Offered>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT o.run, o.queue, o.line, o.priority, o.waits_until FROM debci_offers o JOIN leases l ON l.id = o.lease
             WHERE o.server = ?1 AND o.stored = 0 AND l.state = 'active' AND o.waits_until > ?2
             ORDER BY o.priority DESC, l.turn",
        )?;
        let rows = statement.query_map(params![server, self.now], |row| {
            Ok(Offered {
                run: RunId(row.get::<_, i64>(0)?.cast_unsigned()),
                queue: row.get(1)?,
                line: row.get(2)?,
                priority: row.get(3)?,
                waits_until: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Notes that the broker has an offer.
    pub(crate) fn stored_offer(&mut self, run: RunId) -> Result<(), Failure> {
        let mut statement = self.db.prepare_cached("UPDATE debci_offers SET stored = 1 WHERE run = ?1")?;
        statement.execute([run.0.cast_signed()])?;
        Ok(())
    }

    /// The job that was offered under a number.
    pub(crate) fn offered_job(&mut self, server: &str, run: RunId) -> Result<Option<OfferedJob>, Failure> {
        // No larger number is given out.
        let Ok(run) = i64::try_from(run.0) else { return Ok(None) };
        let found = self
            .db
            .prepare_cached(
                "SELECT j.number, j.job, o.lease, o.architecture, o.line FROM debci_offers o
                 JOIN leases l ON l.id = o.lease JOIN jobs j ON j.number = l.job WHERE o.run = ?1 AND o.server = ?2",
            )?
            .query_row(params![run, server], |row| {
                let (Json(job), line): (Json<Job>, String) = (row.get(1)?, row.get(4)?);
                let suite = JobLine::parse(line.as_bytes()).map(|line| line.suite).unwrap_or_default();
                let (number, lease, architecture) = (row.get(0)?, row.get(2)?, row.get(3)?);
                Ok(OfferedJob { number, job, lease, architecture, suite })
            })
            .optional()?;
        Ok(found)
    }

    /// Forgets offers that were taken back before a time. A result that comes later still is refused as unknown.
    pub(crate) fn forget_offers(&mut self, before: i64) -> Result<(), Failure> {
        self.db
            .prepare_cached(
                "DELETE FROM debci_offers WHERE until < ?1 AND lease NOT IN (SELECT id FROM leases WHERE state = 'active')",
            )?
            .execute([before])?;
        Ok(())
    }

    /// Whether a result of a worker of debci counts: for a job that needs a GPU only if the result names one that fits. A
    /// worker of debci's own does not know on which GPU it tests.
    pub(super) fn check_offered(&self, lease: &str, result: &mut JobResult) -> Result<bool, Failure> {
        let Json(job): Json<Job> = self
            .db
            .prepare_cached("SELECT j.job FROM leases l JOIN jobs j ON j.number = l.job WHERE l.id = ?1")?
            .query_row([lease], |row| row.get(0))?;
        let fits = job.gpu.matching(&result.machine.gpus).iter().any(|gpu| result.gpus.contains(&gpu.id));
        if fits || !job.gpu.is_required() {
            return Ok(true);
        }
        let warning = "is not counted, as the worker of debci does not say on which GPU the tests ran";
        result.warnings.push(warning.to_owned());
        Ok(false)
    }
}

/// A run id at random.
fn random_run() -> Result<RunId, HubError> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| HubError::System { what: "random numbers", reason: error.to_string() })?;
    Ok(RunId((u64::from_le_bytes(bytes) & RUN_BITS).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> OfferRules {
        OfferRules {
            server: "amqp://h".into(),
            suite: "unstable".into(),
            backend: "lxc".into(),
            architectures: ["amd64", "amd64+gfx1030", "amd64+gfx906"].map(str::to_owned).to_vec(),
            after: None,
            wait: Duration::from_secs(60),
            limit: Duration::from_secs(3600),
        }
    }

    fn job(text: &str) -> Job {
        serde_json::from_str(text).expect("a job")
    }

    #[test]
    fn a_job_goes_where_its_gpu_is() {
        let rules = rules();
        let rooms: BTreeMap<String, usize> = rules.architectures.iter().map(|name| (name.clone(), 1)).collect();
        for (text, goes) in [
            (r#"{"package": "gzip"}"#, Some("amd64")),
            (r#"{"package": "gzip", "gpu": "none"}"#, Some("amd64")),
            (r#"{"package": "rocrand", "gpu": "any"}"#, Some("amd64+gfx1030")),
            (r#"{"package": "rocrand", "gpu": ["gfx906", "gfx1030"]}"#, Some("amd64+gfx1030")),
            (r#"{"package": "rocrand", "gpu": ["gfx906"]}"#, Some("amd64+gfx906")),
            (r#"{"package": "rocrand", "gpu": ["gfx10-3-generic"]}"#, Some("amd64+gfx1030")),
            (r#"{"package": "rocrand", "gpu": ["gfx942"]}"#, None),
            // What a line of debci cannot say.
            (r#"{"package": "rccl", "gpu": "any", "gpus": 2}"#, None),
            (r#"{"package": "gzip", "memory": 5}"#, None),
            (r#"{"package": "gzip", "as": ["root"]}"#, None),
            (r#"{"package": "gzip", "tests": ["one"]}"#, None),
            (r#"{"package": "gzip", "env": {"A": "b"}}"#, None),
            (r#"{"url": "https://example.org/a.git"}"#, None),
        ] {
            assert_eq!(rules.architecture(&job(text), &rooms), goes, "{text}");
        }
        let full = rules.architectures.iter().map(|name| (name.clone(), 0)).collect();
        assert_eq!(rules.architecture(&job(r#"{"package": "gzip"}"#), &full), None);
    }

    #[test]
    fn a_line_says_the_same_job_or_there_is_none() {
        let pinned = job(r#"{"package": "rocrand", "pin": ["experimental=src:rocr-runtime"]}"#);
        let line = rules().line(&pinned, RunId(17));
        let says = "rocrand unstable run-id:17 pin-packages:experimental=src:rocr-runtime backend:lxc";
        assert_eq!(line.as_deref(), Some(says));
        let pinned_oddly = Job { pin: vec!["a b".to_owned()], ..job(r#"{"package": "gzip"}"#) };
        for odd in [Job::of_package("Not A Package"), pinned_oddly] {
            assert_eq!(rules().line(&odd, RunId(17)), None, "{odd:?}");
        }
    }

    #[test]
    fn run_ids_are_not_guessed() -> Result<(), HubError> {
        let (one, two) = (random_run()?, random_run()?);
        assert!(one != two && one.0 <= RUN_BITS && two.0 <= RUN_BITS);
        Ok(())
    }
}
