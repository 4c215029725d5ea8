//! Jobs with a stand-in for autopkgtest, a shell script that writes the same files: verdicts, deadlines, bundles. The
//! end-to-end tests use the real one.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use advice::Advise as _;
use protocol::{Cases, Job, RunAs, Source, Span, TestOutcome, Verdict};
use runner::{Cancel, Finished, Grant, KernelLog, Observer, RunEvent, Setup};
use tempfile::TempDir;

/// A directory with a source tree and a stand-in that runs `script`; `$out` is its output directory.
struct Place {
    directory: TempDir,
    setup: Setup,
    job: Job,
}

impl Place {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let debian = directory.path().join("tree/debian");
        fs::create_dir_all(debian.join("tests")).unwrap();
        fs::write(debian.join("control"), "Source: demo\n").unwrap();
        fs::write(debian.join("tests/control"), "Tests: a\nDepends:\n").unwrap();
        let program = directory.path().join("autopkgtest");
        let script = format!(
            "#!/bin/sh\nfor word; do case $word in --output-dir=*) out=${{word#*=}};; esac; done\nmkdir -p \"$out/artifacts\"\n\
             say() {{ echo \"autopkgtest [00:00:00]: $*\" >&2; }}\n{script}\n"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut setup =
            Setup::new(vec!["virt".into()], directory.path().into(), directory.path().join("bundles"), "demo");
        setup.autopkgtest = vec![program.into()];
        setup.limits.terminate = Duration::from_millis(300);
        let mut job = Job::new(Source::Path(directory.path().join("tree").display().to_string()));
        job.timeout = Span::seconds(60);
        Self { directory, setup, job }
    }

    fn run(&self) -> Finished {
        runner::run(&self.job, &self.setup, &mut (), &mut (), &Cancel::default()).unwrap()
    }
}

fn contents(path: &Path) -> bundle::Contents {
    bundle::read(fs::File::open(path).unwrap()).unwrap()
}

fn text(path: &Path, name: &str) -> String {
    let bytes = bundle::file(fs::File::open(path).unwrap(), name, 1 << 20).unwrap();
    String::from_utf8(bytes.unwrap_or_else(|| panic!("no {name}"))).unwrap()
}

const PASS: &str = "echo 'a                    PASS' > $out/summary; echo 'demo 1.0-1' > $out/testpkg-version";

#[test]
fn a_job_that_passes_as_both_users() {
    let mut place = Place::new(&format!(
        "say 'test a: [-----------------------'; sleep 0.01; say 'test a: -----------------------]'; {PASS}"
    ));
    place.job.run_as = vec![RunAs::User, RunAs::Root];
    let finished = place.run();
    let result = &finished.result;
    assert_eq!((result.verdict, result.runs.len(), result.problem.as_deref()), (Verdict::Pass, 2, None));
    assert_eq!(result.runs[1].package.as_ref().map(|package| package.version.as_str()), Some("1.0-1"));
    assert!(result.runs[0].tests[0].seconds.is_some());
    let contents = contents(&finished.bundle.path);
    assert_eq!(&contents.result, result);
    let names: Vec<&str> = contents.entries.iter().map(|entry| entry.name.as_str()).collect();
    let first = ["result.json", "junit.xml", "log", "kernel.log", "user", "user/log", "user/summary"];
    assert_eq!(names[..7], first);
    assert!(text(&finished.bundle.path, "user/log").contains("test a: -----------------------]"));
    assert!(names.contains(&"root/testpkg-version"));
    let sum = Command::new("sha256sum").arg(&finished.bundle.path).output().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(&finished.bundle.sha256.to_string()));
    assert_eq!(fs::metadata(&finished.bundle.path).unwrap().len(), finished.bundle.size);
    let left: Vec<PathBuf> = fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.len(), 3, "the tree, the program, the bundles: {left:?}");
}

#[test]
fn exit_statuses_become_verdicts() {
    for (script, verdict) in [
        ("echo 'a FAIL non-zero exit status 1' > $out/summary; exit 4", Verdict::Fail),
        ("echo '* SKIP no tests in this package' > $out/summary; exit 8", Verdict::Neutral),
        ("echo 'erroneous package: bad' > $out/summary; exit 12", Verdict::Fail),
        ("echo 'testbed failure: gone' > $out/summary; exit 16", Verdict::TestbedFailed),
        ("kill -9 $$", Verdict::TestbedFailed),
        ("echo 'a FAIL timed out' > $out/summary; exit 4", Verdict::Timeout),
    ] {
        let finished = Place::new(script).run();
        assert_eq!(finished.result.verdict, verdict, "{script}");
        let said = finished.result.problem.is_some();
        assert_eq!(said, !script.contains(" FAIL ") && !script.contains(" SKIP "), "{script}");
    }
}

#[test]
fn the_deadline_ends_what_listens_to_nothing() {
    let script = "mkdir -p $out/tests-tree/debian; trap '' TERM ALRM; say 'test a: [-----------------------'; echo half >$out/a-stdout; while :; do sleep 0.1; done";
    let mut place = Place::new(script);
    place.job.timeout = Span::seconds(2);
    place.job.run_as = vec![RunAs::User, RunAs::Root];
    let finished = place.run();
    let result = &finished.result;
    assert_eq!((result.verdict, result.runs.len(), finished.stuck), (Verdict::Timeout, 1, false));
    assert_eq!(result.runs[0].tests[0].outcome, TestOutcome::Unfinished);
    assert_eq!(result.runs[0].exit_status, None);
    assert!(result.problem.as_deref().is_some_and(|text| text.contains("at the test a")), "{:?}", result.problem);
    assert_eq!(text(&finished.bundle.path, "user/a-stdout"), "half\n");
    let names = contents(&finished.bundle.path).entries;
    assert!(!names.iter().any(|entry| entry.name.contains("tests-tree")), "what autopkgtest would have removed");
}

#[test]
fn at_the_deadline_what_there_is_is_fetched() {
    let script = "say 'test a: [-----------------------'; trap 'echo whole >$out/a-stdout; echo \"a FAIL timed out\" >$out/summary; say \"test b: preparing testbed\"; while :; do sleep 0.1; done' ALRM; while :; do sleep 0.1; done";
    let mut place = Place::new(script);
    place.job.timeout = Span::seconds(5);
    let finished = place.run();
    assert_eq!(finished.result.verdict, Verdict::Timeout);
    let tests: Vec<_> = finished.result.tests().map(|(_, test)| (test.name.as_str(), test.outcome)).collect();
    assert_eq!(tests, [("a", TestOutcome::Fail)], "b was never to begin");
    assert_eq!(text(&finished.bundle.path, "user/a-stdout"), "whole\n");
}

#[test]
fn a_job_can_be_cancelled() {
    struct Canceller(Cancel);
    impl Observer for Canceller {
        fn event(&mut self, event: RunEvent<'_>) {
            if matches!(event, RunEvent::TestStarted("a")) {
                self.0.cancel();
            }
        }
    }
    let place = Place::new("say 'test a: [-----------------------'; sleep 1000");
    let cancel = Cancel::default();
    let finished = runner::run(&place.job, &place.setup, &mut (), &mut Canceller(cancel.clone()), &cancel).unwrap();
    assert!(finished.cancelled);
    assert_eq!(finished.result.verdict, Verdict::TestbedFailed);
}

#[test]
fn hostile_artifacts_stay_where_they_are() {
    let script = format!(
        "{PASS}; cd $out/artifacts; ln -s /etc/passwd link; ln -s word inside; echo x > word; mkfifo pipe; \
         printf x > \"$(printf 'n\\377me')\"; mknod null c 1 3 2>/dev/null; truncate -s 1T huge; mkdir ../..evil; ln -s .. ../up; \
         touch $(printf 'l%.0s' $(seq 200))"
    );
    let place = Place::new(&script);
    let finished = place.run();
    let contents = contents(&finished.bundle.path);
    let names: Vec<&str> = contents.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert!(names.contains(&"user/artifacts/n\u{fffd}me") && names.contains(&"user/artifacts/inside"), "{names:?}");
    for absent in ["link", "pipe", "null", "huge"] {
        assert!(!names.contains(&format!("user/artifacts/{absent}").as_str()), "{absent}");
    }
    let warnings = finished.result.warnings.join("\n");
    for said in [
        "not kept: artifacts/link: it is a link to elsewhere",
        "not kept: artifacts/pipe: it is neither",
        "huge: its 1099511627776 bytes",
        "not kept: up: it is a link",
    ] {
        assert!(warnings.contains(said), "{said}: {warnings}");
    }
    let listed = Command::new("tar").args(["--zstd", "-tf"]).arg(&finished.bundle.path).output().unwrap();
    assert!(listed.status.success(), "install tar and zstd: {}", String::from_utf8_lossy(&listed.stderr));
}

#[test]
fn what_tests_left_is_harmless_in_the_results_too() {
    let script = format!(
        "{PASS}; cd $out/artifacts; cp /bin/true suid; chmod 6755 suid; ln -s /etc/passwd link; mkfifo pipe; ln {{outside}} tied; \
         echo 'left out of artifacts: big: its 7 bytes are beyond the limit of 1' >> \"$ROCBED_COPY_NOTES\""
    );
    let mut place = Place::new("");
    let outside = place.directory.path().join("outside");
    fs::write(&outside, "of the machine").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o4711)).unwrap();
    let program = fs::read_to_string(&place.setup.autopkgtest[0]).unwrap();
    let script = script.replace("{outside}", &outside.display().to_string());
    fs::write(&place.setup.autopkgtest[0], format!("{program}{script}\n")).unwrap();
    let keep = place.directory.path().join("keep");
    place.setup.keep = Some(keep.clone());
    let result = place.run().result;
    assert_eq!(result.verdict, Verdict::Pass);
    let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&keep.join("user/artifacts/suid")), 0o755);
    assert_eq!(mode(&outside), 0o4711);
    for gone in ["link", "pipe", "tied"] {
        assert!(keep.join("user/artifacts").join(gone).symlink_metadata().is_err(), "{gone}");
    }
    let warnings = result.warnings.join("\n");
    for said in
        ["artifacts/link: it is a link to elsewhere", "pipe: it is neither", "tied: it is a hard link", "big: its 7"]
    {
        assert!(warnings.contains(said), "{said}: {warnings}");
    }
}

#[test]
fn one_junit_report_of_everything() {
    let script = "
        printf 'a FAIL stderr: <oops> \"&\\nb PASS\\nc SKIP no GPU\\n' > $out/summary
        printf '\\033[31mred\\377 ]]> <tag>' > $out/a-stderr
        mkdir $out/artifacts/b
        cat > $out/artifacts/b/cases.xml <<XML
<testsuites><testsuite name=\"S\"><testcase name=\"x&lt;y\" classname=\"S\" time=\"0.5\"/>
<testcase name=\"z\" classname=\"S\"><failure message=\"1 &lt; 0\">at z.cpp</failure></testcase></testsuite></testsuites>
XML
        exit 6";
    let place = Place::new(script);
    let finished = place.run();
    let report = text(&finished.bundle.path, "junit.xml");
    let document = roxmltree::Document::parse(&report).unwrap();
    let root = document.root_element();
    assert_eq!(
        (root.attribute("tests"), root.attribute("failures"), root.attribute("disabled")),
        (Some("5"), Some("2"), Some("1"))
    );
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let names: Vec<_> = cases.iter().filter_map(|case| case.attribute("name")).collect();
    assert_eq!(names, ["a", "b", "c", "x<y", "z"]);
    let output = cases[0].descendants().find(|node| node.has_tag_name("system-err")).and_then(|node| node.text());
    assert_eq!(output, Some("\u{fffd}[31mred\u{fffd} ]]> <tag>"));
    let cases = finished.result.runs[0].tests[1].cases;
    assert_eq!(cases, Some(Cases { total: 2, failed: 1, skipped: 0 }));
}

#[test]
fn a_gpus_fault_is_the_verdict() {
    struct Fault(bool);
    impl KernelLog for Fault {
        fn read(&mut self, line: &mut dyn FnMut(&str)) -> io::Result<()> {
            if !std::mem::replace(&mut self.0, true) {
                line("4,100,5,-;usual business");
                line("3,101,6,-;amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=1, emitted seq=3");
            }
            Ok(())
        }
    }
    let mut place = Place::new(PASS);
    place.setup.gpus = vec![Grant { id: "0000:03:00.0".into(), render_node: None, simulated: false }];
    let finished = runner::run(&place.job, &place.setup, &mut Fault(false), &mut (), &Cancel::default()).unwrap();
    assert_eq!(finished.result.verdict, Verdict::GpuFault);
    assert_eq!(finished.result.kernel_log.len(), 1);
    assert_eq!(text(&finished.bundle.path, "kernel.log").lines().count(), 2);
}

#[test]
fn a_fault_that_leaves_the_gpu_not_as_it_was_ends_the_job_at_once() {
    struct Lost;
    impl KernelLog for Lost {
        fn read(&mut self, record: &mut dyn FnMut(&str)) -> io::Result<()> {
            record("[ 1.0] amdgpu 0000:03:00.0: amdgpu: device lost from bus!");
            Ok(())
        }
    }
    let mut place = Place::new("sleep 10000");
    place.setup.gpus = vec![Grant { id: "0000:03:00.0".into(), render_node: None, simulated: false }];
    let finished = runner::run(&place.job, &place.setup, &mut Lost, &mut (), &Cancel::default()).unwrap();
    assert_eq!(finished.result.verdict, Verdict::GpuFault);
    assert!(finished.result.problem.unwrap().contains("the job was ended for it"));
    assert_eq!(finished.faults.serious.into_keys().collect::<Vec<_>>(), ["0000:03:00.0"]);
    assert!(!finished.faults.contained && !finished.cancelled);
}

#[test]
fn skipping_everything_beside_a_gpu_is_strange() {
    let mut place = Place::new("echo 'a SKIP exit status 77 and marked as skippable' > $out/summary; exit 8");
    place.setup.gpus = vec![Grant { id: "simulated-0".into(), render_node: None, simulated: true }];
    let result = place.run().result;
    assert_eq!((result.verdict, result.simulated), (Verdict::Neutral, true));
    assert!(result.warnings[0].contains("all tests were skipped, although"), "{:?}", result.warnings);
}

#[test]
fn a_result_says_how_far_each_test_came_on_a_simulated_gpu() {
    let script = "for word; do case $word in */simulation) report=$word;; esac; done
        say 'test a: [-----------------------'; echo 'reached the first kernel launch (requests 9)' >> $report
        echo 'did not use the GPU (requests 0)' >> $report; say 'test a: -----------------------]'
        echo 'did not use the GPU (requests 0)' >> $report
        say 'test b: [-----------------------'; say 'test b: -----------------------]'
        echo 'a FAIL non-zero exit status 1' > $out/summary; echo 'b PASS' >> $out/summary; exit 4";
    let mut place = Place::new(script);
    place.setup.machine.gpus = gpu::simulate("gfx1030").unwrap();
    place.setup.gpus = place.setup.machine.gpus.gpus.iter().map(Grant::from).collect();
    let result = place.run().result;
    assert_eq!((result.verdict, result.simulated), (Verdict::Fail, true));
    let said = "test a as user: on the simulated GPU it reached the first kernel launch (requests 9)";
    assert_eq!(result.warnings, [said]);
}

#[test]
fn a_test_that_reached_a_limit_says_so_and_what_other_jobs_reach_is_not_told() {
    struct Ended;
    impl KernelLog for Ended {
        fn read(&mut self, record: &mut dyn FnMut(&str)) -> io::Result<()> {
            record("Memory cgroup out of memory: Killed process 812 (other)");
            Ok(())
        }
    }
    let memory = "the memory of the testbed was used up";
    let script = format!(
        "printf 'a\\t{memory}\\n' >> \"$ROCBED_LIMIT_NOTES\"; echo 'a FAIL non-zero exit status 137' > $out/summary; exit 4"
    );
    let mut place = Place::new(&script);
    place.setup.virt_server = ["server", "--memory", "90%"].map(Into::into).to_vec();
    let result = runner::run(&place.job, &place.setup, &mut Ended, &mut (), &Cancel::default()).unwrap().result;
    assert_eq!(result.verdict, Verdict::Fail);
    assert_eq!(result.runs[0].tests[0].reason, format!("non-zero exit status 137; {memory}"));
    assert_eq!(result.warnings, [format!("test a as user: {memory}")]);
    // Without a limit of the testbed's, the kernel's word is all there is.
    place.setup.virt_server.truncate(1);
    place.setup.name += "-again";
    let result = runner::run(&place.job, &place.setup, &mut Ended, &mut (), &Cancel::default()).unwrap().result;
    assert!(
        result.warnings.iter().any(|warning| warning.contains("a control group may have")),
        "{:?}",
        result.warnings
    );
}

#[test]
fn a_missing_autopkgtest_says_what_to_install() {
    let mut place = Place::new("");
    place.setup.autopkgtest = vec!["/nonexistent/autopkgtest".into()];
    let error = runner::run(&place.job, &place.setup, &mut (), &mut (), &Cancel::default()).unwrap_err();
    let help = error.help().to_string();
    assert!(help.contains("apt install autopkgtest"), "{error}: {help}");
}

#[test]
fn the_log_has_a_limit() {
    let mut place = Place::new(&format!("echo begin; head -c 100000 /dev/zero | tr '\\0' x; echo summary; {PASS}"));
    place.setup.limits.log = 1000;
    let bundle = place.run().bundle.path;
    for (name, first) in [("log", "rocbed: running the tests as user\nbegin\n"), ("user/log", "begin\n")] {
        let log = text(&bundle, name);
        assert!(log.len() < 1100 && log.starts_with(first) && log.ends_with("xsummary\n"), "{name}: {log}");
        assert!(log.contains("[the log is longer; 99"), "{name}: {log}");
    }
}

#[test]
fn cases_that_failed_in_a_test_that_passed_are_pointed_out() {
    let script = "
        echo 'a PASS' > $out/summary
        mkdir $out/artifacts/a
        printf '<testsuites><testsuite name=\"S\"><testcase name=\"x\"><failure/></testcase><testcase name=\"y\"/></testsuite></testsuites>' \
            > $out/artifacts/a/cases.xml
        printf '<testsuites><testsuite name=\"S\"><testcase name=\"x\"/><testca' > $out/artifacts/a/half.xml";
    let place = Place::new(script);
    let finished = place.run();
    assert_eq!(finished.result.verdict, Verdict::Pass);
    let expected = [
        "the test a passed, although 1 of the 3 cases in its reports failed",
        "artifacts/a/half.xml: it cannot be read from byte",
    ];
    for (warning, says) in finished.result.warnings.iter().zip(expected) {
        assert!(warning.starts_with(says), "{warning}");
    }
    assert_eq!(finished.result.warnings.len(), 2);
    let report = text(&finished.bundle.path, "junit.xml");
    assert!(report.contains("<system-out>warning: the test a passed, although 1 of the 3"), "{report}");
    assert!(report.contains("failures=\"1\" errors=\"0\""), "{report}");
}

#[test]
fn what_is_wrong_outside_of_all_tests_is_an_error_of_the_report() {
    for (script, verdict, count) in [
        ("echo 'testbed failure: gone' > $out/summary; exit 16", "testbed-failed", 1),
        ("echo 'erroneous package: bad' > $out/summary; exit 12", "fail", 1),
        ("printf 'a PASS\\ntestbed failure: gone\\n' > $out/summary; exit 16", "testbed-failed", 1),
        ("kill -9 $$", "testbed-failed", 1),
        ("echo 'a FAIL badpkg' > $out/summary; echo 'badpkg: no' >> $out/summary; exit 4", "fail", 0),
        ("echo '* SKIP no tests in this package' > $out/summary; exit 8", "neutral", 0),
        (PASS, "pass", 0),
    ] {
        let place = Place::new(script);
        let report = text(&place.run().bundle.path, "junit.xml");
        let document = roxmltree::Document::parse(&report).unwrap();
        let errors: Vec<_> = document.descendants().filter(|node| node.has_tag_name("error")).collect();
        assert_eq!(errors.len(), count, "{script}: {report}");
        assert!(errors.iter().all(|error| error.attribute("type") == Some(verdict)), "{report}");
        assert_eq!(document.root_element().attribute("errors"), Some(count.to_string().as_str()), "{report}");
    }
}

#[test]
fn what_apt_said_is_in_the_problem() {
    let script = "echo 'E: Failed to fetch http://mirror/InRelease  Could not connect' >&2; \
                  echo 'testbed failure: testbed setup commands failed with status 1' > $out/summary; exit 16";
    let problem = Place::new(script).run().result.problem.unwrap_or_default();
    assert_eq!(
        problem,
        "testbed failure: testbed setup commands failed with status 1; \
         apt said: Failed to fetch http://mirror/InRelease  Could not connect"
    );
}

#[test]
fn a_job_that_is_cancelled_while_its_source_is_fetched_ends() {
    let place = Place::new(PASS);
    let tree = place.directory.path().join("tree");
    assert!(
        Command::new("tar")
            .arg("-C")
            .arg(&tree)
            .args(["-czf", "tree.tar.gz", "."])
            .current_dir(place.directory.path())
            .status()
            .unwrap()
            .success()
    );
    let mut job = place.job.clone();
    job.source = Source::Path(place.directory.path().join("tree.tar.gz").display().to_string());
    let cancel = Cancel::default();
    cancel.cancel();
    let finished = runner::run(&job, &place.setup, &mut (), &mut (), &cancel).unwrap();
    assert!(finished.cancelled);
    assert_eq!(finished.result.problem.as_deref(), Some("the job was cancelled while its source was fetched"));
    assert_eq!(contents(&finished.bundle.path).result, finished.result);
}
