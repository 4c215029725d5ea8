//! [`Kmsg`]: the log of the running kernel.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use gpu::Sysfs;
use gpu::messages::{Places, Trust};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::KernelLog;

/// Longest record of the kernel, in bytes.
const MAX_RECORD: usize = 16 << 10;
/// Bytes of unread records above which only errors and those of the GPU driver are added.
const MOST_WAITING: usize = 32 << 20;
/// Longest wait of the thread before it checks whether to end.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// `/dev/kmsg` (kernel Documentation/ABI/testing/dev-kmsg), from the time of opening on.
///
/// A separate thread reads it: the kernel's buffer is small, and a flood of messages could overwrite it before a reader
/// that also waits for other things gets to it.
#[derive(Debug)]
pub struct Kmsg {
    shared: Arc<Shared>,
    places: Places,
    trust: Trust,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<String>,
    bytes: usize,
    failure: Option<io::Error>,
}

impl Kmsg {
    /// Opens `/dev/kmsg`.
    ///
    /// # Errors
    ///
    /// `EPERM` for unprivileged users if `kernel.dmesg_restrict` is 1.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = File::options().read(true).custom_flags(flags).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("kernel-log".into()).spawn(move || follow(file, &of_thread))?;
        Ok(Self { shared, places: Places::of_machine(&Sysfs::default()), trust: Trust::Record })
    }

    /// Accepts simulated faults too: [`Trust::Simulated`].
    #[must_use]
    pub fn with_simulated_faults(mut self) -> Self {
        self.trust = Trust::Simulated;
        self
    }
}

impl Drop for Kmsg {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn add(&self, record: String) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let important = || {
            record.contains("amdgpu")
                || record.starts_with(['0', '1', '2', '3']) && record.as_bytes().get(1) == Some(&b',')
        };
        if waiting.bytes < MOST_WAITING || waiting.bytes < 2 * MOST_WAITING && important() {
            waiting.bytes += record.len();
            waiting.records.push_back(record);
        }
    }

    fn fail(&self, error: io::Error) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(error);
    }
}

/// Reads records until the owner is gone.
fn follow(mut file: File, shared: &Shared) {
    let mut record = vec![0; MAX_RECORD];
    while !shared.stop.load(Ordering::Relaxed) {
        match file.read(&mut record) {
            Ok(0) => return,
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                shared.add(text.trim_end_matches('\n').to_owned());
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN) => {
                    let mut ready = [PollFd::new(&file, PollFlags::IN)];
                    // An interrupted wait counts as a short one.
                    let _ = poll(&mut ready, Some(&LOOK_EVERY));
                }
                // The record was overwritten before it was read; the oldest existing one follows.
                Some(Errno::PIPE | Errno::INTR) => {}
                _ => return shared.fail(error),
            },
        }
    }
}

impl KernelLog for Kmsg {
    fn read(&mut self, record: &mut dyn FnMut(&str)) -> io::Result<()> {
        let (records, failure) = {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.bytes = 0;
            (std::mem::take(&mut waiting.records), waiting.failure.take())
        };
        for text in &records {
            record(text);
        }
        failure.map_or(Ok(()), Err)
    }

    fn trust(&self) -> Trust {
        self.trust
    }

    fn places(&self) -> Places {
        self.places.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_wait_in_order_and_in_a_flood_the_important_ones_are_kept() {
        let shared = Shared::default();
        let usual = format!("6,1,2,-;{}", "x".repeat(1 << 20));
        for _ in 0..40 {
            shared.add(usual.clone());
        }
        let fault = "3,9,9,-;amdgpu 0000:03:00.0: amdgpu: GPU reset begin!";
        shared.add(fault.into());
        let waiting = shared.waiting.lock().unwrap();
        assert!(waiting.records.len() < 40);
        assert_eq!(waiting.records.back().map(String::as_str), Some(fault));
    }
}
