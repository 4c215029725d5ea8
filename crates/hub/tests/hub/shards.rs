//! Jobs that run in parts: each job gets one result of all its parts, whatever happens to them.

use std::path::Path;
use std::time::Duration;

use client::{ClientError, HistoryQuery, JobQuery, ResultQuery};
use hub::Config;
use proptest::prelude::*;
use protocol::api::{
    Claimed, Complete, Completed, GiveBack, GiveBackReason, JobInfo, JobState, ProblemCode, TestState,
};
use protocol::{JobResult, PartResult, SHARD_INDEX, TOTAL_SHARDS, TestOutcome, Verdict};

use crate::support::{Outcome, Running, Worker, archive, start, start_in, start_with};

const LIST: &str = "[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx1030\"]\nshards = 3\n";
/// Cases of the program that the parts share.
const CASES: u32 = 7;

/// The result of a part whose program has done its share of the cases.
fn result(worker: &Worker, claimed: &Claimed, verdict: Verdict) -> JobResult {
    let mut result = worker.result(&claimed.job, verdict);
    let run = &mut result.runs[0];
    run.tests.truncate(1);
    run.tests[0].outcome = if verdict == Verdict::Pass { TestOutcome::Pass } else { TestOutcome::Fail };
    run.tests[0].cases = Some(protocol::Cases { total: share(claimed).len() as u64, failed: 0, skipped: 0 });
    result
}

/// The cases of a part, as `GoogleTest` chooses them.
fn share(claimed: &Claimed) -> Vec<u32> {
    let number = |name: &str| claimed.job.env.get(name).and_then(|value| value.parse().ok());
    let (total, index): (u32, u32) = (number(TOTAL_SHARDS).unwrap_or(1), number(SHARD_INDEX).unwrap_or(0));
    (0..CASES).filter(|case| case % total == index).collect()
}

fn deliver(worker: &Worker, claimed: &Claimed, verdict: Verdict) -> Result<Completed, ClientError> {
    let cases = share(claimed);
    let all: String = cases.iter().map(|case| format!("<testcase classname=\"Sum\" name=\"case{case}\"/>")).collect();
    let junit = format!(
        "<testsuites><testsuite name=\"user.upstream: artifacts/sum.xml\" tests=\"{}\">{all}</testsuite></testsuites>",
        cases.len()
    );
    let result = serde_json::to_vec(&result(worker, claimed, verdict)).expect("JSON");
    let bundle = archive(&[("result.json", &result), ("junit.xml", junit.as_bytes())]);
    let sha256 = worker.upload(&bundle)?;
    worker.client.complete(&claimed.lease, &Complete { bundle: sha256, verdict, summary: "done".into() })
}

/// Waits until a job is over: results are joined after the last part has ended.
fn ended(hub: &Running, job: &str) -> JobInfo {
    for _ in 0..2000 {
        let info = hub.people().job(job).expect("a job");
        if info.state.is_over() {
            return info;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{job} does not end: {:?}", hub.people().job(job));
}

/// The ids of all results that are listed.
fn listed(hub: &Running) -> Result<Vec<String>, ClientError> {
    Ok(hub.people().results(&ResultQuery::default())?.results.into_iter().map(|result| result.job).collect())
}

fn code<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Option<ProblemCode> {
    answer.expect_err("it is refused").code()
}

#[test]
fn a_job_in_parts_gets_one_result_with_all_cases() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    assert_eq!(hub.add(LIST), ["rocrand"]);
    let job = hub.people().job("rocrand")?;
    assert_eq!((job.state, job.why.as_deref()), (JobState::Queued, Some("0 of 3 parts have ended")));
    // The last part begins first.
    let mut claims = [worker.begin(), worker.begin(), worker.begin()];
    assert!(worker.claim().is_none());
    let ids: Vec<&str> = claims.iter().map(|claimed| claimed.job.id.as_str()).collect();
    assert_eq!(ids, ["rocrand.1of3", "rocrand.2of3", "rocrand.3of3"]);
    assert_eq!(claims[1].job.env.get(SHARD_INDEX).map(String::as_str), Some("1"));
    claims.reverse();
    for claimed in &claims {
        let job = hub.people().job("rocrand")?;
        assert_eq!((job.state, job.result.is_none()), (JobState::Running, true));
        deliver(&worker, claimed, Verdict::Pass)?;
    }
    let job = ended(&hub, "rocrand");
    assert_eq!((job.state, job.parts.len()), (JobState::Finished, 3));
    let detail = hub.people().result("rocrand")?;
    assert_eq!((detail.result.verdict, detail.info.targets), (Verdict::Pass, vec!["gfx1030".to_owned()]));
    let test = &detail.result.runs[0].tests[0];
    assert_eq!(test.cases.map(|cases| cases.total), Some(u64::from(CASES)));
    assert_eq!(detail.result.warnings, [""; 0]);
    let bundles: Vec<_> = detail.result.parts.iter().map(|part| (part.job.clone(), part.bundle)).collect();
    for (part, bundle) in &bundles {
        assert_eq!(hub.people().result(part)?.info.bundle, *bundle);
    }
    // The joined bundle is read as any other.
    let mut bundle = Vec::new();
    hub.client().bundle("rocrand", &mut bundle)?;
    assert_eq!(bundle::parse(&bundle)?.result.parts, detail.result.parts);
    // People look at the job, the history at its one result.
    assert_eq!(listed(&hub)?, ["rocrand"]);
    let tests = hub.people().history(&HistoryQuery { variants: true, ..HistoryQuery::default() })?.tests;
    let states: Vec<_> = tests.iter().map(|test| (test.test.as_str(), test.variant.as_str(), test.state)).collect();
    assert_eq!(states, [("", "", TestState::Ok), ("upstream", "", TestState::Ok)]);
    let page = hub.get("/jobs/rocrand").1;
    assert!(page.contains("href=\"/jobs/rocrand.2of3\"") && page.contains("<dt>Parts</dt><dd>3</dd>"), "{page}");
    assert!(page.contains("Sum.case6") && !page.contains("does not count"), "{page}");
    let page = hub.get("/jobs/rocrand.2of3").1;
    assert!(page.contains("part 2 of 3 of <a href=\"/jobs/rocrand\">") && !page.contains("does not count"), "{page}");
    assert!(hub.get("/").1.contains("/jobs/rocrand\""), "the matrix");
    // All are listed as jobs, and the part says of what.
    let jobs = hub.people().jobs(&JobQuery::default())?.jobs;
    let parts: Vec<_> = jobs.iter().map(|job| job.part_of.as_ref().map(|part| part.index)).collect();
    assert_eq!(parts, [Some(2), Some(1), Some(0), None]);
    Ok(())
}

#[test]
fn metrics_count_a_job_in_parts_once_and_simulated_ones_never() -> Outcome {
    let hub = start();
    let simulated = hub.worker("w1", "gfx1030");
    let mut machine = simulated.machine.clone();
    machine.gpus.simulated = false;
    machine.gpus.gpus.iter_mut().for_each(|gpu| gpu.simulated = false);
    let real = Worker::with_machine(&hub.client().with_token(hub.hub.join_token()), "w2", "first", machine, &[]);
    for (worker, counted) in [(simulated, 0), (real, 1)] {
        let jobs = hub.add(LIST);
        for claimed in [worker.begin(), worker.begin(), worker.begin()] {
            deliver(&worker, &claimed, Verdict::Pass)?;
        }
        assert_eq!(ended(&hub, &jobs[0]).state, JobState::Finished);
        let text = hub.get("/metrics").1;
        assert!(text.contains(&format!("rocbed_results{{verdict=\"pass\"}} {counted}\n")), "{text}");
    }
    Ok(())
}

#[test]
fn a_worker_does_not_join_results() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    hub.add("[[job]]\npackage = \"rocrand\"\n");
    let claimed = worker.begin();
    let mut result = worker.result(&claimed.job, Verdict::Pass);
    result.parts.push(PartResult {
        job: "hipcub".into(),
        index: 0,
        verdict: Verdict::Fail,
        machine: "m".into(),
        gpus: Vec::new(),
        seconds: 1.0,
        bundle: sha256::Digest::of("x"),
    });
    worker.deliver_result(&claimed, &result)?;
    assert_eq!(hub.people().result("rocrand")?.result.parts, []);
    Ok(())
}

#[test]
fn a_part_that_fails_is_the_jobs_failure_and_is_confirmed_in_parts() -> Outcome {
    let hub = start_with(|config| config.confirm = true);
    let (worker, other) = (hub.worker("w1", "gfx1030"), hub.worker("w2", "gfx1030"));
    for verdict in [Verdict::Pass, Verdict::Fail] {
        let id = hub.add(LIST).remove(0);
        for _ in 0..3 {
            let claimed = worker.begin();
            let is_second = claimed.job.env[SHARD_INDEX] == "1";
            deliver(&worker, &claimed, if is_second { verdict } else { Verdict::Pass })?;
        }
        assert_eq!(ended(&hub, &id).result.map(|result| result.verdict), Some(verdict));
        hub.pass(60);
    }
    // The failure is new: its test is run again, elsewhere, in parts too.
    assert!(worker.claim().is_none());
    let again: Vec<Claimed> = (0..3).map(|_| other.begin()).collect();
    assert_eq!(
        (again[0].job.id.as_str(), again[0].job.tests.clone()),
        ("rocrand-2-2.1of3", vec!["upstream".to_owned()])
    );
    for claimed in &again {
        deliver(&other, claimed, Verdict::Pass)?;
    }
    ended(&hub, "rocrand-2-2");
    let query = HistoryQuery { test: Some("upstream".into()), ..HistoryQuery::default() };
    let tests = hub.people().history(&query)?.tests;
    assert_eq!(tests.iter().map(|test| test.state).collect::<Vec<_>>(), [TestState::Flaky]);
    let refused = hub.people().confirm("rocrand-2.2of3", false).expect_err("a part");
    assert!(refused.to_string().contains("part 2 of 3 of rocrand-2: confirm that job"), "{refused}");
    Ok(())
}

#[test]
fn parts_are_cancelled_given_up_and_retried() -> Outcome {
    let hub = start_with(|config| config.retries = 0);
    let worker = hub.worker("w1", "gfx1030");
    hub.add(LIST);
    let (first, lost) = (worker.begin(), worker.begin());
    deliver(&worker, &first, Verdict::Pass)?;
    hub.people().cancel("rocrand.3of3")?;
    assert_eq!(hub.people().job("rocrand")?.state, JobState::Running, "a part runs");
    hub.pass(61);
    let job = hub.people().job("rocrand")?;
    assert_eq!((job.state, job.result.is_none()), (JobState::GivenUp, true));
    assert!(job.why.as_deref().is_some_and(|why| why.starts_with("part 2 of 3 was given up: lost in 1")), "{job:?}");
    let refused = hub.people().result("rocrand").expect_err("none");
    assert_eq!(refused.code(), Some(ProblemCode::NotFound));
    assert!(refused.to_string().contains("job `rocrand` has no result: it is given-up"), "{refused}");

    // A new part takes the place of the old one, and its job goes on.
    assert_eq!(hub.people().retry("rocrand.3of3")?.id, "rocrand.3of3-2");
    assert_eq!(hub.people().retry("rocrand.3of3")?.id, "rocrand.3of3-2", "once");
    assert_eq!(hub.people().job("rocrand")?.state, JobState::Running);
    deliver(&worker, &worker.begin(), Verdict::Pass)?;
    assert_eq!(code(hub.people().retry("rocrand.3of3")), Some(ProblemCode::JobOver));
    assert_eq!(hub.people().job("rocrand")?.state, JobState::GivenUp, "a part has no result");
    // Late, but nobody else has delivered it.
    assert!(deliver(&worker, &lost, Verdict::Pass)?.late);
    assert_eq!(ended(&hub, "rocrand").state, JobState::Finished);
    let parts: Vec<_> = hub.people().result("rocrand")?.result.parts.into_iter().map(|part| part.job).collect();
    assert_eq!(parts, ["rocrand.1of3", "rocrand.2of3", "rocrand.3of3-2"]);
    assert_eq!(code(hub.people().retry("rocrand.1of3")), Some(ProblemCode::JobOver));

    // A job is retried with all its parts, and cancelled with them.
    assert_eq!(hub.people().retry("rocrand")?.parts.len(), 3);
    let running = worker.begin();
    assert_eq!(hub.people().cancel("rocrand-2")?.state, JobState::Cancelled);
    assert_eq!(worker.beat(&running.lease).as_deref(), Some("the job was cancelled"));
    assert!(worker.claim().is_none());
    let states: Vec<_> = hub.people().job("rocrand-2")?.parts.iter().map(|part| part.state).collect();
    assert_eq!(states, [JobState::Cancelled; 3]);
    assert_eq!(listed(&hub)?, ["rocrand"]);
    Ok(())
}

/// What may happen to a job in parts.
#[derive(Debug, Clone, Copy)]
enum Event {
    Begin,
    Deliver {
        place: usize,
        verdict: Verdict,
    },
    GiveBack {
        place: usize,
    },
    /// Nothing is heard of any worker for so long that all leases end.
    Lose,
    Cancel {
        part: usize,
    },
    Retry {
        part: usize,
    },
    /// The hub ends and is started again.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![Just(Verdict::Pass), Just(Verdict::Fail), Just(Verdict::TestbedFailed)];
    prop_oneof![
        4 => Just(Event::Begin),
        4 => (0_usize..4, verdict).prop_map(|(place, verdict)| Event::Deliver { place, verdict }),
        1 => (0_usize..4).prop_map(|place| Event::GiveBack { place }),
        1 => Just(Event::Lose),
        1 => (0_usize..3).prop_map(|part| Event::Cancel { part }),
        2 => (0_usize..3).prop_map(|part| Event::Retry { part }),
        1 => Just(Event::Restart),
    ]
}

/// A hub that can be started again, with the worker that knows it.
struct Lab<'a> {
    directory: &'a Path,
    admin: String,
    hub: Running,
    worker: Worker,
    held: Vec<Claimed>,
}

impl<'a> Lab<'a> {
    fn change(config: &mut Config) {
        config.retries = 1;
    }

    fn new(directory: &'a Path) -> Self {
        let hub = start_in(directory, Self::change);
        let worker = hub.worker("w1", "gfx1030");
        Self { directory, admin: hub.admin.clone(), hub, worker, held: Vec::new() }
    }

    fn restart(self) -> Self {
        let Self { directory, admin, hub, held, .. } = self;
        drop(hub);
        let mut hub = start_in(directory, Self::change);
        hub.admin.clone_from(&admin);
        let holding: Vec<String> = held.iter().map(|claimed| claimed.lease.clone()).collect();
        let join = hub.client().with_token(hub.hub.join_token());
        let worker = Worker::register(&join, "w1", "first", "gfx1030", &holding);
        Self { directory, admin, hub, worker, held }
    }

    fn part(&self, part: usize) -> String {
        self.hub.people().job("rocrand").expect("the job").parts[part].job.clone()
    }

    /// Does what happens. The hub may refuse it, as what came before may forbid it.
    fn happen(mut self, event: Event) -> Self {
        match event {
            Event::Begin => self.held.extend(self.worker.claim().inspect(|claimed| {
                self.worker.beat(&claimed.lease);
            })),
            Event::Deliver { place, verdict } if place < self.held.len() => {
                // The worker keeps the lease: what it has delivered it may deliver again.
                let claimed = self.held[place].clone();
                let first = deliver(&self.worker, &claimed, verdict);
                let again = deliver(&self.worker, &claimed, verdict);
                assert_eq!(first.as_ref().ok(), again.as_ref().ok(), "a repeated request");
            }
            Event::GiveBack { place } if place < self.held.len() => {
                let claimed = self.held.remove(place);
                let back = GiveBack { reason: GiveBackReason::Other, message: String::new() };
                drop(self.worker.client.give_back(&claimed.lease, &back));
            }
            Event::Deliver { .. } | Event::GiveBack { .. } => {}
            Event::Lose => self.hub.pass(61),
            Event::Cancel { part } => drop(self.hub.people().cancel(&self.part(part))),
            Event::Retry { part } => drop(self.hub.people().retry(&self.part(part))),
            Event::Restart => return self.restart(),
        }
        self
    }

    /// Runs what is left, until the job has its result.
    fn finish(&mut self) -> JobInfo {
        for _ in 0..100 {
            let job = self.hub.people().job("rocrand").expect("the job");
            let all_have_results = job.parts.iter().all(|part| part.state == JobState::Finished);
            if all_have_results {
                return ended(&self.hub, "rocrand");
            }
            for part in job.parts.iter().filter(|part| part.state.is_over() && part.verdict.is_none()) {
                self.hub.people().retry(&part.job).expect("it is run again");
            }
            // Leases that are held end, and a worker that has lost nothing takes what is left.
            self.hub.pass(61);
            let fresh = self.hub.worker(&format!("fresh-{}", job.parts.len()), "gfx1030");
            while let Some(claimed) = fresh.claim() {
                deliver(&fresh, &claimed, Verdict::Pass).expect("it is taken");
            }
        }
        panic!("it does not end: {:?}", self.hub.people().job("rocrand"));
    }
}

proptest! {
    // Each begins a hub with a database that is written to disk.
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_its_parts_a_job_has_one_result(events in proptest::collection::vec(event(), 0..25)) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut lab = Lab::new(directory.path());
        lab.hub.add(LIST);
        for event in events {
            lab = lab.happen(event);
        }
        let job = lab.finish();
        prop_assert_eq!(job.state, JobState::Finished);
        prop_assert_eq!(listed(&lab.hub).expect("results"), ["rocrand"]);
        let detail = lab.hub.people().result("rocrand").expect("a result");
        let parts: Vec<_> = detail.result.parts.iter().map(|part| (part.index, part.job.clone())).collect();
        let there: Vec<_> = job.parts.iter().map(|part| (part.index, part.job.clone())).collect();
        prop_assert_eq!(parts, there);
        for part in &detail.result.parts {
            let own = lab.hub.people().result(&part.job).expect("a result");
            prop_assert_eq!((own.info.bundle, own.info.verdict), (part.bundle, part.verdict));
        }
        let worst = Verdict::worst(detail.result.parts.iter().map(|part| part.verdict));
        prop_assert_eq!(detail.info.verdict, worst);
        prop_assert_eq!(detail.result.runs[0].tests[0].cases.map(|cases| cases.total), Some(u64::from(CASES)));
        // Nothing changes it any more.
        for part in &job.parts {
            prop_assert_eq!(code(lab.hub.people().retry(&part.job)), Some(ProblemCode::JobOver));
        }
        let bundle = detail.info.bundle;
        let lab = lab.restart();
        prop_assert_eq!(lab.hub.people().result("rocrand").expect("a result").info.bundle, bundle);
    }
}
