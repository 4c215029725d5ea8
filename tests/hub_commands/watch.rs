//! A hub that watches an archive, and posts what comes of it.

use std::fs;
use std::time::{Duration, Instant};

use protocol::Verdict;
use rocbed_tests::{Hub, MadeUpWorker, Server, TestArchive};

use super::says;

/// Waits until a page says something; the archive is read every second.
fn until(hub: &Hub, page: &str, words: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    let address = format!("{}{page}", hub.address());
    loop {
        let text = ureq::get(&address).call().expect("an answer").body_mut().read_to_string().expect("a page");
        if text.contains(words) {
            return;
        }
        assert!(Instant::now() < until, "{words:?} is not in:\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_changes_in_a_signed_archive_becomes_jobs() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "").display().to_string();
    let receiver = Server::start(|_| Some(Vec::new()));
    let webhooks = archive.path().join("webhooks.toml");
    let text = format!("[[webhook]]\naddress = {:?}\nsecret = \"not to be guessed\"\n", receiver.url("changes"));
    fs::write(&webhooks, text).expect("a file");
    let webhooks = webhooks.display().to_string();
    let mirror = server.url("");
    let options = [
        &["--listen", "127.0.0.1:0", "--min-free", "0", "--webhooks", &webhooks][..],
        &["--watch", &recipe, "--watch-every", "1s", "--watch-mirror", &mirror],
    ]
    .concat();
    let hub = Hub::start_in(tempfile::tempdir().expect("a directory"), &options);
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    let test = |worker: &MadeUpWorker, id: &str, verdict: Verdict| {
        let claimed = worker.begin_within(30).expect("a job");
        assert_eq!((claimed.job.id.as_str(), claimed.testbed.upgrade), (id, true));
        worker.deliver(&claimed, verdict);
    };
    test(&worker, "greeter@gfx1030", Verdict::Pass);
    until(&hub, "/archive", "version 1.0 was not tested on it");

    // A library of it is uploaded.
    archive.add_deb_with("libgreet", "2.2", "", &[]);
    archive.publish("Sat, 31 Oct 2026 08:08:01 UTC", None);
    test(&worker, "greeter@gfx1030-2", Verdict::Pass);
    until(&hub, "/archive", "libgreet 2.1 -&#62; 2.2");

    // A mirror that shows an older state, and one whose file was changed without the key.
    archive.add_deb_with("libgreet", "2.3", "", &[]);
    archive.publish("Fri, 30 Oct 2026 08:08:01 UTC", None);
    until(&hub, "/archive", "older than the one");
    archive.publish("Sun, 01 Nov 2026 08:08:01 UTC", None);
    let release = archive.path().join("dists/sid/InRelease");
    let text = fs::read_to_string(&release).expect("the Release file");
    fs::write(&release, text.replace("Suite: unstable", "Suite: unstabl3")).expect("tampering");
    until(&hub, "/metrics", "rocbed_watch_works 0");
    assert_eq!(worker.begin_within(0).map(|claimed| claimed.job.id), None);

    // The hub ends, the archive is mended meanwhile: nothing was lost, and nothing is tested twice.
    let (status, said, home) = hub.end("-TERM");
    assert_eq!(status, Some(0), "{said}");
    says(&said, &["the archive that is watched", "older than the one"]);
    fs::write(&release, text).expect("mending it");
    let hub = Hub::start_in(home, &options);
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    test(&worker, "greeter@gfx1030-3", Verdict::Fail);
    until(&hub, "/metrics", "rocbed_watch_works 1");
    until(&hub, "/archive", "Everything is tested");
    // The library broke it, and the receiver hears of that.
    until(&hub, "/metrics", "rocbed_webhooks_delivered_total 2");
    assert_eq!(receiver.requests(), ["/changes", "/changes"], "the test, and the whole run");
    assert_eq!(hub.json(&["jobs", "list"]).as_array().map(Vec::len), Some(3));
}
