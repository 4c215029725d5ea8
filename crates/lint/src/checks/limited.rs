//! What a hostile package can make the checks keep and do, within limits: a control file of 1 MiB can name the same large
//! script a hundred thousand times.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::script::Script;
use crate::tree::{Entry, Tree};

/// Most bytes of different files that are read.
const READ: usize = 16 << 20;
/// Most bytes of different scripts that are parsed; their commands take a multiple of that.
const PARSED: usize = 4 << 20;
/// Most bytes of scripts that are looked through, each counted for every stanza that has it.
const LOOKED_THROUGH: usize = 8 << 20;

/// A tree of which each file is read once, and no more than 16 MiB in all.
pub(super) struct Limited<'a> {
    tree: &'a dyn Tree,
    read: RefCell<(HashMap<String, Entry>, usize)>,
}

impl<'a> Limited<'a> {
    pub(super) fn new(tree: &'a dyn Tree) -> Self {
        Self { tree, read: RefCell::default() }
    }
}

impl Tree for Limited<'_> {
    fn entry(&self, path: &str) -> Entry {
        let mut read = self.read.borrow_mut();
        let (known, bytes) = &mut *read;
        if let Some(entry) = known.get(path) {
            return entry.clone();
        }
        if *bytes > READ {
            return Entry::Unusable(format!("it is not looked at: the files before it have over {} MiB", READ >> 20));
        }
        let entry = self.tree.entry(path);
        *bytes += path.len() + entry.text().map_or(0, str::len);
        known.insert(path.to_owned(), entry.clone());
        entry
    }

    fn names(&self, directory: &str) -> Vec<String> {
        self.tree.names(directory)
    }

    fn has_upstream(&self) -> bool {
        self.tree.has_upstream()
    }
}

/// The scripts of tests. Each is parsed once, however many tests name it.
#[derive(Default)]
pub(super) struct Scripts {
    known: HashMap<String, Arc<Script>>,
    parsed: usize,
    looked_through: usize,
    /// Whether scripts were left out.
    pub(super) cut: bool,
}

impl Scripts {
    /// The script at a path, for one more stanza; `None` if it is not a text file, or there were too many before it.
    pub(super) fn get(&mut self, tree: &dyn Tree, path: &str) -> Option<Arc<Script>> {
        let script = if let Some(script) = self.known.get(path) {
            Arc::clone(script)
        } else {
            let entry = tree.entry(path);
            let text = entry.text()?;
            if self.parsed + text.len() > PARSED {
                self.cut = true;
                return None;
            }
            self.parsed += text.len();
            let script = Arc::new(Script::new(path, text));
            self.known.insert(path.to_owned(), Arc::clone(&script));
            script
        };
        if self.looked_through + script.text.len() > LOOKED_THROUGH {
            self.cut = true;
            return None;
        }
        self.looked_through += script.text.len();
        Some(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Memory;
    use std::cell::Cell;

    /// Counts how often files are read.
    struct Counting(Memory, Cell<usize>);

    impl Tree for Counting {
        fn entry(&self, path: &str) -> Entry {
            self.1.set(self.1.get() + 1);
            self.0.entry(path)
        }

        fn names(&self, directory: &str) -> Vec<String> {
            self.0.names(directory)
        }

        fn has_upstream(&self) -> bool {
            true
        }
    }

    #[test]
    fn each_file_is_read_once_and_all_together_within_a_limit() {
        let mut tree = Memory::default();
        let large = "#".repeat(1 << 20);
        for number in 0..20 {
            tree.add(&format!("debian/tests/{number}"), &large);
        }
        let tree = Counting(tree, Cell::new(0));
        let limited = Limited::new(&tree);
        for _ in 0..3 {
            let texts = (0..20).filter(|number| limited.entry(&format!("debian/tests/{number}")).text().is_some());
            assert_eq!(texts.count(), 16);
        }
        assert_eq!(tree.1.get(), 16);
    }

    #[test]
    fn a_script_is_parsed_once_and_looked_through_so_often_only() {
        let mut tree = Memory::default();
        tree.add("large", &"true\n".repeat(200_000));
        tree.add("small", "true\n");
        let mut scripts = Scripts::default();
        let first = scripts.get(&tree, "large").expect("a script");
        assert!(Arc::ptr_eq(&first, &scripts.get(&tree, "large").expect("a script")));
        let more = (0..1000).filter(|_| scripts.get(&tree, "large").is_some()).count();
        assert_eq!((more, scripts.cut), (6, true), "8 MiB of a script of a million bytes");
        assert!(scripts.get(&tree, "small").is_some());
    }
}
