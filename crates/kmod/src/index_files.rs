//! The index files of depmod(8): text files, and the binary files that modprobe(8) reads.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::trie::Trie;
use crate::{Module, ModuleIndex, normalize_alias};

impl ModuleIndex {
    /// All index files by name, to be put beside the kernel's own in `/usr/lib/modules/<version>/`: the text files,
    /// and the binary ones without which modprobe finds nothing. The same modules give the same bytes.
    pub fn files(&self) -> BTreeMap<&'static str, Vec<u8>> {
        BTreeMap::from([
            ("modules.dep", self.dep().into_bytes()),
            ("modules.alias", self.alias().into_bytes()),
            ("modules.softdep", self.softdep().into_bytes()),
            ("modules.symbols", self.symbols().into_bytes()),
            ("modules.dep.bin", self.dep_bin()),
            ("modules.alias.bin", self.alias_bin()),
            ("modules.symbols.bin", self.symbols_bin()),
            ("modules.builtin.bin", self.builtin_bin()),
            ("modules.builtin.alias.bin", self.builtin_alias_bin()),
        ])
    }

    /// `modules.dep` (modules.dep(5)): `path: dependency ...`, to be loaded from right to left, with the path last.
    pub fn dep(&self) -> String {
        self.modules().map(|module| self.dep_line(module) + "\n").collect()
    }

    fn dep_line(&self, module: &Module) -> String {
        let mut line = format!("{}:", module.path);
        for dependency in self.load_order(module).iter().rev() {
            line.push(' ');
            line.push_str(&dependency.path);
        }
        line
    }

    /// `modules.alias`: `alias PATTERN MODULE`, in modprobe.d(5)'s syntax.
    pub fn alias(&self) -> String {
        let mut text = "# Aliases extracted from modules themselves.\n".to_owned();
        for module in self.modules() {
            for alias in &module.aliases {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "alias {alias} {}", module.name);
            }
        }
        text
    }

    /// `modules.softdep`: `softdep MODULE pre: ... post: ...`.
    pub fn softdep(&self) -> String {
        let mut text = "# Soft dependencies extracted from modules themselves.\n".to_owned();
        for module in self.modules() {
            for softdep in &module.softdeps {
                let mut line = format!("softdep {}", module.name);
                for (label, names) in [(" pre: ", &softdep.pre), (" post: ", &softdep.post)] {
                    if !names.is_empty() {
                        line.push_str(label);
                        line.push_str(&names.join(" "));
                    }
                }
                if softdep.pre.len() + softdep.post.len() > 0 {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
        }
        text
    }

    /// `modules.symbols`: the module that exports each symbol, as aliases for the kernel's `symbol_request()`.
    pub fn symbols(&self) -> String {
        let mut text = "# Aliases for symbols, used by symbol_request().\n".to_owned();
        for module in self.modules() {
            for symbol in &module.exports {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "alias symbol:{symbol} {}", module.name);
            }
        }
        text
    }

    /// Priority, pattern and module name of every alias; patterns are normalized, as modprobe looks them up.
    fn aliases(&self) -> impl Iterator<Item = (u32, String, &str)> {
        self.modules().enumerate().flat_map(|(at, module)| {
            module.aliases.iter().map(move |alias| (at as u32, normalize_alias(alias), module.name.as_str()))
        })
    }

    fn dep_bin(&self) -> Vec<u8> {
        let mut trie = Trie::default();
        for (at, module) in self.modules().enumerate() {
            trie.insert(&module.name, &self.dep_line(module), at as u32);
        }
        trie.to_bytes()
    }

    fn alias_bin(&self) -> Vec<u8> {
        let mut trie = Trie::default();
        for (at, pattern, name) in self.aliases() {
            trie.insert(&pattern, name, at);
        }
        trie.to_bytes()
    }

    fn symbols_bin(&self) -> Vec<u8> {
        let mut trie = Trie::default();
        for (at, module) in self.modules().enumerate() {
            for symbol in &module.exports {
                trie.insert(&format!("symbol:{symbol}"), &module.name, at as u32);
            }
        }
        trie.to_bytes()
    }

    fn builtin_bin(&self) -> Vec<u8> {
        let mut trie = Trie::default();
        for name in &self.builtin.names {
            trie.insert(name, "", 0);
        }
        trie.to_bytes()
    }

    fn builtin_alias_bin(&self) -> Vec<u8> {
        let mut trie = Trie::default();
        for (pattern, name) in &self.builtin.aliases {
            trie.insert(pattern, name, 0);
        }
        trie.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use crate::Softdep;
    use crate::index::tests::{index, module};

    #[test]
    fn text_files_have_depmods_form() {
        let mut a = module("drivers/a-x", &["b", "c"]);
        a.aliases = vec!["pci:v*d-[0-9]".to_owned()];
        a.softdeps = vec![Softdep::parse("pre: p1 p-2 post: q"), Softdep::default()];
        a.exports = vec!["a_fn".to_owned()];
        let index = index(vec![a, module("b", &["c"]), module("c", &[])], "").unwrap();
        assert_eq!(
            index.dep(),
            "kernel/b.ko: kernel/c.ko\nkernel/c.ko:\nkernel/drivers/a-x.ko: kernel/b.ko kernel/c.ko\n"
        );
        assert!(index.alias().ends_with("\nalias pci:v*d-[0-9] a_x\n"));
        assert!(index.softdep().ends_with("\nsoftdep a_x pre: p1 p-2 post: q\n"));
        assert!(index.symbols().ends_with("\nalias symbol:a_fn a_x\n"));
    }

    #[test]
    fn a_subset_speaks_of_itself_only() {
        let index = index(vec![module("a", &["c"]), module("b", &["c"]), module("c", &[])], "").unwrap();
        let paths = ["kernel/b.ko", "kernel/c.ko"].map(str::to_owned).into();
        assert_eq!(index.subset(&paths).dep(), "kernel/b.ko: kernel/c.ko\nkernel/c.ko:\n");
    }
}
