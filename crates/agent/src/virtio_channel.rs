//! Takes jobs from the program that runs this virtual machine, by [`protocol`]'s handover on a virtio-serial port.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use protocol::api::GiveBackReason;
use protocol::{Decoder, Frame, FromAppliance, Machine, PORT_NAME, Source, SourceTree, ToAppliance, VERSION};

use super::backlog::Backlog;
use super::job_source::{Assignment, Claim, Delivery, End, JobSource, Progress, Room};
use super::running::InterruptedJob;
use appliance::settings::{Origin, Settings};
use appliance::virtio_port;

/// How long a claim waits for a job that can begin.
const PAUSE: Duration = Duration::from_secs(1);

/// Directory for the source trees that come along.
pub(crate) const TREES: &str = "/var/tmp/rocbed/trees";

/// An open port from which the jobs have been read.
#[derive(Debug)]
pub struct Port<T = File> {
    frames: Arc<Mutex<FrameStream<T>>>,
    jobs: Backlog,
    trees: BTreeMap<String, PathBuf>,
    count: usize,
}

/// Frames over a byte stream.
#[derive(Debug)]
struct FrameStream<T> {
    stream: T,
    decoder: Decoder,
    /// The job whose log was sent last.
    log_of: Option<String>,
}

/// A running job's log on its way to the port.
#[derive(Debug)]
struct PortLog<T> {
    frames: Arc<Mutex<FrameStream<T>>>,
    job: String,
}

impl<T: Read + Write + Send> Progress for PortLog<T> {
    fn log(&mut self, bytes: &[u8]) -> Result<(), Advice> {
        let mut frames = lock(&self.frames);
        if frames.log_of.as_ref() != Some(&self.job) {
            frames.tell(&FromAppliance::LogOf { job: self.job.clone() })?;
            frames.log_of = Some(self.job.clone());
        }
        frames.send(&Frame::Log(bytes.to_vec()))
    }
}

/// Locks the port for whole messages.
fn lock<T>(frames: &Mutex<FrameStream<T>>) -> MutexGuard<'_, FrameStream<T>> {
    frames.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Port {
    /// Opens the port if this machine has it, reads the jobs, and adds the settings that came with them.
    pub fn open(settings: &mut Settings) -> Result<Option<Self>, Advice> {
        let port = virtio_port::find(Path::new(virtio_port::CLASS), Path::new("/dev"), PORT_NAME);
        let Some(path) = port else { return Ok(None) };
        let stream = OpenOptions::new().read(true).write(true).open(&path);
        let stream = stream.map_err(|error| failed(format!("opening {}: {error}", path.display())))?;
        Port::take(stream, Path::new(TREES), settings).map(Some)
    }
}

impl<T: Read + Write> Port<T> {
    /// Tells the program at the other end that the machine has a job source of its own, which is not used: a start
    /// without jobs only shows that the machine starts.
    pub(crate) fn passes_over(&self, source: &str) -> Result<(), Advice> {
        if self.count > 0 {
            return Ok(());
        }
        let what = format!("this is only a start: no jobs are taken from {source}");
        let advice = "`rocbed boot --keep` leaves the machine running, and it takes them".to_owned();
        lock(&self.frames).tell(&FromAppliance::Problem { what, advice })
    }

    /// Reads the jobs and their source trees.
    fn take(stream: T, trees: &Path, settings: &mut Settings) -> Result<Self, Advice> {
        let mut frames = FrameStream { stream, decoder: Decoder::default(), log_of: None };
        let ToAppliance::Jobs { version, list, sources, settings: given } = frames.message()? else {
            return Err(failed("the first message on the port brings no jobs".into()));
        };
        if version > VERSION {
            return Err(failed(format!("the port speaks version {version}, and this image up to {VERSION}")));
        }
        for (name, value) in given {
            if let Err(refused) = settings.set(&name, &value, Origin::HandOver) {
                let Advice { what, help } = Advice::of(&refused).and("see docs/reference/settings.md");
                frames.tell(&FromAppliance::Problem { what, advice: help.to_string() })?;
            }
        }
        let mut found = BTreeMap::new();
        for source in sources {
            let path = frames.receive(&source, trees)?;
            found.insert(source.job, path);
        }
        let frames = Arc::new(Mutex::new(frames));
        Ok(Self { frames, count: list.job.len(), jobs: list.job.into_iter().collect(), trees: found })
    }
}

impl<T: Read + Write + Send + 'static> JobSource for Port<T> {
    fn name(&self) -> String {
        match self.count {
            0 => "nowhere: this is only a start".into(),
            1 => "a list of one job".into(),
            count => format!("a list of {count} jobs"),
        }
    }

    fn ready(&mut self, machine: &Machine, _: &[InterruptedJob]) -> Result<(), Advice> {
        let uptime = appliance::uptime::uptime().as_secs_f64();
        lock(&self.frames).tell(&FromAppliance::Ready { version: VERSION, machine: Box::new(machine.clone()), uptime })
    }

    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice> {
        let Some(job) = self.jobs.take_first(room) else {
            let is_done = self.jobs.is_empty();
            if !is_done {
                // What is left waits for what runs.
                let began = Instant::now();
                while !room.is_over() && began.elapsed() < PAUSE {
                    thread::sleep(Duration::from_millis(10));
                }
            }
            return Ok(if is_done { Claim::End("all jobs are done".into()) } else { Claim::Nothing });
        };
        let tree = self.trees.remove(&job.id);
        if let (Source::Path(path), None) = (&job.source, &tree) {
            return Err(failed(format!("job {}: the source tree {path} did not come along", job.id)));
        }
        if let Some(file) = job.packages.first() {
            return Err(failed(format!("job {}: the package file {} did not come along", job.id, file.name())));
        }
        let position = Some((self.count - self.jobs.len(), self.count));
        Ok(Claim::Job(Box::new(Assignment { tree, position, ..Assignment::new(job) })))
    }

    fn started(&mut self, assignment: &Assignment) -> Result<Box<dyn Progress>, Advice> {
        let job = assignment.job.id.clone();
        let mut frames = lock(&self.frames);
        frames.tell(&FromAppliance::Started { job: job.clone() })?;
        // As every version understands it, where one job runs at a time.
        frames.log_of = Some(job.clone());
        Ok(Box::new(PortLog { frames: Arc::clone(&self.frames), job }))
    }

    fn deliver(&mut self, _: &Assignment, delivery: &Delivery) -> Result<(), Advice> {
        let mut frames = lock(&self.frames);
        frames.tell(&FromAppliance::Finished {
            job: delivery.job.clone(),
            verdict: delivery.verdict,
            summary: delivery.summary.clone(),
            size: delivery.size,
            sha256: delivery.sha256,
        })?;
        let reading = |error: io::Error| failed(format!("reading {}: {error}", delivery.bundle.display()));
        let mut file = File::open(&delivery.bundle).map_err(reading)?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match file.read(&mut chunk).map_err(reading)? {
                0 => break,
                count => frames.send(&Frame::Data(chunk.get(..count).unwrap_or_default().to_vec()))?,
            }
        }
        match frames.message()? {
            ToAppliance::Kept { sha256: kept } if kept == delivery.sha256 => Ok(()),
            other => Err(failed(format!("the bundle of {} was answered with {other:?}", delivery.job))),
        }
    }

    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice> {
        if reason == GiveBackReason::Other {
            // No other machine would run the job, so the program that runs this one has to know that it failed.
            let help = "give the machine more memory, or a data partition";
            return Err(Advice::new(format!("job {}: {message}", assignment.job.id), help));
        }
        lock(&self.frames).tell(&FromAppliance::Declined { job: assignment.job.id.clone(), why: message.to_owned() })
    }

    fn end(&mut self, end: &End) -> Result<(), Advice> {
        match end {
            End::Done(_) => lock(&self.frames).tell(&FromAppliance::Done),
            End::Stopped | End::Restart(_) => Ok(()),
        }
    }
}

impl<T: Read + Write> FrameStream<T> {
    fn tell(&mut self, message: &FromAppliance) -> Result<(), Advice> {
        let frame = Frame::of(message).map_err(|error| failed(error.to_string()))?;
        self.send(&frame)
    }

    fn send(&mut self, frame: &Frame) -> Result<(), Advice> {
        let sent = self.stream.write_all(&frame.encode());
        sent.map_err(|error| failed(format!("writing to the port: {error}")))
    }

    fn frame(&mut self) -> Result<Frame, Advice> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|error| failed(error.to_string()))? {
                return Ok(frame);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(failed("the other end of the port was closed".into())),
                Ok(count) => self.decoder.push(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(format!("reading from the port: {error}"))),
            }
        }
    }

    fn message(&mut self) -> Result<ToAppliance, Advice> {
        match self.frame()? {
            Frame::Message(json) => Frame::message(&json).map_err(|error| failed(error.to_string())),
            Frame::Data(_) | Frame::Log(_) => Err(failed("bytes came on the port where a message should".into())),
        }
    }

    /// Receives a source tree. Its name becomes a file's name, so it must be valid as one.
    fn receive(&mut self, source: &SourceTree, trees: &Path) -> Result<PathBuf, Advice> {
        let plain = |name: &str| !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        if !plain(&source.name) || !plain(&source.job) {
            return Err(failed(format!("the source tree {:?} of job {:?} has no plain name", source.name, source.job)));
        }
        let directory = trees.join(&source.job);
        let path = directory.join(&source.name);
        let writing = |error: io::Error| failed(format!("writing {}: {error}", path.display()));
        fs::create_dir_all(&directory).map_err(writing)?;
        let mut file = File::create(&path).map_err(writing)?;
        let mut left = source.size;
        while left > 0 {
            let Frame::Data(bytes) = self.frame()? else {
                return Err(failed(format!("the source tree of job {} ended too early", source.job)));
            };
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                failed(format!("the source tree of job {} is longer than it was said to be", source.job))
            })?;
            file.write_all(&bytes).map_err(writing)?;
        }
        Ok(path)
    }
}

fn failed(what: String) -> Advice {
    Advice::new(what, "use a rocbed of the same version as the image's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::Allocation;
    use protocol::{JobList, Verdict};
    use sha256::Digest;
    use std::os::unix::net::UnixStream;

    fn jobs(toml: &str, sources: Vec<SourceTree>) -> Frame {
        let list = JobList::parse(toml.as_bytes()).expect("a list");
        let settings = [("gpu".to_owned(), "gfx1030".to_owned()), ("colour".to_owned(), "red".to_owned())].into();
        Frame::of(&ToAppliance::Jobs { version: VERSION, list, sources, settings }).expect("a message")
    }

    #[test]
    fn a_whole_conversation() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let (ours, mut theirs) = UnixStream::pair()?;
        let tree = SourceTree { job: "t".into(), name: "t.tar".into(), size: 5 };
        let list = "[[job]]\npath = \"t\"\n[[job]]\npackage = \"gzip\"\n";
        theirs.write_all(&jobs(list, vec![tree]).encode())?;
        theirs.write_all(&Frame::Data(b"tr".into()).encode())?;
        theirs.write_all(&Frame::Data(b"ee!".into()).encode())?;
        let bundle = directory.path().join("bundle");
        fs::write(&bundle, "results")?;
        let delivery = Delivery {
            job: "t".into(),
            verdict: Verdict::Pass,
            summary: "1 passed".into(),
            bundle,
            size: 7,
            sha256: Digest::of("abc"),
        };
        let kept = Frame::of(&ToAppliance::Kept { sha256: Digest::of("abc") })?;
        theirs.write_all(&kept.encode())?;
        let mut settings = Settings::default();
        let trees = directory.path().join("trees");
        let mut port = Port::take(ours, &trees, &mut settings)?;
        assert_eq!(settings.gpu.as_deref(), Some("gfx1030"));
        let allocation = Allocation::new(&Machine::default(), None);
        let room = Room::all_of(&allocation);
        let Claim::Job(first) = port.claim(&room)? else { panic!("no job") };
        assert_eq!(fs::read_to_string(first.tree.as_deref().ok_or("no tree")?)?, "tree!");
        assert_eq!(first.position, Some((1, 2)));
        port.deliver(&first, &delivery)?;
        assert!(matches!(port.claim(&room)?, Claim::Job(second) if second.job.id == "gzip"));
        assert!(matches!(port.claim(&room)?, Claim::End(_)));
        port.end(&End::Done("all jobs are done".into()))?;
        drop(port);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard)?;
        let mut decoder = Decoder::default();
        decoder.push(&heard);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame()? {
            frames.push(match frame {
                Frame::Message(json) => String::from_utf8(json)?.chars().take(20).collect(),
                Frame::Data(bytes) | Frame::Log(bytes) => String::from_utf8(bytes)?,
            });
        }
        let expected = ["{\"message\":\"problem\"", "{\"message\":\"finished", "results", "{\"message\":\"done\"}"];
        assert_eq!(frames, expected);
        Ok(())
    }

    #[test]
    fn a_start_without_jobs_says_which_it_passes_over() -> Result<(), Box<dyn std::error::Error>> {
        let heard = |list: JobList| -> Result<String, Box<dyn std::error::Error>> {
            let (ours, mut theirs) = UnixStream::pair()?;
            let work = ToAppliance::Jobs { version: VERSION, list, sources: Vec::new(), settings: BTreeMap::new() };
            theirs.write_all(&Frame::of(&work)?.encode())?;
            Port::take(ours, Path::new("/trees"), &mut Settings::default())?.passes_over("jobs.toml on the stick")?;
            let mut text = Vec::new();
            theirs.read_to_end(&mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        let said = heard(JobList::default())?;
        assert!(said.contains("no jobs are taken from jobs.toml on the stick") && said.contains("--keep"), "{said}");
        assert_eq!(heard(JobList::parse(b"[[job]]\npackage = \"gzip\"\n")?)?, "");
        Ok(())
    }

    #[test]
    fn hostile_names_and_lengths_are_refused() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        for (name, size) in [("../x", 3), ("t.tar", 2), ("t.tar", 9)] {
            let (ours, mut theirs) = UnixStream::pair()?;
            let tree = SourceTree { job: "t".into(), name: name.into(), size };
            theirs.write_all(&jobs("[[job]]\npath = \"t\"\n", vec![tree]).encode())?;
            theirs.write_all(&Frame::Data(b"abc".into()).encode())?;
            let closing = thread::spawn(move || drop(theirs.shutdown(std::net::Shutdown::Write)));
            let result = Port::take(ours, &directory.path().join("trees"), &mut Settings::default());
            assert!(result.is_err(), "{name} {size}");
            assert!(closing.join().is_ok());
        }
        assert!(!directory.path().join("x").exists());
        Ok(())
    }
}
