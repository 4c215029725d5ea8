//! A disk that is full: uploads are refused, nothing is lost, and it goes on when there is room.

use std::path::Path;
use std::process::Command;

use protocol::Verdict;
use protocol::api::{JobState, ProblemCode};

use crate::support::{Outcome, start_in, start_with};

#[test]
fn uploads_are_refused_while_the_disk_is_nearly_full() {
    let hub = start_with(|config| config.min_free = u64::MAX / 2);
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let error = worker.deliver(&claimed, Verdict::Pass).expect_err("no room");
    assert_eq!(error.code(), Some(ProblemCode::DiskFull));
    assert!(error.is_passing() && !error.is_unwanted());
    // Small things go on: the lease is kept, and the result can come later.
    assert_eq!(worker.beat(&claimed.lease), None);
}

/// A small file system that is unmounted when it is dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Self {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(at).status();
        let mounted = mount.is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a tmpfs: run it as root, or in `unshare -rm`; the package is mount");
        Self(at)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0).status());
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
    // What needs the database is refused, and says so; or there was still room in its log.
    match worker.client.claim(&protocol::api::Claim { request: "x".into(), wait: 0, gpus: None }) {
        Ok(_) => {}
        Err(error) => assert!(error.is_passing(), "{error}"),
    }
    std::fs::remove_file(&filler)?;
    worker.deliver(&claimed, Verdict::Pass)?;
    assert_eq!(hub.people().job("gzip")?.state, JobState::Finished);
    let again = worker.client.claim(&protocol::api::Claim { request: "x".into(), wait: 0, gpus: None })?;
    assert_eq!(again.map(|claimed| claimed.job.id).as_deref(), Some("sed"));
    drop(hub);
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
