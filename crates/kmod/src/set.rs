//! [`ModuleSet`]: the text indexes, parsed for the module loader of a booted system.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{Softdep, alias_matches, module_name, normalize_alias, normalize_name};

/// A malformed line of an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {text:?} is not understood; rebuild the image")]
pub struct ParseError {
    /// Name of the index.
    pub file: &'static str,
    /// Line number, from 1.
    pub line: usize,
    /// Text of the line.
    pub text: String,
}

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    /// Names of all modules to load before, in order.
    before: Vec<String>,
}

/// The modules that can be loaded, with their names and aliases.
#[derive(Debug, Clone, Default)]
pub struct ModuleSet {
    modules: HashMap<String, Entry>,
    /// Aliases by the text before the pattern's first wildcard: an alias is compared only with patterns that begin as
    /// it does, a handful out of thousands.
    aliases: HashMap<String, Vec<Alias>>,
    /// Number of aliases.
    alias_count: usize,
    softdeps: HashMap<String, Softdep>,
    blacklist: BTreeSet<String>,
}

/// A line of `modules.alias`.
#[derive(Debug, Clone)]
struct Alias {
    /// Position in the index: the kernel prefers earlier ones.
    order: usize,
    /// Pattern in the kernel's syntax: `*`, `?`, `[...]`.
    pattern: String,
    /// Module name.
    name: String,
}

impl ModuleSet {
    /// Parses the contents of `modules.dep`, `modules.alias` and `modules.softdep`.
    pub fn parse(dep: &str, alias: &str, softdep: &str) -> Result<Self, ParseError> {
        let mut set = Self::default();
        for (number, line) in lines(dep) {
            let bad = || ParseError { file: "modules.dep", line: number, text: line.to_owned() };
            let (path, before) = line.split_once(':').ok_or_else(bad)?;
            let name = module_name(path).ok_or_else(bad)?;
            let before = before.split_ascii_whitespace().rev().map(|path| module_name(path).ok_or_else(bad));
            let entry = Entry { path: path.to_owned(), before: before.collect::<Result<_, _>>()? };
            set.modules.entry(name).or_insert(entry);
        }
        for (number, line) in lines(alias) {
            let bad = || ParseError { file: "modules.alias", line: number, text: line.to_owned() };
            // Patterns may contain spaces (dmi:), names never do.
            let (pattern, name) = line.strip_prefix("alias ").and_then(|rest| rest.rsplit_once(' ')).ok_or_else(bad)?;
            let pattern = normalize_alias(pattern.trim());
            let (order, name) = (set.alias_count, normalize_name(name));
            set.aliases.entry(literal_start(&pattern).to_owned()).or_default().push(Alias { order, pattern, name });
            set.alias_count += 1;
        }
        for (number, line) in lines(softdep) {
            let bad = || ParseError { file: "modules.softdep", line: number, text: line.to_owned() };
            let (name, rest) = line.strip_prefix("softdep ").and_then(|rest| rest.split_once(' ')).ok_or_else(bad)?;
            let more = Softdep::parse(rest);
            let known = set.softdeps.entry(normalize_name(name)).or_default();
            known.pre.extend(more.pre);
            known.post.extend(more.post);
        }
        Ok(set)
    }

    /// Never loads these modules, neither for a device nor as a dependency. Names may be spelled with `-`.
    pub fn blacklist<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.blacklist.extend(names.into_iter().map(normalize_name));
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Whether there are no modules.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// Path of a module's file, relative to the kernel version's directory.
    pub fn path(&self, name: &str) -> Option<&str> {
        self.modules.get(&normalize_name(name)).map(|entry| entry.path.as_str())
    }

    /// Names of the modules that match a device's modalias, another alias or this name, in the kernel's order of
    /// preference, without blacklisted ones.
    pub fn resolve(&self, alias: &str) -> Vec<&str> {
        let name = normalize_name(alias);
        if let Some((name, _)) = self.modules.get_key_value(&name) {
            return if self.blacklist.contains(name) { Vec::new() } else { vec![name] };
        }
        let alias = normalize_alias(alias);
        let starts = (0..=alias.len()).filter_map(|end| alias.get(..end));
        let mut matching: Vec<&Alias> = starts
            .filter_map(|start| self.aliases.get(start))
            .flatten()
            .filter(|known| self.modules.contains_key(&known.name) && !self.blacklist.contains(&known.name))
            .filter(|known| alias_matches(&known.pattern, &alias))
            .collect();
        matching.sort_unstable_by_key(|known| known.order);
        let mut found: Vec<&str> = Vec::new();
        for known in matching {
            if !found.contains(&known.name.as_str()) {
                found.push(&known.name);
            }
        }
        found
    }

    /// Names of the modules to load for one module, including itself and soft dependencies, in order. Empty if it is
    /// unknown, or if it or one of its dependencies is blacklisted.
    pub fn load_order(&self, name: &str) -> Vec<String> {
        enum Step<'a> {
            Visit(&'a str),
            Load(&'a str),
        }
        let Some((name, _)) = self.modules.get_key_value(&normalize_name(name)) else { return Vec::new() };
        let (mut order, mut seen) = (Vec::new(), HashSet::new());
        // Work stack, next item last: long dependency chains in an index cannot exhaust the call stack.
        let mut todo = vec![Step::Visit(name)];
        while let Some(step) = todo.pop() {
            let name = match step {
                Step::Load(name) => {
                    order.push(name.to_owned());
                    continue;
                }
                Step::Visit(name) => name,
            };
            let Some(entry) = self.modules.get(name) else { continue };
            let hard = || entry.before.iter().map(String::as_str);
            if hard().chain([name]).any(|name| self.blacklist.contains(name)) || !seen.insert(name) {
                continue;
            }
            let softdep = self.softdeps.get(name);
            let soft = |names: Option<&'_ Vec<String>>| -> Vec<&str> {
                names.into_iter().flatten().flat_map(|name| self.resolve(name)).collect()
            };
            let before = soft(softdep.map(|softdep| &softdep.pre));
            let after = soft(softdep.map(|softdep| &softdep.post));
            todo.extend(after.into_iter().rev().map(Step::Visit));
            todo.push(Step::Load(name));
            todo.extend(hard().rev().map(Step::Visit));
            todo.extend(before.into_iter().rev().map(Step::Visit));
        }
        order
    }
}

/// Lines with their numbers, without comments and empty lines.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The part of a pattern before its first wildcard.
fn literal_start(pattern: &str) -> &str {
    pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
        kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz:\nkernel/crypto/crc32c-cryptoapi.ko.xz:\n\
        kernel/a/uas.ko.xz: kernel/a/usb-storage.ko.xz\nkernel/a/usb-storage.ko.xz:\n";
    const ALIAS: &str = "# comment\nalias usb:v*ic08isc06ip62* uas\nalias usb:v*ic08isc06ip* usb_storage\n\
        alias crypto_crc32c crc32c_cryptoapi\nalias fs-ext4 ext4\nalias dmi:*svnA B:* ext4\n";
    const SOFTDEP: &str = "softdep jbd2 pre: crypto-crc32c nowhere\n";

    fn set() -> ModuleSet {
        ModuleSet::parse(DEP, ALIAS, SOFTDEP).unwrap()
    }

    #[test]
    fn finds_drivers_by_modalias_in_order() {
        assert_eq!(set().resolve("usb:v1p2ic08isc06ip62in00"), ["uas", "usb_storage"]);
        assert_eq!(set().resolve("usb:v1p2ic08isc06ip50in00"), ["usb_storage"]);
        assert_eq!(set().resolve("fs-ext4"), ["ext4"]);
        assert_eq!(set().resolve("usb-storage"), ["usb_storage"]);
        assert_eq!(set().resolve("dmi:bvnX:svnA B:pn"), ["ext4"]);
        assert!(set().resolve("pci:v1").is_empty());
    }

    #[test]
    fn loads_soft_and_hard_dependencies_first() {
        assert_eq!(set().load_order("ext4"), ["crc16", "crc32c_cryptoapi", "jbd2", "ext4"]);
        assert!(set().load_order("unknown").is_empty());
    }

    #[test]
    fn a_blacklisted_module_stops_what_needs_it() {
        let mut set = set();
        set.blacklist(["jbd2", "crc32c-cryptoapi"]);
        assert!(set.load_order("ext4").is_empty());
        assert!(set.resolve("crypto-crc32c").is_empty());
        set.blacklist(["uas"]);
        assert_eq!(set.resolve("usb:v1p2ic08isc06ip62in00"), ["usb_storage"]);
    }

    #[test]
    fn broken_lines_are_named() {
        let error = ModuleSet::parse("kernel/x.ko:\nwhat\n", "", "").unwrap_err();
        assert_eq!(error.to_string(), "modules.dep line 2: \"what\" is not understood; rebuild the image");
        assert_eq!(ModuleSet::parse("", "alias x", "").unwrap_err().file, "modules.alias");
        assert_eq!(ModuleSet::parse("", "", "options x y").unwrap_err().file, "modules.softdep");
    }

    #[test]
    fn soft_dependencies_in_a_circle_end() {
        let dep = "kernel/a.ko:\nkernel/b.ko:\n";
        let set = ModuleSet::parse(dep, "", "softdep a pre: b\nsoftdep b pre: a\n").unwrap();
        assert_eq!(set.load_order("a"), ["b", "a"]);
    }

    #[test]
    fn a_chain_of_any_length_is_followed() {
        const LINKS: usize = 100_000;
        let dep: String = (0..LINKS).map(|at| format!("m{at}.ko: m{}.ko\n", at + 1)).collect();
        let set = ModuleSet::parse(&format!("{dep}m{LINKS}.ko:\n"), "", "").unwrap();
        let order = set.load_order("m0");
        assert_eq!((order.len(), order[0].as_str(), order[LINKS].as_str()), (LINKS + 1, "m100000", "m0"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(alias |softdep |a\\.ko|:| |\n|\\*|\\[){0,30}", key in "[a:.ko]{0,6}") {
            if let Ok(set) = ModuleSet::parse(&text, &text, &text).or_else(|_| ModuleSet::parse(&text, "", "")) {
                set.resolve(&key);
                set.load_order(&key);
            }
        }
    }
}
