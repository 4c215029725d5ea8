//! Package files of jobs: uploaded before, given to the worker that has the job, removed afterwards.

use std::path::Path;
use std::time::{Duration, SystemTime};

use client::{Client, ClientError};
use protocol::Verdict;
use protocol::api::{AddedJobs, CreateUpload, JobState, ProblemCode};
use sha256::Digest;

use crate::support::{Outcome, Running, add_request, start, start_in, start_with};

/// Uploads a package file with this content.
fn upload(client: &Client, content: &[u8]) -> Result<Digest, ClientError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("it is written");
    client.upload_package(file.path(), |_, _| ())
}

/// A list with a job that brings a file along.
fn job(package: &str, content: &[u8]) -> String {
    let (sha256, size) = (Digest::of(content), content.len());
    let file = format!("{{ file = \"{package}_1_amd64.deb\", sha256 = \"{sha256}\", size = {size} }}");
    format!("[[job]]\npackage = \"{package}\"\npackages = [{file}]\n")
}

fn add(hub: &Running, toml: &str) -> Result<AddedJobs, ClientError> {
    hub.people().add_jobs(&add_request(toml))
}

fn fetch(client: &Client, lease: &str, sha256: &Digest, from: u64) -> Result<Vec<u8>, ClientError> {
    let mut content = Vec::new();
    client.package(lease, sha256, from, &mut content).map(|_| content)
}

#[test]
fn a_worker_gets_the_files_of_the_job_that_it_has() -> Outcome {
    let hub = start();
    let (worker, other) = (hub.worker("w1", ""), hub.worker("w2", ""));
    let people = hub.people();
    let (one, two) = (upload(&people, b"one")?, upload(&people, b"two")?);
    add(&hub, &job("gzip", b"one"))?;
    add(&hub, &job("sed", b"two"))?;
    let (gzip, sed) = (worker.begin(), other.begin());
    assert_eq!((gzip.job.id.as_str(), gzip.job.packages[0].name()), ("gzip", "gzip_1_amd64.deb"));
    assert_eq!(fetch(&worker.client, &gzip.lease, &one, 0)?, b"one");
    assert_eq!(fetch(&worker.client, &gzip.lease, &one, 2)?, b"e", "a download that was cut goes on");

    // Neither another job's file, nor with another worker's lease, nor without one.
    for (client, lease, sha256) in
        [(&worker.client, &gzip.lease, &two), (&other.client, &gzip.lease, &one), (&other.client, &sed.lease, &one)]
    {
        let refused = fetch(client, lease, sha256, 0).expect_err("it is refused");
        assert_eq!(refused.code(), Some(ProblemCode::NotFound), "{refused}");
    }
    for client in [hub.client(), hub.people()] {
        assert!(fetch(&client, &gzip.lease, &one, 0).is_err_and(|error| error.is_unwanted() || !error.is_passing()));
    }
    assert!(upload(&worker.client, b"three").is_err(), "workers bring no packages");

    // The lease ends with the result.
    worker.deliver(&gzip, Verdict::Pass)?;
    let refused = fetch(&worker.client, &gzip.lease, &one, 0).expect_err("the job is over");
    assert_eq!(refused.code(), Some(ProblemCode::NotFound), "{refused}");
    Ok(())
}

#[test]
fn a_job_needs_its_files_before_it_is_added() -> Outcome {
    let hub = start();
    let error = add(&hub, &job("gzip", b"one")).expect_err("nothing was uploaded");
    assert!(error.to_string().contains("gzip_1_amd64.deb with SHA-256") && error.to_string().contains("upload it"));
    // Half of it is not there either.
    let announced = CreateUpload { direct: false, size: 3, sha256: Digest::of(b"one") };
    assert!(!hub.people().create_upload(&announced).is_ok_and(|upload| upload.complete));
    assert!(add(&hub, &job("gzip", b"one")).is_err());
    upload(&hub.people(), b"one")?;
    assert_eq!(add(&hub, &job("gzip", b"one"))?.jobs, ["gzip"]);

    // Files of the list's author mean nothing here.
    for (toml, says) in [
        ("[[job]]\npackage = \"gzip\"\npackages = [\"gzip.deb\"]\n", "write its file name, sha256 and size"),
        ("[[job]]\npath = \"x.dsc\"\n", "is a path on your machine"),
        (
            "[[job]]\npackage = \"gzip\"\n[[job.apt-sources]]\nuris = [\"http://x\"]\nsuites = [\"s\"]\n\
             components = [\"main\"]\nsigned-by = \"own.asc\"\n",
            "write the key itself",
        ),
    ] {
        let error = add(&hub, toml).expect_err(toml).to_string();
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}

#[test]
fn the_source_of_the_tests_comes_along() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    let sha256 = upload(&hub.people(), b"Source: gzip")?;
    let toml = format!(
        "[[job]]\npath = \"gzip_1.dsc\"\npackages = [{{ file = \"gzip_1.dsc\", sha256 = \"{sha256}\", size = 12 }}]\n"
    );
    assert_eq!(add(&hub, &toml)?.jobs, ["gzip"]);
    let claimed = worker.begin();
    assert_eq!(claimed.job.own_source().map(|file| file.name().to_owned()).as_deref(), Some("gzip_1.dsc"));
    assert_eq!(fetch(&worker.client, &claimed.lease, &sha256, 0)?, b"Source: gzip");
    Ok(())
}

#[test]
fn uploads_are_checked_and_limited() -> Outcome {
    let hub = start_with(|config| {
        config.max_packages = 10;
        config.max_upload = 8;
    });
    let people = hub.people();
    let error = upload(&people, b"123456789").expect_err("one file is too large");
    assert_eq!(error.code(), Some(ProblemCode::TooLarge), "{error}");
    upload(&people, b"1234567")?;
    // The same file again takes no more room.
    upload(&people, b"1234567")?;
    let error = upload(&people, b"7654321").expect_err("all together are too large");
    assert_eq!(error.code(), Some(ProblemCode::QuotaExceeded), "{error}");
    assert!(error.to_string().contains("a day after their jobs are over"), "{error}");
    Ok(())
}

/// The package files in a data directory.
fn kept(root: &Path) -> Vec<std::path::PathBuf> {
    let directories = std::fs::read_dir(root.join("packages")).expect("a directory").flatten();
    directories
        .flat_map(|directory| std::fs::read_dir(directory.path()).expect("a directory").flatten())
        .map(|file| file.path())
        .collect()
}

#[test]
fn files_are_removed_a_day_after_their_last_job_is_over() -> Outcome {
    const DAY: u64 = 86_400;
    let temp = tempfile::tempdir()?;
    let hub = start_in(temp.path(), |_| ());
    let worker = hub.worker("w1", "");
    let collect_garbage = || -> Outcome {
        // File times are the system's, which no test can set.
        let old = SystemTime::now() - Duration::from_secs(2 * DAY);
        for path in kept(temp.path()) {
            std::fs::File::options().write(true).open(path)?.set_modified(old)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(hub.hub.collect_garbage());
        Ok(())
    };
    upload(&hub.people(), b"one")?;
    upload(&hub.people(), b"of no job")?;
    add(&hub, &job("gzip", b"one"))?;
    collect_garbage()?;
    assert_eq!(kept(temp.path()).len(), 1, "what no job has named is gone");
    let claimed = worker.begin();
    worker.deliver(&claimed, Verdict::Fail)?;
    collect_garbage()?;
    // It can be run again.
    let again = hub.people().retry("gzip")?;
    assert_eq!(again.state, JobState::Queued);
    hub.people().cancel(&again.id)?;
    hub.pass(2 * DAY);
    collect_garbage()?;
    assert!(kept(temp.path()).is_empty());
    let error = hub.people().retry("gzip").expect_err("its files are gone").to_string();
    assert!(error.contains("files of jobs that are over are kept for a day"), "{error}");
    // Their room is free again.
    upload(&hub.people(), b"one")?;
    Ok(())
}
