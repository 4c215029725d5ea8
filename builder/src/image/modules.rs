//! The kernel in a root directory, and the choice of its modules for an image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use kmod::{
    Closure, ClosureError, DEFAULT_INITRAMFS, Group, KernelFiles, Module, ModuleFile, ModuleIndex, NETWORK_INITRAMFS,
};
use progress::Progress;
use serde::{Deserialize, Serialize};
use sha256::Digest;
use store::Store;

use super::{memo, programs};
use crate::lock::{Lock, LockedPackage};

/// Parent directory of the module directories, one for each kernel version.
const HOME: &str = "usr/lib/modules";

/// Directory of the modules that the kernel's packages have, below that of its version.
const OF_KERNEL: &str = "kernel/";

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
    /// Identifies the packages that the kernel comes from, and its module files: other packages may bring some too.
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
        let directory = home.join(&version);
        let identity = identity(kernel_packages(lock), &directory)?;
        Ok(Self { version, image, directory, identity })
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
    /// For a kernel whose modules are unpacked. `fresh` ignores what the store keeps: choices, and what was read of modules.
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

    /// Whether the kernel has a module, or has it built in. Only a kernel of somebody's own may lack one of those that every
    /// image asks for: with any other one the build fails without it.
    pub fn has(&self, module: &str) -> Result<bool> {
        Ok(!self.lenient || self.index()?.closure(&[module]).is_ok())
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
            && let Ok(index) = ModuleIndex::from_known(modules, &KernelFiles::in_directory(&self.kernel.directory)?)
        {
            return Ok(index);
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

fn identity<'a>(packages: impl Iterator<Item = &'a LockedPackage>, directory: &Path) -> Result<Digest> {
    let packages = packages.map(|package| format!("{} {}\n", package.sha256, package.name));
    let mut text: String = packages.collect();
    for file in ModuleFile::in_directory(directory).context("looking for kernel modules")? {
        text += &format!("{} {}", file.size, file.path);
        // Not from the kernel's packages, whose digests are above.
        if !file.path.starts_with(OF_KERNEL) {
            let bytes = fs::read(&file.host).with_context(|| format!("reading {}", file.host.display()))?;
            text += &format!(" {}", Digest::of(&bytes));
        }
        text.push('\n');
    }
    Ok(Digest::of(text.as_bytes()))
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

    /// A module with a `.modinfo` and nothing else: an ELF file for x86-64 that can be relocated (System V ABI, chapter 4).
    fn small_module() -> Vec<u8> {
        const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
        const MODINFO: &[u8] = b"license=GPL\0";
        // The header and three section headers, the first of them empty, have 64 bytes each.
        let mut file = vec![0; 4 * 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        // e_type, e_machine, e_version, e_shoff, e_ehsize, e_shentsize, e_shnum, e_shstrndx; small enough for one byte.
        for (at, value) in [(16, 1), (18, 62), (20, 1), (40, 64), (52, 64), (58, 64), (60, 3), (62, 2)] {
            file[at] = value;
        }
        // sh_name, sh_type, sh_offset, sh_size.
        for (section, name, kind, bytes) in [(2, 1, 1, MODINFO), (3, 10, 3, NAMES)] {
            let place = u16::try_from(file.len()).unwrap_or_default().to_le_bytes();
            let header = section * 64;
            (file[header], file[header + 4]) = (name, kind);
            file[header + 24..header + 26].copy_from_slice(&place);
            file[header + 32] = bytes.len() as u8;
            file.extend_from_slice(bytes);
        }
        file
    }

    #[test]
    fn a_kernel_of_ones_own_may_lack_what_others_have() -> Result<()> {
        let (root, place) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let store = Store::open(place.path())?;
        fs::create_dir(root.path().join("kernel"))?;
        fs::write(root.path().join("kernel/fuse.ko"), small_module())?;
        fs::write(root.path().join("modules.builtin"), "kernel/drivers/md/dm-mod.ko\n")?;
        let identity = identity(std::iter::empty(), root.path())?;
        let kernel =
            Kernel { version: "7.2".into(), image: PathBuf::new(), directory: root.path().to_owned(), identity };
        let has =
            |own, module| Chooser::new(&kernel, &store, false, &progress::Silent).leaving_out_missing(own).has(module);
        assert!(has(true, "fuse")? && has(true, "dm-mod")? && !has(true, "dm-verity")?);
        assert!(has(false, "dm-verity")?, "its absence is an error of the choice");
        Ok(())
    }

    #[test]
    fn modules_are_read_once_except_for_a_fresh_build() -> Result<()> {
        let (root, place) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let store = Store::open(place.path())?;
        fs::create_dir(root.path().join("kernel"))?;
        let module = root.path().join("kernel/fuse.ko");
        fs::write(&module, small_module())?;
        let choose = |name: &str, fresh| {
            let kernel = Kernel {
                version: "7.2".to_owned(),
                image: PathBuf::new(),
                directory: root.path().to_owned(),
                identity: identity(std::iter::empty(), root.path())?,
            };
            let chooser = Chooser::new(&kernel, &store, fresh, &progress::Silent);
            chooser.choose(&[name.to_owned()], "modules").map(|selection| selection.paths)
        };
        assert_eq!(choose("fuse", false)?, BTreeSet::from(["kernel/fuse.ko".to_owned()]));
        // Garbage of the same size: an error shows that the file was read.
        fs::write(&module, vec![0; small_module().len()])?;
        assert_eq!(choose("*", false)?, BTreeSet::from(["kernel/fuse.ko".to_owned()]));
        assert!(choose("fuse", true).is_err());
        // A package that is not the kernel's brings another one.
        fs::write(&module, small_module())?;
        fs::write(root.path().join("other.ko"), small_module())?;
        assert_eq!(choose("other", false)?, BTreeSet::from(["other.ko".to_owned()]));
        // It is built anew.
        fs::write(root.path().join("other.ko"), vec![0; small_module().len()])?;
        assert!(choose("other", false).is_err());
        Ok(())
    }
}
