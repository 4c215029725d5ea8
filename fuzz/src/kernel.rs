//! Kernel modules, and what the kernel tells PID 1.

use appliance::cmdline::{CommandLine, RootSpec};
use kmod::{Modinfo, ModuleSet, Softdep, alias_matches};

use crate::text;

/// A module file, and the bytes as its `.modinfo` alone.
pub fn modinfo(data: &[u8]) {
    for info in [Modinfo::parse(data).ok(), Some(Modinfo::parse_section(data))].into_iter().flatten() {
        let _name = (info.name(), info.vermagic(), info.license(), info.exports());
        let _lists =
            info.aliases().count() + info.depends().count() + info.softdeps().count() + info.firmware().count();
    }
}

/// `modules.dep`, `modules.alias`, `modules.softdep` and a device's alias, with a line `==` between them. A module is
/// loaded once at most, and what an alias finds is a module.
pub fn modules(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut parts = text.splitn(4, "\n==\n");
    let mut part = || parts.next().unwrap_or_default();
    let (dep, alias, softdep, device) = (part(), part(), part(), part());
    let _softdep = Softdep::parse(device);
    for pattern in alias.lines().take(50) {
        alias_matches(pattern, device);
    }
    let Ok(mut set) = ModuleSet::parse(dep, alias, softdep) else { return };
    let found: Vec<String> = set.resolve(device).into_iter().map(str::to_owned).collect();
    for name in &found {
        assert!(set.path(name).is_some(), "{name}");
        let order = set.load_order(name);
        let mut once = order.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), order.len(), "{order:?}");
    }
    if let Some(first) = found.first() {
        set.blacklist([first.as_str()]);
        assert!(set.load_order(first).is_empty() && !set.resolve(device).contains(&first.as_str()));
    }
}

/// The kernel command line.
pub fn cmdline(data: &[u8]) {
    let line = CommandLine::parse(&String::from_utf8_lossy(data));
    assert!(line.blacklist.iter().all(|name| !name.is_empty()));
    // An empty `rocbed.root-uuid=` is taken as it stands, an empty `root=UUID=` is refused.
    if let Some(root) = line.root.filter(|root| *root != RootSpec::FsUuid(String::new())) {
        // What is shown of it means the same again.
        let shown = format!("\"root={root}\"");
        assert_eq!(CommandLine::parse(&shown).root, Some(root), "{shown}");
    }
}

/// A message about a device.
pub fn uevent(data: &[u8]) {
    let _event = rocbed_init::uevent::parse(data);
}
