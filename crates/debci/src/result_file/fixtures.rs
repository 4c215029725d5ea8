//! Results and bundles for tests.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use bundle::{BundleLimits, BundlePlan};
use protocol::{Job, JobResult, Machine, PackageVersion, Run, RunAs, TestOutcome, TestResult, Verdict};

/// A result with one run, of 137 seconds.
pub(crate) fn result(verdict: Verdict, exit_status: Option<i32>) -> JobResult {
    let started = jiff::Timestamp::new(1_700_000_000, 0).unwrap_or_default();
    let test = TestResult {
        name: "librocrand1-tests".into(),
        outcome: TestOutcome::Pass,
        reason: String::new(),
        seconds: Some(1.5),
        cases: None,
        installed: None,
    };
    let run = Run {
        run_as: RunAs::User,
        verdict,
        exit_status,
        seconds: 130.0,
        directory: "user".into(),
        package: Some(PackageVersion { name: "rocrand".into(), version: "6.4.3-1".into() }),
        tested: None,
        archives: Vec::new(),
        tests: vec![test],
    };
    JobResult {
        version: protocol::VERSION,
        job: Job::of_package("rocrand"),
        verdict,
        simulated: false,
        started,
        finished: started + std::time::Duration::from_secs(137),
        runs: vec![run],
        gpus: vec!["0000:03:00.0".into()],
        machine: Machine::default(),
        warnings: Vec::new(),
        problem: None,
        processors: None,
        gpu_energy: None,
        kernel_log: Vec::new(),
        installed: protocol::InstalledLists::default(),
        parts: Vec::new(),
    }
}

/// A bundle with this result and these files, of which those that begin with `user/` are autopkgtest's. Contents that
/// begin with `->` are links.
pub(crate) fn bundle(result: &JobResult, files: &[(&str, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let base = directory.path().join("base");
    fs::create_dir_all(base.join("user"))?;
    fs::write(base.join("result.json"), serde_json::to_vec(result)?)?;
    for (name, content) in files {
        let path = base.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        match content.strip_prefix(b"->") {
            Some(target) => std::os::unix::fs::symlink(String::from_utf8_lossy(target).as_ref(), path)?,
            None => fs::write(path, content)?,
        }
    }
    let plan = BundlePlan::make(&base, &["user".into()], &BundleLimits { bytes: 1 << 30, entries: 100_000 });
    assert!(plan.left_out.is_empty(), "{:?}", plan.left_out);
    let top = files.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("user/"));
    let first: Vec<&str> = std::iter::once("result.json").chain(top).collect();
    let written = bundle::write(directory.path(), "b", &base, &first, &plan)?;
    let mut bytes = Vec::new();
    fs::File::open(written.path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes that cannot be compressed; different ones for each seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
