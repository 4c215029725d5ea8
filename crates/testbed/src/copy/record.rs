//! Records of what is installed in a testbed, made when autopkgtest fetches a test's output.
//!
//! autopkgtest lists packages before it has installed all that a test needs, and leaves out what was upgraded. dpkg's
//! status in the testbed is complete. A process in the testbed reads it, and the Release files that apt has, and writes
//! only the fields that say what is installed, since the testbed is untrusted and the status has megabytes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::send::open_regular;
use super::{inside, wait_for};
use crate::Error;
use crate::namespaces::Access;
use crate::process::{Signals, fork};
use crate::server::NAME;

/// File with a line for each test: the number of its record, and its name.
const INDEX: &str = "index";
/// dpkg's status (dpkg(1)).
const STATUS: &str = "/var/lib/dpkg/status";
/// Fields of the status that are recorded.
const STATUS_FIELDS: [&str; 5] = ["Package:", "Status:", "Version:", "Architecture:", "Source:"];
/// Directory of apt's indexes.
const LISTS: &str = "/var/lib/apt/lists";
/// Fields of a Release file that are recorded.
const RELEASE_FIELDS: [&str; 4] = ["Origin:", "Suite:", "Codename:", "Date:"];
/// Most bytes of a file that are read. dpkg's status of a full system has 10 MiB.
const READ: u64 = 64 << 20;
/// Most bytes that are read of a Release file, whose fields are at its beginning.
const RELEASE: u64 = 8 << 10;
/// Most Release files.
const MOST_RELEASES: usize = 32;
/// Most files of apt that are looked at.
const MOST_LISTS: usize = 10_000;
/// Most bytes of a record.
const RECORD: u64 = 8 << 20;
/// Most different records in a session.
const MOST_RECORDS: usize = 64;
/// Longest time for a record.
const TIME: Duration = Duration::from_secs(30);

/// Writer of the records of a session.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
    made: usize,
    /// The latest record, as most tests have the packages of the one before.
    last: Option<[Vec<u8>; 2]>,
}

impl Records {
    /// Records go to this existing directory.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, made: 0, last: None }
    }

    /// Records the packages for a test that has ended. A failure is only logged: the test's own outcome matters more.
    ///
    /// # Errors
    ///
    /// If the server is to end.
    pub(crate) fn note(&mut self, test: &str, access: &Access<'_>, signals: &Signals) -> Result<(), Error> {
        match self.make(test, access, signals) {
            Err(error @ Error::Signal(_)) => Err(error),
            Err(error) => {
                eprintln!("{NAME}: recording the packages of test {test}: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn make(&mut self, test: &str, access: &Access<'_>, signals: &Signals) -> Result<(), Error> {
        if self.made >= MOST_RECORDS {
            return Ok(());
        }
        let step = || Error::step(format!("writing to {}", self.directory.display()));
        let number = self.made + 1;
        let paths = ["packages", "archives"].map(|kind| self.directory.join(format!("{number}.{kind}")));
        let [packages, archives] = &paths;
        let [to_packages, to_archives] = [File::create(packages), File::create(archives)];
        let (to_packages, to_archives) = (to_packages.map_err(step())?, to_archives.map_err(step())?);
        let child = fork(|| {
            let work = || {
                write_status(Path::new(STATUS), &to_packages)?;
                write_releases(Path::new(LISTS), &to_archives)
            };
            match super::die_with_server().and_then(|()| inside(access, work)) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("{NAME}: recording the packages: {error}");
                    1
                }
            }
        });
        let child = child.map_err(Error::step("starting a process"))?;
        wait_for(&[child], signals, TIME)?;
        let read = |path: &PathBuf| fs::read(path).map_err(step());
        let record = [read(packages)?, read(archives)?];
        let number = if self.last.as_ref() == Some(&record) {
            for path in &paths {
                fs::remove_file(path).map_err(step())?;
            }
            self.made
        } else {
            self.last = Some(record);
            self.made = number;
            number
        };
        let index = File::options().append(true).create(true).open(self.directory.join(INDEX));
        index.and_then(|mut file| writeln!(file, "{number} {test}")).map_err(step())
    }
}

/// Writes the recorded fields of dpkg's status.
fn write_status(path: &Path, to: &File) -> io::Result<()> {
    let mut out = Limited { out: BufWriter::new(to), left: RECORD };
    copy_fields(open_regular(path, true)?.take(READ), &STATUS_FIELDS, &mut out)?;
    out.out.flush()
}

/// Writes the recorded fields of the Release files that apt has, a paragraph for each.
fn write_releases(directory: &Path, to: &File) -> io::Result<()> {
    let mut out = Limited { out: BufWriter::new(to), left: RECORD };
    // A testbed without package lists has no Release file.
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let mut names: Vec<PathBuf> = entries.take(MOST_LISTS).flatten().map(|entry| entry.path()).collect();
    names.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with("_InRelease") || name.ends_with("_Release")
    });
    names.sort();
    for path in names.iter().take(MOST_RELEASES) {
        let Ok(file) = open_regular(path, false) else { continue };
        copy_fields(file.take(RELEASE), &RELEASE_FIELDS, &mut out)?;
        out.write_all(b"\n")?;
    }
    out.out.flush()
}

/// Copies the lines of these fields, and empty lines.
fn copy_fields(from: impl Read, fields: &[&str], to: &mut impl Write) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // Of a signed Release file, the part after the first empty line is its content, so empty lines of it are not kept.
    let keep_empty = fields.contains(&"Package:");
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let wanted = fields.iter().any(|field| line.starts_with(field.as_bytes()));
        if wanted || (keep_empty && line == b"\n") {
            to.write_all(&line)?;
        }
    }
}

/// A writer that fails after this many bytes.
struct Limited<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        if length > self.left {
            return Err(io::Error::other(format!("the record has more than {RECORD} bytes")));
        }
        self.left -= length;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_that_say_what_is_installed_are_copied() {
        let status = "Package: gzip\nStatus: install ok installed\nDescription: x\n Package: no\nVersion: 1\n\n\
                      Package: tar\nVersion: 2\n";
        let mut out = Vec::new();
        copy_fields(status.as_bytes(), &STATUS_FIELDS, &mut out).unwrap();
        let expected = "Package: gzip\nStatus: install ok installed\nVersion: 1\n\nPackage: tar\nVersion: 2\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn each_release_file_is_a_paragraph() {
        let lists = tempfile::tempdir().unwrap();
        let signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nSuite: unstable\n\
                      Date: Sat, 28 Nov 2026 08:00:00 UTC\nSHA256:\n 00 1 main/x\n";
        fs::write(lists.path().join("mirror_debian_dists_sid_InRelease"), signed).unwrap();
        fs::write(lists.path().join("local_Release"), "Suite: local\n").unwrap();
        fs::write(lists.path().join("mirror_debian_dists_sid_main_Packages"), "Package: x\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", lists.path().join("odd_Release")).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        write_releases(lists.path(), file.as_file()).unwrap();
        let expected = "Suite: local\n\nOrigin: Debian\nSuite: unstable\nDate: Sat, 28 Nov 2026 08:00:00 UTC\n\n";
        assert_eq!(fs::read_to_string(file.path()).unwrap(), expected);
    }

    #[test]
    fn a_record_has_a_limit() {
        let mut out = Limited { out: Vec::new(), left: 4 };
        assert!(out.write_all(b"abcd").is_ok() && out.write_all(b"e").is_err());
    }
}
