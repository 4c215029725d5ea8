use std::collections::BTreeMap;
use std::io::Cursor;

use proptest::prelude::*;
use protocol::{JobResult, Verdict};

use super::fixtures::{bundle, noise, result};
use super::*;
use crate::queue::architecture;

type Files = BTreeMap<String, Vec<u8>>;
type Error = Box<dyn std::error::Error>;

const TOP: &str = "autopkgtest-incoming/unstable/amd64+gfx1030/r/rocrand/17";

fn job() -> Result<JobLine, Error> {
    Ok(JobLine::parse(b"rocrand unstable run-id:17 trigger:rocr-runtime%2F6.4.3 backend:lxc")?)
}

fn heading<'a>(job: &'a JobLine, architecture: &'a str) -> Heading<'a> {
    Heading { run: job.run, job: Some(job), architecture, worker: "lab1.example", notes: Vec::new() }
}

fn make(bundle: &[u8], most: usize) -> Result<ResultFile, Error> {
    let (job, name) = (job()?, architecture("amd64", "gfx1030".parse()?));
    let made = of_bundle(&heading(&job, &name), &mut || Ok(Box::new(Cursor::new(bundle.to_vec()))), most)?;
    assert!(made.bytes.len() <= most, "{} of {most}", made.bytes.len());
    Ok(made)
}

/// The files of a result below its directory, with links as `-> TARGET`; all of one time.
fn files(made: &ResultFile, top: &str) -> Result<Files, Error> {
    let mut files = Files::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(made.bytes.as_slice()));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let name = path.strip_prefix(&format!("{top}/")).ok_or(path.as_str())?.to_owned();
        assert!(!name.split('/').skip(usize::from(name == "exitcode")).any(|part| part == "exitcode"), "{name}");
        let mut content = match entry.link_name()? {
            Some(target) => format!("-> {}", target.display()).into_bytes(),
            None => Vec::new(),
        };
        entry.read_to_end(&mut content)?;
        assert!(files.insert(name, content).is_none(), "{path} is there twice");
    }
    Ok(files)
}

fn text(files: &Files, name: &str) -> String {
    String::from_utf8_lossy(files.get(name).map_or(b"missing", Vec::as_slice)).into_owned()
}

fn log(files: &Files) -> Result<String, Error> {
    let mut log = String::new();
    flate2::read::GzDecoder::new(files.get("log.gz").ok_or("no log")?.as_slice()).read_to_string(&mut log)?;
    Ok(log)
}

fn autopkgtest(more: &[(&'static str, Vec<u8>)]) -> Vec<(&'static str, Vec<u8>)> {
    let text = |name, text: &str| (name, text.as_bytes().to_vec());
    let usual = [
        text("log", "rocbed: running the tests as user\nautopkgtest: x\n"),
        text("junit.xml", "<testsuites/>"),
        text("kernel.log", "amdgpu: ready\n"),
        text("user/log", "autopkgtest: x\n"),
        text("user/summary", "librocrand1-tests    PASS\n"),
        text("user/testpkg-version", "rocrand 6.4.3-1\n"),
        text("user/testbed-packages", "libamdhip64-6\t6.4.3-5\n"),
        text("user/testinfo.json", "{}\n"),
        text("user/librocrand1-tests-packages", "librocrand1\t6.4.3-1\n"),
        text("user/librocrand1-tests-stdout", "in the log too\n"),
        text("user/artifacts/librocrand1-tests/test.xml", "<testsuites/>\n"),
    ];
    usual.into_iter().chain(more.iter().cloned()).collect()
}

#[test]
fn a_result_has_what_debcis_own_worker_would_write() -> Result<(), Error> {
    let made = make(&bundle(&result(Verdict::Pass, Some(2)), &autopkgtest(&[]))?, LARGEST_MESSAGE)?;
    assert_eq!((made.exit_code, made.left_out), (2, 0));
    let files = files(&made, TOP)?;
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = [
        "artifacts/librocrand1-tests/test.xml",
        "duration",
        "exitcode",
        "librocrand1-tests-packages",
        "log.gz",
        "rocbed/junit.xml",
        "rocbed/kernel.log",
        "rocbed/result.json",
        "summary",
        "testbed-packages",
        "testinfo.json",
        "testpkg-version",
        "trigger",
        "worker",
    ];
    assert_eq!(names, expected);
    for (name, content) in [
        ("exitcode", "2\n"),
        ("duration", "137\n"),
        ("worker", "lab1\n"),
        ("trigger", "rocr-runtime%2F6.4.3\n"),
        ("testpkg-version", "rocrand 6.4.3-1\n"),
    ] {
        assert_eq!(text(&files, name), content, "{name}");
    }
    assert_eq!(log(&files)?, "autopkgtest: x\n");
    // The collector takes the time of this file for the job's end.
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(made.bytes.as_slice()));
    for entry in archive.entries()? {
        assert_eq!(entry?.header().mtime()?, 1_700_000_137);
    }
    Ok(())
}

#[test]
fn a_gpu_fault_is_told_in_the_log_and_is_no_pass() -> Result<(), Error> {
    let faulty = JobResult {
        simulated: true,
        problem: Some("the kernel's log tells of faults of the GPU".into()),
        processors: None,
        gpu_energy: None,
        kernel_log: vec!["amdgpu 0000:03:00.0: GPU reset begin!\u{1b}[2J".into()],
        ..result(Verdict::GpuFault, Some(0))
    };
    let made = make(&bundle(&faulty, &autopkgtest(&[]))?, LARGEST_MESSAGE)?;
    let log = log(&files(&made, TOP)?)?;
    assert_eq!(made.exit_code, 16);
    for line in [
        "the verdict is gpu-fault: the kernel's log",
        "exit status 0; debci is told 16",
        "GPU reset begin",
        "simulated",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains('\u{1b}'));
    Ok(())
}

#[test]
fn what_a_test_leaves_is_never_taken_for_a_result() -> Result<(), Error> {
    let of = |name, content: &str| (name, content.as_bytes().to_vec());
    let attack = [
        of("user/artifacts/2/exitcode", "4\n"),
        of("user/artifacts/x/exitcode/log", "x"),
        of("user/artifacts/y/exitcode", "->test"),
        of("user/artifacts/y/test", "0"),
        of("user/artifacts/z/link", "->exitcode"),
        of("user/artifacts/z/exitcode", "0"),
        of("user/artifacts/log.gz", "an artifact"),
        of("user/exitcode", "0"),
        of("user/worker", "me"),
        of("user/log.gz", "no log"),
    ];
    let made = make(&bundle(&result(Verdict::Fail, Some(4)), &autopkgtest(&attack))?, LARGEST_MESSAGE)?;
    let files = files(&made, TOP)?;
    assert_eq!((text(&files, "exitcode"), text(&files, "worker")), ("4\n".into(), "lab1\n".into()));
    assert_eq!(text(&files, "artifacts/2/exitcode.artifact"), "4\n");
    assert_eq!(text(&files, "artifacts/y/exitcode.artifact"), "-> test");
    assert_eq!(text(&files, "artifacts/z/link"), "-> exitcode.artifact");
    assert_eq!(text(&files, "artifacts/log.gz"), "an artifact");
    assert_eq!(made.left_out, 3);
    let removed = text(&files, "artifacts.removed.txt");
    assert!(removed.contains("worker") && removed.contains("log.gz (its name"), "{removed}");
    Ok(())
}

#[test]
fn the_largest_artifacts_are_left_out_first_and_listed() -> Result<(), Error> {
    let large = [
        ("user/artifacts/a", noise(20_000, 1)),
        ("user/artifacts/b", noise(60_000, 2)),
        ("user/artifacts/c", noise(30_000, 3)),
        ("user/artifacts/d", noise(500, 4)),
        ("user/artifacts/b.removed-by-debci", b"a test's own".to_vec()),
    ];
    let made = make(&bundle(&result(Verdict::Pass, Some(0)), &autopkgtest(&large))?, 60_000)?;
    let files = files(&made, TOP)?;
    assert_eq!((made.exit_code, made.left_out), (0, 1));
    assert!(
        files.contains_key("artifacts/a") && files.contains_key("artifacts/c") && !files.contains_key("artifacts/b")
    );
    assert_eq!(text(&files, "artifacts/b.removed-by-debci"), "a test's own");
    let removed = text(&files, "artifacts.removed.txt");
    assert!(removed.contains("artifacts/b (60000 bytes)") && !removed.contains("artifacts/c"), "{removed}");
    assert!(log(&files)?.contains("a file was left out"));

    let made = make(&bundle(&result(Verdict::Pass, Some(0)), &autopkgtest(&large))?, 10_000)?;
    let files = super::tests::files(&made, TOP)?;
    assert_eq!((made.left_out, text(&files, "artifacts/c.removed-by-debci")), (3, String::new()));
    Ok(())
}

#[test]
fn a_log_that_cannot_be_compressed_is_cut() -> Result<(), Error> {
    let hex = noise(400_000, 5).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let made =
        make(&bundle(&result(Verdict::Pass, Some(0)), &[("user/log", hex.clone().into_bytes())])?, LARGEST_MESSAGE)?;
    assert_eq!(log(&files(&made, TOP)?)?, format!("{hex}\n"));
    let made = make(&bundle(&result(Verdict::Pass, Some(0)), &[("user/log", hex.clone().into_bytes())])?, 100_000)?;
    let log = log(&files(&made, TOP)?)?;
    assert!(log.starts_with(&hex[..200]) && log.ends_with(&format!("{}\n", &hex[hex.len() - 200..])));
    assert!(log.contains("bytes are left out here"));
    Ok(())
}

#[test]
fn a_job_without_a_run_has_the_log_that_there_is() -> Result<(), Error> {
    let nothing = JobResult {
        runs: Vec::new(),
        problem: Some("fetching the source: 404".into()),
        ..result(Verdict::TestbedFailed, None)
    };
    let made = make(&bundle(&nothing, &[("log", b"rocbed: fetching\n".to_vec())])?, LARGEST_MESSAGE)?;
    let files = files(&made, TOP)?;
    let log = log(&files)?;
    assert_eq!((made.exit_code, files.contains_key("testpkg-version")), (16, false));
    assert!(log.starts_with("rocbed: fetching\n") && log.contains("testbed-failed: fetching the source: 404"), "{log}");
    Ok(())
}

#[test]
fn a_refused_job_says_why() -> Result<(), Error> {
    let job = job()?;
    let when = jiff::Timestamp::from_second(1_700_000_000)?;
    let refused = of_refusal(&heading(&job, "amd64+gfx1030"), "autopkgtest variant: x", when)?;
    let files_of = files(&refused, TOP)?;
    assert_eq!((refused.exit_code, text(&files_of, "exitcode")), (16, "16\n".to_owned()));
    assert_eq!(log(&files_of)?, "rocbed: this job was not run: autopkgtest variant: x\n");
    // Of a line that could not be read only the run id is known, and that is enough for the collector.
    let unknown = Heading { job: None, ..heading(&job, "amd64+gfx1030") };
    assert_eq!(files(&of_refusal(&unknown, "x", when)?, "17")?.len(), 4);
    Ok(())
}

#[test]
fn packages_of_libraries_have_longer_prefixes() -> Result<(), Error> {
    let job = JobLine::parse(b"libfoo sid run-id:3")?;
    assert_eq!(top(&heading(&job, "amd64")), "autopkgtest-incoming/sid/amd64/libf/libfoo/3");
    Ok(())
}

#[test]
fn a_limit_that_nothing_can_keep_is_an_error() -> Result<(), Error> {
    let error = make(&bundle(&result(Verdict::Pass, Some(0)), &autopkgtest(&[]))?, 500).unwrap_err().to_string();
    assert!(error.contains("at most 500 bytes"), "{error}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever tests leave and however small the limit is, the result is below it, and has what debci needs.
    #[test]
    fn a_result_is_always_small_enough_and_complete(
        artifacts in proptest::collection::vec(("[a-c]{1,2}(/exitcode|/[a-c]|\\.removed-by-debci)?", 0..50_000_usize, any::<bool>()), 0..12),
        log_length in 0..200_000_usize,
        most in 8_000..200_000_usize,
    ) {
        let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (number, (name, size, is_noise)) in artifacts.into_iter().enumerate() {
            let name = format!("user/artifacts/{name}");
            // Nothing is below a file.
            let conflict = found.keys().any(|other| other.starts_with(&format!("{name}/")) || name.starts_with(&format!("{other}/")));
            if !conflict {
                found.insert(name, if is_noise { noise(size, number as u64) } else { vec![b'x'; size] });
            }
        }
        found.insert("user/log".into(), noise(log_length, 99));
        found.insert("user/summary".into(), b"t PASS\n".to_vec());
        let listed: Vec<(&str, Vec<u8>)> = found.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
        let made = make(&bundle(&result(Verdict::Pass, Some(0)), &listed).unwrap(), most).unwrap();
        let files = files(&made, TOP).unwrap();
        for name in ["exitcode", "duration", "worker", "log.gz", "trigger"] {
            prop_assert!(files.contains_key(name), "{}", name);
        }
        // What is there is whole, and what is not is listed.
        let removed = text(&files, "artifacts.removed.txt");
        let mut missing = 0;
        for (name, content) in found.iter().filter(|(name, _)| *name != "user/log") {
            let name = crate::file_name::in_result(name.trim_start_matches("user/"));
            if files.get(&name) != Some(content) {
                missing += 1;
                prop_assert!(removed.contains(&name), "{} is neither there nor listed", name);
            }
        }
        prop_assert_eq!(missing, made.left_out);
    }
}
