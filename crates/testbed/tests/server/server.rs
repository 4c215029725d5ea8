//! A running server, and the actions of autopkgtest.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// A command's result.
pub struct Ended {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

pub struct Server {
    process: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
    /// Command prefix, for running as another user.
    prefix: Vec<String>,
    command: Vec<String>,
    errors: tempfile::NamedTempFile,
}

/// The root directory shared by all tests: a server never writes to it.
pub fn root() -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // Static values are not dropped at the end of a test program; with a fixed path nothing accumulates.
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("root");
        let _ = fs::remove_dir_all(&path);
        crate::root::make(&path);
        path
    })
    .clone()
}

impl Server {
    pub fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    pub fn start_with(options: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_command(&[], &Self::words(options), environment)
    }

    /// Starts a server in a mount namespace of its own, which has none of what other tests mount and unmount meanwhile.
    pub fn start_alone(options: &[&str]) -> Self {
        let prefix = ["unshare", "--mount", "--propagation", "private"].map(str::to_owned);
        Self::start_command(&prefix, &Self::words(options), &[])
    }

    fn words(options: &[&str]) -> Vec<String> {
        let mut words = vec![env!("CARGO_BIN_EXE_autopkgtest-virt-rocbed").to_owned()];
        words.extend(["--root".to_owned(), root().display().to_string()]);
        words.extend(options.iter().map(|word| (*word).to_owned()));
        words
    }

    /// Starts a server with these arguments, and its commands too, behind a prefix.
    pub fn start_command(prefix: &[String], words: &[String], environment: &[(&str, &str)]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root: run it with sudo");
        let errors = tempfile::NamedTempFile::new().unwrap();
        let all: Vec<&String> = prefix.iter().chain(words).collect();
        let mut process = Command::new(all[0])
            .args(&all[1..])
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}; install util-linux", all[0]));
        let (input, output) = (process.stdin.take(), process.stdout.take().map(BufReader::new));
        let mut server = Self { process, input, output, prefix: prefix.to_vec(), command: Vec::new(), errors };
        assert_eq!(server.answer(), "ok", "{}", server.errors());
        server
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a request and returns the answer.
    pub fn ask(&mut self, request: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{request}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Opens a testbed and returns its scratch directory.
    pub fn open(&mut self) -> String {
        let answer = self.ask("open");
        let scratch = answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{answer} {}", self.errors())).to_owned();
        self.find_command();
        scratch
    }

    pub fn find_command(&mut self) {
        let answer = self.ask("print-execute-command");
        let words = answer.strip_prefix("ok ").unwrap().split(',');
        let words = words.map(|word| testbed::protocol::unquote(word.as_bytes()));
        self.command = words.map(|word| String::from_utf8(word).unwrap()).collect();
    }

    /// The arguments that run a command in the testbed.
    pub fn command(&self, command: &[&str]) -> Vec<String> {
        let words = self.prefix.iter().chain(&self.command).cloned();
        words.chain(command.iter().map(|word| (*word).to_owned())).collect()
    }

    pub fn run(&self, command: &[&str]) -> Ended {
        let words = self.command(command);
        let (program, arguments) = words.split_first().unwrap();
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { status: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub fn shell(&self, script: &str) -> Ended {
        self.run(&["sh", "-c", script])
    }

    pub fn quit(&mut self) -> i32 {
        writeln!(self.input.as_mut().unwrap(), "quit").unwrap();
        self.process.wait().unwrap().code().unwrap()
    }

    /// Closes the server's input without a request; returns its exit status.
    pub fn hang_up(&mut self) -> i32 {
        self.input = None;
        self.process.wait().unwrap().code().unwrap()
    }

    /// Closes the reading end for answers.
    pub fn stop_listening(&mut self) {
        self.output = None;
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The server's standard error output.
    pub fn errors(&self) -> String {
        let mut text = String::new();
        self.errors.reopen().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Number of the server's children.
    pub fn descendants(&self) -> usize {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.hang_up();
        }
    }
}
