//! Fetches apt's package lists once for all testbeds of this appliance, instead of once in each testbed.
//!
//! A testbed fetches them, as its own apt would; the lists are put into a directory that is overlaid on the image in
//! all later testbeds (`--layer` of the virtualisation server). apt's caches come along: on a slow machine making
//! them takes longer than fetching the lists. What is overlaid must not change, so newer lists are another layer; the old
//! one is removed when the last job that uses it has ended.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use protocol::Job;
use runner::{Cancel, LISTS_STAMP};
use testbed::protocol::{quote, unquote};

/// Lists older than this are fetched again before a job. Half of what a testbed accepts, so that they stay fresh
/// while the job runs.
const FRESH: Duration = Duration::from_secs(30 * 60);
/// Timeout for fetching; after that the testbeds do it themselves.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// The command that fetches lists, in the testbed. It tries once: if it fails, each testbed tries again.
const UPDATE: [&str; 4] = ["apt-get", "-q", "-oAPT::Update::Error-Mode=any", "update"];
/// What the names of layers begin with.
const LAYER: &str = "lists-";
/// Directory of the lists in testbeds.
const LISTS: &str = "var/lib/apt/lists";
/// Directory of the caches in testbeds, and the caches that are kept.
const CACHE: &str = "var/cache/apt";
const CACHES: [&str; 2] = ["pkgcache.bin", "srcpkgcache.bin"];
/// How much of apt's output is passed on when it failed, in bytes.
const SAID: usize = 4096;

/// Why there are no new package lists, in words for the job's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListsError(String);

/// A directory with package lists that is overlaid on the image in testbeds. It is removed when nobody uses it any more.
#[derive(Debug)]
pub struct Layer {
    path: PathBuf,
}

impl Layer {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        // What cannot be removed takes room in memory only, until the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The package lists and the layer that holds them.
#[derive(Debug)]
pub struct Lists {
    directory: PathBuf,
    /// How many layers were made.
    made: u32,
    current: Option<(Arc<Layer>, Instant)>,
}

impl Lists {
    /// Starts without lists; they will be kept in `directory`, which must have no other user.
    pub fn new(directory: PathBuf) -> Self {
        let left = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in left.filter(|entry| entry.file_name().to_string_lossy().starts_with(LAYER)) {
            // Of an agent that was killed. If it stays it is not used.
            let _ = fs::remove_dir_all(entry.path());
        }
        Self { directory, made: 0, current: None }
    }

    /// The directory with apt's settings, which is overlaid on the image besides.
    pub fn settings_in(directory: &Path) -> PathBuf {
        directory.join("settings")
    }

    /// The layer with the lists, if there are any.
    pub fn layer(&self) -> Option<Arc<Layer>> {
        self.current.as_ref().map(|(layer, _)| Arc::clone(layer))
    }

    /// Whether the lists have to be fetched before this job.
    pub fn are_due(&self, job: &Job, online: bool) -> bool {
        is_due(job, online, self.current.as_ref().map(|(_, fetched)| fetched.elapsed()))
    }

    /// Fetches the lists in a testbed that `server` makes, with the layers over its root. apt's output is passed on.
    ///
    /// # Errors
    /// What failed. The previous lists, if there are any, are still there.
    pub fn fetch(
        &mut self,
        server: &[OsString],
        cancel: &Cancel,
        log: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ListsError> {
        let new = self.directory.join("new");
        make_empty(&new).map_err(|error| ListsError(format!("making {}: {error}", new.display())))?;
        let result = self.fetch_to(&new, server, cancel, log);
        // If it is still there, something failed and was told.
        let _ = fs::remove_dir_all(&new);
        result.map_err(ListsError)
    }

    fn fetch_to(
        &mut self,
        new: &Path,
        server: &[OsString],
        cancel: &Cancel,
        log: &mut dyn FnMut(&[u8]),
    ) -> Result<(), String> {
        let mut server = Server::start(server).map_err(|error| format!("starting a testbed: {error}"))?;
        server.ask("open")?;
        let enter = server.ask("print-execute-command")?;
        let said = new.join("said");
        let ended = run(&enter, &said, cancel);
        let bytes = fs::read(&said).unwrap_or_default();
        log(&bytes);
        if let Err(error) = ended {
            let tail = bytes.get(bytes.len().saturating_sub(SAID)..).unwrap_or_default();
            let last =
                String::from_utf8_lossy(tail).lines().rev().find(|line| line.starts_with("E:")).map(str::to_owned);
            return Err(last.map_or_else(|| error.clone(), |last| format!("{error}: {last}")));
        }
        let path = |name: &str| quote(new.join(name).as_os_str().as_bytes());
        server.ask(&format!("copyup /{LISTS}/ {}/", path("lists")))?;
        for name in CACHES {
            // apt makes them again where they are missing.
            if server.ask(&format!("copyup /{CACHE}/{name} {}", path(name))).is_err() {
                let _ = fs::remove_file(new.join(name));
            }
        }
        server.end();
        self.made = self.made.wrapping_add(1);
        let layer = Layer { path: self.directory.join(format!("{LAYER}{}", self.made)) };
        put(new, &layer.path).map_err(|error| format!("keeping them in {}: {error}", layer.path.display()))?;
        self.current = Some((Arc::new(layer), Instant::now()));
        Ok(())
    }
}

/// Moves the fetched lists into a new layer.
fn put(new: &Path, layer: &Path) -> io::Result<()> {
    let (lists, cache) = (layer.join(LISTS), layer.join(CACHE));
    let stamp = layer.join(LISTS_STAMP.trim_start_matches('/'));
    make_empty(layer)?;
    for directory in [lists.parent(), Some(&cache), stamp.parent()].into_iter().flatten() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    fs::rename(new.join("lists"), lists)?;
    for name in CACHES {
        remove(fs::rename(new.join(name), cache.join(name)))?;
    }
    // It says that everything else is complete.
    File::create(stamp).map(drop)
}

/// Whether the lists have to be fetched before a job. Jobs that bring their source tree need no network.
fn is_due(job: &Job, online: bool, age: Option<Duration>) -> bool {
    online && !job.may_run_offline() && age.is_none_or(|age| age >= FRESH)
}

fn make_empty(directory: &Path) -> io::Result<()> {
    remove(fs::remove_dir_all(directory))?;
    fs::create_dir_all(directory)
}

/// Treats removing a file that does not exist as a success.
fn remove(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Runs apt to its end, for a limited time; its output goes to a file.
fn run(enter: &[u8], said: &Path, cancel: &Cancel) -> Result<(), String> {
    let failed = |error: io::Error| format!("running apt-get update: {error}");
    let mut words = enter.split(|byte| *byte == b',').map(|word| OsString::from_vec(unquote(word)));
    let program = words.next().ok_or("the testbed does not say how commands are run in it")?;
    let output = File::create(said).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(words).args(UPDATE).stdin(Stdio::null());
    command.stderr(output.try_clone().map_err(failed)?).stdout(output);
    let mut child = command.spawn().map_err(failed)?;
    let began = Instant::now();
    let why = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("apt-get update: {status}")),
            None if cancel.is_cancelled() => break "was interrupted".to_owned(),
            None if began.elapsed() >= PATIENCE => break format!("took more than {} s", PATIENCE.as_secs()),
            None => thread::sleep(Duration::from_millis(100)),
        }
    };
    // What apt started inside ends with the testbed.
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    Err(format!("apt-get update {why}"))
}

/// A running virtualisation server, driven by the protocol that autopkgtest uses.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(words: &[OsString]) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new).ok_or(io::ErrorKind::BrokenPipe)?;
        let mut server = Self { child, input, output };
        server.answer().map_err(io::Error::other)?;
        Ok(server)
    }

    /// Sends a command; returns what follows the `ok`.
    fn ask(&mut self, line: &str) -> Result<Vec<u8>, String> {
        let input = self.input.as_mut().ok_or("the testbed has ended")?;
        writeln!(input, "{line}").map_err(|error| format!("asking the testbed for {line}: {error}"))?;
        self.answer().map_err(|answer| format!("{line}: {answer}"))
    }

    fn answer(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        self.output.read_until(b'\n', &mut line).map_err(|error| format!("listening to the testbed: {error}"))?;
        let line = line.trim_ascii_end();
        match line.strip_prefix(b"ok") {
            Some(rest) => Ok(rest.trim_ascii_start().to_vec()),
            None if line.is_empty() => Err("the testbed ended; the console says why".into()),
            None => Err(format!("the testbed said {}", String::from_utf8_lossy(line))),
        }
    }

    /// Ends the server; its testbed is gone when this returns.
    fn end(&mut self) {
        // It reports problems with closing its testbed itself. One that takes no commands any more closes it when its
        // input ends.
        if let Some(mut input) = self.input.take() {
            let _ = writeln!(input, "quit");
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Source;

    fn job(source: Source) -> Job {
        Job { source, ..Job::of_package("gzip") }
    }

    #[test]
    fn lists_are_fetched_before_the_first_job_and_when_they_are_old() {
        let gzip = Job::of_package("gzip");
        assert!(is_due(&gzip, true, None));
        assert!(!is_due(&gzip, true, Some(Duration::from_secs(60))));
        assert!(is_due(&gzip, true, Some(FRESH)));
    }

    #[test]
    fn without_a_network_or_for_a_tree_on_the_stick_they_are_not() {
        assert!(!is_due(&Job::of_package("gzip"), false, None));
        assert!(!is_due(&job(Source::Path("tree".into())), true, None));
        assert!(is_due(&job(Source::Url("https://x/y.git".into())), true, None));
    }

    /// A virtualisation server in shell: commands run in the directory `inside`, whose `fetch` stands for apt-get.
    fn server(inside: &Path, fetch: &str) -> io::Result<Vec<OsString>> {
        fs::create_dir_all(inside)?;
        fs::write(inside.join("fetch"), fetch)?;
        let script = r#"cd "$1"; echo ok; while read -r what from to; do case $what in
            open) echo ok /tmp/x;; print-execute-command) echo "ok sh,-e,$PWD/fetch,$PWD";;
            copyup) if cp -rT "$PWD$from" "$to" 2>/dev/null; then echo ok; else echo copy-failed; fi;;
            quit) exit;;
        esac; done; touch hung-up"#;
        Ok(["sh", "-c", script, "sh"].map(OsString::from).into_iter().chain([inside.into()]).collect())
    }

    #[test]
    fn what_a_testbed_fetched_is_in_the_layer() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let fetch = "cd $1; shift; echo $*; mkdir -p var/lib/apt/lists/partial var/cache/apt\n\
                     echo 1 >var/lib/apt/lists/InRelease; echo 2 >var/cache/apt/pkgcache.bin";
        let server = server(&directory.path().join("inside"), fetch)?;
        let mut lists = Lists::new(directory.path().join("apt"));
        let mut said = Vec::new();
        let mut before: Option<Arc<Layer>> = None;
        for _ in 0..2 {
            lists.fetch(&server, &Cancel::default(), &mut |bytes| said.extend_from_slice(bytes))?;
            let current = lists.layer().ok_or("no layer")?;
            let layer = current.path();
            assert_eq!(fs::read_to_string(layer.join("var/lib/apt/lists/InRelease"))?, "1\n");
            assert_eq!(fs::read_to_string(layer.join("var/cache/apt/pkgcache.bin"))?, "2\n");
            assert!(!layer.join("var/cache/apt/srcpkgcache.bin").exists());
            assert!(layer.join("var/lib/rocbed/apt-lists").exists());
            assert!(!directory.path().join("apt/new").exists());
            assert!(!directory.path().join("inside/hung-up").exists(), "the server was not told to quit");
            // A job that began before still has the lists that it began with.
            if let Some(before) = before.replace(Arc::clone(&current)) {
                let path = before.path().to_owned();
                assert!(path != layer && path.join("var/lib/rocbed/apt-lists").exists());
                drop(before);
                assert!(!path.exists());
            }
        }
        assert!(said.starts_with(b"apt-get -q -oAPT::Update::Error-Mode=any update\n"));
        assert!(!lists.are_due(&Job::of_package("gzip"), true));
        Ok(())
    }

    #[test]
    fn a_failure_says_what_apt_said_and_leaves_the_layer_alone() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let server = server(&directory.path().join("inside"), "echo 'E: no mirror'; exit 100")?;
        let mut lists = Lists::new(directory.path().join("apt"));
        let failed = lists.fetch(&server, &Cancel::default(), &mut |_| {});
        assert_eq!(failed, Err(ListsError("apt-get update: exit status: 100: E: no mirror".to_owned())));
        assert!(lists.layer().is_none());
        assert!(lists.are_due(&Job::of_package("gzip"), true));
        Ok(())
    }

    #[test]
    fn a_testbed_that_cannot_be_made_is_told() {
        let mut lists = Lists::new(std::env::temp_dir().join(format!("rocbed-lists-{}", std::process::id())));
        let failed = lists.fetch(&["false".into()], &Cancel::default(), &mut |_| {});
        assert!(failed.is_err_and(|error| error.to_string().starts_with("starting a testbed: the testbed ended")));
        let _ = fs::remove_dir_all(&lists.directory);
    }
}
