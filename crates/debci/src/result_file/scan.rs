//! What is in a bundle, with the name that each file gets in the result.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use bundle::{BundleEntry, EntryKind, ReadError, UNPACKED, read_with};
use protocol::JobResult;

use crate::file_name::in_result;
use crate::log::CappedLog;

/// Names at the top of a result that never come from autopkgtest's directory.
const RESERVED: [&str; 8] = [
    "exitcode.artifact",
    "duration",
    "worker",
    "trigger",
    "log.gz",
    "artifacts.tar.gz",
    "artifacts.removed.txt",
    "rocbed",
];

/// Files at the top of a bundle that get into the result's directory `rocbed`.
const OURS: [&str; 2] = ["junit.xml", "kernel.log"];

/// A bundle's contents, except for those of its files.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) result: JobResult,
    pub(crate) log: CappedLog,
    pub(crate) files: Vec<File>,
    pub(crate) links: Vec<Link>,
    /// Names of what cannot be in a result.
    pub(crate) unusable: Vec<String>,
    /// Whether autopkgtest wrote which version was tested.
    pub(crate) has_version: bool,
    /// Numbers of the files by their names in the bundle.
    numbers: BTreeMap<String, usize>,
    /// All names in the result, directories included.
    names: BTreeSet<String>,
}

/// A file of the result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Its name in the result.
    pub(crate) name: String,
    /// Length in bytes.
    pub(crate) size: u64,
    pub(crate) kind: Kind,
}

/// What a file is to debci.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a test has left, or what only rocbed knows.
    Artifact,
    /// Written by autopkgtest: summary, versions, package lists.
    Autopkgtest,
}

/// A symbolic link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) target: String,
}

impl Scan {
    /// Reads a bundle to its end.
    pub(crate) fn of(bundle: impl Read) -> Result<Self, ReadError> {
        let mut logs: BTreeMap<String, CappedLog> = BTreeMap::new();
        let contents = read_with(bundle, UNPACKED, &mut |entry, content| {
            // At the top, or at the top of a run's directory.
            if entry.name == "log" || (entry.name.ends_with("/log") && entry.name.matches('/').count() == 1) {
                logs.insert(entry.name.clone(), CappedLog::read(content)?);
            }
            Ok(())
        })?;
        // debci runs a job once. What autopkgtest itself wrote is preferred, as debci's own worker would have it.
        let directory = contents.result.runs.first().map(|run| run.directory.clone());
        let own = directory.as_ref().and_then(|directory| logs.remove(&format!("{directory}/log")));
        let mut scan = Self {
            result: contents.result,
            log: own.or_else(|| logs.remove("log")).unwrap_or_default(),
            files: Vec::new(),
            links: Vec::new(),
            unusable: Vec::new(),
            has_version: false,
            numbers: BTreeMap::new(),
            names: BTreeSet::new(),
        };
        let inside = directory.map(|directory| format!("{directory}/"));
        for entry in &contents.entries {
            scan.add(entry, inside.as_deref());
        }
        Ok(scan)
    }

    /// The number of a file, by its name in the bundle.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// Whether the result has something of this name.
    pub(crate) fn is_there(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn add(&mut self, entry: &BundleEntry, inside: Option<&str>) {
        if OURS.contains(&entry.name.as_str()) && entry.kind == EntryKind::File {
            return self.add_file(entry, format!("rocbed/{}", entry.name), Kind::Artifact);
        }
        let Some(path) = inside.and_then(|inside| entry.name.strip_prefix(inside)) else { return };
        let at_top = !path.contains('/');
        // debci removes the first two from its results: the log has them. The log itself is `log.gz`.
        if path.is_empty() || at_top && (path.ends_with("-stdout") || path.ends_with("-stderr") || path == "log") {
            return;
        }
        let name = in_result(path);
        let first = name.split('/').next().unwrap_or_default();
        // Names are shown with this character for what is not UTF-8, so that two files could get the same name.
        if name.contains('\u{fffd}') || RESERVED.contains(&first) {
            if entry.kind != EntryKind::Directory {
                self.unusable.push(name);
            }
            return;
        }
        let kind = if first == "artifacts" { Kind::Artifact } else { Kind::Autopkgtest };
        match (entry.kind, &entry.target) {
            (EntryKind::File, _) => {
                self.has_version |= name == "testpkg-version";
                self.add_file(entry, name, kind);
            }
            (EntryKind::Link, Some(target)) if !target.contains('\u{fffd}') => {
                self.add_names(&name);
                self.links.push(Link { name, target: in_result(target) });
            }
            (EntryKind::Link, _) => self.unusable.push(name),
            (EntryKind::Directory, _) => self.add_names(&name),
        }
    }

    fn add_file(&mut self, entry: &BundleEntry, name: String, kind: Kind) {
        self.add_names(&name);
        self.numbers.insert(entry.name.clone(), self.files.len());
        self.files.push(File { name, size: entry.size, kind });
    }

    fn add_names(&mut self, name: &str) {
        let mut at = name;
        while self.names.insert(at.to_owned()) {
            let Some((parent, _)) = at.rsplit_once('/') else { break };
            at = parent;
        }
    }
}
