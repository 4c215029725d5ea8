//! Packages of tested runs are kept, so that a run can be made again when the archive has them no more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use advice::Advice;
use client::{Client, ClientError};
use hub::{ArchiveFile, ArchiveFiles, KeepOptions};
use protocol::api::{AskKept, KeptUse, PackageVersion, ProblemCode};
use protocol::{InstalledPackage, PackageList, TestOutcome, Verdict};
use sha256::Digest;

use crate::support::{Outcome, Running, Worker, start};

/// An archive of small files.
#[derive(Default)]
struct Archive {
    /// By name and version.
    files: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    fetched: Mutex<Vec<String>>,
    /// Whether its mirror does not answer.
    is_away: AtomicBool,
}

fn package(name: &str, version: &str) -> InstalledPackage {
    InstalledPackage {
        name: name.into(),
        architecture: "amd64".into(),
        version: version.into(),
        source: name.trim_start_matches("lib").into(),
        source_version: version.into(),
    }
}

impl Archive {
    /// A package replaces the earlier version.
    fn upload(&self, name: &str, version: &str) {
        let mut files = self.files.lock().expect("no panic");
        files.retain(|(other, _), _| other != name);
        files.insert((name.into(), version.into()), format!("{name} {version} {}", "x".repeat(80)).into_bytes());
    }
}

impl ArchiveFiles for Archive {
    fn find(&self, packages: &[InstalledPackage]) -> Option<Vec<ArchiveFile>> {
        let files = self.files.lock().expect("no panic");
        let file = |package: &InstalledPackage| {
            let content = files.get(&(package.name.clone(), package.version.clone()))?;
            Some(ArchiveFile {
                package: package.clone(),
                path: format!("pool/{}_{}_amd64.deb", package.name, package.version),
                sha256: Digest::of(content),
                size: content.len() as u64,
            })
        };
        (!files.is_empty()).then(|| packages.iter().filter_map(file).collect())
    }

    fn fetch(&self, file: &ArchiveFile, directory: &Path) -> Result<PathBuf, Advice> {
        self.fetched.lock().expect("no panic").push(format!("{} {}", file.package.name, file.package.version));
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Advice::new("the mirror does not answer", "try again"));
        }
        let key = (file.package.name.clone(), file.package.version.clone());
        let content = self.files.lock().expect("no panic").get(&key).cloned();
        let content = content.ok_or_else(|| Advice::new("it is gone", "nothing"))?;
        // A mirror that has another file under the name is not believed.
        let content = if file.package.name == "libevil" { b"another".to_vec() } else { content };
        std::fs::write(directory.join("file"), content).expect("it is written");
        Ok(directory.join("file"))
    }
}

/// Runs a job of `rocfft` with these packages installed.
fn run(hub: &Running, worker: &Worker, outcome: TestOutcome, installed: &[(&str, &str)]) -> Outcome {
    hub.pass(60);
    hub.add("[[job]]\npackage = \"rocfft\"\n");
    let claimed = worker.begin();
    let verdict = if outcome == TestOutcome::Pass { Verdict::Pass } else { Verdict::Fail };
    let mut result = worker.result(&claimed.job, verdict);
    let list: PackageList = installed.iter().map(|(name, version)| package(name, version)).collect();
    let digest = result.installed.add(&list);
    let tests = &mut result.runs[0].tests;
    tests.truncate(1);
    (tests[0].outcome, tests[0].installed) = (outcome, digest);
    worker.deliver_result(&claimed, &result)?;
    Ok(())
}

/// Packages are kept when the test says so: the hub serves already.
fn keep(hub: &Running, archive: &Arc<Archive>, limit: u64) {
    assert_eq!(hub.get("/archive").0, 200);
    hub.hub.keep_packages(KeepOptions { files: archive.clone(), limit });
}

fn look(hub: &Running) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(hub.hub.keep_packages_now());
}

fn bytes(hub: &Running) -> String {
    let metrics = hub.get("/metrics").1;
    metrics.lines().find(|line| line.starts_with("rocbed_kept_package_bytes ")).unwrap_or_default().to_owned()
}

#[test]
fn a_version_that_the_archive_has_no_more_comes_from_the_hub() -> Outcome {
    let (hub, archive) = (start(), Arc::new(Archive::default()));
    let worker = hub.worker("w1", "gfx1030");
    keep(&hub, &archive, 1 << 20);
    run(&hub, &worker, TestOutcome::Pass, &[("libhip", "1"), ("rocfft", "7"), ("libown", "1+local1")])?;
    look(&hub);
    assert!(archive.fetched.lock().expect("no panic").is_empty(), "no archive was read yet");
    for name in ["libhip", "libevil", "rocfft"] {
        archive.upload(name, if name == "rocfft" { "7" } else { "1" });
    }
    run(&hub, &worker, TestOutcome::Pass, &[("libhip", "1"), ("libevil", "1")])?;
    look(&hub);
    look(&hub);
    // Only what the archive names; what came from a worker is nothing but names. What is kept is fetched once, and what the
    // mirror has another file of each time.
    let mut fetched = archive.fetched.lock().expect("no panic").clone();
    fetched.sort_unstable();
    fetched.dedup();
    assert_eq!(fetched, ["libevil 1", "libhip 1", "rocfft 7"]);

    let wants = "[[job]]\npackage = \"rocfft\"\nversions = { libhip = \"1\", libevil = \"1\", rocfft = \"7\" }\n";
    hub.add(wants);
    let claimed = worker.begin();
    assert_eq!((claimed.job.versions.len(), claimed.job.packages.len()), (3, 0), "the archive has them");
    worker.deliver(&claimed, Verdict::Pass)?;

    for (name, version) in [("libhip", "2"), ("libevil", "2"), ("rocfft", "8")] {
        archive.upload(name, version);
    }
    look(&hub);
    let added = hub.add(wants).remove(0);
    let claimed = worker.begin();
    let names: Vec<&str> = claimed.job.packages.iter().map(protocol::PackageFile::name).collect();
    // The tested package itself is not among them: the tests of that version are not kept.
    let left: Vec<&str> = claimed.job.versions.keys().map(String::as_str).collect();
    assert_eq!((names, left), (vec!["libhip_1_amd64.deb"], vec!["libevil", "rocfft"]));
    let content = claimed.job.packages[0].content.expect("its digest");
    let mut file = Vec::new();
    worker.client.package(&claimed.lease, &content.sha256, 0, &mut file)?;
    assert_eq!(Digest::of(&file), content.sha256);
    // People see the job as it was added.
    assert_eq!((hub.people().job(&added)?.job.versions.len(), hub.people().job(&added)?.job.packages.len()), (3, 0));
    worker.deliver(&claimed, Verdict::Pass)?;
    Ok(())
}

/// Downloads a package that the hub keeps.
fn fetch(client: &Client, sha256: &Digest, from: u64) -> Result<Vec<u8>, ClientError> {
    let mut content = Vec::new();
    client.kept_package(sha256, from, &mut content).map(|_| content)
}

#[test]
fn people_with_the_admin_token_download_what_is_kept() -> Outcome {
    let (hub, archive) = (start(), Arc::new(Archive::default()));
    let worker = hub.worker("w1", "gfx1030");
    keep(&hub, &archive, 1 << 20);
    archive.upload("libhip", "1");
    run(&hub, &worker, TestOutcome::Pass, &[("libhip", "1")])?;
    look(&hub);
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "own")?;
    let own = hub.people().upload_package(file.path(), |_, _| ())?;

    let question = AskKept {
        tested: "rocfft".into(),
        packages: vec![PackageVersion { name: "libhip".into(), version: "1".into() }],
    };
    let answer = hub.people().kept_packages(&question)?;
    assert!(answer.may_fetch);
    let [file] = &answer.packages[0].files[..] else { panic!("{answer:?}") };
    assert_eq!(file.name(), "libhip_1_amd64.deb");
    let content = file.content.expect("its digest");
    let whole = fetch(&hub.people(), &content.sha256, 0)?;
    assert_eq!((Digest::of(&whole), whole.len() as u64), (content.sha256, content.size));
    assert_eq!(fetch(&hub.people(), &content.sha256, 10)?, whole[10..], "a download that was cut goes on");

    // Others learn that it is there, and do not get it.
    let joining = hub.client().with_token(hub.hub.join_token());
    for (client, code) in [
        (&hub.client(), ProblemCode::Unauthorized),
        (&worker.client, ProblemCode::Forbidden),
        (&joining, ProblemCode::Forbidden),
        (&hub.client().with_token("unknown"), ProblemCode::Unauthorized),
    ] {
        let refused = fetch(client, &content.sha256, 0).expect_err("it is refused");
        assert_eq!(refused.code(), Some(code), "{refused}");
    }
    for client in [&hub.client(), &worker.client] {
        let answer = client.kept_packages(&question)?;
        assert!(!answer.may_fetch && answer.packages[0].given == KeptUse::InArchive, "{answer:?}");
    }
    // Nor is it a way to the files that jobs bring along.
    for sha256 in [own, Digest::of(b"nothing")] {
        let refused = fetch(&hub.people(), &sha256, 0).expect_err("it is not kept");
        assert_eq!(refused.code(), Some(ProblemCode::NotFound), "{refused}");
    }
    let strange = hub.raw(
        format!(
            "GET /api/v1/kept-packages/..%2Fadmin-token HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
             authorization: Bearer {}\r\n\r\n",
            hub.admin
        )
        .as_bytes(),
    );
    assert!(strange.starts_with("HTTP/1.1 4") && strange.contains("64 hexadecimal digits"), "{strange}");
    Ok(())
}

/// Whether a job gets this version, which the archive has no more.
fn is_kept(hub: &Running, worker: &Worker, name: &str, version: &str) -> Result<bool, Box<dyn std::error::Error>> {
    hub.add(&format!("[[job]]\npackage = \"rocblas\"\nversions = {{ {name} = \"{version}\" }}\n"));
    let claimed = worker.begin();
    let kept = !claimed.job.packages.is_empty();
    worker.deliver(&claimed, Verdict::Pass)?;
    Ok(kept)
}

#[test]
fn the_limit_is_kept_and_what_histories_need_goes_last() -> Outcome {
    let (hub, archive) = (start(), Arc::new(Archive::default()));
    let worker = hub.worker("w1", "gfx1030");
    // Three files of some 90 bytes.
    keep(&hub, &archive, 300);
    let mut versions = Vec::new();
    for (number, outcome) in
        [TestOutcome::Pass, TestOutcome::Fail, TestOutcome::Fail, TestOutcome::Fail].iter().enumerate()
    {
        let version = number.to_string();
        archive.upload("libhip", &version);
        run(&hub, &worker, *outcome, &[("libhip", &version)])?;
        look(&hub);
        versions.push(version);
    }
    archive.upload("libhip", "9");
    look(&hub);
    // Version 0 is that of the last good run, and 1 of the first bad one. 2 was not used since.
    let found =
        versions.iter().map(|version| is_kept(&hub, &worker, "libhip", version)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(found, [true, true, false, true]);
    let size = "libhip 0 ".len() + 80;
    assert_eq!(bytes(&hub), format!("rocbed_kept_package_bytes {}", 3 * size));
    Ok(())
}

#[test]
fn packages_that_a_run_has_again_stay_longer() -> Outcome {
    let (hub, archive) = (start(), Arc::new(Archive::default()));
    let worker = hub.worker("w1", "gfx1030");
    // Two files of some 90 bytes.
    keep(&hub, &archive, 200);
    for name in ["liba", "libb", "liba", "libc"] {
        archive.upload(name, "1");
        run(&hub, &worker, TestOutcome::Pass, &[(name, "1")])?;
        look(&hub);
    }
    let names = ["liba", "libb", "libc"];
    for name in names {
        archive.upload(name, "2");
    }
    look(&hub);
    let found = names.iter().map(|name| is_kept(&hub, &worker, name, "1")).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(found, [true, false, true]);
    Ok(())
}

#[test]
fn what_cannot_be_fetched_is_tried_again_without_another_run() -> Outcome {
    let (hub, archive) = (start(), Arc::new(Archive::default()));
    let worker = hub.worker("w1", "gfx1030");
    keep(&hub, &archive, 1 << 20);
    archive.upload("libhip", "1");
    archive.is_away.store(true, Ordering::SeqCst);
    run(&hub, &worker, TestOutcome::Pass, &[("libhip", "1")])?;
    look(&hub);
    assert_eq!(bytes(&hub), "rocbed_kept_package_bytes 0");
    archive.is_away.store(false, Ordering::SeqCst);
    look(&hub);
    assert_ne!(bytes(&hub), "rocbed_kept_package_bytes 0");
    // Once it is there, that is all.
    let count = || archive.fetched.lock().expect("no panic").len();
    let before = count();
    look(&hub);
    assert_eq!((before, count()), (2, 2));

    // Somebody who makes a run again is told what the hub has, and what jobs get of it.
    let version = |name: &str, version: &str| PackageVersion { name: name.into(), version: version.into() };
    let asked = |tested: &str| -> Result<_, Box<dyn std::error::Error>> {
        let packages = vec![version("libhip", "1"), version("libhip", "0")];
        let answer = hub.people().kept_packages(&AskKept { tested: tested.into(), packages })?;
        assert!(answer.keeps && answer.packages.len() == 1 && answer.packages[0].package == version("libhip", "1"));
        Ok(answer.packages[0].given)
    };
    assert_eq!(asked("rocfft")?, KeptUse::InArchive);
    archive.upload("libhip", "2");
    look(&hub);
    assert_eq!((asked("rocfft")?, asked("hip")?), (KeptUse::Given, KeptUse::OfTestedSource));
    assert_eq!(asked("")?, KeptUse::Given, "of a tree of one's own");
    let many = vec![version("a", "1"); AskKept::MOST + 1];
    assert!(hub.people().kept_packages(&AskKept { tested: String::new(), packages: many }).is_err());
    Ok(())
}
