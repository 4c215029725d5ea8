//! [`WithStorage`]: a job source whose result bundles are put into S3-compatible storage besides.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use advice::{Advice, Advise as _};
use protocol::Machine;
use protocol::api::{GiveBackReason, Health};
use s3::{Bucket, Content, S3Error};

use super::bundle_place::{self, BundlePlace};
use super::job_source::{Assignment, Claim, Delivery, End, JobSource, Progress, Room};
use super::outbox::{Outbox, PendingResult, STORAGE};
use super::running::InterruptedJob;
use super::timeouts::Timeouts;
use super::uploader::{Tell, Transport, UploadOutcome, Uploader};
use appliance::report::Report;

/// Letters, digits and hyphens of a machine's name.
fn plain(machine: &str) -> String {
    machine.chars().map(|char| if char.is_ascii_alphanumeric() || ".-_".contains(char) { char } else { '-' }).collect()
}

/// Puts bundles into the storage.
struct StorageTransport {
    bucket: Bucket,
    machine: String,
    /// The last problem that was told.
    told: String,
    tell: Tell,
}

impl Transport for StorageTransport {
    fn address(&self) -> String {
        self.bucket.location().to_string()
    }

    fn deliver(&mut self, result: &PendingResult, bundle: &Path) -> UploadOutcome {
        let content = Content::new(result.size, result.sha256);
        let name = result.lease.as_deref().unwrap_or(&result.job);
        let key = format!("{}/{name}.tar.zst", self.machine);
        match self.bucket.put(&key, bundle, &content) {
            Ok(_) => {
                self.told.clear();
                UploadOutcome::Delivered
            }
            Err(error @ (S3Error::Changed { .. } | S3Error::FileChanged(_) | S3Error::File { .. })) => {
                UploadOutcome::Refused(error.to_string())
            }
            // Also if the key is not accepted: somebody can mend that at the storage.
            Err(error) => {
                let (text, help) = (error.to_string(), error.help());
                if !help.is_empty() && self.told != text {
                    (self.tell)(&Report::problem(format!("storage: {text}"), help));
                    self.told.clone_from(&text);
                }
                UploadOutcome::Later(text)
            }
        }
    }
}

/// How to reach the storage, and how to behave.
pub struct StorageOptions {
    /// The bucket.
    pub bucket: Bucket,
    /// The data directory.
    pub data: PathBuf,
    /// Timeouts and backoff.
    pub timeouts: Timeouts,
    /// Sends reports to PID 1.
    pub tell: Tell,
}

/// A job source with storage for bundles.
pub struct WithStorage {
    source: Box<dyn JobSource>,
    options: StorageOptions,
    outbox: Outbox,
    /// Once the machine's name is known.
    uploader: Option<Uploader>,
    place: Option<BundlePlace>,
}

impl WithStorage {
    /// Adds storage to a source. The storage is first reached when there is a bundle.
    ///
    /// # Errors
    /// If the data directory cannot be used.
    pub fn new(source: Box<dyn JobSource>, options: StorageOptions) -> Result<Self, Advice> {
        let outbox = Outbox::open(&options.data.join(STORAGE)).map_err(|error| cannot_keep(&options.data, &error))?;
        Ok(Self { source, options, outbox, uploader: None, place: None })
    }

    /// Puts a copy of a bundle into the outbox of the storage.
    fn keep(&self, delivery: &Delivery) -> io::Result<()> {
        let copy = delivery.bundle.with_extension("storage");
        durable::remove(&copy)?;
        if fs::hard_link(&delivery.bundle, &copy).is_err() {
            fs::copy(&delivery.bundle, &copy)?;
        }
        let (name, address) =
            (bundle_place::name(&delivery.job, delivery.sha256), self.options.bucket.location().to_string());
        let kept = self.outbox.put(&address, Some(&name), &Delivery { bundle: copy.clone(), ..delivery.clone() });
        if kept.is_err() {
            durable::remove(&copy)?;
        }
        kept.map(drop)
    }
}

fn cannot_keep(data: &Path, error: &io::Error) -> Advice {
    Advice::new(format!("storage: using {}: {error}", data.display()), "look at the data partition")
}

/// The same reports as of another uploader, about the storage.
fn of_storage(tell: &Tell) -> Tell {
    let tell = Arc::clone(tell);
    Arc::new(move |report: &Report| match report {
        Report::Condition { text, .. } => tell(&Report::condition("storage", text.clone())),
        other => tell(other),
    })
}

impl JobSource for WithStorage {
    fn name(&self) -> String {
        self.source.name()
    }

    fn hub(&self) -> Option<String> {
        self.source.hub()
    }

    fn ready(&mut self, machine: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice> {
        let (bucket, machine_name) = (self.options.bucket.clone(), plain(&machine.name));
        self.place = Some(BundlePlace::below(bucket.name(&format!("{machine_name}/"))));
        let tell = of_storage(&self.options.tell);
        let transport =
            StorageTransport { bucket, machine: machine_name, told: String::new(), tell: Arc::clone(&tell) };
        let started = Uploader::start(self.outbox.clone(), transport, self.options.timeouts.clone(), tell);
        let uploader = started.map_err(|error| cannot_keep(&self.options.data, &error))?;
        uploader.wake(); // what was made before the restart
        self.uploader = Some(uploader);
        self.source.ready(machine, interrupted)
    }

    fn health(&mut self, health: Health, message: &str) -> Result<(), Advice> {
        self.source.health(health, message)
    }

    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice> {
        Ok(match self.source.claim(room)? {
            Claim::Job(mut assignment) => {
                assignment.storage.clone_from(&self.place);
                Claim::Job(assignment)
            }
            other => other,
        })
    }

    fn withdraw(&mut self) -> Result<(), Advice> {
        self.source.withdraw()
    }

    fn has_undelivered(&self) -> bool {
        let is_done = self.uploader.as_ref().is_none_or(|uploader| uploader.drained(&|| true));
        !is_done || self.source.has_undelivered()
    }

    fn started(&mut self, assignment: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        self.source.started(assignment)
    }

    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        match self.keep(delivery) {
            Ok(()) => {
                if let Some(uploader) = &self.uploader {
                    uploader.wake();
                }
            }
            // The job has its result all the same.
            Err(error) => {
                let what = format!("keeping the bundle of {} for the storage: {error}", delivery.job);
                (self.options.tell)(&Report::problem(what, "make room on the data partition"));
            }
        }
        self.source.deliver(assignment, delivery)
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        self.source.give_back(assignment, reason, message)
    }

    fn end(&mut self, end: &End) -> Result<(), Advice> {
        self.source.end(end)?;
        let (began, lasting) = (Instant::now(), self.outbox.is_lasting());
        let enough = || lasting && began.elapsed() >= self.options.timeouts.farewell;
        if let Some(uploader) = &self.uploader {
            uploader.drained(&enough);
            uploader.finish();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::Allocation;
    use protocol::{Job, Source, Verdict};
    use s3::{Credentials, Location, Options};
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    /// Gives out one job, and keeps what is delivered.
    #[derive(Default)]
    struct One {
        given: bool,
        delivered: Arc<Mutex<Vec<Option<String>>>>,
    }

    impl JobSource for One {
        fn name(&self) -> String {
            "one".into()
        }

        fn ready(&mut self, _: &Machine, _: &[InterruptedJob]) -> Result<(), Advice> {
            Ok(())
        }

        fn claim(&mut self, _: &Room<'_>) -> Result<Claim, Advice> {
            if std::mem::replace(&mut self.given, true) {
                return Ok(Claim::Nothing);
            }
            Ok(Claim::Job(Box::new(Assignment::new(Job::new(Source::Package("gzip".into()))))))
        }

        fn started(&mut self, _: &Assignment) -> Result<Box<dyn Progress>, Advice> {
            Ok(Box::new(()))
        }

        fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
            assert!(delivery.bundle.exists());
            let place = assignment.storage.as_ref().map(|place| place.of(&delivery.job, delivery.sha256));
            self.delivered.lock().unwrap().push(place);
            Ok(())
        }

        fn give_back(&mut self, _: &Assignment, _: GiveBackReason, _: &str) -> Result<(), Advice> {
            Ok(())
        }

        fn end(&mut self, _: &End) -> Result<(), Advice> {
            Ok(())
        }
    }

    #[test]
    fn a_bundle_waits_for_storage_that_is_away_and_the_result_does_not() -> Result<(), Box<dyn std::error::Error>> {
        let data = tempfile::tempdir()?;
        let location = Location::parse("s3+http://127.0.0.1:9/results/ci", |_| None)?;
        let options = Options { attempts: 1, ..Options::default() };
        let bucket = Bucket::new(location, Credentials::new("id", "secret"), &options)?;
        let source = One::default();
        let delivered = Arc::clone(&source.delivered);
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let options = StorageOptions {
            bucket,
            data: data.path().to_owned(),
            timeouts: Timeouts::of_tests(),
            tell: Arc::new(move |report: &Report| heard.lock().unwrap().push(format!("{report:?}"))),
        };
        let mut source = WithStorage::new(Box::new(source), options)?;
        let machine = Machine { name: "lab 1".into(), ..Machine::default() };
        source.ready(&machine, &[])?;
        let Claim::Job(assignment) = source.claim(&Room::all_of(&Allocation::new(&machine, None)))? else {
            return Err("no job".into());
        };
        let bundle = data.path().join("made.tar.zst");
        fs::write(&bundle, b"abc")?;
        let sha256 = sha256::Digest::of(b"abc");
        let summary = String::new();
        let delivery = Delivery { job: "gzip".into(), verdict: Verdict::Pass, summary, bundle, size: 3, sha256 };
        source.deliver(&assignment, &delivery)?;
        let place = "s3+http://127.0.0.1:9/results/ci/lab-1/gzip-ba7816bf8f01cfea.tar.zst";
        assert_eq!(*delivered.lock().unwrap(), [Some(place.to_owned())]);
        let waits = || told.lock().unwrap().iter().any(|text| text.contains("does not answer"));
        let began = Instant::now();
        while !waits() {
            assert!(began.elapsed() < Duration::from_secs(60), "{told:?}");
            thread::sleep(Duration::from_millis(5));
        }
        let waiting = Outbox::open(&data.path().join(STORAGE))?.waiting()?;
        assert_eq!(waiting[0].result.lease.as_deref(), Some("gzip-ba7816bf8f01cfea"));
        assert_eq!(fs::read(&waiting[0].bundle)?, b"abc");
        assert_eq!(crate::outbox::load(data.path())?.results, 1);
        Ok(())
    }
}
