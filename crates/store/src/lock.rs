//! A lock file that keeps two builds from writing to the same directory at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant, SystemTime};

use advice::{Advise, Help};
use progress::Progress;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Polling interval while another process holds the lock.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// An advisory lock (flock(2)) on a file, held until dropped. The kernel releases it when the process ends, for
/// whatever reason; the file stays.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// What to do while another process holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Fail at once.
    No,
    /// Wait this long, then fail.
    For(Duration),
    /// Wait until it is free.
    Forever,
}

/// Holder of a lock, as far as the lock file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Time at which it took the lock, in seconds since 1970.
    pub since: u64,
    /// Purpose ("building smoke").
    pub purpose: String,
}

/// A lock that could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds the lock.
    #[error("{} is locked by {}", path.display(), describe(holder.as_ref()))]
    Held {
        /// Path of the lock file.
        path: PathBuf,
        /// The holder, if it is recorded yet.
        holder: Option<Holder>,
    },

    /// A system call failed.
    #[error("locking {}: {source}", path.display())]
    Io {
        /// Path of the lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Advise for LockError {
    fn help(&self) -> Help {
        match self {
            Self::Held { .. } => "wait until it has finished, or end it".into(),
            Self::Io { .. } => Help::none(),
        }
    }
}

fn describe(holder: Option<&Holder>) -> String {
    let Some(holder) = holder else { return "another process".to_owned() };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let since = i64::try_from(holder.since).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let since = since.map_or_else(String::new, |time| format!(" since {time}"));
    let (pid, purpose, seconds) = (holder.pid, &holder.purpose, now.saturating_sub(holder.since));
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("process {pid} ({purpose}){since}, for {minutes} min {seconds} s")
}

impl Lock {
    /// Takes the lock on the file at `path`, which is created if missing. `purpose` is shown to other processes that
    /// find it taken. Before waiting, the user is told once which process holds the lock.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process holds it and `wait` is over.
    pub fn acquire(path: &Path, purpose: &str, wait: Wait, progress: &dyn Progress) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        let started = Instant::now();
        let mut told = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(failed(e.into())),
            }
            let held = LockError::Held { path: path.to_owned(), holder: read_holder(&mut file) };
            match wait {
                Wait::No => return Err(held),
                Wait::For(limit) if started.elapsed() >= limit => return Err(held),
                Wait::For(_) | Wait::Forever => {}
            }
            if !told {
                progress.warn(&format!("waiting: {held}"));
                told = true;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let holder = Holder { pid: process::id(), since, purpose: purpose.to_owned() };
        let text = serde_json::to_vec(&holder).map_err(|e| failed(e.into()))?;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
        written.map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file unlocks it. Its content is only for messages.
        let _ = self.file.set_len(0);
    }
}

/// Reads the holder of the lock; `None` if it is not recorded yet.
fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use progress::Silent;

    #[test]
    fn the_second_is_told_who_holds_it_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, "building smoke", Wait::No, &Silent).unwrap();
        let error = Lock::acquire(&path, "building rocm", Wait::For(Duration::from_millis(1)), &Silent).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("process {} (building smoke) since 20", process::id())), "{text}");
        assert_eq!(error.help().to_string(), "wait until it has finished, or end it");
        drop(first);
        Lock::acquire(&path, "building rocm", Wait::No, &Silent).unwrap();
    }

    #[test]
    fn who_waits_gets_it_when_it_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, "first", Wait::No, &Silent).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Lock::acquire(&path, "second", Wait::Forever, &Silent));
            std::thread::sleep(LOOK_AGAIN);
            drop(first);
            second.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_lock_file_that_says_nonsense_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, b"\xff\xff{").unwrap();
        let held = Lock::acquire(&path, "x", Wait::No, &Silent).unwrap();
        std::fs::write(&path, b"\xff\xff{").unwrap();
        let error = Lock::acquire(&path, "y", Wait::No, &Silent).unwrap_err().to_string();
        assert!(error.contains("is locked by another process"), "{error}");
        drop(held);
    }
}
