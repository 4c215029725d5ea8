//! Tests of `rocbed hub`, `rocbed jobs`, `rocbed results` and `rocbed workers` together, with a simulated worker.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use advice::Advise as _;
use protocol::Verdict;
use protocol::api::Claim;
use rocbed_tests::{Authority, Call, Hub, MadeUpWorker, Output, TestArchive, in_home, noise, rocbed, tool};
use serde_json::{Value, json};

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn from_a_job_to_its_result_without_options() {
    let hub = Hub::start(&[]);
    let added = hub.call(&["jobs", "add", "rocrand", "hipcub", "--gpu", "gfx1030"]).run();
    assert_eq!((added.code, added.stdout.as_str()), (Some(0), "rocrand\nhipcub\n"), "{}", added.stderr);
    let fanned = hub.json(&["jobs", "add", "rocfft", "--gpu", "gfx90a,gfx942", "--each-target"]);
    assert_eq!(fanned, json!({ "jobs": ["rocfft@gfx90a", "rocfft@gfx942"] }));
    let list = hub.call(&["jobs", "list"]).ok();
    says(&list, &["JOB", "queued", "rocfft@gfx942", "gfx1030"]);
    assert!(!list.contains('\u{1b}'), "colours are for terminals:\n{list}");

    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    let first = worker.begin();
    assert_eq!(first.job.id, "rocrand");
    says(&hub.call(&["jobs", "show", "rocrand"]).ok(), &["running", "lab-1", "running upstream", "/jobs/rocrand"]);
    worker.client().append_log(&first.lease, 0, b"autopkgtest: begins\n").expect("a piece of log");
    let watch = hub.call(&["jobs", "watch", "rocrand"]);
    let watching = std::thread::spawn(move || watch.run());
    worker.deliver(&first, Verdict::Fail);
    let watched = watching.join().expect("it ends");
    assert_eq!(watched.code, Some(4), "{}", watched.stderr);
    says(&watched.stdout, &["rocrand", "fail", "lab-1", "1 of 2 tests passed"]);
    says(&watched.stderr, &["reproduce rocrand: rocbed test rocm rocrand --gpu -- --test-name=upstream"]);
    worker.deliver(&worker.begin(), Verdict::Pass);

    let states = hub.json(&["jobs", "list", "--state", "finished"]);
    assert_eq!(states.as_array().map(Vec::len), Some(2));
    let results = hub.json(&["results", "list"]);
    assert_eq!(results[0]["job"], "hipcub");
    assert_eq!(hub.json(&["results", "list", "--verdict", "fail", "--target", "gfx1030"])[0]["job"], "rocrand");
    let table = hub.call(&["results", "list", "--package", "rocrand"]).ok();
    says(&table, &["6.4.3-1", "gfx1030", "lab-1", "AGE", "simulated: "]);
    let limited = hub.call(&["results", "list", "-n", "1"]).run();
    says(&limited.stderr, &["the newest 1 results; there are more", "-n 0 all"]);
    assert_eq!(hub.json(&["results", "list", "--worker", "lab"]).as_array().map(Vec::len), Some(2));
    let limited = hub.call(&["jobs", "list", "-n", "3"]).run();
    says(&limited.stderr, &["the newest 3 jobs; there are more"]);
    assert!(!hub.call(&["jobs", "list", "-n", "4"]).run().stderr.contains("more"));
    assert!(!table.contains("hipcub"), "{table}");

    let shown = hub.call(&["results", "show", "rocrand"]).ok();
    says(&shown, &["verdict     fail", "upstream", "2, 1 failed", "isolation-machine", "Normal.float", "1 < 2"]);
    assert!(!shown.contains("Uniform") && !shown.contains('\u{1b}'), "{shown}");
    says(&hub.call(&["results", "show", "rocrand", "--cases"]).ok(), &["Uniform.float"]);
    let shown = hub.json(&["results", "show", "rocrand"]);
    assert_eq!(shown["cases"][0]["message"], "1 < 2");
    assert_eq!(shown["result"]["runs"][0]["tests"][1]["outcome"], "skip");
    says(&hub.call(&["results", "junit", "rocrand"]).ok(), &["<testsuites>", "1 &lt; 2"]);
}

#[test]
fn bundles_are_fetched_and_go_on_where_they_were_cut() {
    let hub = Hub::start(&[]);
    hub.call(&["jobs", "add", "rocrand"]).ok();
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    worker.deliver(&worker.begin(), Verdict::Pass);
    let to = tempfile::tempdir().expect("a directory");
    let fetch = |words: &[&str]| hub.call(&["results", "fetch", "rocrand"]).current_dir(to.path()).args(words);
    assert_eq!(fetch(&[]).ok(), "results/rocrand.tar.zst\n");
    let bundle = to.path().join("results/rocrand.tar.zst");
    let whole = fs::read(&bundle).expect("a bundle");
    let sha256 = hub.json(&["results", "show", "rocrand"])["info"]["bundle"].as_str().expect("a digest").to_owned();
    assert_eq!(tool("sha256sum", [&bundle]).split(' ').next(), Some(sha256.as_str()));

    // As if the first call had been interrupted.
    fs::remove_file(&bundle).expect("removing");
    let part = to.path().join(format!("results/.{sha256}.part"));
    fs::write(&part, &whole[..1 << 20]).expect("a beginning");
    fetch(&[]).ok();
    assert!(fs::read(&bundle).expect("a bundle") == whole && !part.exists());

    // A partial file of another bundle is noticed.
    fs::remove_file(&bundle).expect("removing");
    fs::write(&part, noise(1 << 20)).expect("a beginning");
    says(&fetch(&[]).fails(), &["rocrand", "digest", "try again"]);
    assert!(!bundle.exists() && !part.exists());

    let unpacked = fetch(&["--unpack"]).ok();
    assert_eq!(unpacked, "results/rocrand\n");
    assert_eq!(fs::read_to_string(to.path().join("results/rocrand/user/summary")).expect("a file"), "upstream PASS\n");
    says(&fetch(&["--unpack"]).fails(), &["results/rocrand is there already", "--output"]);
    fs::write(&bundle, "mine").expect("a file");
    says(&fetch(&[]).fails(), &["is another bundle", "--output"]);
    assert_eq!(fs::read_to_string(&bundle).expect("a file"), "mine");
}

#[test]
fn jobs_are_cancelled_repeated_and_imported() {
    let hub = Hub::start(&[]);
    hub.call(&["jobs", "add", "rocrand", "hipcub"]).ok();
    let cancelled = hub.call(&["jobs", "cancel", "rocrand", "no-such-job"]).run();
    assert_eq!((cancelled.code, cancelled.stdout.as_str()), (Some(1), "rocrand\n"));
    says(&cancelled.stderr, &["no-such-job", "1 of 2"]);
    assert_eq!(hub.call(&["jobs", "retry", "rocrand"]).ok(), "rocrand-2\n");
    let watched = hub.call(&["jobs", "watch", "rocrand", "--json"]).run();
    assert_eq!(watched.code, Some(16), "a cancelled job says nothing of its package");
    says(&watched.stdout, &["\"state\": \"cancelled\"", "\"verdict\": null"]);

    says(&hub.call(&["jobs", "add", "jobs.toml"]).fails(), &["did you mean `rocbed jobs import jobs.toml`"]);
    let list = hub.home().join("jobs.toml");
    fs::write(&list, "[[job]]\npackage = \"rocblas\"\ngpu = [\"gfx1030\", \"gfx90a\"]\ntimeout = \"2h\"\n")
        .expect("a list");
    let ids = hub.call(&["jobs", "import", "--each-target"]).arg(&list).ok();
    assert_eq!(ids, "rocblas@gfx1030\nrocblas@gfx90a\n");
    let imported =
        piped(hub.call(&["jobs", "import", "-"]), "{\"job\": [{\"package\": \"rocsparse\", \"gpu\": \"any\"}]}");
    assert_eq!(imported.stdout, "rocsparse\n", "{}", imported.stderr);
    fs::write(&list, "[[job]]\npackage = \"rocblas\"\ntimeout = \"soon\"\n").expect("a list");
    says(&hub.call(&["jobs", "import"]).arg(&list).fails(), &["jobs.toml", "job[0]", "soon"]);
    fs::write(&list, "[[job]]\npath = \"tree\"\n").expect("a list");
    says(&hub.call(&["jobs", "import"]).arg(&list).fails(), &["tree", "only this machine has", "rocbed boot"]);
}

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

fn piped(call: Call, text: &str) -> Output {
    let mut child = call.into_command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().expect("rocbed");
    child.stdin.take().expect("its stdin").write_all(text.as_bytes()).expect("written");
    let read = |stream: &mut dyn Read| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("its words");
        text
    };
    let stdout = read(child.stdout.as_mut().expect("its stdout"));
    let stderr = read(child.stderr.as_mut().expect("its stderr"));
    Output { code: child.wait().expect("it ends").code(), stdout, stderr }
}

#[test]
fn who_may_do_what() {
    let hub = Hub::start(&["--private"]);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let from_elsewhere = |words: &[&str]| in_home(elsewhere.path(), words).args(&["--hub", hub.address()]);
    says(&from_elsewhere(&["jobs", "list"]).fails(), &["no valid token", "--token-file", "ROCBED_TOKEN"]);
    says(&from_elsewhere(&["jobs", "add", "rocrand", "--token", "rocbed-admin-0"]).fails(), &["--new-admin-token"]);
    let join = fs::read_to_string(hub.started()["join-token-path"].as_str().expect("a path")).expect("a token");
    says(&from_elsewhere(&["jobs", "add", "rocrand", "--token", join.trim()]).fails(), &["admin token"]);
    let admin = hub.started()["admin-token-path"].as_str().expect("a path");
    from_elsewhere(&["jobs", "add", "rocrand", "--token-file", admin]).ok();
    // The hub in a list of hubs works too.
    let config = elsewhere.path().join(".config/rocbed");
    fs::create_dir_all(&config).expect("a directory");
    let text = format!("[[hub]]\naddress = {:?}\ntoken-file = {admin:?}\n", hub.address());
    fs::write(config.join("hubs.toml"), text).expect("a list of hubs");
    says(&in_home(elsewhere.path(), &["jobs", "list"]).ok(), &["rocrand"]);
    for file in ["admin-token", "join-token"] {
        let path = hub.home().join(".local/share/rocbed/hub").join(file);
        assert_eq!(fs::metadata(path).expect("a token").permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn workers_are_paused_resumed_and_removed() {
    let hub = Hub::start(&[]);
    hub.call(&["jobs", "add", "rocrand"]).ok();
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    says(&hub.call(&["workers", "list"]).ok(), &["WORKER", "lab-1", "ready", "gfx1030"]);
    says(&hub.call(&["workers", "show", "lab"]).ok(), &["health      ready", "gfx1030", "/workers/lab-1"]);

    hub.call(&["workers", "pause", "lab-1", "--reason", "needed for a talk"]).ok();
    says(&hub.call(&["workers", "list"]).ok(), &["paused", "needed for a talk"]);
    assert_eq!(hub.json(&["workers", "list"])[0]["paused"], "needed for a talk");
    let claim = Claim { request: "c1".into(), wait: 0, gpus: None };
    let refused = worker.client().claim(&claim).expect_err("it is paused");
    says(&refused.to_string(), &["needed for a talk"]);
    says(&refused.help().to_string(), &["rocbed workers resume"]);
    hub.call(&["workers", "resume", "lab-1"]).ok();
    let begun = worker.begin();
    assert_eq!(begun.job.id, "rocrand");
    // It hears of that instead of a job.
    hub.call(&["workers", "retry-gpu", "lab-1", "0000:43:00.0"]).ok();
    let claim = Claim { request: "c2".into(), wait: 0, gpus: None };
    says(&worker.client().claim(&claim).expect_err("it is to restart").to_string(), &["0000:43:00.0"]);

    // A removed worker: its job goes to another one, and its token becomes invalid.
    says(&hub.call(&["workers", "remove", "lab-2", "lab-1"]).fails(), &["lab-2", "1 of 2 workers were refused"]);
    assert_eq!(hub.json(&["workers", "list"]), json!([]));
    says(&hub.call(&["jobs", "show", "rocrand"]).ok(), &["queued", "the worker was removed"]);
    let refused = worker.client().claim(&claim).expect_err("it is removed").to_string();
    says(&refused, &["does not know this token"]);
}

#[test]
fn a_hub_that_is_not_there() {
    let home = tempfile::tempdir().expect("a directory");
    says(&in_home(home.path(), &["jobs", "list"]).fails(), &["no hub is named", "--hub", "rocbed hub"]);
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let address = format!("http://{unused}");
    says(&in_home(home.path(), &["results", "list", "--hub", &address]).fails(), &[&address, "is the hub running"]);
    let watched = in_home(home.path(), &["jobs", "watch", "x", "--hub", &address]).run();
    assert_eq!(watched.code, Some(20), "as other commands that run tests");
    says(&in_home(home.path(), &["jobs", "list", "--hub", "hub"]).fails(), &["is not the address of a hub", "http://"]);
}

#[test]
fn what_keeps_a_hub_from_starting() {
    let hub = Hub::start(&[]);
    let data = hub.started()["data"].as_str().expect("a path");
    let again = hub.call(&["hub", "--listen", "127.0.0.1:0"]).fails();
    says(&again, &[data, "in use by another hub", hub.address(), "--data"]);
    let other = hub.home().join("other").display().to_string();
    let port = hub.address().trim_start_matches("http://");
    says(&hub.call(&["hub", "--data", &other, "--listen", port]).fails(), &[port, "--listen"]);
    let file = hub.home().join("file");
    fs::write(&file, "no certificate").expect("a file");
    let file = file.display().to_string();
    says(&hub.call(&["hub", "--data", &other, "--tls-cert", &file, "--tls-key", &file]).fails(), &[&file, "PEM"]);
    let usage = hub.call(&["hub", "--tls-cert", &file]).run();
    assert_eq!(usage.code, Some(2), "{}", usage.stderr);
    says(&hub.call(&["hub", "--data", &format!("{file}/x")]).fails(), &[&file, "Not a directory"]);
}

#[test]
fn signals_end_it_and_nothing_is_forgotten() {
    let hub = Hub::start(&[]);
    let token = hub.started()["admin-token"].as_str().expect("a token, at the first start").to_owned();
    hub.call(&["jobs", "add", "rocrand"]).ok();
    let (code, _, home) = hub.end("-TERM");
    assert_eq!(code, Some(0));
    let hub = Hub::start_in(home, &["--listen", "127.0.0.1:0"]);
    assert_eq!(hub.started()["admin-token"], Value::Null, "it is shown once");
    assert_eq!(hub.json(&["jobs", "list"])[0]["id"], "rocrand");
    let (code, _, home) = hub.end("-INT");
    assert_eq!(code, Some(0));
    let hub = Hub::start_in(home, &["--listen", "127.0.0.1:0", "--new-admin-token"]);
    assert_ne!(hub.started()["admin-token"], Value::String(token.clone()));
    says(&hub.call(&["jobs", "add", "x1", "--token", &token]).fails(), &["does not know this token"]);
    hub.call(&["jobs", "add", "rocrand"]).ok();
}

#[test]
fn a_hangup_has_tokens_and_the_certificate_read_again() {
    let authority = Authority::new();
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    fs::copy(authority.server_certificate(), &certificate).expect("a certificate");
    fs::copy(authority.server_key(), &key).expect("a key");
    let ca = authority.certificate().display().to_string();
    let words = ["--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key];
    let (certificate, key) = (certificate.clone(), key.clone());
    let words: Vec<String> = words.map(str::to_owned).to_vec();
    let hub = Hub::start_in(home, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let other = Authority::new();
    let ask = |ca: &str| hub.call(&["jobs", "list", "--ca", ca]).run().code == Some(0);
    assert!(ask(&ca));
    fs::copy(other.server_certificate(), &certificate).expect("a certificate");
    let join = hub.started()["join-token-path"].as_str().expect("a path").to_owned();
    let token = fs::read_to_string(&join).expect("a token");
    fs::remove_file(&join).expect("removing the token");
    let hang_up = || tool("kill", ["-HUP", &hub.started()["pid"].to_string()]);
    hang_up();
    // A certificate and a key that do not belong together are not used, and the hub continues.
    until("a new join token", || fs::read_to_string(&join).is_ok_and(|new| new != token));
    assert!(ask(&ca));
    fs::copy(other.server_key(), &key).expect("a key");
    hang_up();
    let other = other.certificate().display().to_string();
    until("the new certificate", || ask(&other));
    let (code, said, _) = hub.end("-TERM");
    assert_eq!(code, Some(0));
    says(&said, &["the certificate cannot be used; the old one stays in use", &certificate]);
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("this did not come: {what}");
}

#[test]
fn people_are_told_how_to_go_on() {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = in_home(home.path(), &["hub", "--listen", "127.0.0.1:0"]).into_command();
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a hub");
    let stdout = BufReader::new(process.stdout.take().expect("its stdout"));
    let lines = stdout.lines().map_while(Result::ok);
    let mut text = String::new();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
        if line.contains("rocbed jobs add") && line.contains("--hub") {
            break;
        }
    }
    let _ = process.kill();
    let _ = process.wait();
    let parts =
        ["this machine only", "rocbed-admin-", "rocbed.hub=http://127.0.0.1:", "rocbed.join-token=rocbed-join-"];
    says(&text, &parts);
    says(&text, &["hub = \"http://127.0.0.1:", "join-token = \"rocbed-join-", "rocbed.toml"]);
}

#[test]
fn https_with_a_certificate_of_ones_own() {
    let authority = Authority::new();
    let path = |path: PathBuf| path.display().to_string();
    let (certificate, key) = (path(authority.server_certificate()), path(authority.server_key()));
    let hub = Hub::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(hub.address().starts_with("https://127.0.0.1:"), "{}", hub.address());
    says(&hub.call(&["jobs", "list"]).fails(), &["certificate", "--ca"]);
    hub.call(&["jobs", "add", "rocrand", "--ca", &path(authority.certificate())]).ok();
}

#[test]
fn a_list_is_made_from_what_the_archive_has_signed() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "").display().to_string();
    let cache = archive.path().join("cache");
    let hub = Hub::start(&[]);
    let make =
        |words: &[&str]| hub.call(&["jobs", "make", "--recipe", &recipe]).env("ROCBED_CACHE", &cache).args(words);
    let list = make(&[]).ok();
    says(&list, &["# greeter 1.0: its tests use pkg-rocm-tools\n[[job]]\npackage = \"greeter\"\ngpu = \"any\"\n"]);
    says(&make(&["--rdeps-of", "libgreet"]).ok(), &["# greeter 1.0: greeter depends on libgreet"]);
    rocbed(["lock", &recipe]).env("ROCBED_CACHE", &cache).ok();
    let lock = recipe.replace(".toml", ".lock");
    assert!(!make(&["--changed-since", &lock]).ok().contains("[[job]]"), "nothing has changed");
    let text = fs::read_to_string(&lock).expect("a lock");
    fs::write(&lock, text.replace("version = \"2.1\"", "version = \"2.0\"")).expect("another lock");
    says(&make(&["--changed-since", &lock]).ok(), &["# greeter 1.0: libgreet 2.0 -> 2.1"]);
    assert_eq!(make(&["--add", "--gpu", "gfx1030,gfx90a"]).ok(), "greeter@gfx1030\ngreeter@gfx90a\n");
    // A change of the index without the key is detected.
    let path = archive.path().join("dists/sid/main/source/Sources");
    let text = fs::read_to_string(&path).expect("the index").replace("greeter", "grEEter");
    fs::write(&path, text).expect("tampering");
    fs::remove_dir_all(&cache).expect("forgetting what was fetched");
    says(&make(&[]).fails(), &["Sources"]);
}

/// What a command shows on a terminal of this width, with these keys typed.
fn on_terminal(call: Call, columns: u32, keys: &str) -> Output {
    let command = call.into_command();
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy());
    let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let line = format!("stty cols {columns} rows 24; exec {}", words.join(" "));
    let mut script = std::process::Command::new("script");
    script
        .args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().expect("script, of the package bsdutils");
    let mut stdin = child.stdin.take().expect("its stdin");
    for key in keys.bytes() {
        // A moment between the keys, as when somebody types.
        std::thread::sleep(std::time::Duration::from_millis(500));
        stdin.write_all(&[key]).expect("a key");
    }
    let output = child.wait_with_output().expect("its end");
    drop(stdin);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The text without colours, and without the carriage returns of a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.trim_start_matches(|char: char| !char.is_ascii_alphabetic());
        rest = rest.get(1..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain.replace('\r', "")
}

#[test]
fn on_a_terminal_tables_fit_and_have_colours_that_can_be_switched_off() {
    let hub = Hub::start(&[]);
    hub.call(&["jobs", "add", "composable-kernel-with-a-long-name", "--gpu", "gfx1030,gfx90a,gfx942"]).ok();
    let worker = MadeUpWorker::register(&hub, "poweredge-r7525-number-2", "gfx1030");
    worker.deliver(&worker.begin(), Verdict::Fail);
    for words in [
        &["jobs", "list"][..],
        &["results", "list"],
        &["workers", "list"],
        &["jobs", "watch", "composable-kernel-with-a-long-name"],
    ] {
        let wide = hub.call(words).run().stdout;
        assert!(!wide.contains('\u{1b}') && !wide.contains('…'), "{words:?}: all of it is there in a pipe:\n{wide}");
        let shown = on_terminal(hub.call(words), 60, "").stdout;
        assert!(shown.contains("\u{1b}[3") && !shown.contains("\\u{1b}"), "{words:?}: it has colours: {shown:?}");
        // A command to be copied is not cut.
        for line in plain(&shown).lines().filter(|line| !line.starts_with("reproduce ")) {
            assert!(line.chars().count() <= 60, "{words:?}: {line:?} is too wide in:\n{shown}");
        }
        let grey = on_terminal(hub.call(words).env("NO_COLOR", "1"), 60, "").stdout;
        assert_eq!(grey.matches('\u{1b}').count(), 0, "{words:?}: {grey:?}");
    }
}

#[test]
fn top_shows_a_hub_live_on_a_terminal_and_once_elsewhere() {
    let hub = Hub::start(&[]);
    hub.call(&["jobs", "add", "rocrand", "hipcub", "rocfft"]).ok();
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    worker.deliver(&worker.begin(), Verdict::Fail);
    worker.begin();

    let once = hub.call(&["top"]).ok();
    says(
        &once,
        &["1 of 1 worker online, 1 GPU; 1 job running, 1 queued", "lab-1", "gfx1030", "running upstream", "rocfft"],
    );
    says(&once, &["1 of 2 tests passed"]);
    assert!(!once.contains('\u{1b}') && !once.contains("q quit"), "{once}");
    let one: Value = serde_json::from_str(&hub.call(&["top", "--json"]).ok()).expect("JSON");
    assert_eq!((&one["running"][0]["job"]["id"], &one["queued"][0]["id"]), (&json!("hipcub"), &json!("rocfft")));
    assert!(one["running"][0]["since"].is_string() && one["workers"][0]["online"] == true, "{one}");

    // A filter that leaves only the queued job, then quit.
    let live = on_terminal(hub.call(&["top", "--every", "1s"]), 80, "/rocfft\rq");
    assert_eq!(live.code, Some(0), "{}", live.stderr);
    let (screen, after) = live
        .stdout
        .split_once("\u{1b}[?1049h")
        .expect("the alternate screen")
        .1
        .split_once("\u{1b}[?1049l")
        .expect("and back");
    assert_eq!(after, "", "nothing is left behind");
    says(screen, &["filter: rocfft_", "q quit  s sort (name)", "only \"rocfft\""]);
    let last = screen.rsplit("\u{1b}[H").next().expect("the last frame");
    assert!(last.contains("rocfft") && !last.contains("running upstream"), "{last}");
    let gone = hub.address().to_owned();
    drop(hub);
    let failed = rocbed(["top", "--hub", &gone]).fails();
    says(&failed, &["help: is the hub running"]);
}
