//! The process that serves the root: `rocbed-init root-server URL`, with `/dev/fuse` as its standard input.
//!
//! It must not need the root that it serves. So it lives in a directory in memory with what it needs, holds open what it
//! reads, is the last that the kernel ends when memory runs out, and PID 1 spares it until the end.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use appliance::paths;
use chunked::{Index, Order};
use sha256::Digest;

use super::fuse;
use super::memory::Meminfo;
use super::ranges::Ranges;
use super::state::ServerState;
use super::store::{Observer, Store};
use crate::console::Console;
use crate::netroot::download::DownloadOptions;

/// The argument with which rocbed-init becomes this process.
pub const COMMAND: &str = "root-server";

/// File with the index, in this process's directory.
pub(super) const INDEX: &str = "root.index";

/// File with the order of earlier starts, in the same place; there is none if the server has none.
pub(super) const ORDER: &str = "root.order";

/// Threads that answer requests: so many chunks are fetched at once.
const THREADS: usize = 8;

/// The kernel ends this process last (`proc_pid_oom_score_adj(5)`).
const NEVER: &str = "-1000";

/// Time between two looks at the machine's memory.
const LOOK: Duration = Duration::from_secs(1);

/// How long chunks may fail to come before people are told.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs it; returns when the machine ends, or with an error.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut console = Console::open();
    match run(arguments, &mut console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.say(&format!("root: serving it: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>, console: &mut Console) -> io::Result<()> {
    let url = arguments.next().ok_or_else(|| io::Error::other("the URL is missing"))?;
    let step = |step: &'static str| move |error: io::Error| io::Error::new(error.kind(), format!("{step}: {error}"));
    fs::write("/proc/self/oom_score_adj", NEVER).map_err(step("sparing this process when memory runs out"))?;
    let memory = Meminfo::open().map_err(step("opening /proc/meminfo"))?;
    let requests = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(step("taking /dev/fuse"))?);
    rustix::process::setsid().map_err(|error| step("beginning a session")(error.into()))?;
    rustix::process::chroot(paths::ROOT_SERVER).map_err(|error| step("changing the root directory")(error.into()))?;
    rustix::process::chdir("/").map_err(|error| step("changing the directory")(error.into()))?;
    let index = fs::read(Path::new("/").join(INDEX)).map_err(step("reading the index"))?;
    let digest = Digest::of(&index);
    let index = Index::parse(&index).map_err(io::Error::other)?;
    // Without an order, or with a wrong one, what was not read is fetched from the first chunk to the last.
    let order = fs::read(Path::new("/").join(ORDER)).unwrap_or_default();
    let order = Order::parse(&order, digest, index.chunks().len());
    let order = order.map_or_else(|_| Vec::new(), |order| order.numbers().collect());
    // It waits as long as it takes; a part that is not there after the timeout is asked for again.
    let ranges = Ranges::new(&url, index.file_length(), &DownloadOptions::default());
    let teller = Teller {
        console: Mutex::new(std::mem::replace(console, Console::open())),
        since: Mutex::default(),
        gave_up: Mutex::default(),
    };
    let store = Arc::new(Store::new(index, order, ranges, memory, teller));
    let rest = Arc::clone(&store);
    thread::Builder::new().name("rest".into()).spawn(move || rest.fetch_rest())?;
    let looks = Arc::clone(&store);
    let look = move || loop {
        thread::sleep(LOOK);
        looks.relieve();
    };
    thread::Builder::new().name("memory".into()).spawn(look)?;
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let (store, requests) = (Arc::clone(&store), requests.try_clone()?);
        threads.push(thread::Builder::new().name("reads".into()).spawn(move || answer_all(&requests, &*store))?);
    }
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread panicked"))??;
    }
    Ok(())
}

/// Answers requests until the file system is unmounted.
fn answer_all(mut requests: &File, content: &impl fuse::Content) -> io::Result<()> {
    let mut buffer = vec![0; fuse::BUFFER];
    loop {
        let length = match requests.read(&mut buffer) {
            Ok(length) => length,
            Err(error) => match error.raw_os_error() {
                // A request was withdrawn, or a signal came.
                Some(libc::ENOENT | libc::EINTR | libc::EAGAIN) => continue,
                // It was unmounted.
                Some(libc::ENODEV) => return Ok(()),
                _ => return Err(error),
            },
        };
        let Some(answer) = fuse::answer(buffer.get(..length).unwrap_or_default(), content) else { continue };
        match requests.write(&answer) {
            // The reader is gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => drop(other?),
        }
    }
}

/// Shortest time between two lines that say that memory is short.
const SELDOM: Duration = Duration::from_secs(60);

/// Tells people and PID 1 when the server is away, and when it is back.
struct Teller {
    console: Mutex<Console>,
    /// Since when nothing came, and whether that was told.
    since: Mutex<Option<(Instant, bool)>>,
    /// When it was told that memory is short.
    gave_up: Mutex<Option<Instant>>,
}

impl Teller {
    fn say(&self, text: &str, state: &ServerState) {
        let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        console.say(&format!("root: {text}"));
        if let Err(error) = state.write(Path::new("/")) {
            console.say(&format!("root: telling the state: {error}"));
        }
    }
}

impl Observer for Teller {
    fn waiting(&self, reason: &str, _pause: Duration) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, told) = since.get_or_insert((Instant::now(), false));
        if *told || began.elapsed() < PATIENCE {
            return;
        }
        *told = true;
        self.say(&format!("{reason}; waiting for the server"), &ServerState::Waiting(reason.to_owned()));
    }

    fn arrived(&self) {
        let before = self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((began, true)) = before {
            let seconds = began.elapsed().as_secs();
            self.say(&format!("the server is back after {seconds} s"), &ServerState::Reading);
        }
    }

    fn gave_up(&self, bytes: u64) {
        let mut told = self.gave_up.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < SELDOM) {
            return;
        }
        *told = Some(Instant::now());
        let size = crate::netroot::memory::shown(bytes);
        let text = format!("memory is short: {size} of it are given up, and fetched again when needed");
        let is_away = self.since.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|(_, told)| told);
        if is_away {
            // PID 1 goes on showing that the server is waited for.
            self.console.lock().unwrap_or_else(PoisonError::into_inner).say(&format!("root: {text}"));
        } else {
            self.say(&text, &ServerState::Reading);
        }
    }

    fn complete(&self, bytes: u64) {
        let size = crate::netroot::memory::shown(bytes);
        self.say(
            &format!("all of it is in memory ({size}); the server is not needed any more"),
            &ServerState::Complete,
        );
    }
}
