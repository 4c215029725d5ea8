//! Compares a hub that serves debci's queue with debci's own worker: `cargo xtask bench-debci`.
//!
//! A real debci 4.4 with its broker and collector, the hub's program, and simulated workers that deliver a small result at
//! once: what is measured is the way of jobs and results, and not any test. debci's own worker runs its backend `fake`,
//! which tests nothing either. Prints a table on stdout.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use amqp::{Broker, Options, Queue};
use protocol::Verdict;
use rocbed_tests::{Debci, Hub, MadeUpWorker};

/// Jobs, workers, jobs one at a time, and jobs of debci's own worker, unless the command line says otherwise.
const DEFAULTS: [usize; 4] = [1000, 200, 50, 30];
const QUEUE: &str = "debci-tests-amd64+gfx1030-lxc";
/// The queue of debci's backend that tests nothing.
const STOCK_QUEUE: &str = "debci-tests-amd64-fake";
/// Bytes of noise in each result bundle.
const BUNDLE: usize = 16 << 10;

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize| given.get(at).copied().unwrap_or(DEFAULTS[at]);
    let (jobs, workers, singles, stock) = (number(0), number(1), number(2), number(3));
    let debci = Debci::start();
    let publisher = publisher(&debci);
    let broker = debci.broker();
    let hub = Hub::start(&["--debci", &broker]);
    println!("| what | figure |\n|---|---|");
    bridge(&publisher, &hub, (jobs, workers, singles));
    own_worker(&debci, &publisher, stock);
}

fn publisher(debci: &Debci) -> Broker {
    let queue = |name: &str| Queue { name: name.to_owned(), max_priority: Some(10) };
    let options = Options {
        address: protocol::BrokerAddress::parse(&debci.broker()).expect("an address"),
        tls: amqp::TlsOptions::default(),
        name: "bench".into(),
        queues: Vec::new(),
        others: vec![queue(QUEUE), queue(STOCK_QUEUE)],
        largest: 1 << 20,
        timeout: Duration::from_secs(30),
    };
    Broker::new(options).expect("a broker")
}

/// A run id that the server does not have, so that its collector has nothing to do but to drop the result.
fn line(number: usize) -> String {
    format!("rocrand unstable run-id:{}", 10_000_000 + number)
}

fn bridge(publisher: &Broker, hub: &Hub, (jobs, workers, singles): (usize, usize, usize)) {
    let began = Instant::now();
    let crowd: Vec<MadeUpWorker> =
        (0..workers).map(|number| MadeUpWorker::register(hub, &format!("w{number}"), "gfx1030")).collect();
    println!("| {workers} simulated workers registered | {:.1} s |", began.elapsed().as_secs_f64());
    let people = crowd.first().expect("a worker").client().clone();
    let is_over = AtomicBool::new(false);
    let (claims, running) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for worker in &crowd {
            scope.spawn(|| {
                running.fetch_add(1, Ordering::SeqCst);
                while !is_over.load(Ordering::SeqCst) {
                    let Some(claimed) = worker.begin_within(5) else { continue };
                    claims.lock().expect("a lock").push((claimed.job.id.clone(), Instant::now()));
                    worker.deliver_with(&claimed, Verdict::Pass, BUNDLE);
                }
            });
        }
        let answered = || people.debci().expect("how it stands").answered as usize;
        let wait_for = |count: usize| {
            while answered() < count {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        while running.load(Ordering::SeqCst) < workers {
            std::thread::sleep(Duration::from_millis(20));
        }
        // One at a time, while all workers wait.
        let (mut until_claimed, mut until_answered) = (Vec::new(), Vec::new());
        for number in 0..singles {
            let began = Instant::now();
            publisher.publish(QUEUE, line(number).as_bytes()).expect("it is published");
            wait_for(number + 1);
            until_answered.push(began.elapsed());
            let claimed = claims.lock().expect("a lock").pop().expect("a claim").1;
            until_claimed.push(claimed.duration_since(began));
        }
        println!("| from debci's queue to a worker that waits, one job at a time | {} |", percentiles(until_claimed));
        println!("| ... until the broker has its result | {} |", percentiles(until_answered));
        claims.lock().expect("a lock").clear();
        let began = Instant::now();
        for number in singles..singles + jobs {
            publisher.publish(QUEUE, line(number).as_bytes()).expect("it is published");
        }
        println!("| {jobs} jobs put into the queue | {:.1} s |", began.elapsed().as_secs_f64());
        wait_for(singles + jobs);
        let all = began.elapsed().as_secs_f64();
        let claimed: Vec<Duration> =
            claims.lock().expect("a lock").iter().map(|(_, at)| at.duration_since(began)).collect();
        println!("| ... claimed by workers, since the first was put there | {} |", percentiles(claimed));
        println!("| ... all results confirmed by the broker | {all:.1} s: {:.0} jobs per second |", jobs as f64 / all);
        is_over.store(true, Ordering::SeqCst);
    });
}

/// debci's own worker with a backend that tests nothing.
fn own_worker(debci: &Debci, publisher: &Broker, jobs: usize) {
    for number in 0..jobs {
        publisher.publish(STOCK_QUEUE, line(number).as_bytes()).expect("it is published");
    }
    let began = Instant::now();
    debci.run(&format!(
        "cd /usr/share/debci && setpriv --reuid debci --regid debci --init-groups env HOME=/var/lib/debci \
         PATH=/usr/share/debci/bin:/usr/bin:/bin debci-worker --count {jobs} --backend fake > /tmp/worker.log 2>&1"
    ));
    let all = began.elapsed().as_secs_f64();
    let rate = jobs as f64 / all;
    println!(
        "| debci's own worker, one process, backend `fake`: {jobs} jobs | {all:.1} s: {rate:.2} jobs per second |"
    );
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        let place = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
        times.get(place).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    format!("p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms", at(0.5), at(0.99), at(1.0))
}
