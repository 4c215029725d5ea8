//! [`Tree`]: the files of a source package, as far as the checks look at them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest file that is read, in bytes.
pub(crate) const LONGEST: u64 = 1 << 20;
/// Most names of a directory that are looked at.
pub(crate) const MOST_NAMES: usize = 2_000;

/// What is at a path of a source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// There is no file.
    Missing,
    /// A text file.
    Text {
        /// The content.
        text: Arc<str>,
        /// Whether it has an execute permission.
        executable: bool,
    },
    /// A file that is not text in UTF-8, or longer than 1 MiB.
    Binary,
    /// Something that is not opened: a link out of the tree, a directory, a pipe, a device. The reason, in words.
    Unusable(String),
}

impl Entry {
    /// The text, if it is a text file.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The files of an unpacked source package. Paths are relative to its top and have neither `.` nor `..` in them.
pub trait Tree {
    /// The entry at a path.
    fn entry(&self, path: &str) -> Entry;

    /// Names in a directory, sorted; empty if there is no such directory. At most 2,000.
    fn names(&self, directory: &str) -> Vec<String>;

    /// Whether upstream's files are in the tree, and not only `debian/`. If not, nothing is said about missing ones.
    fn has_upstream(&self) -> bool;
}

/// A tree in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    files: BTreeMap<String, (Arc<str>, bool)>,
}

impl Memory {
    /// Adds or replaces a file that is not executable.
    pub fn add(&mut self, path: &str, text: &str) -> &mut Self {
        self.files.insert(path.to_owned(), (text.into(), false));
        self
    }

    /// Adds or replaces an executable file.
    pub fn add_program(&mut self, path: &str, text: &str) -> &mut Self {
        self.files.insert(path.to_owned(), (text.into(), true));
        self
    }

    /// Text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|(text, _)| &**text)
    }

    /// Replaces a file's text and keeps its mode.
    pub(crate) fn replace(&mut self, path: &str, text: &str) {
        let executable = self.files.get(path).is_some_and(|(_, executable)| *executable);
        self.files.insert(path.to_owned(), (text.into(), executable));
    }

    pub(crate) fn make_executable(&mut self, path: &str) {
        if let Some((_, executable)) = self.files.get_mut(path) {
            *executable = true;
        }
    }
}

impl Tree for Memory {
    fn entry(&self, path: &str) -> Entry {
        match self.files.get(path) {
            Some((text, executable)) => Entry::Text { text: Arc::clone(text), executable: *executable },
            None => Entry::Missing,
        }
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let below = self.files.keys().filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
        let mut names: Vec<String> =
            below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).take(MOST_NAMES).collect();
        names.dedup();
        names
    }

    fn has_upstream(&self) -> bool {
        self.files.keys().any(|path| !path.starts_with("debian/"))
    }
}
