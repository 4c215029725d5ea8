//! Since when tests fail, and what is known of it.

use protocol::Verdict;
use rocbed_tests::{Hub, MadeUpWorker};
use serde_json::json;

use super::says;

#[test]
fn since_when_a_test_fails_and_what_is_known_of_it() {
    let hub = Hub::start(&[]);
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    let run = |verdict| {
        hub.call(&["jobs", "add", "rocrand"]).ok();
        worker.deliver(&worker.begin(), verdict);
    };
    let why = || hub.call(&["results", "why", "rocrand", "--target", "gfx1030"]).run();
    assert_eq!(why().code, Some(8));
    run(Verdict::Pass);
    assert_eq!((why().code, why().stdout.as_str()), (Some(0), "no test of rocrand fails\n"));
    run(Verdict::Fail);

    let history = hub.call(&["results", "history", "rocrand", "--target", "gfx1030"]).ok();
    says(&history, &["rocrand  upstream  gfx1030 (simulated)  new failure since", "ok -> new failure", "rocrand-2"]);
    let all = hub.json(&["results", "history", "rocrand", "--test", "upstream", "--all"]);
    assert_eq!((&all[0]["state"], all[0]["runs"].as_array().map(Vec::len)), (&json!("new-failure"), Some(2)));
    let why = why();
    assert_eq!(why.code, Some(4), "{}", why.stderr);
    says(
        &why.stdout,
        &["last good: ", "first bad: ", "changed:  the packages are not known", "jobs confirm rocrand-2"],
    );
    assert!(!why.stdout.contains("whole run"), "{}", why.stdout);

    let compared = hub.call(&["results", "compare", "rocrand", "rocrand-2"]).run();
    assert_eq!(compared.code, Some(4), "{}", compared.stderr);
    says(&compared.stdout, &["regressed", "upstream", "2 regressed"]);
    assert_eq!(hub.call(&["results", "compare", "rocrand", "rocrand"]).run().code, Some(0));
    let days = hub.call(&["results", "compare", "yesterday", "today"]).run();
    assert_eq!(days.code, Some(0), "{}", days.stderr);
    says(&days.stdout, &["added"]);
    says(&hub.call(&["results", "compare", "rocrand", "nothing"]).fails(), &["nothing", "not a day"]);

    says(
        &hub.call(&["results", "show", "rocrand-2"]).ok(),
        &["reproduce: rocbed test rocm rocrand --gpu -- --test-name=upstream"],
    );
    let bug = hub.call(&["results", "bug", "rocrand-2"]).ok();
    says(&bug, &["Subject: rocrand: autopkgtest upstream fails on gfx1030", "Source: rocrand", "/jobs/rocrand-2"]);

    assert_eq!(hub.call(&["jobs", "confirm", "rocrand-2"]).ok(), "rocrand-2-2\n");
    let claimed = worker.begin();
    assert_eq!(claimed.job.tests, ["upstream"]);
    worker.deliver(&claimed, Verdict::Fail);
    let history = hub.call(&["results", "history", "rocrand"]).ok();
    says(&history, &["regression since"]);
    says(&hub.call(&["jobs", "confirm", "rocrand"]).fails(), &["rocrand", "has not failed"]);

    let number = hub
        .call(&[
            "known", "add", "rocrand", "--test", "upstream", "--target", "gfx1030", "--bug", "#1112345", "--until",
            "7.3",
        ])
        .ok();
    assert_eq!(number, "1\n");
    says(&hub.call(&["results", "history", "rocrand"]).ok(), &["known since", "1112345"]);
    says(&hub.call(&["known", "list"]).ok(), &["NUMBER", "rocrand", "upstream", "1112345", "7.3"]);
    hub.call(&["known", "remove", "1"]).ok();
    assert_eq!(hub.json(&["known", "list"]), json!([]));
    says(&hub.call(&["known", "add", "rocrand", "--bug", "soon"]).fails(), &["bug", "neither the number"]);
}
