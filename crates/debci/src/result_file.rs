//! Result files: the `.tar.gz` that debci's collector takes, made from a result bundle, or for a job that is refused.
//!
//! They have what debci's own worker puts into its results, under `autopkgtest-incoming/SUITE/ARCHITECTURE/P/PACKAGE/RUN`:
//! `exitcode`, `duration` (whose modification time is when the job ended), `worker`, `trigger`, `log.gz`, and the files of
//! autopkgtest's output directory except for its `-stdout` and `-stderr` files, which the log has too. What only rocbed
//! knows is in `rocbed/`: `result.json`, `junit.xml`, `kernel.log`.

mod choose;
#[cfg(test)]
pub(crate) mod fixtures;
mod scan;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use bundle::{ReadError, UNPACKED, read_with};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use protocol::Verdict;

use crate::exit_code::exit_code;
use crate::job_line::JobLine;
use crate::run_id::RunId;
use crate::tarball::Tarball;
use choose::{Choice, Costs};
use scan::{Kind, Scan};

/// Largest message that a `RabbitMQ` broker takes unless its `max_message_size` says otherwise, in bytes.
pub const LARGEST_MESSAGE: usize = 16 << 20;
/// What a result file stays below a broker's largest message, in bytes.
pub const MARGIN: usize = 64 << 10;

/// What becomes of a file that is left out: an empty one with this added to its name, as debci's own worker leaves it.
const REMOVED: &str = ".removed-by-debci";
/// Most files that are listed as left out.
const MOST_LISTED: usize = 10_000;
/// Most notes at the end of the log, and most characters of each.
const MOST_NOTES: usize = 50;
const LONGEST_NOTE: usize = 2000;
/// Largest `rocbed/result.json`, in bytes.
const LARGEST_JSON: usize = 1 << 20;

/// Which job a result file is for, and where it was made.
#[derive(Debug, Clone)]
pub struct Heading<'a> {
    /// The job's number.
    pub run: RunId,
    /// The job; `None` if its line could not be read further than to the run id.
    pub job: Option<&'a JobLine>,
    /// The architecture whose queue it was in: `amd64+gfx1030`.
    pub architecture: &'a str,
    /// Name of the worker, as debci's pages show it.
    pub worker: &'a str,
    /// More notes for the end of the log: where the complete bundle is.
    pub notes: Vec<String>,
}

/// A result as debci's collector takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    /// The `.tar.gz`.
    pub bytes: Vec<u8>,
    /// The exit code in it.
    pub exit_code: u8,
    /// How many files were left out to stay below the limits.
    pub left_out: usize,
}

/// Reason why there is no result file.
#[derive(Debug, thiserror::Error)]
pub enum ResultFileError {
    /// The bundle cannot be read.
    #[error(transparent)]
    Bundle(#[from] ReadError),
    /// The bundle cannot be opened.
    #[error("opening the result bundle")]
    Open(#[from] io::Error),
    /// Not even a result without any optional file is small enough.
    #[error("a message of at most {0} bytes is too small for any result")]
    TooLarge(usize),
}

/// Makes a result file of at most `most` bytes from a bundle, which is read more than once: `open` opens it.
///
/// Artifacts beyond debci's own limit, and then as many more as needed, the largest first, are replaced by empty files,
/// and listed in `artifacts.removed.txt`. After that the log is cut shorter.
///
/// # Errors
/// If the bundle cannot be read, or `most` is too small.
pub fn of_bundle(
    heading: &Heading<'_>,
    open: &mut dyn FnMut() -> io::Result<Box<dyn Read>>,
    most: usize,
) -> Result<ResultFile, ResultFileError> {
    let scan = Scan::of(open()?)?;
    let mut choice = Choice::within_debcis_limit(&scan);
    loop {
        let mut costs = Costs::new();
        let written = attempt(heading, &scan, &choice, open()?, most, &mut costs)?;
        if let Some(bytes) = written.bytes {
            let left_out = choice.left_out.len() + scan.unusable.len();
            return Ok(ResultFile { bytes, exit_code: exit_code(&scan.result), left_out });
        }
        if !choice.tighten(&scan, &costs, written.size.saturating_sub(most as u64)) {
            return Err(ResultFileError::TooLarge(most));
        }
    }
}

/// Makes the result file of a job that was not run, for this reason. debci shows it as a temporary failure.
///
/// # Errors
/// Never for any reason outside of this program: it is written to memory.
pub fn of_refusal(heading: &Heading<'_>, reason: &str, when: Timestamp) -> Result<ResultFile, ResultFileError> {
    const CODE: u8 = 16;
    let mut tarball = Tarball::new(top(heading), seconds(when), usize::MAX);
    first_files(&mut tarball, heading, CODE, 0)?;
    let log = format!("{}{}", note(&format!("this job was not run: {reason}")), notes(heading.notes.iter().cloned()));
    tarball.text("log.gz", compressed(log.as_bytes())?)?;
    let bytes = tarball.finish()?.bytes.unwrap_or_default();
    Ok(ResultFile { bytes, exit_code: CODE, left_out: 0 })
}

/// Makes a result file, and if that fails, one that says why: the job ran, and has to have an end.
pub fn or_reason(
    heading: &Heading<'_>,
    make: impl FnOnce(&Heading<'_>) -> Result<ResultFile, ResultFileError>,
) -> ResultFile {
    make(heading).unwrap_or_else(|error| {
        let reason = format!("its tests ran, and its result cannot be read: {error}");
        let nothing = ResultFile { bytes: Vec::new(), exit_code: 16, left_out: 0 };
        of_refusal(heading, &reason, Timestamp::now()).unwrap_or(nothing)
    })
}

/// Writes the files that do not come from autopkgtest.
fn first_files(tarball: &mut Tarball, heading: &Heading<'_>, code: u8, duration: i64) -> io::Result<()> {
    tarball.text("exitcode", format!("{code}\n"))?;
    tarball.text("duration", format!("{duration}\n"))?;
    // As `hostname -s` has it.
    let worker = heading.worker.split('.').next().unwrap_or_default();
    tarball.text("worker", format!("{}\n", safetext::printable(worker)))?;
    if let Some(trigger) = heading.job.and_then(|job| job.trigger.as_ref()) {
        tarball.text("trigger", format!("{trigger}\n"))?;
    }
    Ok(())
}

fn attempt(
    heading: &Heading<'_>,
    scan: &Scan,
    choice: &Choice,
    bundle: Box<dyn Read>,
    most: usize,
    costs: &mut Costs,
) -> Result<crate::tarball::Written, ResultFileError> {
    let result = &scan.result;
    let code = exit_code(result);
    let mut tarball = Tarball::new(top(heading), seconds(result.finished), most);
    let duration = result.finished.duration_since(result.started).as_secs().max(0);
    first_files(&mut tarball, heading, code, duration)?;
    let mut log = scan.log.text(choice.log);
    if log.last().is_some_and(|last| *last != b'\n') {
        log.push(b'\n');
    }
    log.extend_from_slice(last_words(heading, scan, choice, code).as_bytes());
    tarball.text("log.gz", compressed(&log)?)?;
    if !scan.has_version
        && let Some(package) = result.runs.iter().find_map(|run| run.package.as_ref())
    {
        tarball.text("testpkg-version", format!("{} {}\n", package.name, package.version))?;
    }
    if let Some(list) = removed_list(scan, choice) {
        tarball.text("artifacts.removed.txt", list)?;
    }
    if choice.markers {
        for file in choice.left_out.iter().filter_map(|number| scan.files.get(*number)) {
            let marker = format!("{}{REMOVED}", file.name);
            if file.kind == Kind::Artifact && !scan.is_there(&marker) {
                tarball.text(&marker, "")?;
            }
        }
    }
    for link in &scan.links {
        tarball.link(&link.name, &link.target)?;
    }
    let json = serde_json::to_vec_pretty(result).map_err(io::Error::other)?;
    if json.len() <= LARGEST_JSON {
        tarball.text("rocbed/result.json", json)?;
    }
    read_with(bundle, UNPACKED, &mut |entry, content| {
        let Some(number) = scan.number(&entry.name).filter(|number| !choice.left_out.contains(number)) else {
            return Ok(());
        };
        let Some(file) = scan.files.get(number) else { return Ok(()) };
        let cost = tarball.file(&file.name, entry.size, content)?;
        costs.insert(number, cost);
        Ok(())
    })?;
    Ok(tarball.finish()?)
}

/// The directory that everything is below. Its last part is how the collector finds the job.
fn top(heading: &Heading<'_>) -> String {
    let Some(job) = heading.job else { return heading.run.to_string() };
    // Debian's pools have the same prefixes: `libf` for libfoo.
    let length = if job.package.starts_with("lib") { 4 } else { 1 };
    let prefix: String = job.package.chars().take(length).collect();
    let JobLine { suite, package, .. } = job;
    format!("autopkgtest-incoming/{suite}/{}/{prefix}/{package}/{}", heading.architecture, heading.run)
}

fn seconds(time: Timestamp) -> u64 {
    time.as_second().try_into().unwrap_or(0)
}

fn compressed(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text)?;
    encoder.finish()
}

/// A line of the log.
fn note(text: &str) -> String {
    let text: String = text.chars().take(LONGEST_NOTE).collect();
    format!("rocbed: {}\n", safetext::printable(&text))
}

fn notes(texts: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = texts.map(|text| note(&text)).collect();
    if lines.len() > MOST_NOTES {
        let more = lines.len() - MOST_NOTES;
        lines.truncate(MOST_NOTES);
        lines.push(note(&format!("and {more} more such lines")));
    }
    lines.concat()
}

/// The end of the log: what autopkgtest does not know.
fn last_words(heading: &Heading<'_>, scan: &Scan, choice: &Choice, code: u8) -> String {
    let result = &scan.result;
    let mut texts = Vec::new();
    if result.simulated {
        texts.push("the GPU was simulated: this says nothing about any real GPU".to_owned());
    }
    if !matches!(result.verdict, Verdict::Pass | Verdict::Neutral | Verdict::Fail) || result.problem.is_some() {
        let problem = result.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
        texts.push(format!("the verdict is {}{problem}", result.verdict));
    }
    let own = result.runs.first().and_then(|run| run.exit_status);
    if let Some(own) = own.filter(|own| *own != i32::from(code)) {
        texts.push(format!("autopkgtest ended with exit status {own}; debci is told {code}"));
    }
    texts.extend(result.kernel_log.iter().map(|line| format!("kernel: {line}")));
    texts.extend(result.warnings.iter().cloned());
    let unknown = heading.job.map(|job| job.unknown.as_slice()).unwrap_or_default();
    texts.extend(unknown.iter().map(|word| format!("the word `{word}` of the job is not known, and was ignored")));
    let left_out = choice.left_out.len() + scan.unusable.len();
    if left_out > 0 {
        let files = if left_out == 1 { "a file was".to_owned() } else { format!("{left_out} files were") };
        texts.push(format!("{files} left out of this result: see artifacts.removed.txt"));
    }
    texts.extend(heading.notes.iter().cloned());
    notes(texts.into_iter())
}

/// The text of `artifacts.removed.txt`, if anything is left out.
fn removed_list(scan: &Scan, choice: &Choice) -> Option<String> {
    let large = choice.left_out.iter().filter_map(|number| scan.files.get(*number));
    let large = large.map(|file| format!("{} ({} bytes)", file.name, file.size));
    let unusable = scan.unusable.iter().map(|name| format!("{name} (its name is not UTF-8, or is reserved)"));
    let mut lines: Vec<String> = large.chain(unusable).map(|line| safetext::printable(&line)).collect();
    if lines.is_empty() {
        return None;
    }
    if lines.len() > MOST_LISTED {
        let more = lines.len() - MOST_LISTED;
        lines.truncate(MOST_LISTED);
        lines.push(format!("and {more} more"));
    }
    Some(format!(
        "These files are not in the result: all of it has to fit into one message of the broker, and debci limits\n\
         artifacts to {} MiB. The largest were left out first; of an artifact NAME, an empty file NAME{REMOVED} is left.\n\n{}\n",
        choose::DEBCIS_LIMIT >> 20,
        lines.join("\n")
    ))
}
