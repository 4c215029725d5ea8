//! Jobs in parts, as people see them.

use protocol::Verdict;
use rocbed_tests::{Hub, MadeUpWorker};
use serde_json::json;

use super::says;

#[test]
fn a_job_in_parts_is_added_watched_and_shown() {
    let hub = Hub::start(&[]);
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    let added = hub.call(&["jobs", "add", "rocfft", "--gpu", "gfx1030", "--shards", "2"]).run();
    assert_eq!((added.code, added.stdout.as_str()), (Some(0), "rocfft\n"), "{}", added.stderr);
    says(&hub.call(&["jobs", "list"]).ok(), &["rocfft.1of2", "rocfft.2of2", "0 of 2 parts have ended"]);
    let first = worker.begin();
    says(&hub.call(&["jobs", "list", "--state", "running"]).ok(), &["0 of 2 parts have ended, 1 runs"]);
    says(
        &hub.call(&["jobs", "show", "rocfft.1of2"]).ok(),
        &["is          part 1 of 2 of rocfft", "GTEST_SHARD_INDEX=0"],
    );

    let watch = hub.call(&["jobs", "watch", "rocfft"]);
    let watching = std::thread::spawn(move || watch.run());
    worker.deliver(&first, Verdict::Pass);
    hub.call(&["jobs", "cancel", "rocfft.2of2"]).ok();
    let watched = watching.join().expect("it ends");
    assert_eq!(watched.code, Some(16), "{}", watched.stderr);
    says(&watched.stdout, &["rocfft  cancelled", "part 2 of 2 was cancelled: by request"]);

    assert_eq!(
        hub.json(&["jobs", "retry", "rocfft.2of2"])[0]["part-of"],
        json!({"job": "rocfft", "index": 1, "of": 2})
    );
    worker.deliver(&worker.begin(), Verdict::Fail);
    let watched = hub.call(&["jobs", "watch", "rocfft"]).run();
    assert_eq!(watched.code, Some(4), "{}", watched.stderr);
    says(&watched.stdout, &["rocfft  fail", "in 2 parts"]);
    let shown = hub.call(&["jobs", "show", "rocfft"]).ok();
    says(
        &shown,
        &["shards      2", "part        1 of 2, rocfft.1of2 on lab-1: pass", "2 of 2, rocfft.2of2-2 on lab-1: fail"],
    );
    says(&hub.call(&["results", "show", "rocfft"]).ok(), &["part        2 of 2, rocfft.2of2-2 on lab-1: fail in "]);
    assert_eq!(hub.json(&["results", "list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(hub.json(&["results", "show", "rocfft"])["result"]["parts"][1]["index"], 1);
    says(&hub.call(&["jobs", "retry", "rocfft.1of2"]).run().stderr, &["which has its result: retry `rocfft`"]);
}
