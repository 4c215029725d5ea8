//! Starts QEMU, and waits until the machine takes commands.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vm::{Accelerator, Boot, Bus, Disk, Machine, Running, VmError};

use super::helper::program;
use super::image::Image;
use super::limits;
use super::options::VmOptions;
use super::scratch::ScratchDisk;
use super::switch::Switch;
use super::wire::{Frame, Message, PORT_NAME, VERSION};
use crate::Error;
use crate::process::{Event, Signals};

/// How often to look whether QEMU has ended while something else is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// Number of console lines that are kept for an error.
const LINES: usize = 5;

/// Most bytes of a console line that are kept.
const LONGEST_LINE: usize = 200;

/// Words for the kernel that all machines get: a panic ends the machine at once.
const WORDS: &str = "panic=-1 rocbed.panic-timeout=1";

/// More words for a machine with systemd: nobody logs in on the console, and without udev systemd would wait for it.
const WORDS_FOR_SYSTEMD: &str = "systemd.mask=serial-getty@ttyS0.service";

/// A word for a machine without KVM: the kernel counts the timer's interrupts when it starts, and panics if QEMU does not
/// get a processor meanwhile.
const WORD_FOR_TCG: &str = "no_timer_check";

/// The setting of the image that this needs, as its program names it.
const SETTING: &str = "testbed-disk";

/// What all starts of a session have in common.
#[derive(Debug)]
pub(crate) struct Hardware {
    pub(crate) accelerator: Accelerator,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
}

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct Booted {
    running: Option<Running>,
    /// The host's end of the machine's port.
    port: Option<UnixStream>,
    reader: Option<JoinHandle<()>>,
    console: Console,
}

impl Booted {
    /// Starts a machine, and connects the switch with it. `place` is a directory for the socket of its port.
    ///
    /// # Errors
    /// If QEMU cannot be started, ends, or the machine does not take commands in time; it is ended then.
    pub(crate) fn start(
        options: &VmOptions,
        hardware: &Hardware,
        image: &Image,
        disk: &ScratchDisk,
        place: &Path,
        switch: &Switch,
        signals: &Signals,
    ) -> Result<Self, Error> {
        let socket = place.join("port");
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::step("removing the port's socket")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&socket).map_err(Error::step("listening for QEMU"))?;
        listener.set_nonblocking(true).map_err(Error::step("listening for QEMU"))?;
        let console = Console::default();
        let log = options.console.as_ref().map(|path| File::options().append(true).create(true).open(path)).transpose();
        let log = log.map_err(Error::step("opening the file for the console"))?;
        let machine = machine(options, hardware, image, disk, &socket, launcher(options));
        let running = machine.start(console.printer(log))?;
        let mut booted = Self { running: Some(running), port: None, reader: None, console };
        let limit = Instant::now() + limits::start(hardware.accelerator);
        match booted.connect(&listener, switch, signals, limit) {
            Ok(()) => Ok(booted),
            // One that cannot be ended is the worse problem.
            Err(error) => booted.end(switch).and(Err(error)),
        }
    }

    /// Waits for QEMU at the port, and for the service in the machine.
    fn connect(
        &mut self,
        listener: &UnixListener,
        switch: &Switch,
        signals: &Signals,
        limit: Instant,
    ) -> Result<(), Error> {
        let port = loop {
            match listener.accept() {
                Ok((port, _)) => break port,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.look(listener.as_fd(), signals, limit)?;
                }
                Err(error) => return Err(Error::step("waiting for QEMU")(error)),
            }
        };
        let (heard, hears) = io::pipe().map_err(Error::step("making a pipe"))?;
        let hello = Arc::new(Mutex::new(None));
        let (told, to) = (Arc::clone(&hello), switch.clone());
        let share = || port.try_clone().map_err(Error::step("sharing the port"));
        let from = share()?;
        self.port = Some(share()?);
        switch.connect(Box::new(port));
        let read = move || pass_on(from, &to, &told, hears);
        let thread = thread::Builder::new().name("port".into()).spawn(read);
        self.reader = Some(thread.map_err(Error::step("starting a thread for the port"))?);
        loop {
            match *lock(&hello) {
                Some(VERSION) => return Ok(()),
                Some(other) => return Err(Error::ImageVersion { image: other, program: VERSION }),
                None => {}
            }
            self.look(heard.as_fd(), signals, limit)?;
        }
    }

    /// Waits for a moment; an error if there is no use in waiting any longer.
    fn look(&mut self, fd: std::os::fd::BorrowedFd<'_>, signals: &Signals, limit: Instant) -> Result<(), Error> {
        if self.console.is_of_older_image() {
            return Err(Error::OldImage);
        }
        if self.has_ended() {
            return Err(self.failure("ended while it started"));
        }
        if Instant::now() > limit {
            return Err(self.failure("does not take commands in time"));
        }
        match signals.wait(fd, Some(LOOK)).map_err(Error::step("waiting for the virtual machine"))? {
            Event::Signal(number) => Err(Error::Signal(number)),
            Event::Ready | Event::TimedOut => Ok(()),
        }
    }

    /// Whether QEMU has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.running.as_ref().is_none_or(Running::has_ended)
    }

    /// Waits until the machine has ended by itself. Returns false if it has not in time.
    ///
    /// # Errors
    /// If a signal comes.
    pub(crate) fn wait_for_end(&self, patience: Duration, signals: &Signals) -> Result<bool, Error> {
        let limit = Instant::now() + patience;
        while !self.has_ended() {
            if Instant::now() > limit {
                return Ok(false);
            }
            match signals.wait(signals.as_fd(), Some(LOOK)).map_err(Error::step("waiting for the virtual machine"))? {
                Event::Signal(number) => return Err(Error::Signal(number)),
                Event::Ready | Event::TimedOut => {}
            }
        }
        Ok(true)
    }

    /// The error for a machine that does not do what it should.
    pub(crate) fn failure(&mut self, what: &'static str) -> Error {
        let exit = match self.running.take().map(Running::stop) {
            Some(Err(error @ VmError::Stuck { .. })) => return error.into(),
            other => other.and_then(Result::ok),
        };
        let qemu = exit.map(|exit| exit.messages).unwrap_or_default();
        let qemu = qemu.lines().next_back().map(|line| line.trim_start_matches("qemu-system-x86_64: ").to_owned());
        Error::VirtualMachine { what, qemu, console: self.console.last() }
    }

    /// Ends the machine at once.
    ///
    /// # Errors
    /// If SIGKILL does not end QEMU.
    pub(crate) fn end(mut self, switch: &Switch) -> Result<(), Error> {
        let stopped = self.running.take().map(Running::stop);
        switch.disconnect();
        if let Some(port) = self.port.take() {
            // A QEMU that did not end holds the other end, and the reader would wait for it. An error means that it is closed.
            let _ = port.shutdown(Shutdown::Both);
        }
        // It has nothing to return; a panic was printed where it happened.
        let _ = self.reader.take().map(JoinHandle::join);
        match stopped {
            Some(Err(error @ VmError::Stuck { .. })) => Err(error.into()),
            // It was told to end; how it did does not matter.
            _ => Ok(()),
        }
    }
}

/// The program between this one and QEMU, which makes QEMU end with this process.
fn launcher(options: &VmOptions) -> Vec<OsString> {
    let (program, arguments) = program();
    let root = options.machine_root.as_deref().unwrap_or(Path::new("/"));
    let part = ["vm-qemu".into(), std::process::id().to_string().into(), root.into()];
    [program].into_iter().chain(arguments).chain(part).collect()
}

fn machine(
    options: &VmOptions,
    hardware: &Hardware,
    image: &Image,
    disk: &ScratchDisk,
    socket: &Path,
    launcher: Vec<OsString>,
) -> Machine {
    let mut cmdline = format!("{} {WORDS} rocbed.{SETTING}={}", image.cmdline, disk.uuid());
    if image.has_systemd {
        cmdline.push(' ');
        cmdline.push_str(WORDS_FOR_SYSTEMD);
    }
    if hardware.accelerator == Accelerator::Tcg {
        cmdline.push(' ');
        cmdline.push_str(WORD_FOR_TCG);
    }
    let (kernel, initrd) = (image.file("vmlinuz"), Some(image.file("initrd.img")));
    let machine = Machine::new(hardware.accelerator)
        .memory_mib(hardware.memory_mib)
        .cpus(hardware.cpus)
        .boot(Boot::Direct { kernel, initrd, cmdline })
        .network(options.network)
        .disk(Disk::snapshot(image.file("root.img"), Bus::Virtio))
        .disk(Disk::scratch(disk.path(), Bus::Virtio))
        .port(PORT_NAME, PathBuf::from(socket))
        .launcher(launcher)
        // Tests have timeouts of their own.
        .deadline(Duration::MAX);
    let machine = match &options.qemu {
        Some(program) => machine.qemu(program),
        None => machine,
    };
    options.gpus.iter().fold(machine, |machine, address| machine.host_device(*address))
}

/// Reads the port until it ends. The first frame has to be the machine's hello.
fn pass_on(mut port: UnixStream, switch: &Switch, hello: &Mutex<Option<u32>>, mut hears: io::PipeWriter) {
    while let Ok(Some(frame)) = Frame::read(&mut port) {
        match frame {
            Frame { channel: 0, message: Message::Hello(version) } => {
                lock(hello).get_or_insert(version);
                // The other end is closed once it has been heard.
                let _ = hears.write_all(b"h");
            }
            frame => drop(switch.deliver(frame)),
        }
    }
    switch.disconnect();
}

/// Most bytes of a machine's console in the file: a test can write to the console without end.
const MOST_LOGGED: u64 = 64 << 20;

/// The end of what the machine says on its serial console.
#[derive(Debug, Default, Clone)]
struct Console(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    last: VecDeque<String>,
    is_of_older_image: bool,
}

impl Console {
    /// Takes each line, and writes it to the file, if there is one.
    fn printer(&self, mut log: Option<File>) -> impl FnMut(&str) -> ControlFlow<()> + Send + 'static {
        let said = Arc::clone(&self.0);
        let mut left = MOST_LOGGED;
        move |line| {
            if let Some(file) = &mut log {
                let length = line.len() as u64 + 1;
                let end = "rocbed: here the limit of this file is reached; what else the machine says is left out";
                let written = if length <= left { writeln!(file, "{line}") } else { writeln!(file, "{end}") };
                // A full disk must not end the machine.
                if written.is_err() || length > left {
                    log = None;
                }
                left = left.saturating_sub(length);
            }
            let clean: String = line.chars().filter(|char| !char.is_control()).take(LONGEST_LINE).collect();
            let mut said = lock(&said);
            said.is_of_older_image |= clean.contains("there is no setting") && clean.contains(SETTING);
            if !clean.trim().is_empty() {
                said.last.push_back(clean);
            }
            if said.last.len() > LINES {
                said.last.pop_front();
            }
            ControlFlow::Continue(())
        }
    }

    fn last(&self) -> Vec<String> {
        lock(&self.0).last.iter().cloned().collect()
    }

    fn is_of_older_image(&self) -> bool {
        lock(&self.0).is_of_older_image
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn the_file_for_the_console_has_a_limit() {
        let mut file = tempfile::tempfile().unwrap();
        let mut print = Console::default().printer(Some(file.try_clone().unwrap()));
        for line in ["first", &"x".repeat(usize::try_from(MOST_LOGGED).unwrap()), "last"] {
            assert!(print(line).is_continue());
        }
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{} bytes", text.len());
        assert!(lines[0] == "first" && lines[1].contains("the limit of this file is reached"), "{}", lines[1]);
    }

    #[test]
    fn the_end_of_the_console_is_kept_without_escapes() {
        let console = Console::default();
        let mut print = console.printer(None);
        for number in 0..9 {
            assert!(print(&format!("\x1b[1mline {number}")).is_continue());
        }
        assert!(print(" \r").is_continue());
        assert_eq!(console.last().last().map(String::as_str), Some("[1mline 8"));
        assert_eq!(console.last().len(), LINES);
        assert!(!console.is_of_older_image());
    }

    #[test]
    fn an_image_that_does_not_know_the_setting_is_recognised() {
        let console = Console::default();
        let _ = console.printer(None)(&format!("rocbed: there is no setting `{SETTING}`"));
        assert!(console.is_of_older_image());
    }

    #[test]
    fn a_hello_is_heard_and_frames_are_passed_on() {
        let (mut machine, port) = UnixStream::pair().unwrap();
        let (socket, mut process) = UnixStream::pair().unwrap();
        let (switch, hello) = (Switch::new(), Mutex::new(None));
        switch.attach(3, socket, || ()).unwrap();
        let (mut heard, hears) = io::pipe().unwrap();
        Frame { channel: 0, message: Message::Hello(VERSION) }.write(&mut machine).unwrap();
        Frame { channel: 3, message: Message::Exit(0) }.write(&mut machine).unwrap();
        machine.write_all(b"garbage that is no frame").unwrap();
        pass_on(port, &switch, &hello, hears);
        assert_eq!(*lock(&hello), Some(VERSION));
        assert_eq!(io::Read::read(&mut heard, &mut [0; 8]).unwrap(), 1);
        assert_eq!(Frame::read(&mut process).unwrap(), Some(Frame { channel: 0, message: Message::Exit(0) }));
        assert_eq!(Frame::read(&mut process).unwrap(), None, "the channel has ended with the port");
    }
}
