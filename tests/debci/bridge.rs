//! Tests of a hub that serves debci's queue: a real debci, its broker and its collector, the hub's program, and simulated
//! workers, who know only the hub.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::Verdict;
use protocol::api::{DebciStatus, JobState};
use rocbed_tests::{Debci, Hub, MadeUpWorker};

use super::{PATIENCE, row, status, stored};

/// A hub for this debci, on this address.
fn hub(debci: &Debci, listen: &str, home: Option<tempfile::TempDir>) -> Hub {
    let (broker, web) = (debci.broker(), debci.web());
    let words = ["--listen", listen, "--min-free", "0", "--debci", &broker, "--debci-api", &web];
    Hub::start_in(home.unwrap_or_else(|| tempfile::tempdir().expect("a directory")), &words)
}

/// Kills a hub, and starts it again at the same address with the same data.
fn kill_and_start(debci: &Debci, running: Hub) -> Hub {
    let listen = running.started()["listens"][0].as_str().expect("an address").to_owned();
    let (_, _, home) = running.end("-KILL");
    hub(debci, &listen, Some(home))
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn connection(worker: &MadeUpWorker) -> DebciStatus {
    worker.client().debci().expect("how it stands")
}

/// Waits until the hub is connected and reads the queue of this worker's target.
fn ready(worker: &MadeUpWorker) {
    until("the hub is not connected", || {
        let status = connection(worker);
        status.connected.is_some() && status.queues.iter().any(|queue| queue == "debci-tests-amd64+gfx1030-lxc")
    });
}

/// Jobs that are in the queue, taken or not.
fn in_queue(debci: &Debci) -> String {
    let listed = debci.run("su rabbitmq -s /bin/sh -c 'rabbitmqctl -q list_queues name messages' | grep gfx1030-lxc");
    listed.split_whitespace().last().unwrap_or_default().to_owned()
}

/// One debci for all of it: starting one takes longer than the rest.
#[test]
fn a_hub_serves_debcis_queue_with_workers_that_know_no_broker() {
    let debci = Debci::start();
    let first = hub(&debci, "127.0.0.1:0", None);
    let worker = MadeUpWorker::register_real(&first, "lab-1", "gfx1030");
    ready(&worker);

    // As debci's own worker would, with the priority that it has asked for.
    let [run] = debci.enqueue("-t rocr-runtime/7.2.4 -P 8", &["passes"])[..] else { panic!("one job") };
    let claimed = worker.begin();
    let id = format!("passes-{run}");
    assert_eq!((claimed.job.id.as_str(), claimed.job.priority), (id.as_str(), 8));
    assert!(claimed.testbed.upgrade, "as debci's workers do");
    let origin = worker.client().job(&id).expect("it is there").debci.expect("its origin");
    assert_eq!((origin.run, origin.trigger.as_deref()), (run, Some("rocr-runtime/7.2.4")));
    let shown = first.call(&["jobs", "show", &id]).ok();
    assert!(shown.contains(&format!("run {run}, triggered by rocr-runtime/7.2.4")), "{shown}");

    // Killed while the job runs: its worker goes on, and the broker hands the job out again.
    let first = kill_and_start(&debci, first);
    ready(&worker);
    until("the job does not come back", || connection(&worker).held == 1);
    let again = worker.client().job(&id).expect("it is there");
    assert_eq!((again.state, again.attempts.len()), (JobState::Running, 1));
    worker.deliver(&claimed, Verdict::Pass);
    assert_eq!(status(&debci, run), "pass");
    assert!(row(&debci, "passes", run).contains("<i class='pass fa "));
    let files = stored(&debci, "passes", run);
    assert_eq!((files["worker"].as_slice(), files["exitcode"].as_slice()), (&b"lab-1\n"[..], &b"0\n"[..]));
    assert!(files.contains_key("rocbed/result.json") && files["trigger"].starts_with(b"rocr-runtime"));
    until("the job is not acknowledged", || in_queue(&debci) == "0");

    // Killed as soon as its worker has delivered: whatever was done by then, there is one result.
    let [run] = debci.enqueue("", &["fails"])[..] else { panic!("one job") };
    let claimed = worker.begin();
    worker.deliver(&claimed, Verdict::Fail);
    let first = kill_and_start(&debci, first);
    assert_eq!(status(&debci, run), "fail");
    until("the job is not acknowledged", || in_queue(&debci) == "0");
    let origin = worker.client().job(&format!("fails-{run}")).expect("it is there").debci.expect("its origin");
    assert!(origin.answered.is_some(), "{origin:?}");

    // The broker is stopped while a job runs, and started again. (One that is killed may forget a job: docs/debci.md.)
    let [run] = debci.enqueue("", &["passes"])[..] else { panic!("one job") };
    let claimed = worker.begin();
    let before = connection(&worker).connected;
    debci.run("su rabbitmq -s /bin/sh -c 'cd /; rabbitmqctl -q stop'");
    worker.deliver(&claimed, Verdict::Pass);
    assert_eq!(status(&debci, run), "pass");
    assert!(connection(&worker).connected > before);

    // Two hubs share the queue, and no job is run by both.
    let second = hub(&debci, "127.0.0.1:0", None);
    let others = MadeUpWorker::register_real(&second, "lab-2", "gfx1030");
    ready(&others);
    let names: Vec<String> = (0..20).map(|number| format!("many{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let runs = debci.enqueue("", &names);
    let work = |worker: &MadeUpWorker| {
        let mut ran = BTreeSet::new();
        while let Some(claimed) = worker.begin_within(3) {
            worker.deliver_with(&claimed, Verdict::Pass, 1000);
            ran.insert(claimed.job.id);
        }
        ran
    };
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| work(&others));
        (work(&worker), theirs.join().expect("it ends"))
    });
    assert_eq!(ours.len() + theirs.len(), 20, "{ours:?} {theirs:?}");
    assert!(ours.is_disjoint(&theirs) && !ours.is_empty() && !theirs.is_empty(), "{ours:?} {theirs:?}");
    for run in runs {
        assert_eq!(status(&debci, run), "pass");
    }
    until("a job is not acknowledged", || in_queue(&debci) == "0");

    // What cannot be run is answered with the reason.
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Jobs are taken while a worker waits for some.
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                assert!(
                    worker.begin_within(1).is_none() && others.begin_within(1).is_none(),
                    "there is nothing to run"
                );
            }
        });
        let elsewhere = debci.enqueue("-s experimental", &["passes"]);
        let says = status(&debci, elsewhere[0]);
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(says, "tmpfail");
    });
    let (code, said, _) = first.end("-TERM");
    assert_eq!(code, Some(0), "{said}");
    drop(second);
    workers_of_debci_run_jobs_of_a_hub(&debci);
}

/// The other direction: debci's own worker, and another hub that serves the same queues, run jobs of a hub that has no
/// machine for them.
fn workers_of_debci_run_jobs_of_a_hub(debci: &Debci) {
    let rabbit = |words: &str| debci.run(&format!("su rabbitmq -s /bin/sh -c 'cd /; rabbitmqctl -q {words}'"));
    rabbit("add_vhost hub");
    rabbit("set_permissions -p hub guest \".*\" \".*\" \".*\"");
    let broker = format!("{}/hub", debci.broker());
    let words = ["--debci-workers", &broker, "--debci-workers-backend", "fake"];
    let hub = Hub::start(&[&words[..], &["--debci-workers-arch", "amd64,amd64+gfx1030"]].concat());
    let client = client::Client::new(hub.address(), &client::ClientOptions::default()).expect("an address");
    let finished = |id: &str| {
        until(&format!("{id} has no result"), || client.job(id).expect("it is there").state == JobState::Finished);
        client.result(id).expect("its result").result
    };

    // debci's own worker, as an administrator sets it up for this broker; its backend tests nothing.
    hub.call(&["jobs", "add", "passes"]).ok();
    debci.run(&format!("echo 'debci_amqp_server={broker}' > /etc/debci/conf.d/zz-hub.conf"));
    // The worker leaves its results to debci's publisher, which sends them and waits for more.
    let as_debci = "setpriv --reuid debci --regid debci --init-groups env HOME=/var/lib/debci DEBCI_FAKE_RESULT=pass \
                    PATH=/usr/share/debci/bin:/usr/bin:/bin";
    debci.run(&format!(
        "cd /usr/share/debci && {as_debci} debci-worker --count 1 --backend fake > /tmp/worker.log 2>&1 && \
         {as_debci} timeout 15 debci-publisher > /tmp/publisher.log 2>&1; [ $? = 124 ]"
    ));
    let result = finished("passes");
    debci.run("rm /etc/debci/conf.d/zz-hub.conf");
    assert_eq!((result.verdict, result.machine.name.as_str()), (Verdict::Pass, "debci"));
    assert_eq!(result.runs[0].package.as_ref().map(|package| package.name.as_str()), Some("passes"));

    // Another hub, with a machine that has a GPU: its result says so, and counts.
    let other = Hub::start(&["--debci", &broker, "--debci-backend", "fake"]);
    let worker = MadeUpWorker::register_real(&other, "lab-1", "gfx1030");
    hub.call(&["jobs", "add", "rocrand", "--gpu", "gfx1030"]).ok();
    let claimed = worker.begin_within(60).expect("the job of the first hub");
    worker.deliver(&claimed, Verdict::Fail);
    let result = finished("rocrand");
    assert_eq!((result.verdict, result.machine.name.as_str()), (Verdict::Fail, "lab-1"));
    assert!(!result.warnings.iter().any(|warning| warning.contains("is not counted")), "{:?}", result.warnings);
    // A result is counted after its job has ended.
    let status = || client.debci().expect("how it stands").workers.expect("offers");
    until("both results are counted", || status().results == 2);
    assert_eq!((status().offered, status().refused), (0, 0), "{:?}", status());
}
