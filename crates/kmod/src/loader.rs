//! [`Loader`]: gives the kernel the modules that devices and names ask for.

use std::collections::HashSet;
use std::io;

use crate::{ModuleSet, normalize_name};

/// The kernel as the loader sees it; a recording double stands in for it in tests.
pub trait Kernel {
    /// Loads the module in a file below `/usr/lib/modules/<version>/`, decompressing it if need be: `finit_module(2)`.
    /// A module that is there already is `EEXIST`.
    fn load(&mut self, path: &str) -> io::Result<()>;
}

/// A module that the kernel did not take.
#[derive(Debug, thiserror::Error)]
#[error("loading kernel module {name}: {source}")]
pub struct LoadError {
    /// Its name.
    pub name: String,
    /// What the kernel said: `ENODEV` where there is no such hardware.
    pub source: io::Error,
}

/// What a request did.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Names of modules that are new in the kernel, in order.
    pub loaded: Vec<String>,
    /// Modules that failed; the others were loaded all the same.
    pub failed: Vec<LoadError>,
}

impl LoadReport {
    fn merge(&mut self, other: Self) {
        self.loaded.extend(other.loaded);
        self.failed.extend(other.failed);
    }
}

/// Loads each module once, what it needs before it.
#[derive(Debug, Clone)]
pub struct Loader {
    set: ModuleSet,
    /// Modules that were given to the kernel, whether it took them or not.
    tried: HashSet<String>,
    failed: HashSet<String>,
    /// Aliases that were looked up: many devices share one.
    seen: HashSet<String>,
    deferred: Vec<String>,
}

impl Loader {
    /// A loader for these modules, none of them loaded yet.
    pub fn new(set: ModuleSet) -> Self {
        Self { set, tried: HashSet::new(), failed: HashSet::new(), seen: HashSet::new(), deferred: Vec::new() }
    }

    /// Does not load modules below these directories (`kernel/drivers/net/`) for a device; by name they still can be.
    pub fn defer(&mut self, directories: impl IntoIterator<Item = impl Into<String>>) {
        self.deferred.extend(directories.into_iter().map(Into::into));
    }

    /// Takes these modules for loaded: giving them to the kernel again would cost as much as the first time, only for it
    /// to say that they are there (`/proc/modules`, `proc_modules(5)`, begins each line with a name).
    pub fn skip<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.tried.extend(names.into_iter().map(normalize_name));
    }

    /// Loads all drivers that match a device's modalias. An alias that was asked for before does nothing.
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

    /// Loads a module by name with everything it needs. Unknown names do nothing: they may be built in.
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

    /// Whether a module was given to the kernel and refused.
    pub fn has_failed(&self, name: &str) -> bool {
        self.failed.contains(&normalize_name(name))
    }

    /// The modules it knows.
    pub fn modules(&self) -> &ModuleSet {
        &self.set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down what it is given, and refuses some.
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
        assert!(loader.has_failed("nvme"));
        let mut kernel =
            Recorder { refuses: Some(("k/net/failover.ko", io::ErrorKind::AlreadyExists)), ..Recorder::default() };
        assert!(loader.load("virtio_net", &mut kernel).failed.is_empty());
    }
}
