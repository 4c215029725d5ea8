//! Jobs with a stand-in for autopkgtest, a shell script that writes what it would: verdicts, deadlines, bundles.
//! The real one is in the end-to-end tests.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use protocol::{Cases, Job, RunAs, Source, Span, TestOutcome, Verdict};
use runner::{Cancel, Event, Finished, Grant, KernelLog, Observer, Setup, bundle};
use tempfile::TempDir;

/// A place with a source tree and a stand-in that runs `script`; `$out` is its output directory.
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
        setup.autopkgtest = program;
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
    assert_eq!(names[..6], ["result.json", "junit.xml", "log", "kernel.log", "user", "user/summary"]);
    assert!(names.contains(&"root/testpkg-version"));
    let sum = Command::new("sha256sum").arg(&finished.bundle.path).output().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(&finished.bundle.sha256));
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
        fn event(&mut self, event: Event<'_>) {
            if matches!(event, Event::TestStarted("a")) {
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
    for said in ["link: it is a link to elsewhere", "pipe: it is neither", "huge: its 1099511627776 bytes", "up: it is"]
    {
        assert!(warnings.contains(said), "{said}: {warnings}");
    }
    let listed = Command::new("tar").args(["--zstd", "-tf"]).arg(&finished.bundle.path).output().unwrap();
    assert!(listed.status.success(), "install tar and zstd: {}", String::from_utf8_lossy(&listed.stderr));
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
fn a_missing_autopkgtest_says_what_to_install() {
    let mut place = Place::new("");
    place.setup.autopkgtest = "/nonexistent/autopkgtest".into();
    let error = runner::run(&place.job, &place.setup, &mut (), &mut (), &Cancel::default()).unwrap_err().to_string();
    assert!(error.contains("apt-get install autopkgtest"), "{error}");
}

#[test]
fn the_log_has_a_limit() {
    let mut place = Place::new(&format!("head -c 100000 /dev/zero | tr '\\0' x; {PASS}"));
    place.setup.limits.log = 1000;
    let log = text(&place.run().bundle.path, "log");
    assert!(log.len() < 1200 && log.ends_with("the rest is not kept]\n"), "{}", log.len());
}

/// A bundle made by hand of tar entries.
fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut plain = Vec::new();
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        plain.extend_from_slice(header.as_bytes());
        plain.extend_from_slice(content);
        plain.resize(plain.len().next_multiple_of(512), 0);
    }
    plain.extend([0; 1024]);
    zstd::encode_all(&plain[..], 1).unwrap()
}

/// An error with what it comes from.
fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", whole(source)))
}

#[test]
fn what_is_no_bundle_is_refused() {
    use tar::EntryType;
    for (bytes, says) in [
        (b"hello".to_vec(), "reading the bundle"),
        (archive(&[]), "no result.json"),
        (archive(&[("../result.json", EntryType::Regular, b"{}")]), "leads out of it"),
        (archive(&[("/etc/passwd", EntryType::Regular, b"")]), "leads out of it"),
        (archive(&[("disk", EntryType::Block, b"")]), "an entry of the kind"),
        (archive(&[("a", EntryType::XHeader, b"")]), "an entry of the kind"),
        (
            archive(&[("log", EntryType::Regular, b""), ("result.json", EntryType::Regular, b"{}")]),
            "not its first entry",
        ),
        (archive(&[("result.json", EntryType::Regular, b"{}")]), "result.json in it"),
    ] {
        let error = whole(&bundle::parse(&bytes).unwrap_err());
        assert!(error.contains(says), "{says}: {error}");
    }
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    let error = whole(&bundle::parse(&bomb.finish().unwrap()).unwrap_err());
    assert!(error.contains("a name has 1073741824 bytes"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_bundle_or_refused(bytes: Vec<u8>) {
        drop(bundle::parse(&bytes));
        drop(bundle::parse(&zstd::encode_all(&bytes[..], 1).unwrap()));
    }
}
