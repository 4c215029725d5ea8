//! The loop that reads and answers requests, for any implementation of [`Testbed`].

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::rc::Rc;

use ::confine::process::die_of;

use crate::Error;
use crate::process::{Event, Signals};
use crate::protocol::{Copy, Request, quote};

/// Name of the installed server, and in its messages.
pub const NAME: &str = "autopkgtest-virt-rocbed";

/// Exit status after a failure, as for autopkgtest's other servers.
const FAILED: u8 = 12;

/// Longest line in bytes: two paths, with each byte as `%XX`, fit.
const LONGEST_LINE: usize = 32 * 1024;

/// Operations that the server performs for autopkgtest.
pub trait Testbed {
    /// The capabilities of this testbed.
    fn capabilities(&self) -> Vec<String>;
    /// Makes a fresh testbed, with the given or a new path for the scratch directory. Returns that path.
    fn open(&mut self, scratch: Option<&str>) -> Result<String, Error>;
    /// Ends all processes in the testbed and removes it.
    fn close(&mut self) -> Result<(), Error>;
    /// Restarts the testbed, or waits until the test in it does so itself. Its files stay, the scratch directory's too.
    fn reboot(&mut self, _prepare_only: bool) -> Result<(), Error> {
        Err(Error::Inside("`reboot' when `reboot' not advertised".into()))
    }
    /// The program and arguments that run the command appended to them in the testbed.
    fn execute_command(&self) -> Result<Vec<OsString>, Error>;
    /// Copies between host and testbed.
    fn copy(&mut self, copy: &Copy) -> Result<(), Error>;
    /// Runs an interactive shell.
    fn shell(&mut self, directory: &OsStr, environment: &[OsString]) -> Result<(), Error>;
}

/// Reaction to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this line and continue.
    Say(String),
    /// End, successfully.
    Quit,
    /// Close the testbed and exit with this error.
    Fail(String),
}

/// A session with autopkgtest: a testbed, and whether it is open.
#[derive(Debug)]
pub struct Session<T> {
    testbed: T,
    open: bool,
    /// Path of the scratch directory. It stays the same for the whole session, as built trees refer to it.
    scratch: Option<String>,
}

impl<T: Testbed> Session<T> {
    /// Creates a session without an open testbed.
    pub fn new(testbed: T) -> Self {
        Self { testbed, open: false, scratch: None }
    }

    /// Answers one line.
    pub fn answer(&mut self, line: &[u8]) -> Answer {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(error) => return Answer::Fail(error.to_string()),
        };
        if let Some(reason) = self.out_of_turn(&request) {
            return Answer::Fail(reason.to_owned());
        }
        let said = match request {
            Request::Quit => return Answer::Quit,
            Request::Capabilities => Ok(self.testbed.capabilities()),
            Request::Open => self.open(),
            Request::Revert => self.close().and_then(|()| self.open()),
            // README.virtualisation-server has the scratch directory in the answer; autopkgtest 6.0 and its own servers
            // have none.
            Request::Reboot { prepare_only } => self.testbed.reboot(prepare_only).map(|()| Vec::new()),
            Request::Close => self.close().map(|()| Vec::new()),
            Request::PrintExecuteCommand => self.testbed.execute_command().map(|words| {
                let words: Vec<String> = words.iter().map(|word| quote(word.as_bytes())).collect();
                vec![words.join(",")]
            }),
            Request::Copy(copy) => match self.testbed.copy(&copy) {
                // autopkgtest expects these words instead of `ok`.
                Err(Error::Copy) => return Answer::Say("copy-failed".into()),
                Err(error @ Error::TimedOut { .. }) => {
                    eprintln!("{NAME}: {}", error.in_one_line());
                    return Answer::Say("timeout".into());
                }
                other => other.map(|()| Vec::new()),
            },
            Request::Shell { directory, environment } => {
                if let Err(error) = self.testbed.shell(&directory, &environment) {
                    eprintln!("{NAME}: {}", error.in_one_line());
                }
                Ok(Vec::new())
            }
            Request::DebugFailure => Ok(Vec::new()),
        };
        match said {
            Ok(words) => Answer::Say(["ok".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")),
            Err(error) => Answer::Fail(error.in_one_line()),
        }
    }

    /// Reason why a request is not possible in the current state.
    fn out_of_turn(&self, request: &Request) -> Option<&'static str> {
        match (request, self.open) {
            (Request::Open, true) => Some("`open' when already open"),
            (Request::Close, false) => Some("`close' when not open"),
            (Request::Reboot { .. }, false) => Some("`reboot' when not open"),
            (Request::Revert, false) => Some("`revert' when not open"),
            (Request::PrintExecuteCommand, false) => Some("`print-execute-command' when not open"),
            (Request::Copy(_), false) => Some("`copydown' or `copyup' when not open"),
            (Request::Shell { .. }, false) => Some("`shell' when not open"),
            _ => None,
        }
    }

    fn open(&mut self) -> Result<Vec<String>, Error> {
        let scratch = self.testbed.open(self.scratch.as_deref())?;
        self.open = true;
        let quoted = quote(scratch.as_bytes());
        self.scratch = Some(scratch);
        Ok(vec![quoted])
    }

    /// Closes the testbed if it is open. Also called when the session fails.
    pub fn close(&mut self) -> Result<(), Error> {
        // Even if closing fails, it is not repeated.
        if std::mem::take(&mut self.open) { self.testbed.close() } else { Ok(()) }
    }
}

/// Serves autopkgtest on standard input and output until the end. With `debug`, all lines are also written to standard
/// error.
pub fn serve<T: Testbed>(debug: bool, start: impl FnOnce(Rc<Signals>) -> Result<T, Error>) -> ExitCode {
    let signals = match Signals::block(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM]) {
        Ok(signals) => Rc::new(signals),
        Err(error) => return fail(&format!("blocking signals: {error}")),
    };
    let testbed = match start(Rc::clone(&signals)) {
        Ok(testbed) => testbed,
        Err(error) => {
            eprintln!("{NAME}: {}", error.in_one_line());
            return ExitCode::FAILURE;
        }
    };
    let mut session = Session::new(testbed);
    let ending = converse(&mut session, &signals, debug);
    if let Err(error) = session.close() {
        return fail(&error.in_one_line());
    }
    match ending {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Signal(number)) => {
            // The testbed must be dropped before, as this does not return.
            drop(session);
            die_of(number)
        }
        Err(Error::Inside(message)) => fail(&message),
        Err(error) => fail(&error.in_one_line()),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{NAME}: failure: {message}");
    ExitCode::from(FAILED)
}

/// Reads and answers lines; an error ends the session.
fn converse<T: Testbed>(session: &mut Session<T>, signals: &Signals, debug: bool) -> Result<(), Error> {
    let tell = |way: &str, line: &str| {
        if debug {
            eprintln!("{NAME}: {way} {}", line.trim_end());
        }
    };
    let input = io::stdin();
    say("ok")?;
    let mut waiting: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            tell("asked", &String::from_utf8_lossy(&line));
            match session.answer(&line) {
                Answer::Say(line) => {
                    tell("answers", &line);
                    say(&line)?;
                }
                Answer::Quit => return Ok(()),
                Answer::Fail(message) => return Err(Error::Inside(message)),
            }
        }
        if waiting.len() > LONGEST_LINE {
            return Err(Error::Inside(format!("a line of more than {LONGEST_LINE} bytes")));
        }
        match signals.wait(input.as_fd(), None).map_err(Error::step("waiting for a command"))? {
            Event::Signal(number) => return Err(Error::Signal(number)),
            Event::Ready | Event::TimedOut => {}
        }
        // Bypasses the standard library's buffer, as the wait would not see data in it.
        match rustix::io::read(input.as_fd(), &mut buffer) {
            Ok(0) => return Err(Error::Inside("end of file - caller quit?".into())),
            Ok(read) => waiting.extend(buffer.iter().take(read)),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(Error::step("reading a command")(error)),
        }
    }
}

fn say(line: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(Error::step("answering"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Direction;

    /// A test double that records the operations.
    #[derive(Default)]
    struct Double {
        log: Vec<String>,
        copies_fail_with: Option<Error>,
        close_fails: bool,
        reboots: bool,
    }

    impl Testbed for Double {
        fn capabilities(&self) -> Vec<String> {
            vec!["revert".into(), "root-on-testbed".into()]
        }
        fn open(&mut self, scratch: Option<&str>) -> Result<String, Error> {
            self.log.push(format!("open {scratch:?}"));
            Ok(scratch.unwrap_or("/tmp/autopkgtest.one").into())
        }
        fn close(&mut self) -> Result<(), Error> {
            self.log.push("close".into());
            if self.close_fails { Err(Error::Stuck("process 7 (rocminfo)".into())) } else { Ok(()) }
        }
        fn reboot(&mut self, prepare_only: bool) -> Result<(), Error> {
            self.log.push(format!("reboot {prepare_only}"));
            if self.reboots { Ok(()) } else { Err(Error::Inside("no".into())) }
        }
        fn execute_command(&self) -> Result<Vec<OsString>, Error> {
            Ok(vec!["/usr/bin/rocbed-init".into(), "enter".into(), "1,2 3".into()])
        }
        fn copy(&mut self, copy: &Copy) -> Result<(), Error> {
            let arrow = if copy.direction == Direction::Down { "down" } else { "up" };
            self.log.push(format!("{arrow} {:?} {:?}", copy.source, copy.destination));
            self.copies_fail_with.take().map_or(Ok(()), Err)
        }
        fn shell(&mut self, directory: &OsStr, _: &[OsString]) -> Result<(), Error> {
            self.log.push(format!("shell {directory:?}"));
            Ok(())
        }
    }

    fn say(line: &str) -> Answer {
        Answer::Say(line.into())
    }

    #[test]
    fn a_session_as_autopkgtest_has_it() {
        let mut session = Session::new(Double::default());
        assert_eq!(session.answer(b"capabilities\n"), say("ok revert root-on-testbed"));
        assert_eq!(session.answer(b"open\n"), say("ok /tmp/autopkgtest.one"));
        assert_eq!(session.answer(b"print-execute-command\n"), say("ok /usr/bin/rocbed-init,enter,1%2C2%203"));
        assert_eq!(session.answer(b"copydown /a /b\n"), say("ok"));
        assert_eq!(session.answer(b"close\n"), say("ok"));
        assert_eq!(session.answer(b"quit\n"), Answer::Quit);
        assert_eq!(session.testbed.log, ["open None", "down \"/a\" \"/b\"", "close"]);
    }

    #[test]
    fn the_scratch_directory_keeps_its_path() {
        let mut session = Session::new(Double::default());
        session.answer(b"open");
        assert_eq!(session.answer(b"revert"), say("ok /tmp/autopkgtest.one"));
        session.answer(b"close");
        session.answer(b"open");
        let again = "open Some(\"/tmp/autopkgtest.one\")";
        assert_eq!(session.testbed.log, ["open None", "close", again, "close", again]);
    }

    #[test]
    fn a_restart_keeps_the_testbed_open() {
        let mut session = Session::new(Double { reboots: true, ..Double::default() });
        session.answer(b"open");
        assert_eq!(session.answer(b"reboot\n"), say("ok"));
        assert_eq!(session.answer(b"reboot prepare-only\n"), say("ok"));
        assert!(matches!(session.answer(b"reboot now\n"), Answer::Fail(_)));
        session.close().unwrap();
        assert_eq!(session.testbed.log, ["open None", "reboot false", "reboot true", "close"]);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for line in ["close", "revert", "print-execute-command", "copyup /a /b", "shell /tmp", "reboot", ""] {
            let answer = Session::new(Double::default()).answer(line.as_bytes());
            assert!(matches!(answer, Answer::Fail(_)), "{line}: {answer:?}");
        }
        let mut session = Session::new(Double::default());
        session.answer(b"open");
        assert_eq!(session.answer(b"open"), Answer::Fail("`open' when already open".into()));
    }

    #[test]
    fn a_copy_that_fails_is_told_and_the_session_goes_on() {
        let mut session = Session::new(Double { copies_fail_with: Some(Error::Copy), ..Double::default() });
        session.answer(b"open");
        assert_eq!(session.answer(b"copyup /a /b"), say("copy-failed"));
        session.testbed.copies_fail_with = Some(Error::TimedOut { what: "copying".into(), seconds: 300 });
        assert_eq!(session.answer(b"copyup /a/ /b/"), say("timeout"));
        assert_eq!(session.answer(b"copyup /a /b"), say("ok"));
    }

    #[test]
    fn a_testbed_that_cannot_be_closed_ends_the_session() {
        let mut session = Session::new(Double { close_fails: true, ..Double::default() });
        session.answer(b"open");
        let Answer::Fail(message) = session.answer(b"close") else { panic!("it did not fail") };
        assert!(message.contains("process 7 (rocminfo)"), "{message}");
        session.close().unwrap();
        assert_eq!(session.testbed.log, ["open None", "close"], "it is not closed twice");
    }
}
