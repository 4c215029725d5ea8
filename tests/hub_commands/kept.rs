//! A hub that keeps the packages of an archive for runs to be made again.

use std::time::{Duration, Instant};

use protocol::api::Claimed;
use protocol::{InstalledPackage, JobResult, PackageList};
use rocbed_tests::{Hub, MadeUpWorker, TestArchive};
use serde_json::json;

/// Delivers a result with this version of libgreet, of which the worker has nothing but the name.
fn deliver(worker: &MadeUpWorker, claimed: &Claimed, version: &str) {
    let mut result: JobResult = serde_json::from_value(json!({
        "version": 1, "job": claimed.job, "verdict": "pass", "simulated": true,
        "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:01:00Z",
        "gpus": [worker.machine().gpus.gpus[0].id], "machine": worker.machine(),
        "runs": [{
            "as": "user", "verdict": "pass", "exit-status": 0, "seconds": 60.0, "directory": "user",
            "tests": [{ "name": "upstream", "outcome": "pass" }],
        }],
    }))
    .expect("a result");
    let libgreet = InstalledPackage {
        name: "libgreet".into(),
        architecture: "amd64".into(),
        version: version.into(),
        source: "libgreet".into(),
        source_version: version.into(),
    };
    result.runs[0].tests[0].installed = result.installed.add(&std::iter::once(libgreet).collect::<PackageList>());
    worker.deliver_result(claimed, &result);
}

#[test]
fn a_version_that_a_signed_archive_has_no_more_comes_from_the_hub() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let mirror = server.url("");
    let recipe = archive.recipe(&mirror, "greeter", "").display().to_string();
    let options = ["--listen", "127.0.0.1:0", "--min-free", "0", "--keep-packages", "1GiB", "--watch-every", "1s"];
    let options = [&options[..], &["--watch", &recipe, "--watch-mirror", &mirror]].concat();
    let hub = Hub::start_in(tempfile::tempdir().expect("a directory"), &options);
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    let end = Instant::now() + Duration::from_secs(90);
    let until = |what: &str, mut is_so: Box<dyn FnMut() -> bool + '_>| {
        while !is_so() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    deliver(&worker, &worker.begin_within(30).expect("a job"), "2.1");
    let metrics = || {
        let answer = ureq::get(&format!("{}/metrics", hub.address())).call();
        answer.expect("an answer").body_mut().read_to_string().expect("text")
    };
    let is_kept =
        || metrics().lines().any(|line| line.starts_with("rocbed_kept_package_bytes ") && !line.ends_with(" 0"));
    until("libgreet 2.1 is kept", Box::new(is_kept));

    archive.add_deb_with("libgreet", "2.2", "", &[]);
    // As in unstable, the new version takes the place of the old one.
    std::fs::remove_file(archive.path().join("pool/libgreet_2.1_amd64.deb")).expect("removing the old version");
    archive.publish("Sat, 31 Oct 2026 08:08:01 UTC", None);
    deliver(&worker, &worker.begin_within(30).expect("the job for libgreet 2.2"), "2.2");
    let again = || {
        hub.call(&["jobs", "add", "greeter", "--gpu", "gfx1030", "--package-version", "libgreet=2.1"]).ok();
        let claimed = worker.begin();
        let files: Vec<&str> = claimed.job.packages.iter().map(protocol::PackageFile::name).collect();
        let is_kept = files == ["libgreet_2.1_amd64.deb"] && claimed.job.versions.is_empty();
        if is_kept {
            let content = claimed.job.packages[0].content.expect("its digest");
            let mut file = Vec::new();
            worker.client().package(&claimed.lease, &content.sha256, 0, &mut file).expect("the file");
            assert_eq!(sha256::Digest::of(&file), content.sha256);
        }
        deliver(&worker, &claimed, "2.1");
        is_kept
    };
    until("the job gets libgreet 2.1", Box::new(again));
}
