//! Several jobs at once on a machine with eight GPUs, with a real hub and failures between the two.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use protocol::Machine;
use protocol::api::{JobInfo, JobState};

use super::network::{Network, Switch, When};
use super::support::{self, Agent, TestHub, Tested};
use super::{MOMENTS, STEPS};
use crate::Timeouts;

/// A machine with eight GPUs of three kinds.
fn eight() -> Machine {
    let targets = "gfx1030,gfx1030,gfx90a,gfx90a,gfx942,gfx942,gfx942,gfx942";
    Machine { gpus: gpu::simulate(targets).expect("targets"), processors: 64, memory: 1 << 18, ..support::machine() }
}

fn start(hub: &TestHub, data: &std::path::Path) -> Agent {
    Agent::start_on(hub, &hub.address.to_string(), data, Timeouts::of_tests(), eight())
}

/// Jobs of all kinds: for any GPU, for one of a kind, for several, and for none.
const MIXED: [(&str, &str); 12] = [
    ("job-a", "gpu = \"any\""),
    ("job-b", "gpu = [\"gfx942\"]\ngpus = 4"),
    ("job-c", "gpu = \"none\""),
    ("job-d", "gpu = [\"gfx90a\"]"),
    ("job-e", ""),
    ("job-f", "gpu = [\"gfx1030\"]\ngpus = 2"),
    ("job-g", "gpu = \"none\"\nmemory = 100000"),
    ("job-h", "gpu = [\"gfx90a\", \"gfx1030\"]"),
    ("job-i", "gpu = \"any\"\ngpus = 8"),
    ("job-j", ""),
    ("job-k", "gpu = [\"gfx942\"]"),
    ("job-l", "gpu = \"any\"\ngpus = 2"),
];

fn list(jobs: &[(&str, &str)]) -> String {
    jobs.iter().map(|(name, more)| format!("[[job]]\npackage = \"{name}\"\n{more}\n")).collect()
}

fn names() -> Vec<&'static str> {
    MIXED.iter().map(|(name, _)| *name).collect()
}

#[test]
fn eight_jobs_run_at_once_on_eight_gpus() -> Tested {
    let hub = TestHub::start();
    let jobs: Vec<String> = (0..9).map(|number| format!("slow-{number}")).collect();
    let names: Vec<&str> = jobs.iter().map(String::as_str).collect();
    hub.add_list(&list(&names.iter().map(|name| (*name, "gpu = \"any\"")).collect::<Vec<_>>()));
    let data = tempfile::tempdir()?;
    let agent = start(&hub, data.path());
    for job in &names[..8] {
        hub.wait(job, "its phase", |job| job.phase.as_deref() == Some("testing"));
    }
    // The ninth has to wait: each GPU has one.
    assert_eq!(hub.job("slow-8").state, JobState::Queued);
    let worker = hub.people().workers(None)?.workers.remove(0);
    assert_eq!(worker.jobs.len(), 8);
    agent.go_on.store(true, Ordering::SeqCst);
    for job in &names {
        hub.wait_for(job, JobState::Finished);
        assert_eq!(hub.log(job), format!("log of {job}: one\nlog of {job}: two\n"));
    }
    assert_eq!(agent.floor.most.load(Ordering::SeqCst), 8);
    agent.stop()?;
    hub.each_has_one_result(&names);
    Ok(())
}

#[test]
fn jobs_of_all_kinds_run_side_by_side() -> Tested {
    let hub = TestHub::start();
    // These last until the test says so.
    let slow = [("slow-a", "gpu = \"any\""), ("slow-b", "gpu = \"none\""), ("slow-c", "gpu = [\"gfx942\"]")];
    hub.add_list(&list(&slow));
    hub.add_list(&list(&MIXED));
    let data = tempfile::tempdir()?;
    let agent = start(&hub, data.path());
    for (job, _) in slow {
        hub.wait(job, "its phase", |job| job.phase.as_deref() == Some("testing"));
    }
    agent.go_on.store(true, Ordering::SeqCst);
    let names: Vec<&str> = names().into_iter().chain(slow.iter().map(|(name, _)| *name)).collect();
    for job in &names {
        hub.wait_for(job, JobState::Finished);
        assert_eq!(hub.job(job).attempts.len(), 1, "{job} was given back");
    }
    assert!(agent.floor.most.load(Ordering::SeqCst) >= slow.len());
    agent.stop()?;
    hub.each_has_one_result(&names);
    Ok(())
}

#[test]
fn a_cancelled_job_ends_and_the_others_do_not_notice() -> Tested {
    let hub = TestHub::start_with(|config| config.lease = Duration::from_secs(1));
    hub.add(&["slow-a", "slow-b"]);
    let data = tempfile::tempdir()?;
    let agent = start(&hub, data.path());
    for job in ["slow-a", "slow-b"] {
        hub.wait(job, "its phase", |job| job.phase.as_deref() == Some("testing"));
    }
    hub.people().cancel("slow-a")?;
    hub.wait("slow-a", "its end", |job| job.attempts[0].state.name() == "cancelled");
    assert_eq!(hub.job("slow-b").state, JobState::Running);
    agent.go_on.store(true, Ordering::SeqCst);
    hub.wait_for("slow-b", JobState::Finished);
    agent.stop()?;
    hub.each_has_one_result(&["slow-b"]);
    Ok(())
}

#[test]
fn an_agent_that_is_told_to_stop_gives_all_its_jobs_back() -> Tested {
    let hub = TestHub::start();
    let names = ["slow-a", "slow-b", "slow-c"];
    hub.add(&names);
    let data = tempfile::tempdir()?;
    let agent = start(&hub, data.path());
    for job in names {
        hub.wait(job, "its phase", |job| job.phase.as_deref() == Some("testing"));
    }
    agent.stop()?;
    for job in names {
        let job = hub.job(job);
        assert_eq!(job.state, JobState::Queued);
        assert_eq!(job.attempts[0].reason, "shutting-down: the machine was told to stop");
    }
    Ok(())
}

#[test]
fn after_a_crash_all_that_ran_is_given_back_and_none_is_to_blame() -> Tested {
    let hub = TestHub::start();
    let names = ["slow-a", "slow-b", "slow-c"];
    hub.add(&names);
    let data = tempfile::tempdir()?;
    let switch = Switch::default();
    let network = Network::with_switch(hub.address, "nothing", When::Before, switch.clone(), || ())?;
    let mut disk = data;
    for death in 1..=2 {
        let timeouts = Timeouts { farewell: Duration::ZERO, ..Timeouts::of_tests() };
        let agent = Agent::start_on(&hub, &network.address, disk.path(), timeouts, eight());
        for job in names {
            let runs = |job: &JobInfo| job.attempts.len() == death && job.phase.as_deref() == Some("testing");
            hub.wait(job, "its phase", runs);
        }
        switch.cut();
        disk = agent.snapshot()?;
        let _ = agent.stop();
        thread::sleep(Duration::from_millis(200));
        switch.restore();
    }
    let agent = Agent::start_on(&hub, &network.address, disk.path(), Timeouts::of_tests(), eight());
    agent.go_on.store(true, Ordering::SeqCst);
    for job in names {
        let job = hub.wait_for(job, JobState::Finished);
        for attempt in &job.attempts[..2] {
            let reason = &attempt.reason;
            assert!(
                reason.starts_with("other: the agent was killed") && reason.contains(" beside 2 others"),
                "{reason}"
            );
        }
        assert_eq!(job.attempts.len(), 3);
    }
    // Each of them ran alone, to see whether the machine dies of it.
    assert_eq!(agent.floor.most.load(Ordering::SeqCst), 1);
    agent.stop()?;
    hub.each_has_one_result(&names);
    Ok(())
}

/// The machine dies at a request, and comes back with what was on its disk at that moment: with jobs that ran, with
/// results that were not sent, and with ones that were sent in part.
fn machine_dies_at(step: &'static str, when: When) -> Tested {
    let hub = TestHub::start();
    hub.add_list(&list(&MIXED));
    let data = tempfile::tempdir()?;
    let (path, switch) = (data.path().to_owned(), Switch::default());
    let (disks, found) = channel();
    let off = switch.clone();
    let network = Network::with_switch(hub.address, step, when, switch.clone(), move || {
        off.cut();
        let _ = disks.send(support::snapshot(&path));
    })?;
    let timeouts = Timeouts { farewell: Duration::ZERO, ..Timeouts::of_tests() };
    let first = Agent::start_on(&hub, &network.address, data.path(), timeouts, eight());
    let disk = found.recv_timeout(Duration::from_secs(40)).map_err(|_| format!("{step} {when:?} did not happen"))??;
    let _ = first.stop();
    thread::sleep(Duration::from_millis(200));
    switch.restore();
    let again = Agent::start_on(&hub, &network.address, disk.path(), Timeouts::of_tests(), eight());
    for job in names() {
        hub.wait_for(job, JobState::Finished);
    }
    again.stop().map_err(|error| format!("{step} {when:?}: {error}"))?;
    hub.each_has_one_result(&names());
    Ok(())
}

#[test]
fn each_job_has_one_result_though_the_machine_dies_at_any_step_of_several() {
    // In turn, four at a time: each has a dozen jobs.
    let all: Vec<(&str, When)> = STEPS.into_iter().flat_map(|step| MOMENTS.map(|when| (step, when))).collect();
    for some in all.chunks(4) {
        let mut failed = BTreeMap::new();
        thread::scope(|scope| {
            let tests: Vec<_> = some
                .iter()
                .map(|&(step, when)| {
                    let test = scope.spawn(move || machine_dies_at(step, when).map_err(|error| error.to_string()));
                    (format!("{step} {when:?}"), test)
                })
                .collect();
            for (name, test) in tests {
                match test.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => drop(failed.insert(name, error)),
                    Err(_) => drop(failed.insert(name, "a panic".to_owned())),
                }
            }
        });
        assert!(failed.is_empty(), "{failed:#?}");
    }
}
