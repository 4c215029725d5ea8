//! The host's end of the virtio channel to an appliance ([`protocol`]): sends jobs and their source trees, receives
//! results.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use protocol::{Decoder, Frame, FromAppliance, JobList, Machine, SourceTree, ToAppliance, VERSION, Verdict};
use sha256::{Digest, Hasher};

/// Work for an appliance.
#[derive(Debug, Default)]
pub struct Work {
    /// The jobs; if there are none, the appliance reports its hardware and ends.
    pub list: JobList,
    /// Source trees of jobs that name paths, as tar archives by job.
    pub trees: BTreeMap<String, PathBuf>,
    /// Settings that override all others.
    pub settings: BTreeMap<String, String>,
}

/// Receives events from an appliance, as they happen.
pub trait Listener {
    /// The appliance is ready; `uptime` is in seconds since its kernel's start.
    fn ready(&mut self, machine: &Machine, uptime: f64);
    /// A job has begun.
    fn started(&mut self, job: &str);
    /// A piece of a job's log.
    fn log(&mut self, job: &str, bytes: &[u8]);
    /// A job has ended; its bundle is stored.
    fn finished(&mut self, job: &str, verdict: Verdict, summary: &str, bundle: &Path);
    /// A job was not run.
    fn declined(&mut self, job: &str, why: &str);
    /// Something is wrong with the machine or the list.
    fn problem(&mut self, what: &str, advice: &str);
}

/// A socket that waits for its machine.
#[derive(Debug)]
pub struct Handover {
    directory: tempfile::TempDir,
    listener: UnixListener,
    ended: Arc<AtomicBool>,
}

impl Handover {
    /// Creates the socket that QEMU connects to, accessible only for this user.
    pub fn open() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("rocbed-port.").tempdir().context("making a directory")?;
        let path = directory.path().join("port");
        let listener = UnixListener::bind(&path).with_context(|| format!("listening on {}", path.display()))?;
        listener.set_nonblocking(true).context("preparing the port's socket")?;
        Ok(Self { directory, listener, ended: Arc::default() })
    }

    /// Path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("port")
    }

    /// Flag to set when the machine has ended, which stops all waiting for it.
    pub fn ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ended)
    }

    /// Sends the work and receives the results; bundles become `JOB.tar.zst` in a directory. Returns whether the
    /// appliance said that it is done.
    pub fn serve(&self, work: &Work, results: &Path, listener: &mut dyn Listener) -> Result<bool> {
        let Some(mut stream) = self.accept()? else { return Ok(false) };
        // A machine that ends meanwhile is not an error here: the caller reports how it ended.
        let given = give(&mut stream, work);
        if let Err(error) = given {
            let gone = error.downcast_ref::<std::io::Error>().is_some_and(|error| is_gone(error.kind()));
            return if gone { Ok(false) } else { Err(error) };
        }
        Session { stream, decoder: Decoder::default(), results, listener, log_of: String::new() }.run()
    }

    fn accept(&self) -> Result<Option<UnixStream>> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).context("preparing the port's connection")?;
                    return Ok(Some(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.ended.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error).context("waiting for QEMU at the port"),
            }
        }
    }
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

fn give(stream: &mut UnixStream, work: &Work) -> Result<()> {
    let mut sources = Vec::new();
    for (job, path) in &work.trees {
        let size = fs::metadata(path).with_context(|| format!("examining {}", path.display()))?.len();
        sources.push(SourceTree { job: job.clone(), name: format!("{job}.tar"), size });
    }
    let (list, settings) = (work.list.clone(), work.settings.clone());
    let message = ToAppliance::Jobs { version: VERSION, list, sources, settings };
    stream.write_all(&Frame::of(&message).context("writing down the jobs")?.encode())?;
    let mut chunk = vec![0; 256 * 1024];
    for path in work.trees.values() {
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        loop {
            match file.read(&mut chunk).with_context(|| format!("reading {}", path.display()))? {
                0 => break,
                count => stream.write_all(&Frame::Data(chunk.get(..count).unwrap_or_default().to_vec()).encode())?,
            }
        }
    }
    Ok(())
}

/// A session with an appliance that has received its work.
struct Session<'a> {
    stream: UnixStream,
    decoder: Decoder,
    results: &'a Path,
    listener: &'a mut dyn Listener,
    /// The job whose log comes.
    log_of: String,
}

impl Session<'_> {
    fn run(mut self) -> Result<bool> {
        while let Some(frame) = self.frame()? {
            match frame {
                Frame::Log(bytes) => self.listener.log(&self.log_of, &bytes),
                Frame::Data(_) => bail!("the appliance sent bytes that it had not announced"),
                Frame::Message(json) => {
                    let message = Frame::message(&json).context("reading what the appliance says")?;
                    if message == FromAppliance::Done {
                        return Ok(true);
                    }
                    self.take(message)?;
                }
            }
        }
        Ok(false)
    }

    fn take(&mut self, message: FromAppliance) -> Result<()> {
        match message {
            FromAppliance::Ready { machine, uptime, .. } => self.listener.ready(&machine, uptime),
            FromAppliance::Started { job } => {
                self.listener.started(&job);
                self.log_of = job;
            }
            FromAppliance::LogOf { job } => self.log_of = job,
            FromAppliance::Declined { job, why } => self.listener.declined(&job, &why),
            FromAppliance::Problem { what, advice } => self.listener.problem(&what, &advice),
            FromAppliance::Finished { job, verdict, summary, size, sha256 } => {
                let bundle = self.receive(&job, size, sha256)?;
                self.listener.finished(&job, verdict, &summary, &bundle);
            }
            FromAppliance::Done => {}
        }
        Ok(())
    }

    /// Receives a bundle, stores it atomically, and acknowledges it.
    fn receive(&mut self, job: &str, size: u64, sha256: Digest) -> Result<PathBuf> {
        ensure!(!job.is_empty() && !job.contains('/') && !job.starts_with('.'), "a job with the strange name {job:?}");
        let path = self.results.join(format!("{job}.tar.zst"));
        let mut file = tempfile::NamedTempFile::new_in(self.results)
            .with_context(|| format!("making a file in {}", self.results.display()))?;
        let (mut left, mut digest) = (size, Hasher::new());
        while left > 0 {
            let Some(frame) = self.frame()? else { bail!("the machine ended while it delivered the results of {job}") };
            let Frame::Data(bytes) = frame else { bail!("the results of {job} are shorter than they were said to be") };
            left = left.checked_sub(bytes.len() as u64).context("results that are longer than they were said to be")?;
            digest.update(&bytes);
            file.write_all(&bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        ensure!(digest.finish() == sha256, "the results of {job} were changed on their way");
        file.as_file().sync_all().with_context(|| format!("syncing {}", path.display()))?;
        // The machine forgets the bundle once it hears that it is kept, so its name has to be durable too.
        file.persist(&path)
            .map_err(|error| error.error)
            .and_then(|_| durable::sync_directory(self.results))
            .with_context(|| format!("putting {} in place", path.display()))?;
        let kept = Frame::of(&ToAppliance::Kept { sha256 }).context("answering")?;
        match self.stream.write_all(&kept.encode()) {
            Err(error) if !is_gone(error.kind()) => Err(error).context("answering on the port"),
            _ => Ok(path),
        }
    }

    /// The next frame; `None` once the machine has ended.
    fn frame(&mut self) -> Result<Option<Frame>> {
        let mut chunk = vec![0; 256 * 1024];
        loop {
            if let Some(frame) = self.decoder.next_frame().context("reading from the port")? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => self.decoder.push(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_gone(error.kind()) => return Ok(None),
                Err(error) => return Err(error).context("reading from the port"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records the events.
    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Listener for Heard {
        fn ready(&mut self, machine: &Machine, _: f64) {
            self.0.push(format!("ready {}", machine.name));
        }

        fn started(&mut self, job: &str) {
            self.0.push(format!("started {job}"));
        }

        fn log(&mut self, job: &str, bytes: &[u8]) {
            self.0.push(format!("{job}: {}", String::from_utf8_lossy(bytes)));
        }

        fn finished(&mut self, job: &str, verdict: Verdict, summary: &str, bundle: &Path) {
            let text = fs::read_to_string(bundle).unwrap_or_default();
            self.0.push(format!("{verdict} {job} {summary} {text}"));
        }

        fn declined(&mut self, job: &str, why: &str) {
            self.0.push(format!("declined {job} {why}"));
        }

        fn problem(&mut self, what: &str, _: &str) {
            self.0.push(what.to_owned());
        }
    }

    /// Simulates an appliance that reads its work, sends these frames, and hangs up.
    fn serve(frames: Vec<Frame>, results: &Path) -> (Result<bool>, Vec<String>) {
        let port = Handover::open().unwrap();
        let socket = port.socket();
        let appliance = thread::spawn(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            let mut decoder = Decoder::default();
            let mut byte = [0; 512];
            while decoder.next_frame().unwrap().is_none() {
                let count = stream.read(&mut byte).unwrap();
                decoder.push(&byte[..count]);
            }
            for frame in frames {
                // The other side hangs up if a frame is wrong.
                let _ = stream.write_all(&frame.encode());
            }
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let mut heard = Heard::default();
        let result = port.serve(&Work::default(), results, &mut heard);
        drop(port);
        appliance.join().unwrap();
        (result, heard.0)
    }

    fn finished(size: u64, sha256: Digest) -> Frame {
        let (job, summary) = ("gzip".to_owned(), "1 passed".to_owned());
        Frame::of(&FromAppliance::Finished { job, verdict: Verdict::Pass, summary, size, sha256 }).unwrap()
    }

    #[test]
    fn a_bundle_is_put_in_place_before_anyone_hears_of_it() {
        let results = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"bundle");
        let frames = vec![
            Frame::of(&FromAppliance::Started { job: "gzip".into() }).unwrap(),
            Frame::Log(b"testing".into()),
            Frame::of(&FromAppliance::LogOf { job: "sed".into() }).unwrap(),
            Frame::Log(b"as well".into()),
            finished(6, digest),
            Frame::Data(b"bun".into()),
            Frame::Data(b"dle".into()),
            Frame::of(&FromAppliance::Done).unwrap(),
        ];
        let (result, heard) = serve(frames, results.path());
        assert!(result.unwrap());
        assert_eq!(heard, ["started gzip", "gzip: testing", "sed: as well", "pass gzip 1 passed bundle"]);
    }

    #[test]
    fn a_machine_that_ends_early_leaves_nothing_half_written() {
        let results = tempfile::tempdir().unwrap();
        assert!(!serve(vec![Frame::Log(b"x".into())], results.path()).0.unwrap());
        for frames in [
            vec![finished(6, Digest::of("other")), Frame::Data(b"bun".into())],
            vec![finished(6, Digest::of("other")), Frame::Data(b"bundle".into())],
            vec![finished(6, Digest::of("other")), Frame::Data(b"too long".into())],
            vec![finished(6, Digest::of("other")), Frame::Log(b"x".into())],
        ] {
            assert!(serve(frames, results.path()).0.is_err());
        }
        assert_eq!(fs::read_dir(results.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_machine_that_never_came_is_not_waited_for() {
        let port = Handover::open().unwrap();
        port.ended().store(true, Ordering::Relaxed);
        let results = tempfile::tempdir().unwrap();
        assert!(!port.serve(&Work::default(), results.path(), &mut Heard::default()).unwrap());
    }
}
