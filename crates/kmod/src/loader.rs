//! [`Loader`]: loads the modules for devices and names into the kernel.

use std::collections::HashSet;
use std::io;

use crate::{ModuleSet, normalize_name};

/// Interface to the kernel; tests replace it by a recording double.
pub trait Kernel {
    /// Loads the module file at a path below `/usr/lib/modules/<version>/` with `finit_module(2)`, decompressing it if
    /// necessary. Returns `EEXIST` if the module is already loaded.
    fn load(&mut self, path: &str) -> io::Result<()>;
}

/// A module that the kernel refused to load.
#[derive(Debug, thiserror::Error)]
#[error("loading kernel module {name}: {source}")]
pub struct LoadError {
    /// Module name.
    pub name: String,
    /// Error of the kernel: `ENODEV` if there is no such hardware.
    pub source: io::Error,
}

/// Result of a request.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Names of newly loaded modules, in order.
    pub loaded: Vec<String>,
    /// Modules that failed; the others were loaded nevertheless.
    pub failed: Vec<LoadError>,
}

impl LoadReport {
    fn merge(&mut self, other: Self) {
        self.loaded.extend(other.loaded);
        self.failed.extend(other.failed);
    }
}

/// Loads each module once, after its dependencies.
#[derive(Debug, Clone)]
pub struct Loader {
    set: ModuleSet,
    /// Modules whose loading was tried, successfully or not.
    tried: HashSet<String>,
    failed: HashSet<String>,
    /// Aliases that were already looked up: many devices share one.
    seen: HashSet<String>,
    deferred: Vec<String>,
}

impl Loader {
    /// A loader for these modules, none of which are loaded yet.
    pub fn new(set: ModuleSet) -> Self {
        Self { set, tried: HashSet::new(), failed: HashSet::new(), seen: HashSet::new(), deferred: Vec::new() }
    }

    /// Does not load modules below these directories (`kernel/drivers/net/`) for devices; they can still be loaded by
    /// name.
    pub fn defer(&mut self, directories: impl IntoIterator<Item = impl Into<String>>) {
        self.deferred.extend(directories.into_iter().map(Into::into));
    }

    /// Marks these modules as loaded: loading them again would cost as much as the first time, only to return `EEXIST`
    /// (`/proc/modules`, `proc_modules(5)`, begins each line with a name).
    pub fn skip<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.tried.extend(names.into_iter().map(normalize_name));
    }

    /// Loads all drivers that match a device's modalias. An alias that was looked up before is ignored.
    pub fn load_alias(&mut self, alias: &str, kernel: &mut dyn Kernel) -> LoadReport {
        let mut report = LoadReport::default();
        if self.seen.insert(alias.to_owned()) {
            let names: Vec<_> = self.set.resolve(alias).into_iter().map(str::to_owned).collect();
            for name in names {
                let path = self.set.path(&name).unwrap_or_default();
                if !self.deferred.iter().any(|directory| path.starts_with(directory)) {
                    report.merge(self.load(&name, kernel));
                }
            }
        }
        report
    }

    /// Loads a module by name, with its dependencies. Unknown names are ignored: they may be built in.
    pub fn load(&mut self, name: &str, kernel: &mut dyn Kernel) -> LoadReport {
        let mut report = LoadReport::default();
        let wanted = normalize_name(name);
        for name in self.set.load_order(&wanted) {
            if !self.tried.insert(name.clone()) {
                continue;
            }
            let Some(path) = self.set.path(&name) else { continue };
            match kernel.load(path) {
                Ok(()) => report.loaded.push(name),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => {
                    self.failed.insert(name.clone());
                    report.failed.push(LoadError { name, source });
                }
            }
        }
        report
    }

    /// The module set of the loader.
    pub fn modules(&self) -> &ModuleSet {
        &self.set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records all calls, and refuses some modules.
    #[derive(Default)]
    struct Recorder {
        paths: Vec<String>,
        refuses: Option<(&'static str, io::ErrorKind)>,
    }

    impl Kernel for Recorder {
        fn load(&mut self, path: &str) -> io::Result<()> {
            self.paths.push(path.to_owned());
            match self.refuses {
                Some((refused, kind)) if path == refused => Err(kind.into()),
                _ => Ok(()),
            }
        }
    }

    fn loader() -> Loader {
        let dep = "k/net/virtio_net.ko: k/net/failover.ko\nk/net/failover.ko:\nk/block/nvme.ko: k/block/nvme-core.ko\n\
            k/block/nvme-core.ko:\n";
        let alias = "alias virtio:d00000001v* virtio_net\nalias pci:v*bc01sc08i02* nvme\n";
        Loader::new(ModuleSet::parse(dep, alias, "").unwrap())
    }

    #[test]
    fn each_module_is_loaded_once() {
        let (mut loader, mut kernel) = (loader(), Recorder::default());
        let first = loader.load_alias("pci:v1bc01sc08i02", &mut kernel);
        assert_eq!(first.loaded, ["nvme_core", "nvme"]);
        loader.load_alias("pci:v2bc01sc08i02", &mut kernel);
        loader.load("nvme-core", &mut kernel);
        assert_eq!(kernel.paths, ["k/block/nvme-core.ko", "k/block/nvme.ko"]);
    }

    #[test]
    fn deferred_drivers_wait_for_their_name() {
        let (mut loader, mut kernel) = (loader(), Recorder::default());
        loader.defer(["k/net/"]);
        assert!(loader.load_alias("virtio:d00000001v1", &mut kernel).loaded.is_empty());
        assert_eq!(loader.load("virtio-net", &mut kernel).loaded, ["failover", "virtio_net"]);
    }

    #[test]
    fn failures_are_reported_and_presence_is_none() {
        let mut kernel =
            Recorder { refuses: Some(("k/block/nvme.ko", io::ErrorKind::NotFound)), ..Recorder::default() };
        let mut loader = loader();
        let report = loader.load("nvme", &mut kernel);
        assert_eq!(report.loaded, ["nvme_core"]);
        assert!(report.failed[0].to_string().starts_with("loading kernel module nvme: "));
        assert!(loader.failed.contains("nvme"));
        let mut kernel =
            Recorder { refuses: Some(("k/net/failover.ko", io::ErrorKind::AlreadyExists)), ..Recorder::default() };
        assert!(loader.load("virtio_net", &mut kernel).failed.is_empty());
    }
}
