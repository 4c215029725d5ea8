//! [`ModuleIndex`]: all modules of one kernel and their dependencies.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use progress::{Progress, Unit};
use serde::{Deserialize, Serialize};

use crate::builtin::Builtin;
use crate::{Modinfo, ModinfoError, Softdep, module_name, normalize_name};

/// A module file to index: its path below `/usr/lib/modules/<version>/`, and a function that returns its bytes.
pub struct Source {
    path: String,
    read: Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>,
}

impl Source {
    /// Uses any function for the bytes; it is called on another thread.
    pub fn new(path: impl Into<String>, read: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> Self {
        Self { path: path.into(), read: Box::new(read) }
    }

    /// Reads the bytes from a file of this machine.
    pub fn file(path: impl Into<String>, host: PathBuf) -> Self {
        Self::new(path, move || std::fs::read(host))
    }
}

/// A module file of this machine, which was not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleFile {
    /// Path below `/usr/lib/modules/<version>/`.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Path on this machine.
    pub host: PathBuf,
}

impl ModuleFile {
    /// Those of a `/usr/lib/modules/<version>` directory, by their paths.
    ///
    /// # Errors
    /// [`IndexError::Read`].
    pub fn in_directory(directory: &Path) -> Result<Vec<Self>, IndexError> {
        let mut files = Vec::new();
        let mut directories = vec![String::new()];
        while let Some(below) = directories.pop() {
            let failed = |source| IndexError::Read { path: below.clone(), source };
            for entry in std::fs::read_dir(directory.join(&below)).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() && module_name(&path).is_some() {
                    let size = entry.metadata().map_err(failed)?.len();
                    files.push(Self { path, size, host: entry.path() });
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Files that the kernel build installs beside the modules; each may be empty.
#[derive(Debug, Clone, Default)]
pub struct KernelFiles {
    /// `modules.order`: the order of preference of several drivers for one device.
    pub order: String,
    /// `modules.builtin`: paths of built-in modules.
    pub builtin: String,
    /// `modules.builtin.modinfo`: module information of the built-in modules.
    pub builtin_modinfo: Vec<u8>,
}

impl KernelFiles {
    /// Reads them from a `/usr/lib/modules/<version>` directory of this machine; one that is not there is empty.
    ///
    /// # Errors
    /// [`IndexError::Read`].
    pub fn in_directory(directory: &Path) -> Result<Self, IndexError> {
        let optional = |name: &str| match std::fs::read(directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|source| IndexError::Read { path: name.to_owned(), source }),
        };
        let text = |name| optional(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Self {
            order: text("modules.order")?,
            builtin: text("modules.builtin")?,
            builtin_modinfo: optional("modules.builtin.modinfo")?,
        })
    }
}

/// One module of an index. It can be serialized, as reading it again means decompressing its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Path relative to the kernel version's directory: `kernel/fs/ext4/ext4.ko.xz`.
    pub path: String,
    /// Normalized name: `ext4`.
    pub name: String,
    /// Normalized names of the modules it depends on, in its own order.
    pub depends: Vec<String>,
    /// Soft dependencies.
    pub softdeps: Vec<Softdep>,
    /// Alias patterns as written in the module.
    pub aliases: Vec<String>,
    /// Firmware files it may request, relative to /lib/firmware; may hold wildcards.
    pub firmware: Vec<String>,
    /// Symbols it exports.
    pub exports: Vec<String>,
}

/// Modules that cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file could not be read.
    #[error("reading kernel module {path}: {source}")]
    Read {
        /// Path of the file.
        path: String,
        /// Why it could not be read.
        source: io::Error,
    },
    /// A file is not a module.
    #[error("indexing kernel module {path}: {source}; is the kernel package complete?")]
    Modinfo {
        /// Path of the file.
        path: String,
        /// What is wrong with it.
        source: ModinfoError,
    },
    /// The path does not end in `.ko` or a compressed form of it.
    #[error("{0:?} is not the path of a kernel module")]
    NotAModule(String),
    /// A dependency is neither a module nor built in.
    #[error(
        "kernel module {path} needs {missing}, which is neither a module nor built in; is the kernel package complete?"
    )]
    MissingDependency {
        /// Path of the module that needs it.
        path: String,
        /// Name of the missing module.
        missing: String,
    },
    /// Modules that depend on each other could never be loaded.
    #[error("kernel modules need each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

/// All modules of a kernel version, in the order of `modules.order`, then by path.
#[derive(Debug, Clone)]
pub struct ModuleIndex {
    modules: Vec<Arc<Module>>,
    by_name: HashMap<String, usize>,
    pub(crate) builtin: Arc<Builtin>,
}

impl ModuleIndex {
    /// Reads all modules, on one thread less than there are processors: the work is decompression, and the caller has
    /// other work meanwhile. If two files hold a module of the same name, the one below `updates/` wins, else the
    /// first in order, as with depmod's default search order.
    pub fn build(sources: Vec<Source>, kernel: &KernelFiles, progress: &dyn Progress) -> Result<Self, IndexError> {
        let task = progress.task("indexing kernel modules", Some(sources.len() as u64), Unit::Items);
        let threads = parallel::processors().saturating_sub(1);
        let modules = parallel::try_map(sources, threads, |source| {
            let module = read_module(source);
            task.advance(1);
            module
        })?;
        Self::assemble(modules, kernel)
    }

    /// Reads a `/usr/lib/modules/<version>` directory of this machine, including the kernel's files in it.
    pub fn from_directory(directory: &Path, progress: &dyn Progress) -> Result<Self, IndexError> {
        let kernel = KernelFiles::in_directory(directory)?;
        let sources = ModuleFile::in_directory(directory)?;
        let sources = sources.into_iter().map(|file| Source::file(file.path, file.host)).collect();
        Self::build(sources, &kernel, progress)
    }

    /// Puts together modules that an earlier index of the same kernel had ([`Self::modules`]).
    ///
    /// # Errors
    /// [`IndexError::MissingDependency`] and [`IndexError::Cycle`].
    pub fn from_known(modules: Vec<Module>, kernel: &KernelFiles) -> Result<Self, IndexError> {
        Self::assemble(modules, kernel)
    }

    fn assemble(mut modules: Vec<Module>, kernel: &KernelFiles) -> Result<Self, IndexError> {
        let bare = |path: &str| path.find(".ko").map_or_else(|| path.to_owned(), |end| path[..end].to_owned());
        let order: HashMap<String, usize> =
            kernel.order.lines().enumerate().map(|(at, line)| (bare(line.trim()), at)).collect();
        let place = |path: &str| (!path.starts_with("updates/"), *order.get(&bare(path)).unwrap_or(&usize::MAX));
        modules.sort_by(|a, b| place(&a.path).cmp(&place(&b.path)).then_with(|| a.path.cmp(&b.path)));
        let mut seen = BTreeSet::new();
        modules.retain(|module| seen.insert(module.name.clone()));
        let builtin = Arc::new(Builtin::parse(&kernel.builtin, &kernel.builtin_modinfo));
        let index = Self::from_modules(modules.into_iter().map(Arc::new).collect(), builtin);
        index.check()?;
        Ok(index)
    }

    fn from_modules(modules: Vec<Arc<Module>>, builtin: Arc<Builtin>) -> Self {
        let by_name = modules.iter().enumerate().map(|(at, module)| (module.name.clone(), at)).collect();
        Self { modules, by_name, builtin }
    }

    /// Checks that every dependency exists, and that there are no cycles.
    fn check(&self) -> Result<(), IndexError> {
        let mut done = vec![false; self.modules.len()];
        let mut on_path = vec![false; self.modules.len()];
        for start in 0..self.modules.len() {
            // The path from `start`: a module, and the number of its dependencies that were visited.
            let mut path = vec![(start, 0)];
            while let Some((at, next)) = path.last_mut() {
                let module = &self.modules[*at];
                if done[*at] {
                    path.pop();
                    continue;
                }
                on_path[*at] = true;
                if let Some(name) = module.depends.get(*next) {
                    *next += 1;
                    match self.by_name.get(name) {
                        Some(&dependency) if on_path[dependency] => {
                            let circle = path.iter().map(|(at, _)| *at).skip_while(|at| *at != dependency);
                            let names = circle.chain([dependency]).map(|at| self.modules[at].name.clone());
                            return Err(IndexError::Cycle(names.collect()));
                        }
                        Some(&dependency) => path.push((dependency, 0)),
                        None if self.builtin.names.contains(name) => {}
                        None => {
                            return Err(IndexError::MissingDependency {
                                path: module.path.clone(),
                                missing: name.clone(),
                            });
                        }
                    }
                } else {
                    (done[*at], on_path[*at]) = (true, false);
                    path.pop();
                }
            }
        }
        Ok(())
    }

    /// All modules, in order.
    pub fn modules(&self) -> impl ExactSizeIterator<Item = &Module> {
        self.modules.iter().map(Arc::as_ref)
    }

    /// The module of this name; `-` and `_` are the same.
    pub fn get(&self, name: &str) -> Option<&Module> {
        self.by_name.get(&normalize_name(name)).map(|at| &*self.modules[*at])
    }

    /// Whether this module is compiled into the kernel; `-` and `_` are the same.
    pub(crate) fn is_builtin(&self, name: &str) -> bool {
        self.builtin.names.contains(&normalize_name(name))
    }

    /// Modules that have to be loaded before this one, each after its own dependencies; soft dependencies not
    /// included.
    pub fn load_order<'a>(&'a self, module: &'a Module) -> Vec<&'a Module> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        // The path from `module`: each with the number of its dependencies that were visited.
        let mut path = vec![(module, 0)];
        while let Some((at, next)) = path.last_mut() {
            if let Some(name) = at.depends.get(*next) {
                *next += 1;
                if let Some(dependency) = self.get(name)
                    && seen.insert(dependency.name.as_str())
                {
                    path.push((dependency, 0));
                }
            } else {
                order.push(*at);
                path.pop();
            }
        }
        // The last one is the module itself.
        order.pop();
        order
    }

    /// The index of only the modules with these paths, for an initramfs. Take the paths from [`Self::closure`]:
    /// dependencies that are left out would be missing.
    #[must_use]
    pub fn subset(&self, paths: &BTreeSet<String>) -> Self {
        let modules = self.modules.iter().filter(|module| paths.contains(&module.path)).cloned().collect();
        Self::from_modules(modules, Arc::clone(&self.builtin))
    }

    /// Firmware files by the module that declares them.
    pub fn firmware(&self) -> BTreeMap<&str, &[String]> {
        let declares = |module: &&Module| !module.firmware.is_empty();
        self.modules().filter(declares).map(|module| (module.name.as_str(), &*module.firmware)).collect()
    }
}

fn read_module(source: Source) -> Result<Module, IndexError> {
    let Source { path, read } = source;
    let Some(name) = module_name(&path) else { return Err(IndexError::NotAModule(path)) };
    let bytes = match read() {
        Ok(bytes) => bytes,
        Err(source) => return Err(IndexError::Read { path, source }),
    };
    let modinfo = match Modinfo::parse(&bytes) {
        Ok(modinfo) => modinfo,
        Err(source) => return Err(IndexError::Modinfo { path, source }),
    };
    Ok(Module {
        name,
        depends: modinfo.depends().map(normalize_name).collect(),
        softdeps: modinfo.softdeps().collect(),
        aliases: modinfo.aliases().map(str::to_owned).collect(),
        firmware: modinfo.firmware().map(str::to_owned).collect(),
        exports: modinfo.exports().to_vec(),
        path,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A module with dependencies; `kernel/` and `.ko` are added to the path.
    pub(crate) fn module(path: &str, depends: &[&str]) -> Module {
        let path = format!("kernel/{path}.ko");
        Module {
            name: module_name(&path).unwrap(),
            path,
            depends: depends.iter().map(|name| (*name).to_owned()).collect(),
            softdeps: Vec::new(),
            aliases: Vec::new(),
            firmware: Vec::new(),
            exports: Vec::new(),
        }
    }

    pub(crate) fn index(modules: Vec<Module>, builtin: &str) -> Result<ModuleIndex, IndexError> {
        let kernel = KernelFiles { builtin: builtin.to_owned(), ..KernelFiles::default() };
        ModuleIndex::assemble(modules, &kernel)
    }

    #[test]
    fn dependencies_are_loaded_deepest_first() {
        let modules = vec![module("a", &["b", "c", "inside"]), module("b", &["c"]), module("c", &[])];
        let index = index(modules, "kernel/inside.ko").unwrap();
        let order: Vec<_> = index.load_order(index.get("a").unwrap()).iter().map(|module| &*module.name).collect();
        assert_eq!(order, ["c", "b"]);
    }

    #[test]
    fn circles_and_holes_are_errors() {
        let circle = index(vec![module("a", &["b"]), module("b", &["c"]), module("c", &["b"])], "").unwrap_err();
        assert_eq!(circle.to_string(), "kernel modules need each other in a circle: b -> c -> b");
        let hole = index(vec![module("a", &["b"])], "").unwrap_err();
        assert!(hole.to_string().starts_with("kernel module kernel/a.ko needs b, which is neither"), "{hole}");
    }

    #[test]
    fn order_file_and_updates_decide() {
        let mut new = module("x", &[]);
        new.path = "updates/x.ko.xz".to_owned();
        let kernel = KernelFiles { order: "kernel/z.ko\nkernel/x.ko\n".to_owned(), ..KernelFiles::default() };
        let modules = vec![module("x", &[]), module("a", &[]), new, module("z", &[])];
        let index = ModuleIndex::assemble(modules, &kernel).unwrap();
        let paths: Vec<_> = index.modules().map(|module| &*module.path).collect();
        assert_eq!(paths, ["updates/x.ko.xz", "kernel/z.ko", "kernel/a.ko"]);
    }

    #[test]
    fn known_modules_give_the_same_index() {
        let modules = vec![module("a", &["b", "inside"]), module("b", &[]), module("c", &["a"])];
        let kernel = KernelFiles { builtin: "kernel/inside.ko".to_owned(), ..KernelFiles::default() };
        let first = ModuleIndex::assemble(modules, &kernel).unwrap();
        let known = serde_json::to_vec(&first.modules().collect::<Vec<_>>()).unwrap();
        let again = ModuleIndex::from_known(serde_json::from_slice(&known).unwrap(), &kernel).unwrap();
        assert!(again.modules().eq(first.modules()) && again.files() == first.files());
    }

    #[test]
    fn a_bad_file_is_named() {
        let sources = vec![Source::new("kernel/bad.ko", || Ok(b"no ELF".to_vec()))];
        let error = ModuleIndex::build(sources, &KernelFiles::default(), &progress::Silent).unwrap_err();
        assert!(error.to_string().starts_with("indexing kernel module kernel/bad.ko: no usable ELF"), "{error}");
    }
}
