//! Bundles of the runner, which the hub accepts, and invalid ones, which it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use protocol::api::{Complete, ProblemCode};
use protocol::{Cases, Job, JobResult, RunAs, Source, Span, Verdict};
use runner::{Cancel, Grant, Setup};
use tar::EntryType;

use crate::support::{Outcome, Worker, entries, start, start_with};

const FILE: EntryType = EntryType::Regular;

fn refusal(worker: &Worker, lease: &str, bytes: &[u8]) -> protocol::api::Problem {
    let bundle = worker.upload(bytes).expect("it is uploaded");
    let complete = Complete { bundle, verdict: Verdict::Pass, summary: String::new() };
    match worker.client.complete(lease, &complete).expect_err("it is refused") {
        client::ClientError::Refused(problem) => *problem,
        other => panic!("{other}"),
    }
}

#[test]
fn bundles_that_nobody_should_have_written_are_refused_and_say_why() -> Outcome {
    let hub = start_with(|config| config.max_unpacked = 4 << 20);
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let json = serde_json::to_vec(&worker.result(&claimed.job, Verdict::Pass))?;
    let result = (FILE, "result.json", &json[..]);
    let zeros = vec![0; 8 << 20];
    let deep = [&b"[".repeat(100_000)[..], &b"]".repeat(100_000)[..]].concat();
    let cases: &[(&str, Vec<u8>)] = &[
        ("leads out", entries(&[result, (FILE, "../../etc/passwd", b"x")])),
        ("leads out", entries(&[result, (FILE, "user/../../x", b"x")])),
        ("is absolute", entries(&[result, (FILE, "/etc/passwd", b"x")])),
        ("leads out", entries(&[result, (EntryType::Directory, "..", b"")])),
        ("empty parts", entries(&[(FILE, "./result.json", &json)])),
        ("leads to elsewhere", entries(&[result, (EntryType::Symlink, "user/link", b"../../x")])),
        ("leads to elsewhere", entries(&[result, (EntryType::Symlink, "link", b"/etc/passwd")])),
        ("an entry of the kind", entries(&[result, (EntryType::Link, "link", b"result.json")])),
        ("an entry of the kind", entries(&[result, (EntryType::Char, "null", b"")])),
        ("an entry of the kind", entries(&[result, (EntryType::Block, "disk", b"")])),
        ("an entry of the kind", entries(&[result, (EntryType::Fifo, "pipe", b"")])),
        ("result.json is there twice", entries(&[result, result])),
        ("below something", entries(&[result, (FILE, "user", b"x"), (FILE, "user/log", b"x")])),
        ("not its first entry", entries(&[(FILE, "user/log", b"x"), result])),
        ("not its first entry", entries(&[(FILE, "user/result.json", &json)])),
        ("not its first entry", entries(&[(EntryType::Symlink, "result.json", b"user/result.json"), (FILE, "x", b"")])),
        ("no result.json", entries(&[])),
        ("more than 4194304", entries(&[result, (FILE, "zeros", &zeros)])),
        ("a name has 2097152", entries(&[result, (EntryType::GNULongName, "././@LongLink", &zeros[..2 << 20])])),
        ("result.json", entries(&[(FILE, "result.json", &deep)])),
        ("result.json", entries(&[(FILE, "result.json", b"\xff\xfe")])),
        ("reading the archive", entries(&[result])[..40].to_vec()),
        ("reading the archive", b"\x28\xb5\x2f\xfd".to_vec()),
        ("reading the archive", b"#!/bin/sh\n".to_vec()),
    ];
    for (words, bytes) in cases {
        let problem = refusal(&worker, &claimed.lease, bytes);
        assert_eq!(problem.code, ProblemCode::BundleInvalid, "{words}: {problem}");
        assert!(problem.detail.contains(words), "{words}: {problem}");
    }
    // The refused bundles did not affect the lease, and a good one is accepted.
    worker.deliver(&claimed, Verdict::Pass)?;
    assert_eq!(hub.people().results(&client::ResultQuery::default())?.results.len(), 1);
    Ok(())
}

/// Runs a job with a stand-in for autopkgtest; returns its result and its bundle.
fn run(job: &Job, tree: &Path, script: &str, worker: &Worker) -> (JobResult, Vec<u8>) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("autopkgtest");
    let head = "#!/bin/sh\nfor word; do case $word in --output-dir=*) out=${word#*=};; esac; done\nmkdir -p \"$out/artifacts\"\n\
        say() { echo \"autopkgtest [00:00:00]: $*\" >&2; }\n";
    fs::write(&program, format!("{head}{script}")).expect("it is written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it can be run");
    let mut setup = Setup::new(vec!["virt".into()], directory.path().into(), directory.path().join("bundles"), &job.id);
    setup.autopkgtest = vec![program.into()];
    setup.source = Some(tree.to_owned());
    setup.machine = worker.machine.clone();
    setup.gpus = worker.machine.gpus.gpus.iter().map(Grant::from).collect();
    let finished = runner::run(job, &setup, &mut (), &mut (), &Cancel::default()).expect("it runs");
    let bytes = fs::read(&finished.bundle.path).expect("a bundle");
    (finished.result, bytes)
}

#[test]
fn a_bundle_of_the_runner_arrives_field_by_field() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    let tree = tempfile::tempdir()?;
    fs::create_dir_all(tree.path().join("debian/tests"))?;
    fs::write(tree.path().join("debian/control"), "Source: rocrand\n")?;
    fs::write(tree.path().join("debian/tests/control"), "Tests: upstream odd\nDepends:\n")?;
    let mut job = Job::new(Source::Url("https://example.org/rocrand.git".into()));
    job.id = "rocrand".into();
    job.run_as = vec![RunAs::User, RunAs::Root];
    job.timeout = Span::seconds(60);
    let list = protocol::JobList { version: 1, job: vec![job] };
    hub.people().add_jobs(&protocol::api::AddJobs { request: "r".into(), list, fan_out: false })?;
    let claimed = worker.begin();
    let script = "\
        say 'test upstream: [-----------------------'; printf 'a log with \\033[31mcolour\\033[0m\\n'\n\
        cat >$out/artifacts/upstream.xml <<'END'\n\
        <testsuites><testsuite name=\"Sum\"><testcase name=\"Small\" classname=\"Sum\" time=\"0.1\"/>\
        <testcase name=\"Large\" classname=\"Sum\"><failure message=\"1 &lt; 0\"/></testcase>\
        <testcase name=\"Off\" classname=\"Sum\" status=\"notrun\"/></testsuite></testsuites>\n\
        END\n\
        say 'test upstream: -----------------------]'\n\
        printf 'upstream FAIL non-zero exit status 1\\nodd SKIP <b>no reason</b>\\n' >$out/summary\n\
        echo 'rocrand 6.4.3-2' >$out/testpkg-version; exit 4\n";
    let (result, bytes) = run(&claimed.job, tree.path(), script, &worker);
    assert_eq!((result.verdict, result.runs.len()), (Verdict::Fail, 2));

    let bundle = worker.upload(&bytes)?;
    let summary = "1 of 2 tests failed".to_owned();
    worker.client.complete(&claimed.lease, &Complete { bundle, verdict: result.verdict, summary })?;

    let detail = hub.people().result("rocrand")?;
    // The hub returns the runner's result completely.
    assert_eq!(serde_json::to_value(&detail.result)?, serde_json::to_value(&result)?);
    let info = &detail.info;
    assert_eq!((info.package.as_str(), info.version.as_deref()), (result.job.source.name(), Some("6.4.3-2")));
    assert_eq!((info.verdict, info.simulated, info.worker.as_str()), (Verdict::Fail, true, "w1"));
    assert_eq!(info.targets, ["gfx1030"]);
    let milliseconds = |time: jiff::Timestamp| time.as_millisecond();
    assert_eq!(milliseconds(info.started), milliseconds(result.started));
    assert_eq!((info.bundle, info.size), (bundle, bytes.len() as u64));
    let mut kept = Vec::new();
    hub.people().bundle("rocrand", &mut kept)?;
    assert_eq!(kept, bytes);

    let html = hub.get("/jobs/rocrand").1;
    for run in &result.runs {
        for test in &run.tests {
            let outcome = format!(">{}</span>", test.outcome);
            assert!(html.contains(&test.name) && html.contains(&outcome), "{test:?}: {html}");
        }
        assert_eq!(run.tests[0].cases, Some(Cases { total: 3, failed: 1, skipped: 1 }));
    }
    for words in [
        "6.4.3-2",
        "Sum.Large",
        "1 &#60; 0",
        "&#60;b&#62;no reason&#60;/b&#62;",
        "3, <strong class=\"bad\">1 failed</strong>, 1 skipped",
    ] {
        assert!(html.contains(words), "{words}: {html}");
    }
    // Each case of the report is there once for each run; the suites that repeat the table of tests are left out.
    assert_eq!(html.matches("<details").count(), 2, "{html}");
    Ok(())
}
