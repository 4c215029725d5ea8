//! Runs dpkg and other commands in the sandbox, with a log, and with errors that name the failed script.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use progress::{Progress, Task};

use crate::sandbox::{Command, Sandbox};
use crate::{Error, Spec};

/// Number of lines of output that an error shows.
const TAIL_LINES: usize = 30;

/// Runs commands in one root.
pub(super) struct Runner<'a> {
    sandbox: Sandbox,
    environment: Vec<(String, String)>,
    log: File,
    log_path: PathBuf,
    task: &'a dyn Task,
    progress: &'a dyn Progress,
    warned: bool,
}

impl<'a> Runner<'a> {
    pub(super) fn new(root: &Path, spec: &Spec, task: &'a dyn Task, progress: &'a dyn Progress) -> Result<Self, Error> {
        let log_path = spec.log.clone();
        let log = File::options().append(true).create(true).open(&log_path);
        let log = log.map_err(Error::io("opening the log", log_path.as_os_str().as_encoded_bytes()))?;
        let environment = environment(spec.epoch);
        Ok(Self { sandbox: Sandbox::new(root)?, environment, log, log_path, task, progress, warned: false })
    }

    /// Ends the use of the sandbox.
    pub(super) fn finish(self) -> Result<(), Error> {
        Ok(self.sandbox.finish()?)
    }

    /// Runs a command; an exit status other than 0 is an error with the end of its output.
    pub(super) fn run(&mut self, program: &str, arguments: &[&str], input: &[u8]) -> Result<(), Error> {
        let command = Command {
            program: program.to_owned(),
            arguments: arguments.iter().map(Into::into).collect(),
            environment: self.environment.clone(),
            input: input.to_vec(),
        };
        let shown = format!("{program} {}", shorten(arguments));
        let log_name = self.log_path.as_os_str().as_encoded_bytes().to_vec();
        writeln!(self.log, "+ {shown}").map_err(Error::io("writing the log", &log_name))?;

        let mut lines = Lines::default();
        let mut written = Ok(());
        let outcome = self.sandbox.run(&command, &mut |bytes| {
            if written.is_ok() {
                written = self.log.write_all(bytes);
            }
            lines.push(bytes, |line| {
                if let Some(package) = progress_of(line) {
                    self.task.detail(package);
                    self.task.advance(u64::from(line.starts_with("Setting up ")));
                }
            });
        })?;
        lines.finish();
        written.map_err(Error::io("writing the log", &log_name))?;
        if outcome.foreign_proc && !self.warned {
            self.warned = true;
            self.progress.warn("no /proc of its own is allowed for maintainer scripts here; they see the machine's");
        }
        if outcome.status.success() {
            return Ok(());
        }
        Err(Error::Script {
            what: format!("{shown} in the new root failed ({})", outcome.status),
            script: lines.failed,
            tail: lines.tail.into_iter().collect::<Vec<_>>().join("\n"),
            log: self.log_path.clone(),
        })
    }
}

/// Environment variables: those that apt and debootstrap set for scripts, and some for reproducible results.
fn environment(epoch: i64) -> Vec<(String, String)> {
    [
        // The stubbed programs come first.
        ("PATH", "/var/cache/rocbed-idle:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("SHELL", "/bin/sh"),
        ("TERM", "dumb"),
        ("LC_ALL", "C.UTF-8"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        // The documented way to tell /etc/kernel hooks not to make an initramfs.
        ("INITRD", "No"),
        ("PYTHONHASHSEED", "0"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .chain([("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string())])
    .collect()
}

fn shorten(arguments: &[&str]) -> String {
    const SHOWN: usize = 8;
    let more = arguments.len().saturating_sub(SHOWN);
    let shown = arguments.iter().take(SHOWN).copied().collect::<Vec<_>>().join(" ");
    if more == 0 { shown } else { format!("{shown} ... ({more} more)") }
}

/// The package that a line of dpkg's output is about.
fn progress_of(line: &str) -> Option<&str> {
    let starts = ["Setting up ", "Unpacking ", "Processing triggers for "];
    starts.iter().find_map(|start| line.strip_prefix(start)?.split(' ').next())
}

/// Collects the output as lines: the last ones, and the first error that dpkg reports.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    tail: VecDeque<String>,
    failed: Option<String>,
    error_follows: Option<String>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut see: impl FnMut(&str)) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            see(line);
            self.line(line);
        }
    }

    fn finish(&mut self) {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(&String::from_utf8_lossy(&line));
        }
    }

    fn line(&mut self, line: &str) {
        // "dpkg: error processing package foo (--configure):", followed by an indented line with the script and its
        // exit status.
        if let Some(package) = self.error_follows.take() {
            self.failed.get_or_insert(format!("package {package}: {}", line.trim()));
        } else if let Some((_, rest)) = line.split_once("dpkg: error processing ") {
            let rest = rest.strip_prefix("package ").or(rest.strip_prefix("archive ")).unwrap_or(rest);
            self.error_follows = Some(rest.split(' ').next().unwrap_or_default().to_owned());
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_script_that_failed() {
        let mut lines = Lines::default();
        let output = "Setting up foo (1.0) ...\nmkdir: no\ndpkg: error processing package foo (--configure):\n \
                      installed foo package post-installation script subprocess failed with exit status 3\n\
                      Errors were encountered while processing:\n foo\n";
        for piece in output.as_bytes().chunks(7) {
            lines.push(piece, |_| {});
        }
        lines.finish();
        let failed = lines.failed.unwrap();
        assert_eq!(
            failed,
            "package foo: installed foo package post-installation script subprocess failed with exit status 3"
        );
        assert_eq!(lines.tail.len(), 6);
    }

    #[test]
    fn keeps_the_last_lines_only() {
        let mut lines = Lines::default();
        for number in 0..100 {
            lines.push(format!("{number}\n").as_bytes(), |_| {});
        }
        assert_eq!(lines.tail.len(), TAIL_LINES);
        assert_eq!(lines.tail.back().unwrap(), "99");
    }
}
