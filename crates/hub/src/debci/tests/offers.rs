//! Jobs of the hub that are offered to workers of debci, with made-up workers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use client::request_id;
use debci::JobLine;
use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::api::{AddJobs, AttemptState, JobInfo, JobState};
use protocol::{JobList, Verdict};

use super::Outcome;
use super::fake::{Client, Cut};
use super::lab::{Lab, QUEUE};
use crate::{DebciWorkersOptions, Hub};

/// The queue of workers without a GPU.
const PLAIN: &str = "debci-tests-amd64-lxc";
const WAIT: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(8 * 3600);

fn options() -> Outcome<DebciWorkersOptions> {
    Ok(DebciWorkersOptions {
        address: protocol::BrokerAddress::parse("amqp://me:secret@broker.example/workers")?,
        tls: amqp::TlsOptions::default(),
        suite: "unstable".into(),
        architectures: vec!["amd64".into(), "amd64+gfx1030".into()],
        backend: "lxc".into(),
        after: None,
        wait: WAIT,
        limit: LIMIT,
        ahead: 2,
    })
}

fn offer(hub: &Hub, broker: Arc<Client>) -> Outcome {
    Ok(hub.offer(broker, options()?).map_err(|advice| advice.what)?)
}

/// Jobs that wait for a machine of the hub's own are offered after ten minutes.
fn offer_what_waits(hub: &Hub, broker: Arc<Client>) -> Outcome {
    let options = DebciWorkersOptions { after: Some(Duration::from_secs(600)), ..options()? };
    Ok(hub.offer(broker, options).map_err(|advice| advice.what)?)
}

fn add(lab: &Lab, list: &str) -> Outcome {
    let list: JobList = serde_json::from_str(list)?;
    lab.people().add_jobs(&AddJobs { request: request_id()?, list, fan_out: false })?;
    Ok(())
}

/// What is in a queue of workers.
fn take(lab: &Lab, queue: &str) -> Outcome<JobLine> {
    lab.until(|| lab.server.waiting(queue) > 0);
    let (line, _, _) = lab.server.take_job(queue).ok_or("no job")?;
    Ok(JobLine::parse(line.as_bytes())?)
}

/// The result of debci's own worker: GNU tar's archive of what autopkgtest wrote.
fn result_of(line: &JobLine, architecture: &str, code: u8, more: &[(&str, &[u8])]) -> Outcome<Vec<u8>> {
    let JobLine { package, suite, run, .. } = line;
    let mut log = GzEncoder::new(Vec::new(), Compression::fast());
    log.write_all(b"autopkgtest [12:00:00]: the log\n")?;
    let (code, log, version) = (format!("{code}\n"), log.finish()?, format!("{package} 6.4.3-1\n"));
    let info = br#"{"kernel_version": "Linux 7.2.13+deb14-amd64 #1 SMP", "nproc": "16", "cpu_model": "Some CPU"}"#;
    let mut files: BTreeMap<&str, &[u8]> = BTreeMap::from([
        ("exitcode", code.as_bytes()),
        ("duration", b"137\n"),
        ("worker", b"lab7\n"),
        ("log.gz", &log),
        ("summary", b"upstream PASS\nsmoke FAIL non-zero exit status 1\n"),
        ("testpkg-version", version.as_bytes()),
        ("testinfo.json", info),
        ("artifacts/2/exitcode", b"0\n"),
    ]);
    files.extend(more.iter().copied());
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_790_000_500);
        let top = format!("autopkgtest-incoming/{suite}/{architecture}/{}/{package}/{run}", &package[..1]);
        builder.append_data(&mut header, format!("{top}/{name}"), content)?;
    }
    Ok(builder.into_inner()?.finish()?)
}

fn ended(lab: &Lab, id: &str, verdict: Verdict) -> Outcome<JobInfo> {
    lab.until(|| lab.client().job(id).is_ok_and(|job| job.state == JobState::Finished));
    let job = lab.client().job(id)?;
    assert_eq!(job.result.as_ref().map(|result| result.verdict), Some(verdict));
    Ok(job)
}

const ROCRAND: &str = r#"{"job": [{"package": "rocrand", "gpu": ["gfx1030"], "priority": 7}]}"#;

#[test]
fn a_job_that_no_machine_of_the_hub_can_run_goes_to_workers_of_debci() -> Outcome {
    let lab = Lab::start_with(offer)?;
    let _other = lab.worker("lab-1", "gfx906")?;
    add(&lab, ROCRAND)?;
    lab.until(|| lab.server.waiting(QUEUE) == 1);
    let (line, priority, expires) = lab.server.take_job(QUEUE).ok_or("no job")?;
    assert_eq!((priority, expires), (7, Some(WAIT)), "a worker cannot get it when it is about to be taken back");
    let line = JobLine::parse(line.as_bytes())?;
    assert_eq!(
        (line.package.as_str(), line.suite.as_str(), line.backend.as_deref()),
        ("rocrand", "unstable", Some("lxc"))
    );
    let offered = lab.client().job("rocrand")?;
    assert_eq!(offered.state, JobState::Running);
    assert!(offered.phase.is_some_and(|phase| phase.contains(QUEUE)));
    assert_eq!(lab.client().debci()?.workers.map(|workers| workers.offered), Some(1));

    let result = result_of(&line, "amd64+gfx1030", 4, &[("artifacts/noise", b"noise")])?;
    lab.server.publish_result(&result);
    let job = ended(&lab, "rocrand", Verdict::Fail)?;
    assert_eq!(job.attempts.len(), 1);
    lab.until(|| lab.server.held() == 0 && lab.server.rejected() == 0);
    let detail = lab.client().result("rocrand")?.result;
    let outcomes: Vec<_> = detail.tests().map(|(_, test)| (test.name.as_str(), test.outcome.name())).collect();
    assert_eq!(outcomes, [("upstream", "pass"), ("smoke", "fail")]);
    assert_eq!((detail.machine.name.as_str(), detail.machine.kernel.as_str()), ("lab7", "7.2.13+deb14-amd64"));
    assert_eq!((detail.machine.processors, detail.seconds()), (16, 137.0));
    assert_eq!(detail.tested_version(), Some("6.4.3-1"));
    // A worker of debci's own does not know its GPU.
    assert!(detail.warnings.iter().any(|warning| warning.contains("is not counted")), "{:?}", detail.warnings);
    // The bundle is one like all others.
    let mut bundle = Vec::new();
    lab.client().bundle("rocrand", &mut bundle)?;
    let names: Vec<String> = bundle::parse(&bundle)?.entries.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names[..2], ["result.json", "log"]);
    for name in ["user/artifacts/noise", "user/artifacts/2/exitcode", "user/summary", "user/exitcode"] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    assert_eq!(bundle::file(&bundle[..], "log", 1000)?.as_deref(), Some(&b"autopkgtest [12:00:00]: the log\n"[..]));
    let status = lab.client().debci()?.workers.ok_or("no status")?;
    assert_eq!((status.offered, status.results, status.refused), (0, 1, 0));
    assert!(lab.page("/jobs")?.contains("Workers of debci at amqp://") && !lab.page("/jobs")?.contains("secret"));
    assert!(lab.page("/jobs/rocrand")?.contains("debci-workers"));
    Ok(())
}

#[test]
fn a_worker_of_rocbed_says_which_gpu_it_was() -> Outcome {
    let lab = Lab::start_with(offer)?;
    add(&lab, ROCRAND)?;
    let line = take(&lab, QUEUE)?;
    // Its result has what it knows, in a form that debci's collector takes too.
    let mut gpus = gpu::simulate("gfx1030")?;
    gpus.simulated = false;
    gpus.gpus.iter_mut().for_each(|gpu| gpu.simulated = false);
    let theirs = serde_json::json!({
        "version": 1, "job": line.job(protocol::GpuNeed::Any), "verdict": "pass", "simulated": false,
        "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:01:00Z", "gpus": [gpus.gpus[0].id],
        "machine": { "name": "lab9", "kernel": "7.2", "processors": 1, "memory": 1, "rocbed": "0", "gpus": gpus },
        "runs": [{ "as": "user", "verdict": "pass", "exit-status": 0, "seconds": 60.0, "directory": "other", "tests": [],
            "package": { "name": "rocrand", "version": "6.4.3-1" } }],
    });
    let theirs = theirs.to_string();
    let more: [(&str, &[u8]); 3] = [
        ("rocbed/result.json", theirs.as_bytes()),
        ("rocbed/junit.xml", b"<testsuites/>"),
        ("rocbed/kernel.log", b"amdgpu: fine\n"),
    ];
    lab.server.publish_result(&result_of(&line, "amd64+gfx1030", 0, &more)?);
    ended(&lab, "rocrand", Verdict::Pass)?;
    let detail = lab.client().result("rocrand")?.result;
    assert_eq!((detail.machine.name.as_str(), detail.job.id.as_str()), ("lab9", "rocrand"));
    assert!(!detail.warnings.iter().any(|warning| warning.contains("is not counted")), "{:?}", detail.warnings);
    let mut bundle = Vec::new();
    lab.client().bundle("rocrand", &mut bundle)?;
    assert_eq!(bundle::file(&bundle[..], "kernel.log", 1000)?.as_deref(), Some(&b"amdgpu: fine\n"[..]));
    Ok(())
}

#[test]
fn machines_of_the_hub_come_first() -> Outcome {
    let lab = Lab::start_with(offer_what_waits)?;
    let worker = lab.worker("lab-1", "gfx1030")?;
    add(&lab, r#"{"job": [{"package": "rocrand", "gpu": ["gfx1030"]}, {"package": "rocfft", "gpu": ["gfx1030"]}]}"#)?;
    let claimed = worker.claim()?;
    lab.until(|| lab.server.has_queue(QUEUE));
    assert_eq!(lab.server.waiting(QUEUE), 0, "they wait for the machine");
    worker.complete(&claimed, Verdict::Pass)?;
    lab.advance(Duration::from_secs(601));
    let line = take(&lab, QUEUE)?;
    assert_eq!((claimed.job.id.as_str(), line.package.as_str()), ("rocrand", "rocfft"));
    // What is offered is not given to the machine meanwhile.
    assert!(worker.try_claim()?.is_none());
    // What a line of debci cannot say is never offered.
    add(&lab, r#"{"job": [{"package": "rccl", "gpu": "any", "gpus": 2}, {"package": "gzip", "gpu": "none"}]}"#)?;
    lab.advance(Duration::from_secs(601));
    assert_eq!(take(&lab, PLAIN)?.package, "gzip");
    assert_eq!(lab.client().job("rccl")?.state, JobState::Queued);
    Ok(())
}

#[test]
fn only_as_many_jobs_are_offered_as_may_wait() -> Outcome {
    let lab = Lab::start_with(offer)?;
    let jobs: Vec<String> = (0..5).map(|n| format!(r#"{{"package": "p{n}", "gpu": ["gfx1030"]}}"#)).collect();
    add(&lab, &format!(r#"{{"job": [{}]}}"#, jobs.join(", ")))?;
    lab.until(|| lab.server.waiting(QUEUE) == 2);
    // A machine that joins gets the others.
    let worker = lab.worker("lab-1", "gfx1030")?;
    assert_eq!(worker.claim()?.job.id, "p2");
    assert_eq!(take(&lab, QUEUE)?.package, "p0");
    Ok(())
}

#[test]
fn a_job_that_is_taken_back_has_one_result() -> Outcome {
    for late_counts in [true, false] {
        let lab = Lab::start_with(offer)?;
        add(&lab, ROCRAND)?;
        let line = take(&lab, QUEUE)?;
        let worker = lab.worker("lab-1", "gfx1030")?;
        lab.advance(WAIT + LIMIT);
        let claimed = worker.claim()?;
        let late = result_of(&line, "amd64+gfx1030", 0, &[])?;
        if late_counts {
            // It comes while the tests run again: nothing is thrown away, and the second one has come too late.
            lab.server.publish_result(&late);
            let job = ended(&lab, "rocrand", Verdict::Pass)?;
            let states: Vec<AttemptState> = job.attempts.iter().map(|attempt| attempt.state).collect();
            assert_eq!(states, [AttemptState::Completed, AttemptState::Cancelled]);
            assert!(worker.complete(&claimed, Verdict::Fail).is_err());
        } else {
            worker.complete(&claimed, Verdict::Fail)?;
            lab.server.publish_result(&late);
            lab.until(|| lab.server.rejected() == 1);
            let workers = lab.client().debci()?.workers.ok_or("no status")?;
            let told = workers.problem.ok_or("nothing is told")?.what;
            assert!(told.contains("was completed by another attempt"), "{told}");
            ended(&lab, "rocrand", Verdict::Fail)?;
        }
        assert_eq!(lab.client().results(&client::ResultQuery::default())?.results.len(), 1);
    }
    Ok(())
}

#[test]
fn what_is_no_result_of_an_offered_job_is_refused_and_told() -> Outcome {
    let lab = Lab::start_with(offer)?;
    add(&lab, ROCRAND)?;
    let line = take(&lab, QUEUE)?;
    let guessed = JobLine { run: debci::RunId(line.run.0 ^ 1), ..line.clone() };
    let other = JobLine { package: "rocfft".into(), ..line.clone() };
    for (number, (message, says)) in [
        (result_of(&guessed, "amd64+gfx1030", 0, &[])?, "has offered no job under the number"),
        (result_of(&other, "amd64+gfx1030", 0, &[])?, "is of rocfft in unstable"),
        (result_of(&line, "amd64+gfx1100", 0, &[])?, "on amd64+gfx1100"),
        (b"whatever".to_vec(), "not a .tar.gz"),
    ]
    .into_iter()
    .enumerate()
    {
        lab.server.publish_result(&message);
        lab.until(|| lab.server.rejected() == number + 1);
        let status = lab.client().debci()?.workers.ok_or("no status")?;
        let told = status.problem.ok_or("nothing is told")?.what;
        assert!(told.contains(says), "{says}: {told}");
        assert_eq!(status.refused, number as u64 + 1);
    }
    assert_eq!(lab.client().job("rocrand")?.state, JobState::Running, "none of them counts");
    // A job that people have cancelled.
    lab.people().cancel("rocrand")?;
    lab.server.publish_result(&result_of(&line, "amd64+gfx1030", 0, &[])?);
    lab.until(|| lab.server.rejected() == 5);
    assert_eq!(lab.client().job("rocrand")?.state, JobState::Cancelled);
    Ok(())
}

/// The connection is lost before and after the broker has stored an offer.
#[test]
fn an_offer_that_may_have_been_lost_is_made_again_and_has_one_result() -> Outcome {
    for cut in [Cut::BeforeAnswer, Cut::AfterAnswer] {
        let lab = Lab::start_with(offer)?;
        lab.until(|| lab.server.has_queue(QUEUE));
        lab.server.cut(cut);
        add(&lab, ROCRAND)?;
        let copies = if cut == Cut::AfterAnswer { 2 } else { 1 };
        lab.until(|| lab.server.waiting(QUEUE) == copies);
        let line = take(&lab, QUEUE)?;
        lab.server.publish_result(&result_of(&line, "amd64+gfx1030", 0, &[])?);
        ended(&lab, "rocrand", Verdict::Pass)?;
        if cut == Cut::AfterAnswer {
            let again = take(&lab, QUEUE)?;
            assert_eq!(again.run, line.run, "it is the same job");
            lab.server.publish_result(&result_of(&again, "amd64+gfx1030", 4, &[])?);
            lab.until(|| lab.server.rejected() == 1);
            ended(&lab, "rocrand", Verdict::Pass)?;
        }
    }
    Ok(())
}

#[test]
fn a_hub_that_is_started_again_knows_what_it_has_offered() -> Outcome {
    let lab = Lab::start_with(offer)?;
    add(&lab, ROCRAND)?;
    let line = take(&lab, QUEUE)?;
    let lab = lab.restart()?;
    assert_eq!(lab.client().job("rocrand")?.state, JobState::Running);
    // Longer than a machine may be silent.
    lab.advance(Duration::from_secs(1800));
    lab.until(|| lab.client().debci().is_ok_and(|status| status.workers.is_some_and(|it| it.connected.is_some())));
    assert_eq!((lab.client().job("rocrand")?.state, lab.server.waiting(QUEUE)), (JobState::Running, 0));
    // Ended before the result was acknowledged: it comes again, and is the same.
    let result = result_of(&line, "amd64+gfx1030", 0, &[])?;
    lab.server.publish_result(&result);
    ended(&lab, "rocrand", Verdict::Pass)?;
    let lab = lab.restart()?;
    lab.server.publish_result(&result);
    // The first copy may come again besides: the hub may have ended before it acknowledged it.
    lab.until(|| {
        let status = lab.client().debci().ok().and_then(|status| status.workers);
        lab.server.held() == 0 && status.is_some_and(|workers| workers.results >= 1)
    });
    assert_eq!(lab.server.rejected(), 0);
    assert_eq!(lab.client().results(&client::ResultQuery::default())?.results.len(), 1);
    Ok(())
}

#[test]
fn nothing_is_offered_where_debcis_collector_would_take_the_results() -> Outcome {
    let lab = Lab::start_with(offer)?;
    lab.server.read_by_others(1);
    lab.until(|| {
        let workers = lab.client().debci().ok().and_then(|status| status.workers);
        workers
            .and_then(|workers| workers.problem)
            .is_some_and(|problem| problem.what.contains("virtual host of their own"))
    });
    add(&lab, ROCRAND)?;
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!((lab.server.waiting(QUEUE), lab.client().job("rocrand")?.state), (0, JobState::Queued));
    lab.server.read_by_others(0);
    take(&lab, QUEUE)?;
    Ok(())
}

/// The name of workers of debci is none for a machine.
#[test]
fn no_machine_takes_results_for_workers_of_debci() -> Outcome {
    let lab = Lab::start_with(offer)?;
    let error = lab.worker("debci-workers", "gfx1030").err().ok_or("it is taken")?;
    assert!(error.to_string().contains("debci-workers"), "{error}");
    Ok(())
}
