//! A worker that puts its bundles into a bucket besides what it does with them for its job source.

use std::fs;
use std::time::Duration;

use advice::Advice;
use agent::{
    Allocation, Assignment, Claim, Delivery, End, InterruptedJob, JobSource, Progress, Room, StorageOptions, Timeouts,
    WithStorage,
};
use protocol::api::GiveBackReason;
use protocol::{Job, Machine, Source, Verdict};
use rocbed_tests::{Relay, Swift, noise};

use super::{file, once, swift, temporary, wait_until};

/// A job source without anything, which takes what is delivered.
struct Elsewhere;

impl JobSource for Elsewhere {
    fn name(&self) -> String {
        "elsewhere".into()
    }

    fn ready(&mut self, _: &Machine, _: &[InterruptedJob]) -> Result<(), Advice> {
        Ok(())
    }

    fn claim(&mut self, _: &Room<'_>) -> Result<Claim, Advice> {
        Ok(Claim::Job(Box::new(Assignment::new(Job::new(Source::Package("rocrand".into()))))))
    }

    fn started(&mut self, _: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        Ok(Box::new(()))
    }

    fn deliver(&mut self, _: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        // As the others do.
        fs::remove_file(&delivery.bundle).map_err(|error| Advice::new(error.to_string(), "mend the test"))
    }

    fn give_back(&mut self, _: &Assignment, _: GiveBackReason, _: &str) -> Result<(), Advice> {
        Ok(())
    }

    fn end(&mut self, _: &End) -> Result<(), Advice> {
        Ok(())
    }
}

#[test]
fn a_worker_puts_its_bundles_into_a_bucket_besides() -> Result<(), Box<dyn std::error::Error>> {
    swift().make_bucket("worker");
    let relay = Relay::start(swift().port());
    relay.cut();
    let data = temporary();
    let open = || -> Result<WithStorage, Advice> {
        let options = StorageOptions {
            bucket: Swift::bucket(relay.address().port(), "worker/ci", Swift::credentials(), &once()),
            data: data.path().to_owned(),
            timeouts: Timeouts { longest_pause: Duration::from_millis(200), ..Timeouts::default() },
            tell: std::sync::Arc::new(|report| eprintln!("{report:?}")),
        };
        let mut source = WithStorage::new(Box::new(Elsewhere), options)?;
        source.ready(&Machine { name: "lab-1".into(), ..Machine::default() }, &[])?;
        Ok(source)
    };
    let mut source = open()?;
    let allocation = Allocation::new(&Machine::default(), None);
    let Claim::Job(assignment) = source.claim(&Room::all_of(&allocation))? else { return Err("no job".into()) };
    let (bundle, content) = file(&data, noise(100_000).as_bytes());
    let (size, sha256) = (content.size, content.sha256);
    let delivery =
        Delivery { job: "rocrand".into(), verdict: Verdict::Pass, summary: String::new(), bundle, size, sha256 };
    // Where it will be is known at once, for results that point to it.
    let place = assignment.storage.as_ref().ok_or("no place")?.of(&delivery.job, sha256);
    let key = format!("lab-1/rocrand-{}.tar.zst", sha256.prefix(16));
    assert_eq!(place, format!("s3+http://{}/worker/ci/{key}", relay.address()));
    // The storage is away, and the machine restarts: the bundle waits.
    source.deliver(&assignment, &delivery)?;
    drop(source);
    relay.mend();
    let mut source = open()?;
    let bucket = Swift::bucket(swift().port(), "worker/ci", Swift::credentials(), &once());
    source.end(&End::Stopped)?;
    wait_until("the bundle is in the bucket", || bucket.head(&key).is_ok_and(|found| found.is_some()));
    bucket.verify(&key, &content)?;
    Ok(())
}
