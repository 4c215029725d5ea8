//! Tests of `rocbed hub`, `rocbed jobs`, `rocbed results` and `rocbed workers` together, with a simulated worker.

#[path = "hub_commands/history.rs"]
mod history;
#[path = "hub_commands/kept.rs"]
mod kept;
#[path = "hub_commands/serving.rs"]
mod serving;
#[path = "hub_commands/shards.rs"]
mod shards;
#[path = "hub_commands/terminal.rs"]
mod terminal;
#[path = "hub_commands/watch.rs"]
mod watch;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use advice::Advise as _;
use protocol::Verdict;
use protocol::api::Claim;
use rocbed_tests::{Call, Hub, MadeUpWorker, Output, TestArchive, in_home, noise, rocbed, tool};
use serde_json::json;

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

/// An upload of librocfft0 of this version in a directory: its `.deb`, and the `.changes` that names it.
fn upload_of_rocfft(directory: &std::path::Path, version: &str) -> String {
    let script = r#"
        mkdir -p tree/DEBIAN
        printf 'Package: librocfft0\nSource: rocfft\nVersion: %s\nArchitecture: amd64\nMaintainer: A Test <test@example.org>\nDescription: test\n' "$1" >tree/DEBIAN/control
        deb=librocfft0_$1_amd64.deb
        dpkg-deb --root-owner-group --build tree "$deb" >/dev/null
        printf 'Source: rocfft\nVersion: %s\nChecksums-Sha256:\n %s %s %s\n' "$1" "$(sha256sum "$deb" | cut -d' ' -f1)" \
            "$(stat -c %s "$deb")" "$deb" >"rocfft_$1_amd64.changes""#;
    tool("sh", ["-euc", &format!("cd '{}'\n{script}", directory.display()), "sh", version]);
    directory.join(format!("rocfft_{version}_amd64.changes")).display().to_string()
}

#[test]
fn own_packages_are_compared_with_the_archives() {
    let hub = Hub::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let changes = upload_of_rocfft(directory.path(), "7.2-1");
    let added = hub.call(&["jobs", "add", &changes, "--gpu", "gfx1030", "--compare"]).run();
    assert_eq!((added.code, added.stdout.as_str()), (Some(0), "rocfft-archive\nrocfft\n"), "{}", added.stderr);
    says(&added.stderr, &["when both are over: rocbed results compare rocfft-archive rocfft"]);
    let shown = hub.json(&["jobs", "show", "rocfft"]);
    let file = &shown["job"]["packages"][0];
    let deb = directory.path().join("librocfft0_7.2-1_amd64.deb");
    assert_eq!(file["file"], "librocfft0_7.2-1_amd64.deb");
    assert_eq!(file["size"], fs::metadata(&deb).expect("the package").len());
    assert_eq!(file["sha256"].as_str(), tool("sha256sum", [&deb]).split_whitespace().next());
    assert!(hub.json(&["jobs", "show", "rocfft-archive"])["job"]["packages"].is_null());

    // The worker that has the job gets the file; then both results are compared.
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    worker.deliver(&worker.begin(), Verdict::Pass);
    let own = worker.begin();
    let mut fetched = Vec::new();
    let sha256 = own.job.packages[0].check().expect("its digest").sha256;
    worker.client().package(&own.lease, &sha256, 0, &mut fetched).expect("the package");
    assert_eq!(fetched, fs::read(&deb).expect("the package"));
    worker.deliver(&own, Verdict::Fail);
    let compared = hub.call(&["results", "compare", "rocfft-archive", "rocfft"]).run();
    assert_eq!(compared.code, Some(4), "{}{}", compared.stdout, compared.stderr);
    says(&compared.stdout, &["regressed", "rocfft", "gfx1030"]);

    // The tests of another package with them, and a job list beside them.
    assert_eq!(hub.json(&["jobs", "add", "rocrand", &changes]), json!({ "jobs": ["rocrand"] }));
    let list = directory.path().join("jobs.toml");
    fs::write(&list, "[[job]]\npackage = \"hipcub\"\npackages = [\"librocfft0_7.2-1_amd64.deb\"]\n").expect("a list");
    assert_eq!(hub.json(&["jobs", "import", &list.display().to_string()]), json!({ "jobs": ["hipcub"] }));
    assert_eq!(hub.json(&["jobs", "show", "hipcub"])["job"]["packages"][0]["sha256"], file["sha256"]);

    fs::write(&deb, "another build").expect("a package");
    let refused = hub.call(&["jobs", "add", &changes]).run();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    says(&refused.stderr, &["is not the file that", "help: build the package again"]);
    fs::remove_file(&deb).expect("removing it");
    says(&hub.call(&["jobs", "add", &changes]).fails(), &["is not there", "help: copy it there; `dcmd cp"]);
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
    let claim = Claim { request: "c1".into(), wait: 0, ..Claim::default() };
    let refused = worker.client().claim(&claim).expect_err("it is paused");
    says(&refused.to_string(), &["needed for a talk"]);
    says(&refused.help().to_string(), &["rocbed workers resume"]);
    hub.call(&["workers", "resume", "lab-1"]).ok();
    let begun = worker.begin();
    assert_eq!(begun.job.id, "rocrand");
    // It hears of that instead of a job.
    hub.call(&["workers", "retry-gpu", "lab-1", "0000:43:00.0"]).ok();
    let claim = Claim { request: "c2".into(), wait: 0, ..Claim::default() };
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
