//! Dependency closure: the modules that an initramfs needs so that the requested ones can be loaded in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Module, ModuleIndex, alias_matches, normalize_alias, normalize_name};

/// A set of modules with their dependencies, and the firmware that they may request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closure {
    /// Paths of the module files, relative to the kernel version's directory.
    pub paths: BTreeSet<String>,
    /// Firmware files that these modules declare, relative to /lib/firmware; may hold wildcards.
    pub firmware: BTreeSet<String>,
}

/// A request for modules that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClosureError {
    /// The name is neither a module, nor built in, nor an alias.
    #[error("the kernel has no module {name:?}{}", nearest_hint(.nearest))]
    Unknown {
        /// The requested name.
        name: String,
        /// Similar names, best first.
        nearest: Vec<String>,
    },
    /// There are no modules in this directory.
    #[error("the kernel has no modules below {0:?}; a directory is written like \"kernel/drivers/net/ethernet/\"")]
    EmptyDirectory(String),
}

fn nearest_hint(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(" or ")) }
}

impl ModuleIndex {
    /// The requested modules with all their dependencies, soft ones included. A request is a module's name (`-` and
    /// `_` are the same), an alias, or a directory with a `/` at its end (`kernel/drivers/net/ethernet/`), which
    /// stands for all modules below it. Built-in modules need nothing. Missing soft dependencies are not an error, as
    /// for modprobe.
    pub fn closure<S: AsRef<str>>(&self, requests: &[S]) -> Result<Closure, ClosureError> {
        let aliases = self.literal_aliases();
        let mut todo: Vec<&Module> = Vec::new();
        for request in requests.iter().map(AsRef::as_ref) {
            let found = if request.ends_with('/') {
                let below: Vec<_> = self.modules().filter(|module| module.path.starts_with(request)).collect();
                if below.is_empty() {
                    return Err(ClosureError::EmptyDirectory(request.to_owned()));
                }
                below
            } else {
                self.resolve(request, &aliases).ok_or_else(|| self.unknown(request))?
            };
            todo.extend(found);
        }
        let mut closure = Closure::default();
        while let Some(module) = todo.pop() {
            if !closure.paths.insert(module.path.clone()) {
                continue;
            }
            closure.firmware.extend(module.firmware.iter().cloned());
            todo.extend(module.depends.iter().filter_map(|name| self.get(name)));
            let soft = module.softdeps.iter().flat_map(|softdep| softdep.pre.iter().chain(&softdep.post));
            todo.extend(soft.filter_map(|name| self.resolve(name, &aliases)).flatten());
        }
        Ok(closure)
    }

    /// Modules with this name or alias; an empty list if it is built in, `None` if it is unknown.
    fn resolve<'a>(&'a self, name: &str, aliases: &BTreeMap<String, Vec<&'a Module>>) -> Option<Vec<&'a Module>> {
        if let Some(module) = self.get(name) {
            return Some(vec![module]);
        }
        let alias = normalize_alias(name);
        if let Some(modules) = aliases.get(&alias) {
            return Some(modules.clone());
        }
        let by_pattern =
            |module: &&Module| module.aliases.iter().any(|pattern| alias_matches(&normalize_alias(pattern), &alias));
        let modules: Vec<_> = self.modules().filter(by_pattern).collect();
        if !modules.is_empty() {
            return Some(modules);
        }
        let builtin_alias = || self.builtin.aliases.iter().any(|(pattern, _)| alias_matches(pattern, &alias));
        (self.is_builtin(name) || builtin_alias()).then(Vec::new)
    }

    /// Aliases without wildcards, as soft dependencies use them.
    fn literal_aliases(&self) -> BTreeMap<String, Vec<&Module>> {
        let mut aliases: BTreeMap<String, Vec<&Module>> = BTreeMap::new();
        for module in self.modules() {
            for alias in module.aliases.iter().filter(|alias| !alias.contains(['*', '?', '['])) {
                aliases.entry(normalize_alias(alias)).or_default().push(module);
            }
        }
        aliases
    }

    fn unknown(&self, name: &str) -> ClosureError {
        let known = self.modules().map(|module| module.name.as_str());
        let nearest = nearest::nearest(&normalize_name(name), known).into_iter().map(str::to_owned).collect();
        ClosureError::Unknown { name: name.to_owned(), nearest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Softdep;
    use crate::index::tests::{index, module};

    fn kernel() -> ModuleIndex {
        let mut jbd2 = module("fs/jbd2", &[]);
        jbd2.softdeps = vec![Softdep::parse("pre: crypto-crc32c nowhere")];
        let mut crc = module("crypto/crc32c-cryptoapi", &[]);
        crc.aliases = vec!["crypto-crc32c".to_owned()];
        let mut e1000 = module("drivers/net/e1000e", &["mdio"]);
        e1000.firmware = vec!["intel/e1000e.bin".to_owned()];
        let modules = vec![jbd2, crc, e1000, module("drivers/phy/mdio", &[]), module("fs/ext4", &["jbd2"])];
        index(modules, "kernel/drivers/virtio/virtio_pci.ko").unwrap()
    }

    #[test]
    fn takes_hard_and_soft_dependencies_along() {
        let closure = kernel().closure(&["ext4"]).unwrap();
        let paths: Vec<_> = closure.paths.iter().map(String::as_str).collect();
        assert_eq!(paths, ["kernel/crypto/crc32c-cryptoapi.ko", "kernel/fs/ext4.ko", "kernel/fs/jbd2.ko"]);
    }

    #[test]
    fn a_directory_brings_its_firmware_and_what_is_elsewhere() {
        let closure = kernel().closure(&["kernel/drivers/net/"]).unwrap();
        assert!(closure.paths.contains("kernel/drivers/phy/mdio.ko"));
        assert_eq!(closure.firmware.first().unwrap(), "intel/e1000e.bin");
    }

    #[test]
    fn built_in_is_fine_unknown_is_not() {
        let kernel = kernel();
        assert_eq!(kernel.closure(&["virtio-pci"]).unwrap(), Closure::default());
        let error = kernel.closure(&["e1000"]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no module \"e1000\"; did you mean e1000e?");
        assert_eq!(kernel.closure(&["kernel/sound/"]), Err(ClosureError::EmptyDirectory("kernel/sound/".to_owned())));
    }
}
