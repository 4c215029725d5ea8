//! An archive that is watched: which jobs its changes make, and what happens if it cannot be read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use advice::Advice;
use hub::{ArchiveState, ReadArchive, WatchOptions, WatchedPackage};
use jiff::Timestamp;
use protocol::api::{Health, WorkerReport};
use protocol::{GpuNeed, Verdict};
use sha256::Digest;

use crate::support::{Outcome, Running, start, start_in};

/// An archive that tests change.
#[derive(Default)]
struct Archive(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// Date of the Release file, in hours since 1970.
    hour: i64,
    packages: BTreeMap<&'static str, (&'static str, GpuNeed, String)>,
    /// Why it cannot be read.
    problem: Option<&'static str>,
    /// How often its indexes were read.
    read: u32,
}

impl ReadArchive for Archive {
    fn read(&self, known: Option<Digest>) -> Result<Option<ArchiveState>, Advice> {
        let mut inside = self.0.lock().expect("no panic");
        if let Some(problem) = inside.problem {
            return Err(Advice::new(problem, "look at the mirror"));
        }
        let release = Digest::of(format!("{} {:?}", inside.hour, inside.packages));
        if known == Some(release) {
            return Ok(None);
        }
        inside.read += 1;
        let package = |(name, (version, need, libraries)): (&&str, &(&str, GpuNeed, String))| WatchedPackage {
            package: (*name).to_owned(),
            version: (*version).to_owned(),
            need: need.clone(),
            tested_with: libraries.split(' ').filter_map(|item| item.split_once('=')).map(owned).collect(),
        };
        Ok(Some(ArchiveState {
            suite: "sid".into(),
            date: Timestamp::from_second(inside.hour * 3600).expect("a time"),
            release,
            packages: inside.packages.iter().map(package).collect(),
        }))
    }
}

fn owned((name, version): (&str, &str)) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

impl Archive {
    /// A newer state, in which a package has this version and runs with these libraries.
    fn upload(&self, package: &'static str, version: &'static str, need: GpuNeed, libraries: &str) {
        let mut inside = self.0.lock().expect("no panic");
        inside.hour += 6;
        inside.packages.insert(package, (version, need, libraries.to_owned()));
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.0.lock().expect("no panic"));
    }
}

/// Jobs are made when the test says so: the hub serves already.
fn watch(hub: &Running, archive: &Arc<Archive>, budget: u32) {
    let archive = archive.clone();
    assert_eq!(hub.get("/archive").0, 200);
    hub.hub.watch_archive(WatchOptions { archive, every: Duration::from_secs(3600), budget, priority: 0 });
}

fn watching(archive: &Arc<Archive>, budget: u32) -> Running {
    let running = start();
    watch(&running, archive, budget);
    running
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Reads the archive, and makes jobs; returns their ids.
fn look(hub: &Running) -> Vec<String> {
    run(async {
        hub.hub.read_archive().await;
        hub.hub.make_watch_jobs().await
    })
}

fn targets(names: &[&str]) -> GpuNeed {
    GpuNeed::Targets(names.iter().map(|name| name.parse().expect("a target")).collect())
}

#[test]
fn each_change_is_tested_once_on_each_target() -> Outcome {
    let archive = Arc::new(Archive::default());
    let hub = watching(&archive, 50);
    let worker = hub.worker("w1", "gfx1030");
    let _other = hub.worker("w2", "gfx906");
    archive.upload("rocrand", "1-1", GpuNeed::Any, "libhip=6 librocrand1=1-1");
    archive.upload("hipcub", "1-1", targets(&["gfx906", "gfx90a"]), "libhip=6");
    assert_eq!(look(&hub), ["hipcub@gfx906", "rocrand@gfx1030", "rocrand@gfx906"], "nothing was tested before");
    assert!(look(&hub).is_empty(), "once");

    let claimed = worker.begin();
    assert_eq!((claimed.job.id.as_str(), claimed.testbed.upgrade), ("rocrand@gfx1030", true));
    // While it runs its library changes: that is another question.
    archive.upload("rocrand", "1-1", GpuNeed::Any, "libhip=7 librocrand1=1-1");
    assert_eq!(look(&hub), ["rocrand@gfx1030-2"], "the queued job of gfx906 will run with it");
    worker.deliver(&claimed, Verdict::Pass)?;
    let page = hub.get("/archive").1;
    assert!(page.contains("libhip 6 -&#62; 7") && page.contains("Everything is tested"), "{page}");

    // Only what differs from what was tested is tested: here again what the queued job is for.
    archive.upload("rocrand", "1-2", GpuNeed::Any, "libhip=7 librocrand1=1-2");
    assert!(look(&hub).is_empty());
    worker.deliver(&worker.begin(), Verdict::Fail)?;
    assert!(look(&hub).is_empty());
    archive.upload("rocrand", "1-3", GpuNeed::Any, "libhip=7 librocrand1=1-3");
    assert_eq!(look(&hub), ["rocrand@gfx1030-3"]);
    Ok(())
}

#[test]
fn what_has_a_result_already_is_not_tested_again() -> Outcome {
    let archive = Arc::new(Archive::default());
    let hub = watching(&archive, 50);
    let worker = hub.worker("w1", "gfx1030");
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = \"any\"\n");
    worker.deliver(&worker.begin(), Verdict::Pass)?;
    archive.upload("rocrand", "1.2-3", GpuNeed::Any, "libhip=6");
    archive.upload("rocfft", "1.2-3", GpuNeed::Any, "libhip=6");
    assert_eq!(look(&hub), ["rocfft@gfx1030"]);
    archive.upload("rocrand", "1.2-3", GpuNeed::Any, "libhip=7");
    assert_eq!(look(&hub), ["rocrand@gfx1030"]);
    Ok(())
}

#[test]
fn a_worker_gets_its_budget_and_the_rest_waits_its_turn() -> Outcome {
    let archive = Arc::new(Archive::default());
    let hub = watching(&archive, 3);
    let worker = hub.worker("w1", "gfx1030");
    for package in ["pa", "pb", "pc", "pd", "pe", "?"] {
        archive.upload(package, "1-1", GpuNeed::Any, "libhip=6");
    }
    assert_eq!(look(&hub), ["pa@gfx1030", "pb@gfx1030"], "few in advance");
    for next in [&["pc@gfx1030"][..], &[], &[]] {
        worker.deliver(&worker.begin(), Verdict::Pass)?;
        assert_eq!(look(&hub), next);
    }
    let page = hub.get("/archive").1;
    assert!(page.contains("version 1-1 was not tested on it"), "{page}");
    // What changes meanwhile is tested as it is then, and has waited since the first change.
    hub.pass(3600);
    archive.upload("pe", "1-2", GpuNeed::Any, "libhip=6");
    archive.upload("pa", "1-2", GpuNeed::Any, "libhip=6");
    assert!(look(&hub).is_empty());
    hub.pass(24 * 3600);
    worker.client.report("w1", &WorkerReport { health: Health::Ready, message: String::new() })?;
    assert_eq!(look(&hub), ["pa@gfx1030-2", "pd@gfx1030"], "a new version goes before what was never tested");
    Ok(())
}

#[test]
fn an_archive_that_cannot_be_used_is_told_and_loses_nothing() -> Outcome {
    let directory = tempfile::tempdir()?;
    let archive = Arc::new(Archive::default());
    let hub = start_in(directory.path(), |_| ());
    watch(&hub, &archive, 50);
    hub.worker("w1", "gfx1030");
    archive.upload("rocrand", "1-1", GpuNeed::Any, "libhip=6");
    assert_eq!(look(&hub).len(), 1);

    let told = |hub: &Running, words: &str| {
        assert!(look(hub).is_empty());
        let page = hub.get("/archive").1;
        assert!(page.contains("cannot be used since") && page.contains(words), "{page}");
        assert!(hub.get("/metrics").1.contains("rocbed_watch_works 0\n"));
    };
    archive.change(|inside| inside.problem = Some("the signature is wrong"));
    told(&hub, "the signature is wrong; look at the mirror");
    // An old copy with a good signature, and one in which everything is missing.
    archive.change(|inside| (inside.problem, inside.hour) = (None, 1));
    told(&hub, "older than the one");
    let packages = archive.0.lock().expect("no panic").packages.clone();
    archive.change(|inside| (inside.hour, inside.packages) = (20, BTreeMap::new()));
    told(&hub, "has no package any more");

    // After a start everything is as it was, and what has changed meanwhile is found.
    drop(hub);
    archive.change(|inside| (inside.hour, inside.packages) = (30, packages));
    let hub = again(directory.path(), &archive);
    assert!(look(&hub).is_empty(), "tested before");
    assert!(hub.get("/metrics").1.contains("rocbed_watch_works 1\n"));
    archive.upload("rocrand", "1-2", GpuNeed::Any, "libhip=6");
    assert!(look(&hub).is_empty(), "its job is still queued");
    let read = archive.0.lock().expect("no panic").read;
    assert!(look(&hub).is_empty());
    assert_eq!(archive.0.lock().expect("no panic").read, read, "an archive that is unchanged is not read");
    Ok(())
}

fn again(directory: &Path, archive: &Arc<Archive>) -> Running {
    let hub = start_in(directory, |_| ());
    watch(&hub, archive, 50);
    hub
}

#[test]
fn without_an_archive_the_page_says_so() {
    let page = start().get("/archive").1;
    assert!(page.contains("No archive is watched"), "{page}");
}
