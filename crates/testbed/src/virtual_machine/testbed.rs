//! Testbeds that are virtual machines, for the [server](crate::server).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use vm::Accelerator;

use super::boot::{Booted, Hardware};
use super::copy::{Copier, CopyPlan};
use super::helper::{program, wait};
use super::image::Image;
use super::limits;
use super::options::VmOptions;
use super::scratch::ScratchDisk;
use super::switch::Switch;
use super::wire::Message;
use crate::enter::option;
use crate::process::Signals;
use crate::protocol::Copy;
use crate::server::{NAME, Testbed};
use crate::{Error, memory};

/// Processors of a machine, if nothing is said: tests are made for few.
const CPUS: u32 = 4;

/// How long a test may take from the preparation of a restart to the restart.
const PREPARED: Duration = Duration::from_secs(600);

/// How long the server's own commands may take; autopkgtest has as much for its short ones.
const SHORT: Duration = Duration::from_secs(100);

/// The file that autopkgtest's reboot-prepare script waits for to vanish.
const PREPARE_MARK: &str = "/run/autopkgtest-reboot-prepare-mark";

/// Makes virtual machines, one at a time.
pub(crate) struct VirtualMachine {
    options: VmOptions,
    signals: Rc<Signals>,
    image: Image,
    hardware: Hardware,
    /// The directory of the sockets. Only this user can enter it.
    place: TempDir,
    /// Where commands connect; the thread that accepts ends when it is shut down.
    listener: UnixListener,
    switch: Switch,
    copier: Copier,
    /// The machine's disk, from `open` to `close`: a restart keeps it.
    disk: Option<ScratchDisk>,
    booted: Option<Booted>,
    scratch: Option<String>,
}

impl VirtualMachine {
    /// Checks everything that a machine needs.
    ///
    /// # Errors
    /// What is missing, with what to do about it.
    pub(crate) fn new(mut options: VmOptions, signals: Rc<Signals>) -> Result<Self, Error> {
        let image = Image::open(&options.image, options.user.as_deref())?;
        for address in &options.gpus {
            vm::vfio::check(*address, Path::new("/sys"), Path::new("/dev"))?;
        }
        let memory_mib = options.memory_mib(memory::of_machine()?.available)?;
        let directory = options.disk_directory.take().unwrap_or_else(large_files);
        let found = directory.canonicalize();
        options.disk_directory = Some(found.map_err(Error::step(format!("finding {}", directory.display())))?);
        let accelerator = accelerator(&options)?;
        if !image.has_systemd {
            eprintln!(
                "{NAME}: the image has no systemd, so services do not start and tests that need isolation-container or \
                 isolation-machine are skipped; add systemd-sysv to the recipe's packages for them"
            );
        }
        let cpus = options.cpus.unwrap_or_else(|| match accelerator {
            Accelerator::Kvm => CPUS.min(std::thread::available_parallelism().map_or(1, |number| number.get() as u32)),
            // Translated code for several processors at once can be torn, as for `rocbed boot`.
            Accelerator::Tcg => 1,
        });
        let place = tempfile::Builder::new().prefix("rocbed-testbed.").tempdir();
        let place = place.map_err(Error::step(format!("making a directory in {}", std::env::temp_dir().display())))?;
        let listener =
            UnixListener::bind(place.path().join("commands")).map_err(Error::step("listening for commands"))?;
        let switch = Switch::new();
        accept(&listener, switch.clone())?;
        let copier = Copier::new(options.copy_limit);
        let hardware = Hardware { accelerator, memory_mib, cpus };
        Ok(Self {
            options,
            signals,
            image,
            hardware,
            place,
            listener,
            switch,
            copier,
            disk: None,
            booted: None,
            scratch: None,
        })
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join("commands")
    }

    /// Starts the machine with the disk that there is.
    fn boot(&mut self) -> Result<(), Error> {
        let disk = self.disk.as_ref().ok_or_else(not_open)?;
        let (place, switch) = (self.place.path(), &self.switch);
        let booted = Booted::start(&self.options, &self.hardware, &self.image, disk, place, switch, &self.signals)?;
        self.booted = Some(booted);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.booted.take().map_or(Ok(()), |booted| booted.end(&self.switch))
    }

    /// Runs a command of the server's own in the machine. Returns its standard output.
    fn run(&mut self, words: &[&str]) -> Result<String, Error> {
        let (program, arguments) = program();
        let mut command = Command::new(program);
        command.args(arguments).args(["vm-enter".into(), option("socket", self.socket().as_os_str()), "--".into()]);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Error::step("starting a command"))?;
        let output = child.stdout.take();
        let status = wait(&child, &self.signals, SHORT, words.first().unwrap_or(&"a command"))?;
        let mut text = String::new();
        // It has ended, and wrote a line at most.
        let read = output.map(|output| output.take(4096).read_to_string(&mut text)).transpose();
        read.map_err(Error::step("reading what a command says"))?;
        match (status, &mut self.booted) {
            (Some(0), _) => Ok(text),
            (_, Some(booted)) if booted.has_ended() => Err(booted.failure("has ended")),
            (status, _) => Err(Error::Inside(format!("{} ended with {status:?}", words.join(" ")))),
        }
    }

    /// Makes the directory for autopkgtest.
    fn make_scratch(&mut self, wanted: Option<&str>) -> Result<String, Error> {
        let path = match wanted {
            Some(path) => path.to_owned(),
            None => self.run(&["mktemp", "--directory", "/var/tmp/autopkgtest.XXXXXX"])?.trim_end().to_owned(),
        };
        if !path.starts_with("/var/tmp/") {
            return Err(Error::Inside(format!("mktemp says {path:?}")));
        }
        // Writable by all: nobody is in the machine but the test (README.virtualisation-server).
        self.run(&["install", "--directory", "--mode=0777", &path])?;
        Ok(path)
    }
}

impl Testbed for VirtualMachine {
    fn capabilities(&self) -> Vec<String> {
        capabilities(self.image.has_systemd, self.image.user.as_deref())
    }

    fn open(&mut self, scratch: Option<&str>) -> Result<String, Error> {
        let directory = self.options.disk_directory.as_deref().unwrap_or(Path::new("/var/tmp"));
        self.disk = Some(ScratchDisk::make(directory, self.options.disk)?);
        let opened = self.boot().and_then(|()| self.make_scratch(scratch));
        match opened {
            Ok(scratch) => {
                self.scratch = Some(scratch.clone());
                Ok(scratch)
            }
            Err(error) => self.close().and(Err(error)),
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        self.disk = None;
        self.stop()
    }

    fn reboot(&mut self, prepare_only: bool) -> Result<(), Error> {
        let scratch = self.scratch.clone().ok_or_else(not_open)?;
        let patience = if prepare_only {
            // The scratch directory is on the disk, so there is nothing to save but what is in memory.
            self.run(&["sync"])?;
            self.run(&["rm", "--force", PREPARE_MARK])?;
            PREPARED
        } else {
            let asked = self.switch.send(0, Message::Reboot);
            if let (Err(_), Some(booted)) = (asked, &mut self.booted) {
                return Err(booted.failure("has ended"));
            }
            limits::shutdown(self.hardware.accelerator)
        };
        let Some(booted) = &mut self.booted else { return Err(not_open()) };
        if !booted.wait_for_end(patience, &self.signals)? {
            return Err(booted.failure("does not restart"));
        }
        self.stop()?;
        self.boot()?;
        self.run(&["test", "-d", &scratch]).map(drop)
    }

    fn execute_command(&self) -> Result<Vec<OsString>, Error> {
        let (program, arguments) = program();
        let mut words = vec![program];
        words.extend(arguments);
        words.extend(["vm-enter".into(), option("socket", self.socket().as_os_str()), "--".into()]);
        Ok(words)
    }

    fn copy(&mut self, copy: &Copy) -> Result<(), Error> {
        let plan = CopyPlan { copy, socket: &self.socket(), program: program() };
        match (self.copier.make(&plan, &self.signals), &mut self.booted) {
            // There is no testbed any more.
            (Err(Error::Copy), Some(booted)) if booted.has_ended() => Err(booted.failure("has ended")),
            (result, _) => result,
        }
    }

    fn shell(&mut self, directory: &OsStr, environment: &[OsString]) -> Result<(), Error> {
        let terminal =
            || File::options().read(true).write(true).open("/dev/tty").map_err(Error::step("opening /dev/tty"));
        let (program, arguments) = program();
        let mut command = Command::new(program);
        command.args(arguments).args(["vm-shell".into(), option("socket", self.socket().as_os_str()), "--".into()]);
        command.arg(directory).args(environment).stdin(terminal()?).stdout(terminal()?).stderr(terminal()?);
        command.status().map(drop).map_err(Error::step("running a shell"))
    }
}

impl Drop for VirtualMachine {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.stop();
        // If it is shut down already, its thread has ended.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

/// The accelerator that is asked for, or the one that works; one that is slow is told.
fn accelerator(options: &VmOptions) -> Result<Accelerator, Error> {
    if let Some(accelerator) = options.accelerator {
        return Ok(accelerator);
    }
    let choice = Accelerator::probe(None)?;
    if choice.accelerator == Accelerator::Tcg {
        eprintln!("{NAME}: {}", choice.reason);
    }
    Ok(choice.accelerator)
}

/// What the machine can do. Both kinds of isolation promise that services can be started
/// (README.virtualisation-server), for which it needs systemd.
fn capabilities(has_systemd: bool, user: Option<&str>) -> Vec<String> {
    let always = ["revert", "revert-full-system", "root-on-testbed", "reboot"];
    let with_services = ["isolation-container", "isolation-machine"].into_iter().filter(|_| has_systemd);
    let user = user.map(|user| format!("suggested-normal-user={user}"));
    always.into_iter().chain(with_services).map(str::to_owned).chain(user).collect()
}

fn not_open() -> Error {
    Error::Inside("no testbed is open".into())
}

/// Accepts commands, in a thread, until the listener is shut down.
fn accept(listener: &UnixListener, switch: Switch) -> Result<(), Error> {
    let listener = listener.try_clone().map_err(Error::step("listening for commands"))?;
    let accept = move || {
        // Channel 0 is the machine's.
        for channel in 1.. {
            let Ok((socket, _)) = listener.accept() else { return };
            if let Err(error) = switch.attach(channel, socket, || ()) {
                eprintln!("{NAME}: starting a thread for a command: {error}");
            }
        }
    };
    let started = std::thread::Builder::new().name("commands".into()).spawn(accept);
    started.map(drop).map_err(Error::step("starting a thread for commands"))
}

/// The directory for large temporary files.
fn large_files() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolation_is_promised_only_where_services_start() {
        let with = capabilities(true, Some("tester"));
        assert!(with.iter().any(|word| word == "isolation-machine"), "{with:?}");
        assert_eq!(with.last().map(String::as_str), Some("suggested-normal-user=tester"));
        let without = capabilities(false, None);
        assert_eq!(without, ["revert", "revert-full-system", "root-on-testbed", "reboot"]);
    }
}
