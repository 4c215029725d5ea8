//! [`Running`]: a machine that runs, and [`End`], how it ended.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

use crate::lines::Lines;
use crate::terminal::Terminal;
use crate::{Accelerator, Boot, Firmware, Machine, VmError, accelerator, picture};

/// How often to check whether QEMU has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long a killed QEMU may take to end; the kernel may have gigabytes of memory to free, or a device to reset.
const KILLED: Duration = Duration::from_secs(30);

/// How much of QEMU's own messages is kept, in bytes.
const MESSAGES: usize = 64 * 1024;

/// The way a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// QEMU ended with this exit code: 0 after a power-off or reboot.
    Exited(i32),
    /// QEMU was killed by this signal; 6 (SIGABRT) means an error of QEMU itself.
    Signal(i32),
    /// It was killed at its deadline.
    Deadline,
    /// It was killed because `on_line` returned `Break`, by [`Running::stop`], or by [`Machine::until`].
    Stopped,
    /// KVM could not run the guest, and QEMU was killed, because it would have stayed for ever. Start it again with
    /// [`Accelerator::Tcg`].
    KvmFailed,
}

/// The end of a machine, with QEMU's messages.
#[derive(Debug, Clone)]
pub struct Exit {
    /// The way it ended.
    pub end: End,
    /// The time that it ran.
    pub elapsed: Duration,
    /// QEMU's own messages on standard error, not the guest's: the first 64 KiB.
    pub messages: String,
    /// The accelerator that it used.
    pub accelerator: Accelerator,
}

impl Exit {
    /// The value that the guest wrote to port 0xf4 (see [`Machine::debug_exit`]). QEMU turns it into an odd exit
    /// code, so that 0 still means an ordinary power-off.
    pub fn debug_code(&self) -> Option<u8> {
        match self.end {
            End::Exited(code) if code & 1 == 1 => u8::try_from(code >> 1).ok(),
            _ => None,
        }
    }
}

/// A running machine. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    pid: u32,
    accelerator: Accelerator,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Result<(End, Duration), VmError>>>,
    serial: Option<JoinHandle<io::Result<()>>>,
    messages: Option<JoinHandle<io::Result<String>>>,
    /// The path for pictures of the display, and the thread that takes them.
    picture: Option<(PathBuf, JoinHandle<io::Result<()>>)>,
    log: PathBuf,
    /// The directory of the monitor's socket.
    _monitor: Option<TempDir>,
    /// The copy of the firmware's variables, which is kept as long as the machine.
    _variables: Option<NamedTempFile>,
    /// Restores the terminal's settings, even after a QEMU that could not.
    _terminal: Option<Terminal>,
}

impl Machine {
    /// Starts the machine. `on_line` gets every line of its serial console, on a thread of its own, and can end the
    /// machine by returning [`ControlFlow::Break`].
    ///
    /// # Errors
    /// [`VmError::MissingQemu`], [`VmError::MissingFirmware`], or if a file cannot be opened. Errors that QEMU itself
    /// reports are in [`Exit::messages`].
    pub fn start(&self, on_line: impl FnMut(&str) -> ControlFlow<()> + Send + 'static) -> Result<Running, VmError> {
        let qemu = match &self.qemu {
            Some(program) => program.clone(),
            None => accelerator::find_qemu()?,
        };
        let direct = match &self.boot {
            Boot::Direct { kernel, initrd, .. } => vec![Some(kernel), initrd.as_ref()],
            Boot::Bios | Boot::Uefi | Boot::SecureBoot | Boot::Network { .. } => Vec::new(),
        };
        // QEMU's own message only says that it could not load something.
        for path in direct.into_iter().flatten().chain(self.disks.iter().map(|disk| &disk.path)) {
            File::open(path).map_err(VmError::io("opening", path))?;
        }
        let firmware = match self.boot {
            Boot::Uefi => Some(Firmware::find()?),
            Boot::SecureBoot => Some(Firmware::find_with_secure_boot()?),
            _ => None,
        };
        let variables = firmware.as_ref().map(Firmware::copy_variables).transpose()?;
        let flash = firmware.as_ref().zip(variables.as_ref()).map(|(f, v)| (f.code.as_path(), v.path()));
        let log = match &self.log {
            Some(path) => Some(File::create(path).map_err(VmError::io("creating", path))?),
            None => None,
        };
        let mut command = match self.launcher.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&qemu);
                command
            }
            None => Command::new(&qemu),
        };
        let place = self.picture.as_ref().map(|_| monitor_place()).transpose()?;
        let monitor = place.as_ref().map(|place| place.path().join("qmp"));
        command.args(self.arguments(flash, monitor.as_deref())).stderr(Stdio::piped());
        let terminal = if self.interactive {
            command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
            Terminal::remember()
        } else {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            None
        };
        let mut child = command.spawn().map_err(VmError::io("starting", &qemu))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stop, kvm_failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (pid, until) = (child.id(), Arc::clone(&self.until));
        let limits = Limits { whole: self.deadline, start: self.start_deadline.clone() };
        let (seen_enough, failing) = (Arc::clone(&stop), Arc::clone(&kvm_failed));
        let (watched, ended) = (Arc::clone(&stop), Arc::clone(&stop));
        Ok(Running {
            pid,
            accelerator: self.accelerator,
            stop,
            watcher: Some(thread::spawn(move || watch(child, &limits, [&watched, &until], &kvm_failed))),
            serial: stdout.map(|stdout| thread::spawn(move || read_serial(stdout, log, on_line, &seen_enough))),
            messages: stderr.map(|stderr| thread::spawn(move || read_messages(stderr, &failing))),
            picture: monitor.zip(self.picture.clone()).map(|(monitor, picture)| {
                let path = picture.clone();
                (path, thread::spawn(move || picture::keep(&monitor, &picture, &ended)))
            }),
            log: self.log.clone().unwrap_or_default(),
            _monitor: place,
            _variables: variables,
            _terminal: terminal,
        })
    }
}

impl Running {
    /// QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the machine has ended; [`Self::wait`] returns at once then.
    pub fn has_ended(&self) -> bool {
        self.watcher.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the machine has ended.
    ///
    /// # Errors
    /// If its console could not be read or logged to the end, or SIGKILL did not end it ([`VmError::Stuck`]).
    pub fn wait(mut self) -> Result<Exit, VmError> {
        // With an error, the other threads are left behind: they end with QEMU.
        let watched = self.watcher.take().map(result).transpose()?;
        let (end, elapsed) = watched.unwrap_or((End::Stopped, Duration::ZERO));
        join(self.serial.take(), "logging the console to", self.log.clone())?;
        // Only after all its lines were passed on: this ends that too.
        self.stop.store(true, Ordering::Relaxed);
        if let Some((path, thread)) = self.picture.take() {
            join(Some(thread), "taking a picture of the display for", path)?;
        }
        let messages = join(self.messages.take(), "reading the messages of", "qemu-system-x86_64".into())?;
        Ok(Exit { end, elapsed, messages: messages.unwrap_or_default(), accelerator: self.accelerator })
    }

    /// Kills the machine and waits until it has ended.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn stop(self) -> Result<Exit, VmError> {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            // There is no caller left for its result.
            let _ = watcher.join();
        }
    }
}

/// A directory for the monitor's socket. Only this user may access it.
fn monitor_place() -> Result<TempDir, VmError> {
    let place = tempfile::Builder::new().prefix("rocbed-vm.").tempdir();
    place.map_err(VmError::io("making a directory in", std::env::temp_dir()))
}

fn join<T>(
    thread: Option<JoinHandle<io::Result<T>>>,
    action: &'static str,
    path: PathBuf,
) -> Result<Option<T>, VmError> {
    thread.map(result).transpose().map_err(VmError::io(action, path))
}

/// The result of a thread; its panic is passed on.
fn result<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// How long a machine may run.
struct Limits {
    whole: Duration,
    /// How long until this is set.
    start: Option<(Duration, Arc<AtomicBool>)>,
}

impl Limits {
    fn are_over(&self, elapsed: Duration) -> bool {
        let start = self.start.as_ref();
        elapsed >= self.whole || start.is_some_and(|(limit, is_up)| elapsed >= *limit && !is_up.load(Ordering::Relaxed))
    }
}

/// Waits for QEMU to end, or ends it.
fn watch(
    mut child: Child,
    limits: &Limits,
    stop: [&AtomicBool; 2],
    kvm_failed: &AtomicBool,
) -> Result<(End, Duration), VmError> {
    let failed = |source| VmError::io("waiting for", "qemu-system-x86_64")(source);
    let (started, pid) = (Instant::now(), child.id());
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok((ended(status), started.elapsed()));
        }
        let end = if kvm_failed.load(Ordering::Relaxed) {
            End::KvmFailed
        } else if stop.iter().any(|flag| flag.load(Ordering::Relaxed)) {
            End::Stopped
        } else if limits.are_over(started.elapsed()) {
            End::Deadline
        } else {
            thread::sleep(LOOK_AGAIN);
            continue;
        };
        child.kill().map_err(failed)?;
        let has_ended = await_end(|| child.try_wait(), KILLED).map_err(failed)?;
        return if has_ended { Ok((end, started.elapsed())) } else { Err(VmError::Stuck { pid }) };
    }
}

/// Waits until a process has ended; false if it has not in time.
fn await_end(mut status: impl FnMut() -> io::Result<Option<ExitStatus>>, patience: Duration) -> io::Result<bool> {
    let started = Instant::now();
    while status()?.is_none() {
        if started.elapsed() >= patience {
            return Ok(false);
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(true)
}

fn ended(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
    }
}

fn read_serial(
    mut stdout: ChildStdout,
    mut log: Option<File>,
    mut on_line: impl FnMut(&str) -> ControlFlow<()>,
    seen_enough: &AtomicBool,
) -> io::Result<()> {
    let (mut lines, mut buffer) = (Lines::default(), vec![0; 16 * 1024]);
    let mut tell = |line: &str| {
        if !seen_enough.load(Ordering::Relaxed) && on_line(line).is_break() {
            seen_enough.store(true, Ordering::Relaxed);
        }
    };
    let mut logged = Ok(());
    loop {
        let count = match stdout.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        // A full disk must not stop the reading: QEMU would block for ever.
        if let Some(file) = &mut log
            && logged.is_ok()
        {
            logged = file.write_all(bytes);
        }
        lines.push(bytes, &mut tell);
    }
    lines.end(&mut tell);
    logged
}

fn read_messages(mut stderr: ChildStderr, kvm_failed: &AtomicBool) -> io::Result<String> {
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        let count = match stderr.read(&mut buffer) {
            Ok(0) => return Ok(String::from_utf8_lossy(&kept).into_owned()),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let room = MESSAGES.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
        if accelerator::says_kvm_failed(&kept) {
            kvm_failed.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_has_come_up_has_all_its_time() {
        let is_up = Arc::new(AtomicBool::new(false));
        let limits =
            Limits { whole: Duration::from_secs(9), start: Some((Duration::from_secs(2), Arc::clone(&is_up))) };
        let over = |seconds| limits.are_over(Duration::from_secs(seconds));
        assert_eq!((over(1), over(2), over(8)), (false, true, true));
        is_up.store(true, Ordering::Relaxed);
        assert_eq!((over(2), over(8), over(9)), (false, false, true));
    }

    #[test]
    fn a_process_that_does_not_end_is_not_waited_for_for_ever() {
        assert!(!await_end(|| Ok(None), Duration::from_millis(1)).unwrap());
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        child.kill().unwrap();
        assert!(await_end(|| child.try_wait(), KILLED).unwrap());
    }
}
