//! Limits that a testbed has reached, told after each test and at the end, so that a result says why a test failed.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::mounts::Space;
use crate::server::NAME;

/// Environment variable with the path of a file that gets a line for each limit that was reached: the test, or nothing,
/// a tab, and what happened.
const NOTES: &str = "ROCBED_LIMIT_NOTES";

/// Free bytes below which a writable layer counts as full.
const FULL: u64 = 1 << 20;

/// One process in this many is reserved, so that autopkgtest can still run commands when tests have reached the limit.
const RESERVE: u64 = 16;

/// The limits that a testbed has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory in bytes, files in memory included; `None` for no limit.
    pub(crate) memory: Option<u64>,
    /// Processes and threads.
    pub(crate) processes: u64,
    /// Share of the processors, when others want them too.
    pub(crate) cpu_weight: Option<u32>,
}

/// How many processes commands may have of those that the testbed may have.
pub(crate) fn processes_of_commands(processes: u64) -> u64 {
    processes - processes / RESERVE
}

/// What the kernel counts in a control group.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Processes that it ended because memory was used up.
    pub(crate) ended: u64,
    /// Times that it started no process because there were too many; 1 where it counts otherwise.
    pub(crate) not_started: u64,
}

/// What is said of a full writable layer: why it has the size that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layer {
    /// It is in memory, as large as `--overlay-size` says.
    Memory,
    /// It is in memory, and the limit of the memory leaves no more.
    CutMemory,
    /// It is in this directory.
    Directory(PathBuf),
}

impl Layer {
    /// In words, if there is no room for more.
    fn full(&self, space: Space) -> Option<String> {
        let (free, all) = space.bytes;
        let what = match (space.files, free < FULL) {
            ((0, 1..), _) => format!("{} files", space.files.1),
            (_, true) => format!("{} MiB", all >> 20),
            _ => return None,
        };
        Some(match self {
            Self::Memory => format!(
                "the testbed is full: it has written {what}, which is its limit; give it more with --overlay-size, or a disk with --overlay-dir"
            ),
            Self::CutMemory => format!(
                "the testbed is full: it has written {what}, which is all that the limit of its memory has room for; give it more with --memory, or a disk with --overlay-dir"
            ),
            Self::Directory(path) => format!(
                "the testbed is full: the {what} of the file system at {} are used up; give --overlay-dir a larger one",
                path.display()
            ),
        })
    }
}

/// The reached limits of an open testbed that were told already.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    told: Counts,
    was_full: bool,
}

impl Reached {
    /// What was reached since the last call, in words for a person.
    pub(crate) fn news(&mut self, limits: Limits, counts: Counts, layer: &Layer, space: Option<Space>) -> Vec<String> {
        let mut news = Vec::new();
        let ended = counts.ended.saturating_sub(self.told.ended);
        if let (1.., Some(bytes)) = (ended, limits.memory) {
            let processes = if ended == 1 { "1 process".to_owned() } else { format!("{ended} processes") };
            news.push(format!(
                "the memory of the testbed was used up: the kernel ended {processes} at its limit of {} MiB; give it more with --memory",
                bytes >> 20
            ));
        }
        if counts.not_started > self.told.not_started {
            let processes = limits.processes;
            news.push(format!("the testbed reached its limit of {processes} processes; --processes sets it"));
        }
        let full = space.and_then(|space| layer.full(space));
        let is_full = full.is_some();
        news.extend(full.filter(|_| !self.was_full));
        (self.told, self.was_full) = (counts, is_full);
        news
    }
}

/// Where reached limits are told: the log, and a file for whoever makes the result.
#[derive(Debug)]
pub(crate) struct LimitNotes(Option<PathBuf>);

impl LimitNotes {
    /// The file that the environment names.
    pub(crate) fn from_environment() -> Self {
        Self(std::env::var_os(NOTES).map(PathBuf::from))
    }

    /// Tells lines about this test, or about none. That this fails is only logged.
    pub(crate) fn tell(&self, test: Option<&str>, lines: &[String]) {
        for line in lines {
            let of = test.map(|test| format!("test {test}: ")).unwrap_or_default();
            eprintln!("{NAME}: {of}{line}");
        }
        let Some(path) = self.0.as_ref().filter(|_| !lines.is_empty()) else { return };
        let test: String = test.unwrap_or_default().chars().filter(|char| !char.is_control()).collect();
        let text: String = lines.iter().map(|line| format!("{test}\t{line}\n")).collect();
        let file = File::options().append(true).create(true).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
            eprintln!("{NAME}: writing {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory: Some(512 << 20), processes: 100, cpu_weight: None };
    const ROOM: Space = Space { bytes: (1 << 30, 2 << 30), files: (1000, 2000) };

    fn news(reached: &mut Reached, ended: u64, not_started: u64, space: Space) -> Vec<String> {
        reached.news(LIMITS, Counts { ended, not_started }, &Layer::Memory, Some(space))
    }

    #[test]
    fn each_time_only_what_is_new_is_told() {
        let mut reached = Reached::default();
        assert_eq!(news(&mut reached, 0, 0, ROOM), Vec::<String>::new());
        let memory = "the memory of the testbed was used up: the kernel ended 2 processes at its limit of 512 MiB; give it more with --memory";
        assert_eq!(news(&mut reached, 2, 0, ROOM), [memory]);
        assert_eq!(news(&mut reached, 2, 0, ROOM), Vec::<String>::new());
        let processes = "the testbed reached its limit of 100 processes; --processes sets it";
        assert_eq!(news(&mut reached, 3, 7, ROOM), [memory.replace("2 processes", "1 process").as_str(), processes]);
    }

    #[test]
    fn without_a_limit_of_memory_what_the_kernel_ends_is_not_the_testbeds_doing() {
        let limits = Limits { memory: None, ..LIMITS };
        let counts = Counts { ended: 1, not_started: 0 };
        assert_eq!(Reached::default().news(limits, counts, &Layer::Memory, None), Vec::<String>::new());
    }

    #[test]
    fn a_full_layer_is_told_once_with_what_to_do() {
        let mut reached = Reached::default();
        let full = Space { bytes: (4096, 64 << 20), ..ROOM };
        let told = news(&mut reached, 0, 0, full);
        assert!(told[0].contains("written 64 MiB, which is its limit; give it more with --overlay-size"), "{told:?}");
        assert_eq!(news(&mut reached, 0, 0, full), Vec::<String>::new());
        assert_eq!(news(&mut reached, 0, 0, ROOM), Vec::<String>::new());
        assert_eq!(news(&mut reached, 0, 0, full), told);
        let many = Space { files: (0, 2000), ..ROOM };
        let said = |layer: Layer, space| layer.full(space).unwrap_or_default();
        assert!(said(Layer::Memory, many).contains("it has written 2000 files, which is its limit"));
        assert!(said(Layer::CutMemory, full).contains("give it more with --memory"));
        let disk = said(Layer::Directory("/data".into()), Space { files: (0, 0), ..full });
        assert!(disk.contains("the 64 MiB of the file system at /data are used up"), "{disk}");
        // Some file systems do not limit their files.
        assert_eq!(Layer::Memory.full(Space { files: (0, 0), ..ROOM }), None);
    }

    #[test]
    fn notes_name_the_test() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let notes = LimitNotes(Some(path.clone()));
        notes.tell(Some("a\tb"), &["x".into(), "y".into()]);
        notes.tell(None, &["z".into()]);
        notes.tell(None, &[]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "ab\tx\nab\ty\n\tz\n");
    }
}
