//! A full disk: uploads are refused, nothing is lost, and work continues when there is room.

use std::path::Path;
use std::process::Command;

use protocol::Verdict;
use protocol::api::{Claim, Heartbeat, JobState, ProblemCode};

use crate::support::{Outcome, Worker, bundle, start_in, start_with};

#[test]
fn uploads_are_refused_while_the_disk_is_nearly_full() {
    let hub = start_with(|config| config.min_free = u64::MAX / 2);
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let error = worker.deliver(&claimed, Verdict::Pass).expect_err("no room");
    assert_eq!(error.code(), Some(ProblemCode::DiskFull));
    assert!(error.is_passing() && !error.is_unwanted());
    // Small requests still work: the lease is renewed, and the result can follow later.
    assert_eq!(worker.beat(&claimed.lease), None);
}

#[test]
fn what_is_there_already_needs_no_room() -> Outcome {
    let temp = tempfile::tempdir()?;
    let (claimed, bundle) = {
        let hub = start_in(temp.path(), |_| ());
        let worker = hub.worker("w1", "");
        hub.add("[[job]]\npackage = \"gzip\"\n");
        let claimed = worker.begin();
        let bundle = bundle(&worker.result(&claimed.job, Verdict::Pass));
        worker.upload(&bundle)?;
        (claimed, bundle)
    };
    // The answer to the completion was lost, and the hub restarts with a nearly full disk.
    let hub = start_in(temp.path(), |config| config.min_free = u64::MAX / 2);
    let worker = Worker::register(&hub.client().with_token(hub.hub.join_token()), "w1", "first", "", &[claimed.lease]);
    worker.upload(&bundle)?;
    Ok(())
}

#[test]
fn bundles_that_became_no_result_do_not_stay_for_ever() -> Outcome {
    let temp = tempfile::tempdir()?;
    let hub = start_in(temp.path(), |_| ());
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n");
    let (done, cancelled) = (worker.begin(), worker.begin());
    worker.deliver(&done, Verdict::Pass)?;
    hub.people().cancel(&cancelled.job.id)?;
    assert!(worker.deliver(&cancelled, Verdict::Pass).is_err());
    let bundles = || -> std::io::Result<Vec<std::path::PathBuf>> {
        let mut all = Vec::new();
        for directory in std::fs::read_dir(temp.path().join("bundles"))? {
            for file in std::fs::read_dir(directory?.path())? {
                all.push(file?.path());
            }
        }
        Ok(all)
    };
    let collect_garbage = || {
        tokio::runtime::Builder::new_current_thread().build().map(|runtime| runtime.block_on(hub.hub.collect_garbage()))
    };
    assert_eq!(bundles()?.len(), 2);
    collect_garbage()?;
    assert_eq!(bundles()?.len(), 2, "it is new");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 86_400);
    for path in bundles()? {
        std::fs::File::options().write(true).open(path)?.set_modified(old)?;
    }
    hub.pass(8 * 86_400);
    collect_garbage()?;
    let kept = hub.client().result(&done.job.id)?.info.bundle;
    let left: Vec<_> = bundles()?.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    assert_eq!(left, [kept.to_string()]);
    Ok(())
}

/// A small file system, unmounted when this is dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Self {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(at).status();
        let mounted = mount.is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a tmpfs: run it as root, or in `unshare -rm`; the package is mount");
        Self(at)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_disk_that_is_really_full_loses_nothing() -> Outcome {
    let temp = tempfile::tempdir()?;
    let _small = Small::mount(temp.path());
    let hub = start_in(&temp.path().join("hub"), |_| ());
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n");
    let claimed = worker.begin();
    let filler = temp.path().join("filler");
    fill(&filler);
    let error = worker.deliver(&claimed, Verdict::Pass).expect_err("no room");
    assert_eq!(error.code(), Some(ProblemCode::DiskFull), "{error}");
    // Requests that need the database are refused with a reason, unless its log still had room.
    match worker.client.claim(&Claim { request: "x".into(), wait: 0, ..Claim::default() }) {
        Ok(_) => {}
        Err(error) => assert!(error.is_passing(), "{error}"),
    }
    std::fs::remove_file(&filler)?;
    worker.deliver(&claimed, Verdict::Pass)?;
    assert_eq!(hub.people().job("gzip")?.state, JobState::Finished);
    let again = worker.client.claim(&Claim { request: "x".into(), wait: 0, ..Claim::default() })?;
    assert_eq!(again.map(|claimed| claimed.job.id).as_deref(), Some("sed"));
    drop(hub);
    Ok(())
}

#[test]
fn a_hub_starts_on_a_full_disk_and_goes_on_when_there_is_room() -> Outcome {
    let temp = tempfile::tempdir()?;
    let _small = Small::mount(temp.path());
    let (directory, filler) = (temp.path().join("hub"), temp.path().join("filler"));
    let (admin, worker) = {
        let hub = start_in(&directory, |_| ());
        let worker = hub.worker("w1", "");
        hub.add("[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n");
        worker.deliver(&worker.begin(), Verdict::Pass)?;
        (hub.admin.clone(), worker.client.token().unwrap_or_default().to_owned())
    };
    // The state after restoring a backup: no other file of the database provides room. The hub's last thread may take a
    // moment to end.
    while directory.join("hub.sqlite-shm").exists() {
        rusqlite::Connection::open(directory.join("hub.sqlite"))?.execute_batch("SELECT count(*) FROM jobs")?;
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    fill(&filler);
    let hub = start_in(&directory, |_| ());
    let people = hub.client().with_token(&admin);
    for path in ["/", "/jobs", "/jobs/gzip", "/workers", "/api/v1/results/gzip"] {
        assert_eq!(hub.get(path).0, 200, "{path}");
    }
    assert!(hub.get("/metrics").1.contains("rocbed_read_only 1\n"));
    assert_eq!(people.job("sed")?.state, JobState::Queued);
    let worker = hub.client().with_token(&worker).with_attempts(1);
    let claim = Claim { request: "x".into(), wait: 0, ..Claim::default() };
    for refused in [
        worker.claim(&claim).map(drop),
        people.add_jobs(&crate::support::add_request("[[job]]\npackage = \"tar\"\n")).map(drop),
        people.cancel("sed").map(drop),
    ] {
        let error = refused.expect_err("nothing can be written");
        assert_eq!(error.code(), Some(ProblemCode::DiskFull), "{error}");
        assert!(error.is_passing() && error.to_string().contains("full disk"), "{error}");
    }
    std::fs::remove_file(&filler)?;
    // The hub checks every second.
    let claimed = loop {
        match worker.claim(&claim) {
            Ok(claimed) => break claimed.ok_or("no job")?,
            Err(error) => assert!(error.is_passing(), "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(claimed.job.id, "sed");
    people.add_jobs(&crate::support::add_request("[[job]]\npackage = \"tar\"\n"))?;
    assert!(hub.get("/metrics").1.contains("rocbed_read_only 0\n"));
    assert_eq!(hub.get("/jobs/tar").0, 200);
    Ok(())
}

#[test]
fn nobody_else_may_read_what_a_hub_keeps() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir()?;
    let directory = temp.path().join("hub");
    let hub = start_in(&directory, |_| ());
    hub.add("[[job]]\npackage = \"gzip\"\n");
    for (name, most) in [
        ("", 0o700),
        ("hub.sqlite", 0o600),
        ("hub.sqlite-wal", 0o600),
        ("hub.sqlite-shm", 0o600),
        ("join-token", 0o600),
        ("bundles", 0o700),
    ] {
        let mode = std::fs::metadata(directory.join(name))?.permissions().mode() & 0o777;
        assert_eq!(mode, most, "{name}: {mode:o}");
    }
    Ok(())
}

#[test]
fn a_database_that_finds_no_room_in_the_middle_of_a_transaction_loses_nothing() -> Outcome {
    let temp = tempfile::tempdir()?;
    let _small = Small::mount(temp.path());
    let hub = start_in(&temp.path().join("hub"), |_| ());
    let worker = hub.worker("w1", "");
    let (filler, mut refused) = (temp.path().join("filler"), 0);
    // The disk becomes full after this many more bytes, so each time at another page of the transactions.
    for left in (0..48).map(|pages| pages * 4096) {
        let job = hub.people().add_jobs(&crate::support::add_request("[[job]]\npackage = \"gzip\"\n"));
        let job = job.map_err(|error| format!("{left}: adding: {error}"))?.jobs.remove(0);
        let request = format!("claim-{left}");
        let claim = || {
            worker.client.clone().with_attempts(1).claim(&Claim {
                request: request.clone(),
                wait: 0,
                ..Claim::default()
            })
        };
        fill(&filler);
        // The file is closed again, so that removing it frees its space.
        let length = std::fs::metadata(&filler)?.len().saturating_sub(left);
        std::fs::OpenOptions::new().write(true).open(&filler)?.set_len(length)?;
        let impatient = worker.client.clone().with_attempts(1);
        let mut passing = |error: client::ClientError| {
            assert_eq!(error.code(), Some(ProblemCode::DiskFull), "{left}: {error}");
            refused += 1;
        };
        match claim() {
            Ok(claimed) => {
                let lease = claimed.ok_or("no job")?.lease;
                impatient.heartbeat(&lease, &Heartbeat::default()).map_or_else(&mut passing, drop);
                impatient.append_log(&lease, 0, &[b'x'; 5000]).map_or_else(&mut passing, drop);
            }
            Err(error) => passing(error),
        }
        std::fs::remove_file(&filler)?;
        // There is room again, without a restart. A process that another test is forking may hold the file a moment
        // longer.
        let mut again = claim();
        for _ in 0..200 {
            if again.as_ref().is_err_and(|error| error.code() == Some(ProblemCode::DiskFull)) {
                std::thread::sleep(std::time::Duration::from_millis(5));
                again = claim();
            }
        }
        let claimed = again.map_err(|error| format!("{left}: {error}"))?.ok_or("no job")?;
        assert_eq!((claimed.job.id.as_str(), claimed.attempt), (job.as_str(), 1), "{left}");
        worker.client.append_log(&claimed.lease, 0, &[b'x'; 5000]).map_err(|error| format!("{left}: log: {error}"))?;
        worker.deliver(&claimed, Verdict::Pass).map_err(|error| format!("{left}: delivering: {error}"))?;
        assert_eq!(hub.people().job(&job)?.attempts.len(), 1, "{left}");
        // The log is read through the hub: the files on the small disk are not tested here.
        let mut log = Vec::new();
        hub.people().log(&job, &mut log)?;
        assert_eq!(log, [b'x'; 5000], "{left}");
    }
    assert!(refused > 2, "the disk was never full: {refused}");
    let query = client::ResultQuery { limit: Some(1000), ..client::ResultQuery::default() };
    assert_eq!(hub.people().results(&query)?.results.len(), 48);
    drop(hub);
    let database = rusqlite::Connection::open(temp.path().join("hub/hub.sqlite"))?;
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    Ok(())
}

fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("a file");
    let piece = vec![1_u8; 64 << 10];
    while file.write_all(&piece).is_ok() {}
    for _ in 0..(64 << 10) {
        if file.write_all(&[1]).is_err() {
            break;
        }
    }
}
