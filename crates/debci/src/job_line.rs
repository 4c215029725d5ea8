//! [`JobLine`]: a message of debci's job queues.

use std::fmt;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use protocol::{GpuNeed, Job};

use crate::run_id::{NotARunId, RunId};

/// Longest job line, in bytes.
pub const LONGEST_LINE: usize = 256 << 10;
/// Most words of a job line.
const MOST_WORDS: usize = 500;
/// Longest name of a package or suite, in bytes.
const LONGEST_NAME: usize = 80;
/// Largest signing key, in bytes.
const LARGEST_KEY: usize = 64 << 10;
/// Longest line of an additional apt source, in bytes.
const LONGEST_SOURCE: usize = 4096;
/// Longest trigger, in bytes, as it is in the line.
const LONGEST_TRIGGER: usize = 16 << 10;

/// One job, as debci puts it into a queue: package and suite, then `NAME:VALUE` words.
///
/// ```
/// let line = b"rocrand unstable run-id:17 trigger:rocr-runtime%2F6.4.3 backend:lxc";
/// let job = debci::JobLine::parse(line).unwrap();
/// assert_eq!((job.package.as_str(), job.run.0), ("rocrand", 17));
/// assert_eq!(job.shown_trigger().as_deref(), Some("rocr-runtime/6.4.3"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLine {
    /// Source package to test.
    pub package: String,
    /// Suite: `unstable`.
    pub suite: String,
    /// The job's number at the server.
    pub run: RunId,
    /// Why the job was made, still encoded as in a form (`+` for a blank, `%2F`): debci's workers write it so into their
    /// results.
    pub trigger: Option<String>,
    /// Packages to take from other suites: `experimental=src:rocr-runtime`.
    pub pins: Vec<String>,
    /// Additional lines for apt's sources.list(5).
    pub apt_sources: Vec<String>,
    /// OpenPGP keys that these sources are signed with, in ASCII armour.
    pub signing_keys: Vec<Vec<u8>>,
    /// Variant of autopkgtest that the server's administrator has configured.
    pub autopkgtest: Option<String>,
    /// The backend that the server has chosen.
    pub backend: Option<String>,
    /// Words that this program does not know. debci's worker ignores them.
    pub unknown: Vec<String>,
}

/// Reason why a job line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has no usable run id, so there is nothing that a result could be for.
    #[error("it is not a job of debci: {0}")]
    NoRun(String),
    /// The job can only be refused.
    #[error("job {run}: {reason}")]
    Refused {
        /// The job's number.
        run: RunId,
        /// What is wrong with it, for people.
        reason: String,
    },
}

impl JobLine {
    /// Reads a line.
    ///
    /// # Errors
    /// [`LineError::NoRun`] if no result can be given, and otherwise [`LineError::Refused`].
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let is_too_long = line.len() > LONGEST_LINE;
        // The last word may be cut off.
        let line = if is_too_long { line.get(..LONGEST_LINE).and_then(whole_words).unwrap_or_default() } else { line };
        // Whatever else is wrong with a line: with a run id it can be answered.
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let runs: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix("run-id:")).collect();
        let run = match runs.as_slice() {
            [run] => run.parse().map_err(|error: NotARunId| LineError::NoRun(error.to_string()))?,
            [] => return Err(LineError::NoRun("it has no run-id".into())),
            _ => return Err(LineError::NoRun("it has several run-ids".into())),
        };
        let refused = |reason: String| Err(LineError::Refused { run, reason });
        if is_too_long {
            return refused(format!("its line is longer than {LONGEST_LINE} bytes"));
        }
        if std::str::from_utf8(line).is_err() {
            return refused("its line is not UTF-8".into());
        }
        Self::of_words(&words, run).map_err(|reason| LineError::Refused { run, reason })
    }

    fn of_words(words: &[&str], run: RunId) -> Result<Self, String> {
        if words.len() > MOST_WORDS {
            return Err(format!("it has more than {MOST_WORDS} words"));
        }
        let [package, suite, parameters @ ..] = words else { return Err("it names no package or no suite".into()) };
        let mut job = Self {
            package: checked_package(package)?,
            suite: checked_suite(suite)?,
            run,
            trigger: None,
            pins: Vec::new(),
            apt_sources: Vec::new(),
            signing_keys: Vec::new(),
            autopkgtest: None,
            backend: None,
            unknown: Vec::new(),
        };
        for word in parameters {
            let (name, value) = word.split_once(':').unwrap_or((word, ""));
            match name {
                "run-id" => {}
                "trigger" => job.trigger = Some(checked_trigger(value)?),
                "pin-packages" => job.pins.push(checked_pin(value)?),
                "extra-apt-source" => job.apt_sources.extend(checked_sources(value)?),
                "signing-key" => job.signing_keys.push(checked_key(value)?),
                "autopkgtest" => job.autopkgtest = Some(checked_word("autopkgtest", value)?),
                "backend" if value.is_empty() => {}
                "backend" => job.backend = Some(checked_word("backend", value)?),
                _ => job.unknown.push((*word).to_owned()),
            }
        }
        Ok(job)
    }

    /// Why the job cannot be run in testbeds of these suites with Debian's own autopkgtest, if it cannot.
    pub fn refusal(&self, suites: &[String]) -> Option<String> {
        if !suites.contains(&self.suite) {
            return Some(format!("this worker tests in {}, and not in {}", suites.join(" and "), self.suite));
        }
        let variant = self.autopkgtest.as_ref()?;
        Some(format!("this worker has no autopkgtest variant `{variant}`, only Debian's own autopkgtest"))
    }

    /// The trigger for people: decoded, and without characters that a terminal would act on.
    pub fn shown_trigger(&self) -> Option<String> {
        let trigger = self.trigger.as_ref()?.replace('+', " ");
        Some(safetext::printable(&percent_decode_str(&trigger).decode_utf8_lossy()))
    }

    /// The job for a worker, with the GPU that its queue stands for. Sources, keys and the upgrade of the testbed are not
    /// part of a [`Job`].
    pub fn job(&self, gpu: GpuNeed) -> Job {
        let mut job = Job::of_package(&self.package);
        job.id = format!("{}-{}", self.package, self.run);
        job.gpu = gpu;
        job.pin.clone_from(&self.pins);
        job
    }
}

/// The line as debci writes it.
impl fmt::Display for JobLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} run-id:{}", self.package, self.suite, self.run)?;
        let mut word = |name: &str, value: &str| write!(f, " {name}:{value}");
        if let Some(trigger) = &self.trigger {
            word("trigger", trigger)?;
        }
        for pin in &self.pins {
            word("pin-packages", pin)?;
        }
        for source in &self.apt_sources {
            word("extra-apt-source", &BASE64.encode(source))?;
        }
        for key in &self.signing_keys {
            word("signing-key", &BASE64.encode(key))?;
        }
        if let Some(variant) = &self.autopkgtest {
            word("autopkgtest", variant)?;
        }
        if let Some(backend) = &self.backend {
            word("backend", backend)?;
        }
        for unknown in &self.unknown {
            f.write_char(' ')?;
            f.write_str(unknown)?;
        }
        Ok(())
    }
}

/// The bytes up to the last blank.
fn whole_words(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.iter().rposition(u8::is_ascii_whitespace)?)
}

/// Quotes text from outside in a reason.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    format!("`{}`", safetext::printable(&short))
}

/// Debian Policy 5.6.1.
fn checked_package(name: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let first = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if first && (2..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(inner) {
        Ok(name.to_owned())
    } else {
        Err(format!("{} is not the name of a source package", quoted(name)))
    }
}

/// A suite becomes part of a path, and an argument of autopkgtest.
fn checked_suite(name: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._~".contains(&byte);
    let first = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if first && name.len() <= LONGEST_NAME && name.bytes().all(inner) {
        Ok(name.to_owned())
    } else {
        Err(format!("{} is not the name of a suite", quoted(name)))
    }
}

fn checked_word(what: &str, value: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
    if !value.is_empty() && value.len() <= LONGEST_NAME && value.bytes().all(good) {
        Ok(value.to_owned())
    } else {
        Err(format!("{what}: {} is not a name", quoted(value)))
    }
}

fn checked_trigger(value: &str) -> Result<String, String> {
    if value.len() > LONGEST_TRIGGER {
        return Err(format!("trigger: it is longer than {LONGEST_TRIGGER} bytes"));
    }
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(value.to_owned())
    } else {
        Err(format!("trigger: {} is not encoded as in a form", quoted(value)))
    }
}

/// `RELEASE=PACKAGE,src:PACKAGE`, as autopkgtest's `--pin-packages` has it.
fn checked_pin(value: &str) -> Result<String, String> {
    let wrong = || format!("pin-packages: {} is not RELEASE=PACKAGE[,PACKAGE...]", quoted(value));
    let (release, packages) = value.split_once('=').ok_or_else(wrong)?;
    checked_suite(release).map_err(|_| wrong())?;
    let package = |name: &str| {
        let name = name.strip_prefix("src:").unwrap_or(name);
        let name = name.split_once('/').map_or(name, |(name, _)| name);
        // `*` is a pattern in apt's preferences (apt_preferences(5)).
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.*:_".contains(&byte);
        !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(inner)
    };
    let text = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.*:_,/~=".contains(&byte);
    if packages.split(',').all(package) && value.bytes().all(text) { Ok(value.to_owned()) } else { Err(wrong()) }
}

fn decoded(what: &str, value: &str, most: usize) -> Result<Vec<u8>, String> {
    let bytes = BASE64.decode(value).map_err(|error| format!("{what}: it is not base64: {error}"))?;
    if bytes.len() > most { Err(format!("{what}: it is longer than {most} bytes")) } else { Ok(bytes) }
}

/// The lines of a source, which end up in the testbed's sources.list(5).
fn checked_sources(value: &str) -> Result<Vec<String>, String> {
    const WHAT: &str = "extra-apt-source";
    let bytes = decoded(WHAT, value, LONGEST_SOURCE)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{WHAT}: it is not UTF-8"))?;
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let is_source = line.starts_with("deb ") || line.starts_with("deb-src ");
        // It passes through a shell in the testbed.
        if !is_source || line.contains(['\'', '"', '\\', '$', '`']) || line.chars().any(char::is_control) {
            return Err(format!("{WHAT}: {} is not a line of sources.list(5)", quoted(line)));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

/// The start of a secret key in ASCII armour (RFC 9580, section 6.2).
const PRIVATE: &[u8] = b"-----BEGIN PGP PRIVATE KEY BLOCK-----";

fn checked_key(value: &str) -> Result<Vec<u8>, String> {
    let key = decoded("signing-key", value, LARGEST_KEY)?;
    // apt reads a `.asc` file as ASCII armour only (apt-secure(8)).
    let is_armour = key.trim_ascii_start().starts_with(b"-----BEGIN PGP PUBLIC KEY BLOCK-----");
    // It is in every testbed of the job, for all to read.
    if key.windows(PRIVATE.len()).any(|part| part == PRIVATE) {
        return Err("signing-key: it holds a private key, which nobody but its owner may have".into());
    }
    if is_armour { Ok(key) } else { Err("signing-key: it is not an OpenPGP key in ASCII armour".into()) }
}

#[cfg(test)]
mod tests;
