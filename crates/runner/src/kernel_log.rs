//! The kernel's log while a job runs, and what in it speaks of faults.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use gpu::{FaultKind, PciAddress, fault};
use rustix::fs::OFlags;

use crate::Grant;
use crate::bounded::BoundedLog;

/// More lines about faults are not kept in the result; the bundle has the whole log.
const MOST_LINES: usize = 200;
/// More of a job's kernel log is not kept, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Where the kernel's log comes from.
pub trait KernelLog {
    /// Hands over the lines that came since the last call, in any form that [`gpu::fault`] reads. Must not wait.
    ///
    /// # Errors
    /// If there is no more to be had; the job goes on without.
    fn read(&mut self, line: &mut dyn FnMut(&str)) -> io::Result<()>;
}

/// No log.
impl KernelLog for () {
    fn read(&mut self, _: &mut dyn FnMut(&str)) -> io::Result<()> {
        Ok(())
    }
}

/// `/dev/kmsg` (kernel Documentation/ABI/testing/dev-kmsg), from when it was opened on.
#[derive(Debug)]
pub struct Kmsg(File);

impl Kmsg {
    /// Opens it.
    ///
    /// # Errors
    /// `EPERM` for users without privileges where `kernel.dmesg_restrict` is 1.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = File::options().read(true).custom_flags(flags).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }
}

impl KernelLog for Kmsg {
    fn read(&mut self, line: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut record = vec![0; 16 << 10];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    for text in String::from_utf8_lossy(record.get(..length).unwrap_or_default()).lines() {
                        line(text);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The record was overwritten while it was read; the next one follows.
                Err(error) if matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::PIPE.raw_os_error()) =>
                    {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Keeps the log of a job.
pub(crate) struct Watch<'a> {
    source: &'a mut dyn KernelLog,
    log: BoundedLog,
    granted: Vec<PciAddress>,
    has_gpus: bool,
    /// Lines that speak of faults.
    pub(crate) lines: Vec<String>,
    /// Whether one of them is of a GPU that the job had.
    pub(crate) gpu_fault: bool,
    /// Whether memory was used up.
    pub(crate) out_of_memory: bool,
    /// Why there is no more log.
    pub(crate) failure: Option<io::Error>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(source: &'a mut dyn KernelLog, file: File, gpus: &[Grant]) -> Self {
        let address = |gpu: &Grant| gpu.id.split('/').next().unwrap_or_default().parse().ok();
        let granted = gpus.iter().filter_map(address).collect();
        Self {
            source,
            log: BoundedLog::new(file, MOST_BYTES),
            granted,
            has_gpus: !gpus.is_empty(),
            lines: Vec::new(),
            gpu_fault: false,
            out_of_memory: false,
            failure: None,
        }
    }

    /// Takes what has come.
    pub(crate) fn poll(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let mut new = Vec::new();
        if let Err(error) = self.source.read(&mut |line| new.push(line.to_owned())) {
            self.failure = Some(error);
        }
        for line in new {
            self.take(&line);
        }
    }

    /// Takes what has come, and ends the log.
    pub(crate) fn finish(&mut self) {
        self.poll();
        self.log.finish();
    }

    fn take(&mut self, line: &str) {
        self.log.write(line.as_bytes());
        self.log.write(b"\n");
        let Some(fault) = fault(line) else { return };
        // Another job's GPU is that job's business. With simulated GPUs, every fault counts: there is no other job.
        let others = |address: PciAddress| !self.granted.is_empty() && !self.granted.contains(&address);
        if fault.kind.is_of_gpu() && fault.address.is_some_and(others) {
            return;
        }
        self.gpu_fault |= fault.kind.is_of_gpu() && self.has_gpus;
        self.out_of_memory |= fault.kind == FaultKind::OutOfMemory;
        if self.lines.len() < MOST_LINES {
            self.lines.push(fault.line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(Vec<&'static str>);

    impl KernelLog for Lines {
        fn read(&mut self, line: &mut dyn FnMut(&str)) -> io::Result<()> {
            self.0.drain(..).for_each(line);
            Ok(())
        }
    }

    fn watched(gpus: &[&str], lines: &[&'static str]) -> (bool, bool, usize) {
        let grants: Vec<Grant> =
            gpus.iter().map(|id| Grant { id: (*id).into(), render_node: None, simulated: false }).collect();
        let mut source = Lines(lines.to_vec());
        let mut watch = Watch::new(&mut source, tempfile::tempfile().unwrap(), &grants);
        watch.poll();
        (watch.gpu_fault, watch.out_of_memory, watch.lines.len())
    }

    const RESET: &str = "3,1,2,-;amdgpu 0000:03:00.0: amdgpu: GPU reset begin!";
    const KILLED: &str = "Out of memory: Killed process 812 (test)";

    #[test]
    fn only_faults_of_the_jobs_own_gpu_are_its_faults() {
        assert_eq!(watched(&["0000:03:00.0"], &[RESET, "usual"]), (true, false, 1));
        assert_eq!(watched(&["0000:03:00.0/1"], &[RESET]), (true, false, 1), "a partition");
        assert_eq!(watched(&["0000:43:00.0"], &[RESET]), (false, false, 0), "another job's");
        assert_eq!(watched(&["simulated-0"], &[RESET]), (true, false, 1));
        assert_eq!(watched(&[], &[RESET, KILLED]), (false, true, 2), "the job had none");
    }
}
