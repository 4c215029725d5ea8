//! The kernel in a root directory, and the choice of its modules for an image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use kmod::{Closure, ClosureError, DEFAULT_INITRAMFS, Group, KernelFiles, Module, ModuleIndex, NETWORK_INITRAMFS};
use progress::Progress;
use serde::{Deserialize, Serialize};
use sha256::Digest;
use store::Store;

use super::{memo, programs};
use crate::lock::{Lock, LockedPackage};

/// Parent directory of the module directories, one for each kernel version.
const HOME: &str = "usr/lib/modules";

/// Prefix of the names of the kernel's packages.
pub(super) const KERNEL_PACKAGES: &str = "linux-";

/// Name under which the store keeps what was read from the modules of the last kernel.
const KNOWN: &str = "kernel-modules";

/// Request that keeps every module.
const ALL: &str = "*";

/// The kernel of a root directory.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Kernel version, as in `uname -r`.
    pub version: String,
    /// Path of the kernel image on this machine.
    pub image: PathBuf,
    /// Path of its module directory on this machine.
    pub directory: PathBuf,
    /// Identifies the packages that the kernel comes from.
    pub identity: Digest,
}

impl Kernel {
    /// Finds the one kernel in a root directory.
    pub fn find(root: &Path, lock: &Lock) -> Result<Self> {
        let home = root.join(HOME);
        let mut versions = BTreeSet::new();
        for entry in fs::read_dir(&home)
            .with_context(|| format!("there is no kernel in the root directory: reading {}", home.display()))?
        {
            let entry = entry.with_context(|| format!("reading {}", home.display()))?;
            versions.insert(entry.file_name().to_string_lossy().into_owned());
        }
        let version = match versions.len() {
            1 => versions.into_iter().next().unwrap_or_default(),
            0 => bail!("there is no kernel in the root directory: /{HOME} is empty"),
            _ => bail!(
                "there are several kernels in the root file system, and an image has one: {}",
                versions.into_iter().collect::<Vec<_>>().join(", ")
            ),
        };
        let places = [format!("{HOME}/{version}/vmlinuz"), format!("boot/vmlinuz-{version}")];
        let image = places.iter().map(|place| root.join(place)).find(|path| path.is_file());
        let image = image.with_context(|| format!("kernel {version} has no image at /{}", places.join(" or /")))?;
        Ok(Self { directory: home.join(&version), version, image, identity: identity(lock) })
    }

    /// Module directory, relative to the root.
    pub fn home(&self) -> String {
        format!("{HOME}/{}", self.version)
    }
}

/// Modules to keep, and their index files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Paths below the kernel's module directory.
    pub paths: BTreeSet<String>,
    /// Index files by name (`modules.dep`), in hexadecimal: some are binary.
    files: BTreeMap<String, String>,
    /// Firmware that the modules declare, by paths below `/usr/lib/firmware`.
    #[serde(default)]
    pub firmware: BTreeSet<String>,
}

impl Selection {
    /// The index files by name.
    pub fn files(&self) -> Result<BTreeMap<&str, Vec<u8>>> {
        let decoded = self.files.iter().map(|(name, text)| Ok((name.as_str(), hex::decode(text)?)));
        decoded.collect::<Result<_>>().context("reading the cached index of kernel modules")
    }
}

/// Chooses modules of a kernel. Reading all of them takes seconds, so the store keeps what was read of them, for other
/// requests, and the choices, so that the same request needs no index.
pub struct Chooser<'a> {
    kernel: &'a Kernel,
    store: &'a Store,
    fresh: bool,
    progress: &'a dyn Progress,
    /// Whether what the kernel does not have is left out.
    lenient: bool,
    index: OnceLock<ModuleIndex>,
}

impl<'a> Chooser<'a> {
    /// For a kernel whose modules are unpacked. `fresh` ignores cached choices.
    pub fn new(kernel: &'a Kernel, store: &'a Store, fresh: bool, progress: &'a dyn Progress) -> Self {
        Self { kernel, store, fresh, progress, lenient: false, index: OnceLock::new() }
    }

    /// Leaves out requested modules that the kernel does not have, with a warning: one of somebody's own has fewer than those that
    /// the inherited lists were made for.
    #[must_use]
    pub fn leaving_out_missing(self, lenient: bool) -> Self {
        Self { lenient, ..self }
    }

    /// The modules that requests select, with the requests for which there are none.
    fn closure(&self, requests: &[String], what: &str) -> Result<Closure> {
        let (mut requests, mut missing) = (requests.to_vec(), Vec::new());
        let index = self.index()?;
        loop {
            let error = match index.closure(&requests) {
                Ok(closure) => {
                    if !missing.is_empty() {
                        let missing = missing.join(", ");
                        self.progress.warn(&format!(
                            "the kernel {} has none of these, left out of {what}: {missing}",
                            self.kernel.version
                        ));
                    }
                    return Ok(closure);
                }
                Err(error) => error,
            };
            let (ClosureError::Unknown { name, .. } | ClosureError::EmptyDirectory(name)) = &error;
            let before = requests.len();
            requests.retain(|request| request != name);
            if !self.lenient || requests.len() == before {
                return Err(error).with_context(|| format!("choosing kernel modules for {what}"));
            }
            missing.push(name.clone());
        }
    }

    /// The modules that a recipe's list selects; `what` names the recipe key in errors.
    pub fn choose(&self, requests: &[String], what: &str) -> Result<Selection> {
        let question = format!("{}\n{}\n{}", programs::stamp()?, self.kernel.identity, requests.join("\n"));
        if !self.fresh
            && let Some(bytes) = memo::recall(self.store, what, &question)?
            && let Ok(selection) = serde_json::from_slice(&bytes)
        {
            return Ok(selection);
        }
        let index = self.index()?;
        let (paths, firmware) = if requests.iter().any(|request| request == ALL) {
            (index.modules().map(|module| module.path.clone()).collect(), BTreeSet::new())
        } else {
            let closure = self.closure(requests, what)?;
            (closure.paths, closure.firmware)
        };
        let files = index.subset(&paths).files();
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), hex::encode(bytes))).collect();
        let selection = Selection { paths, files, firmware };
        memo::remember(self.store, what, &question, &serde_json::to_vec(&selection)?)?;
        Ok(selection)
    }

    fn index(&self) -> Result<&ModuleIndex> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = self.known_or_read().context("indexing kernel modules")?;
        Ok(self.index.get_or_init(|| index))
    }

    /// The index from what the store knows of this kernel's modules, or from their files.
    fn known_or_read(&self) -> Result<ModuleIndex> {
        let question = format!("{}\n{}", programs::stamp()?, self.kernel.identity);
        if !self.fresh
            && let Some(bytes) = memo::recall(self.store, KNOWN, &question)?
            && let Ok(modules) = serde_json::from_slice(&bytes)
        {
            return Ok(ModuleIndex::from_known(modules, &KernelFiles::in_directory(&self.kernel.directory)?)?);
        }
        let index = ModuleIndex::from_directory(&self.kernel.directory, self.progress)?;
        let modules: Vec<&Module> = index.modules().collect();
        memo::remember(self.store, KNOWN, &question, &serde_json::to_vec(&modules)?)?;
        Ok(index)
    }
}

/// The packages of the kernel, recognised by Debian's naming scheme.
fn kernel_packages(lock: &Lock) -> impl Iterator<Item = &LockedPackage> {
    lock.root_packages().filter(|package| package.name.starts_with(KERNEL_PACKAGES))
}

fn identity(lock: &Lock) -> Digest {
    let text: String = kernel_packages(lock).map(|package| format!("{} {}\n", package.sha256, package.name)).collect();
    Digest::of(text.as_bytes())
}

/// Module requests for the initramfs: rocbed's own list and the recipe's.
pub fn initramfs_requests(recipe: &[String]) -> Vec<String> {
    names(DEFAULT_INITRAMFS).chain(recipe.iter().cloned()).collect()
}

/// Module requests for the initramfs, plus those to fetch a root over the network.
pub fn network_requests(recipe: &[String]) -> Vec<String> {
    initramfs_requests(recipe).into_iter().chain(names(NETWORK_INITRAMFS)).collect()
}

fn names(groups: &[Group]) -> impl Iterator<Item = String> {
    groups.iter().flat_map(|group| group.requests).map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_modules_are_not_read_again_except_for_a_fresh_build() -> Result<()> {
        let (root, place) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let store = Store::open(place.path())?;
        // A file whose reading fails shows whether it was read.
        fs::write(root.path().join("fuse.ko"), "not ELF")?;
        let kernel = Kernel {
            version: "7.2".to_owned(),
            image: PathBuf::new(),
            directory: root.path().to_owned(),
            identity: Digest::of(b"packages"),
        };
        let choose = |fresh| {
            let chooser = Chooser::new(&kernel, &store, fresh, &progress::Silent);
            chooser.choose(&["fuse".to_owned()], "modules").map(|selection| selection.paths)
        };
        assert!(choose(false).is_err());
        let fuse = r#"[{"path": "fuse.ko", "name": "fuse", "depends": [], "softdeps": [], "aliases": [], "firmware": [], "exports": []}]"#;
        memo::remember(&store, KNOWN, &format!("{}\n{}", programs::stamp()?, kernel.identity), fuse.as_bytes())?;
        assert_eq!(choose(false)?, BTreeSet::from(["fuse.ko".to_owned()]));
        assert!(choose(true).is_err());
        Ok(())
    }
}
