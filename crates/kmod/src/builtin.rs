//! Modules compiled into the kernel: `modules.builtin` and `modules.builtin.modinfo` (kernel
//! Documentation/kbuild/kbuild.rst).

use std::collections::BTreeSet;

use crate::{module_name, normalize_alias, normalize_name};

/// Built-in modules: there is nothing to load, and requesting them is not an error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Builtin {
    /// Normalized module names.
    pub(crate) names: BTreeSet<String>,
    /// Normalized alias patterns with the module's name, in the kernel's order.
    pub(crate) aliases: Vec<(String, String)>,
}

impl Builtin {
    /// Parses `modules.builtin` (`list`, one path per line) and `modules.builtin.modinfo` (`modinfo`, NUL-terminated
    /// `module.key=value` strings). Either may be empty. Malformed lines are skipped.
    pub(crate) fn parse(list: &str, modinfo: &[u8]) -> Self {
        let mut builtin = Self { names: list.lines().filter_map(module_name).collect(), aliases: Vec::new() };
        for string in modinfo.split(|byte| *byte == 0) {
            let string = String::from_utf8_lossy(string);
            let Some((key, value)) = string.split_once('=') else { continue };
            let Some((name, key)) = key.split_once('.') else { continue };
            if key == "alias" {
                builtin.aliases.push((normalize_alias(value), normalize_name(name)));
            }
        }
        builtin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_aliases() {
        let builtin = Builtin::parse(
            "kernel/drivers/virtio/virtio_pci.ko\nkernel/mm/zs-malloc.ko\n",
            b"virtio_pci.license=GPL\0virtio_pci.alias=pci:v00001AF4d*\0nonsense\0",
        );
        assert_eq!(builtin.names.iter().collect::<Vec<_>>(), ["virtio_pci", "zs_malloc"]);
        assert_eq!(builtin.aliases, [("pci:v00001AF4d*".to_owned(), "virtio_pci".to_owned())]);
    }
}
