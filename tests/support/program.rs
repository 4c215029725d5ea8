//! Running the program under test.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time limit, much longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(900);

/// The `rocbed` that `cargo xtask test` built.
pub fn rocbed_path() -> PathBuf {
    std::env::var_os("ROCBED_BIN")
        .map(PathBuf::from)
        .expect("ROCBED_BIN is not set; run the end-to-end tests with `cargo xtask test`")
}

/// A call of `rocbed`, to which arguments can be added before it is run.
pub struct Call(Command);

/// Creates a call with these arguments.
pub fn rocbed<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(words: I) -> Call {
    let mut command = Command::new(rocbed_path());
    command.args(words).stdin(Stdio::null());
    // The output should be that for users, wherever the tests run.
    command.env_remove("GITLAB_CI").env_remove("GITHUB_ACTIONS");
    Call(command)
}

/// Result of a call.
#[derive(Debug)]
pub struct Output {
    /// Exit status, `None` if it was killed.
    pub code: Option<i32>,
    /// Standard output, which has the data.
    pub stdout: String,
    /// Standard error, which has the messages.
    pub stderr: String,
}

impl Call {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.0.arg(word);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, words: &[&str]) -> Self {
        self.0.args(words);
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// The command itself, for tests that do more than wait for it.
    pub fn into_command(self) -> Command {
        self.0
    }

    /// Runs the program to its end, with any exit status. After a quarter of an hour it is ended, and the test fails.
    pub fn run(mut self) -> Output {
        let shown = format!("{:?}", self.0);
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.0.spawn().unwrap_or_else(|error| panic!("starting {shown}: {error}"));
        let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("waiting for rocbed") {
                break Some(status);
            }
            if began.elapsed() > PATIENCE {
                break None;
            }
            thread::sleep(Duration::from_millis(10));
        };
        if status.is_none() {
            // With SIGTERM first, so that it ends its child processes.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            thread::sleep(Duration::from_secs(10));
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = |reader: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().expect("reading what rocbed says")).into_owned()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        let status = status.unwrap_or_else(|| panic!("{shown} did not end:\n{stdout}\n{stderr}"));
        Output { code: status.code(), stdout, stderr }
    }

    /// Runs the program, which must succeed; returns stdout.
    pub fn ok(self) -> String {
        let shown = format!("{:?}", self.0);
        let output = self.run();
        assert_eq!(output.code, Some(0), "{shown}:\n{}", output.stderr);
        output.stdout
    }

    /// Runs the program, which must fail; returns stderr.
    pub fn fails(self) -> String {
        let shown = format!("{:?}", self.0);
        let output = self.run();
        assert_eq!(output.code, Some(1), "{shown} should have failed:\n{}{}", output.stdout, output.stderr);
        output.stderr
    }
}

/// Reads a stream to its end on a separate thread, as a full pipe would block the program.
fn read(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.expect("a stream").read_to_end(&mut bytes).expect("reading what rocbed says");
        bytes
    })
}
