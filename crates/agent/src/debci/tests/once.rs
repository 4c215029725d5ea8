//! Nothing is lost, and no job gets two results: whatever dies, and whenever.

use std::fs;

use amqp::fixtures::{Behaviour, Fault, Step};

use super::lab::{Api, JOBS, Lab, claim, deliver, log, run, settle};
use super::{Result, claimed};
use crate::allocation::{Allocation, Fit};
use crate::debci::*;

/// The only result that there is, for this job.
fn only_result(lab: &Lab, run: u64) -> Result<super::lab::Files> {
    let mut results = lab.results()?;
    assert_eq!(results.iter().map(|(run, _)| *run).collect::<Vec<_>>(), [run]);
    Ok(results.remove(0).1)
}

fn outbox(lab: &Lab, name: &str) -> Result<Vec<Waiting>> {
    Ok(Outbox::open(&lab.data(name))?.waiting()?)
}

#[test]
fn a_job_gets_one_result() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let assignment = claim(&mut worker)?;
    assert_eq!((lab.broker.messages(JOBS).len(), lab.broker.taken()), (0, 1), "the broker keeps it");
    deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
    let files = only_result(&lab, 7)?;
    assert_eq!((files["exitcode"].as_slice(), files["worker"].as_slice()), (b"0\n".as_slice(), b"lab1\n".as_slice()));
    assert!(lab.is_empty() && outbox(&lab, "lab1")?.is_empty());
    // Declared as debci declares them, generic target included.
    let names: Vec<_> = lab.broker.declared().into_iter().map(|(name, most)| format!("{name} {most:?}")).collect();
    assert_eq!(
        names,
        [
            "debci-tests-amd64+gfx10-3-generic-lxc Some(10)",
            "debci-tests-amd64+gfx1030-lxc Some(10)",
            "debci_results None"
        ]
    );
    Ok(())
}

#[test]
fn an_idle_worker_has_declared_its_queues() -> Result {
    let lab = Lab::start()?;
    let mut worker = lab.worker("lab1", Api::Unknown)?;
    assert!(matches!(claimed(&mut worker), Ok(Claim::Nothing)));
    assert_eq!(lab.broker.declared().len(), 3);
    // As after a broker that has lost its data.
    lab.broker.delete(JOBS);
    lab.broker.cut();
    let there = || lab.broker.declared().iter().any(|(name, _)| name == JOBS);
    while !there() {
        assert!(matches!(claimed(&mut worker), Ok(Claim::Nothing)));
    }
    Ok(())
}

#[test]
fn a_worker_that_is_killed_while_a_test_runs_leaves_the_job_to_another() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    claim(&mut worker)?;
    lab.kill(worker);
    let mut other = lab.worker("lab2", Api::Known)?;
    let assignment = claim(&mut other)?;
    deliver(&mut other, &assignment, &run(&lab, &assignment, 10)?)?;
    assert_eq!(only_result(&lab, 7)?["worker"], b"lab2\n");
    Ok(())
}

#[test]
fn a_worker_that_is_killed_before_its_result_is_sent_sends_it_after_the_restart() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let assignment = claim(&mut worker)?;
    lab.broker.set_down(true);
    lab.broker.cut();
    deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
    assert_eq!((lab.results()?.len(), outbox(&lab, "lab1")?.len()), (0, 1));
    lab.kill(worker);
    lab.broker.set_down(false);
    settle(&lab, &mut lab.worker("lab1", Api::Known)?)?;
    only_result(&lab, 7)?;
    assert!(outbox(&lab, "lab1")?.is_empty());
    Ok(())
}

/// It is killed together with its connection before, in the middle of and after each thing that it says to the broker.
#[test]
fn at_whatever_step_a_worker_is_killed_its_job_has_one_result() -> Result {
    use Step::{Acknowledge, Channel, Confirm, Connect, Declare, Get, Login, Open, Publish, Settle};
    for step in [Connect, Login, Open, Channel, Declare, Get, Confirm, Publish, Acknowledge, Settle] {
        for (fault, next) in [
            (Fault::CutBefore, "lab1"),
            (Fault::CutInside, "lab1"),
            (Fault::CutAfter, "lab1"),
            (Fault::CutAfter, "lab2"),
        ] {
            let what = format!("{step:?} {fault:?} {next}");
            let lab = Lab::start()?;
            lab.enqueue(7);
            lab.broker.fail(step, fault);
            let mut worker = lab.worker("lab1", Api::Known)?;
            if let Ok(Claim::Job(assignment)) = claimed(&mut worker) {
                deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
            }
            lab.kill(worker);
            let mut ended = lab.collect()?;
            // Whoever is next, the same machine or another one, does what is left.
            let mut worker = lab.worker(next, Api::Known)?;
            let began = Instant::now();
            while !lab.is_empty() || ended.is_empty() {
                assert!(began.elapsed() < Duration::from_secs(60), "{what}: the job is left");
                if let Ok(Claim::Job(assignment)) = claimed(&mut worker) {
                    deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
                }
                ended.extend(lab.collect()?);
            }
            assert_eq!(ended, [7], "{what}");
        }
    }
    Ok(())
}

#[test]
fn a_result_that_was_stored_and_not_confirmed_is_not_sent_again() -> Result {
    for (fault, name) in [(Fault::CutAfter, "lab1"), (Fault::CutInside, "lab1"), (Fault::CutAfter, "lab2")] {
        let lab = Lab::start()?;
        lab.enqueue(7);
        let mut worker = lab.worker("lab1", Api::Known)?;
        let assignment = claim(&mut worker)?;
        lab.broker.fail(Step::Publish, fault.clone());
        deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
        assert_eq!(
            (lab.results()?.len(), lab.broker.messages(JOBS).len()),
            (1, 1),
            "it is stored, and its job is back"
        );
        lab.kill(worker);
        // This worker or another one gets the job, and waits for what the collector has to say.
        let mut next = lab.worker(name, Api::Known)?;
        thread::scope(|scope| -> Result {
            let settled = scope.spawn(|| settle(&lab, &mut next).map_err(|error| error.to_string()));
            while lab.broker.taken() == 0 && !settled.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(lab.collect()?, [7]);
            Ok(settled.join().map_err(|_| "a panic")??)
        })?;
        assert_eq!(lab.results()?.len(), 0, "{fault:?} {name}");
        assert_eq!(outbox(&lab, name)?.len(), 0);
    }
    Ok(())
}

#[test]
fn without_the_servers_address_the_same_result_is_sent_again() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Unknown)?;
    let assignment = claim(&mut worker)?;
    lab.broker.fail(Step::Publish, Fault::CutAfter);
    deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
    settle(&lab, &mut worker)?;
    // debci keeps the last one, and they do not differ.
    let results = lab.results()?;
    assert_eq!(results.len(), 2);
    assert_eq!(results[0], results[1]);
    Ok(())
}

/// A fault, by its name.
type Named = (&'static str, Box<dyn FnOnce(&Lab)>);

#[test]
fn a_result_that_was_not_stored_is_sent_once() -> Result {
    let fail = |fault| move |lab: &Lab| lab.broker.fail(Step::Publish, fault);
    let faults: [Named; 5] = [
        ("cut", Box::new(fail(Fault::CutBefore))),
        ("nack", Box::new(fail(Fault::Nack))),
        ("refused", Box::new(fail(Fault::CloseChannel(403, "ACCESS_REFUSED")))),
        ("closed", Box::new(fail(Fault::CloseConnection(320, "CONNECTION_FORCED")))),
        ("no queue", Box::new(|lab| lab.broker.delete(RESULTS_QUEUE))),
    ];
    for (name, fault) in faults {
        let lab = Lab::start()?;
        lab.enqueue(7);
        let mut worker = lab.worker("lab1", Api::Known)?;
        let assignment = claim(&mut worker)?;
        let delivery = run(&lab, &assignment, 10)?;
        fault(&lab);
        thread::scope(|scope| -> Result {
            let delivered =
                scope.spawn(|| deliver(&mut worker, &assignment, &delivery).map_err(|error| error.to_string()));
            if name == "no queue" {
                // The collector that reads from it is started.
                thread::sleep(Duration::from_millis(20));
                let mut other = lab.worker("lab2", Api::Known).map_err(|error| error.to_string())?;
                assert!(matches!(claimed(&mut other), Ok(Claim::Nothing)));
            }
            Ok(delivered.join().map_err(|_| "a panic")??)
        })?;
        settle(&lab, &mut worker)?;
        assert_eq!(lab.results()?.len(), 1, "{name}");
        assert!(outbox(&lab, "lab1")?.is_empty(), "{name}");
    }
    Ok(())
}

#[test]
fn a_job_that_was_answered_and_not_acknowledged_is_not_run_again() -> Result {
    for fault in [Fault::CutBefore, Fault::CloseChannel(406, "unknown delivery tag")] {
        let lab = Lab::start()?;
        lab.enqueue(7);
        let mut worker = lab.worker("lab1", Api::Unknown)?;
        let assignment = claim(&mut worker)?;
        lab.broker.fail(Step::Acknowledge, fault);
        deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
        only_result(&lab, 7)?;
        lab.kill(worker);
        // Here its own record says so, at another worker the server.
        settle(&lab, &mut lab.worker("lab1", Api::Unknown)?)?;
        only_result(&lab, 7)?;
    }
    Ok(())
}

#[test]
fn another_worker_learns_from_the_server_that_a_job_has_its_result() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let assignment = claim(&mut worker)?;
    lab.broker.fail(Step::Acknowledge, Fault::CutBefore);
    deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
    lab.kill(worker);
    assert_eq!(lab.collect()?, [7]);
    settle(&lab, &mut lab.worker("lab2", Api::Known)?)?;
    assert_eq!(lab.results()?.len(), 0);
    Ok(())
}

#[test]
fn a_test_goes_on_while_the_connection_is_lost_and_its_result_is_sent_when_the_job_comes_back() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let assignment = claim(&mut worker)?;
    lab.broker.cut();
    assert_eq!((lab.broker.messages(JOBS).len(), lab.broker.taken()), (1, 0));
    deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
    assert_eq!(lab.results()?.len(), 0, "another worker may be running it");
    settle(&lab, &mut worker)?;
    only_result(&lab, 7)?;
    assert!(outbox(&lab, "lab1")?.is_empty());
    Ok(())
}

#[test]
fn the_result_of_the_worker_that_got_the_job_counts() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut first = lab.worker("lab1", Api::Known)?;
    let mut second = lab.worker("lab2", Api::Known)?;
    let assignment = claim(&mut first)?;
    lab.broker.cut();
    let again = claim(&mut second)?;
    deliver(&mut first, &assignment, &run(&lab, &assignment, 10)?)?;
    assert_eq!((lab.results()?.len(), outbox(&lab, "lab1")?.len()), (0, 1));
    deliver(&mut second, &again, &run(&lab, &again, 10)?)?;
    assert_eq!(only_result(&lab, 7)?["worker"], b"lab2\n");
    // The first one's is not wanted any more.
    lab.collect()?;
    first.tidied = None;
    settle(&lab, &mut first)?;
    assert!(matches!(claimed(&mut first), Ok(Claim::Nothing)));
    assert!(outbox(&lab, "lab1")?.is_empty());
    Ok(())
}

#[test]
fn a_collector_that_is_away_changes_nothing() -> Result {
    let lab = Lab::start()?;
    (1..=5).for_each(|run| lab.enqueue(run));
    let mut worker = lab.worker("lab1", Api::Known)?;
    for _ in 0..5 {
        let assignment = claim(&mut worker)?;
        deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
    }
    assert!(lab.is_empty());
    assert_eq!(lab.collect()?, [1, 2, 3, 4, 5]);
    Ok(())
}

#[test]
fn a_job_that_was_cancelled_is_not_run() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    lab.complete(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    settle(&lab, &mut worker)?;
    assert_eq!(lab.results()?.len(), 0);
    Ok(())
}

#[test]
fn two_workers_share_a_queue() -> Result {
    let lab = Lab::start()?;
    (1..=12).for_each(|run| lab.enqueue(run));
    thread::scope(|scope| -> Result {
        let work = |name: &'static str| -> Result {
            let mut worker = lab.worker(name, Api::Known)?;
            while !lab.is_empty() {
                let Claim::Job(assignment) = claimed(&mut worker).map_err(|error| error.what)? else { continue };
                deliver(&mut worker, &assignment, &run(&lab, &assignment, 10)?)?;
            }
            Ok(())
        };
        let works = ["lab1", "lab2"].map(|name| scope.spawn(move || work(name).map_err(|error| error.to_string())));
        for work in works {
            work.join().map_err(|_| "a panic")??;
        }
        Ok(())
    })?;
    let mut runs = lab.collect()?;
    runs.sort_unstable();
    assert_eq!(runs, (1..=12).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_result_over_the_brokers_limit_loses_its_largest_artifacts() -> Result {
    let lab = Lab::with(Behaviour { largest: 200_000, ..Behaviour::default() })?;
    (7..=8).for_each(|run| lab.enqueue(run));
    let mut worker = lab.worker("lab1", Api::Known)?;
    for _ in 0..2 {
        let assignment = claim(&mut worker)?;
        deliver(&mut worker, &assignment, &run(&lab, &assignment, 500_000)?)?;
    }
    assert!(lab.is_empty());
    for (run, files) in lab.results()? {
        let removed = String::from_utf8_lossy(&files["artifacts.removed.txt"]).into_owned();
        assert!(removed.contains("artifacts/noise (500000 bytes)"), "{run}: {removed}");
        assert_eq!(
            (files["exitcode"].as_slice(), files["artifacts/noise.removed-by-debci"].len()),
            (b"0\n".as_slice(), 0)
        );
    }
    // The limit is known after the first one.
    let published = lab.broker.steps().into_iter().filter(|step| *step == Step::Publish).count();
    assert_eq!(published, 3);
    Ok(())
}

#[test]
fn a_bundle_that_cannot_be_read_is_answered_and_kept() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let assignment = claim(&mut worker)?;
    let delivery = run(&lab, &assignment, 50_000)?;
    let half = fs::read(&delivery.bundle)?;
    fs::write(&delivery.bundle, half.get(..half.len() / 2).ok_or("too short")?)?;
    deliver(&mut worker, &assignment, &delivery)?;
    let files = only_result(&lab, 7)?;
    assert_eq!(files["exitcode"], b"16\n");
    assert!(log(&files)?.contains("their result cannot be sent: "), "{}", log(&files)?);
    assert!(lab.is_empty());
    let kept = outbox(&lab, "lab1")?;
    assert!(kept.len() == 1 && kept[0].result.refused.is_some() && kept[0].bundle.exists(), "{kept:?}");
    // It is not taken for the result of a new job with this number.
    lab.enqueue(7);
    claim(&mut worker)?;
    Ok(())
}

#[test]
fn a_line_that_cannot_be_read_is_answered_or_rejected() -> Result {
    let lab = Lab::start()?;
    let mut worker = lab.worker("lab1", Api::Unknown)?;
    let long = format!("rocrand unstable run-id:9 {}", "x ".repeat(LONGEST_LINE));
    lab.broker.put(JOBS, long.as_bytes());
    settle(&lab, &mut worker)?;
    let files = only_result(&lab, 9)?;
    assert_eq!(files["exitcode"], b"16\n");
    assert!(log(&files)?.contains("its line is longer than 262144 bytes"), "{}", log(&files)?);
    lab.collect()?;
    lab.broker.put(JOBS, b"not a job\x1b[2J");
    settle(&lab, &mut worker)?;
    assert_eq!((lab.broker.rejected(), lab.results()?.len()), (vec![b"not a job\x1b[2J".to_vec()], 0));
    Ok(())
}

#[test]
fn a_job_that_kills_machines_ends_with_a_temporary_failure() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let assignment = claim(&mut worker)?;
    let why = "this machine stopped or hung 2 times while the job ran";
    worker.give_back(&assignment, GiveBackReason::MachineKiller, why).map_err(|error| error.what)?;
    let files = only_result(&lab, 7)?;
    assert!(log(&files)?.contains(why) && lab.is_empty());
    // A machine that is switched off leaves it to others.
    lab.collect()?;
    lab.enqueue(8);
    let assignment = claim(&mut worker)?;
    worker.give_back(&assignment, GiveBackReason::ShuttingDown, "x").map_err(|error| error.what)?;
    assert_eq!((lab.broker.messages(JOBS).len(), lab.results()?.len()), (1, 0));
    Ok(())
}

#[test]
fn a_result_says_where_the_complete_bundle_is() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(7);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let assignment = claim(&mut worker)?;
    let delivery = run(&lab, &assignment, 10)?;
    let address = "https://storage.example/results/lab1/rocrand-7.tar.zst";
    worker.outbox.put_stored(&worker.server, assignment.lease.as_deref(), &delivery, Some(address.into()))?;
    lab.kill(worker);
    settle(&lab, &mut lab.worker("lab1", Api::Known)?)?;
    let log = log(&only_result(&lab, 7)?)?;
    assert!(log.contains(&format!("the complete result bundle is at {address}\n")), "{log}");
    Ok(())
}

#[test]
fn two_jobs_that_run_at_once_have_each_their_result() -> Result {
    let lab = Lab::start()?;
    for run in [1, 2] {
        lab.enqueue(run);
    }
    let mut worker = lab.worker("lab1", Api::Known)?;
    let (first, second) = (claim(&mut worker)?, claim(&mut worker)?);
    // The second ends first.
    for assignment in [&second, &first] {
        deliver(&mut worker, assignment, &run(&lab, assignment, 10)?)?;
    }
    assert_eq!(lab.collect()?, [2, 1]);
    assert!(lab.is_empty());
    Ok(())
}

#[test]
fn the_queue_of_a_busy_gpu_keeps_its_jobs() -> Result {
    let lab = Lab::start()?;
    lab.enqueue(1);
    let mut worker = lab.worker("lab1", Api::Known)?;
    let machine = Machine { gpus: gpu::simulate("gfx1030,gfx942")?, memory: 4096, ..Machine::default() };
    let mut allocation = Allocation::new(&machine, None);
    let queues = debci::queues("amd64", "lxc", &gpu::simulate("gfx1030")?);
    let busy = Job { gpu: queues.first().ok_or("no queue")?.gpu.clone(), ..Job::of_package("rocrand") };
    let Fit::Now(share) = allocation.fit(&busy, false) else { return Err("it fits".into()) };
    allocation.take("another job", share, false);
    let claimed = worker.claim(&Room::all_of(&allocation)).map_err(|error| error.what)?;
    assert!(matches!(claimed, Claim::Nothing) && lab.broker.messages(JOBS).len() == 1);
    allocation.release("another job");
    let claimed = worker.claim(&Room::all_of(&allocation)).map_err(|error| error.what)?;
    assert!(matches!(claimed, Claim::Job(_)));
    Ok(())
}
