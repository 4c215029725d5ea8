//! Own packages for jobs: the `.deb` files, uploads (`.changes`) and directories that words of a command line name, checked
//! before anything is sent or tested.

mod apt_source;
mod options;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Result, bail};
use debian::version::compare;
use protocol::{Job, PackageFile, Source};
use std::cmp::Ordering;

pub use apt_source::{read as read_apt_source, read_keys};
pub use options::{add_to, to_compare};
use read::{Binary, SourcePackage};

/// Architecture of the workers, whose packages can be tested.
const ARCHITECTURE: &str = "amd64";

/// The own packages of a command line.
#[derive(Debug, Default)]
pub struct OwnPackages {
    binaries: BTreeMap<String, Binary>,
    /// Source packages with tests, by name.
    sources: BTreeMap<String, SourcePackage>,
}

/// Whether a file is a binary package that workers and testbeds of this machine can install, by its name in an archive.
pub fn is_for_here(name: &str) -> bool {
    let architecture = name.strip_suffix(".deb").and_then(|name| name.rsplit('_').next());
    architecture.is_some_and(|architecture| [ARCHITECTURE, "all"].contains(&architecture))
}

/// Whether a word names own packages: a file of a package, or a directory of them. A directory with `debian/control` is a
/// source tree.
pub fn is_own(word: &str) -> bool {
    if word.contains("://") {
        return false;
    }
    let path = Path::new(word);
    let is_directory = || (word.contains('/') || word.starts_with('.')) && path.is_dir();
    [".deb", ".changes", ".dsc"].iter().any(|end| word.ends_with(end))
        || is_directory() && !path.join("debian/control").exists()
}

impl OwnPackages {
    /// Reads what the words name: `.deb`, `.changes` and `.dsc` files, and directories of them. Every file that a `.changes`
    /// or `.dsc` names has to be beside it with the right content.
    ///
    /// # Errors
    /// What is missing, or wrong with a file, and what to do.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut own = Self::default();
        for word in words {
            let path = Path::new(word);
            if path.is_dir() {
                own.add_directory(path)?;
            } else if word.ends_with(".changes") {
                let upload = read::upload(path)?;
                for binary in upload.binaries {
                    own.add(binary, Choice::One)?;
                }
                own.sources.extend(upload.source.map(|source| (source.name.clone(), source)));
            } else if word.ends_with(".dsc") {
                let source = read::source_package(path)?;
                own.sources.insert(source.name.clone(), source);
            } else {
                own.add(read::binary(path)?, Choice::One)?;
            }
        }
        Ok(own)
    }

    /// Reads `.deb` and `.changes` files by their paths, whose last parts may be patterns: of several versions that a pattern
    /// matches the newest.
    ///
    /// # Errors
    /// As [`Self::read`], and if nothing matches a pattern.
    pub fn read_paths(paths: &[PathBuf]) -> Result<Self> {
        let mut own = Self::default();
        for path in paths {
            let choice = if read::is_pattern(path) { Choice::Newest } else { Choice::One };
            for path in read::matching(path)? {
                if path.extension().is_some_and(|end| end == "changes") {
                    for binary in read::upload(&path)?.binaries {
                        own.add(binary, choice)?;
                    }
                    continue;
                }
                match (read::binary(&path), choice) {
                    (Err(error), Choice::Newest) if error.downcast_ref::<read::OtherArchitecture>().is_some() => {}
                    (binary, choice) => own.add(binary?, choice)?,
                }
            }
        }
        Ok(own)
    }

    /// Adds the packages of a directory: of several versions the newest.
    fn add_directory(&mut self, directory: &Path) -> Result<()> {
        let (binaries, sources) = read::directory(directory)?;
        for path in binaries {
            // A directory may have packages for several architectures.
            match read::binary(&path) {
                Err(error) if error.downcast_ref::<read::OtherArchitecture>().is_some() => {}
                binary => self.add(binary?, Choice::Newest)?,
            }
        }
        let names: BTreeSet<String> = self.binaries.values().map(|binary| binary.source.clone()).collect();
        for path in sources {
            let source = read::source_package(&path)?;
            let is_newer = |other: &SourcePackage| compare(&source.version, &other.version) == Ordering::Greater;
            if names.contains(&source.name) && self.sources.get(&source.name).is_none_or(is_newer) {
                self.sources.insert(source.name.clone(), source);
            }
        }
        if names.is_empty() {
            bail!(Advice::new(
                format!("there is no package for {ARCHITECTURE} in {}", directory.display()),
                "name a directory with .deb files, or a source tree with debian/control"
            ));
        }
        Ok(())
    }

    fn add(&mut self, binary: Binary, choice: Choice) -> Result<()> {
        if let Some(other) = self.binaries.get(&binary.package).filter(|other| other.path != binary.path) {
            match (choice, compare(&binary.version, &other.version)) {
                (Choice::Newest, Ordering::Greater) => {}
                (Choice::Newest, _) => return Ok(()),
                (Choice::One, _) => bail!(Advice::new(
                    format!(
                        "{} and {} are both the package {}",
                        other.path.display(),
                        binary.path.display(),
                        binary.package
                    ),
                    "name one of them"
                )),
            }
        }
        self.binaries.insert(binary.package.clone(), binary);
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.binaries.is_empty() && self.sources.is_empty()
    }

    /// The source packages of the own packages, whose tests are run unless others are named.
    pub fn source_names(&self) -> BTreeSet<&str> {
        self.binaries
            .values()
            .map(|binary| binary.source.as_str())
            .chain(self.sources.keys().map(String::as_str))
            .collect()
    }

    /// The source of the tests of a source package, as it is on this machine: its `.dsc`, if that is among the own packages.
    pub fn source_on_disk(&self, name: &str) -> Option<&Path> {
        self.sources.get(name).map(|source| source.dsc.as_path())
    }

    /// The `.deb` files, for a job.
    pub fn binary_files(&self) -> Vec<PackageFile> {
        self.binaries.values().map(|binary| binary.file.clone()).collect()
    }

    /// Where the `.deb` files are, in the same order.
    pub fn binary_paths(&self) -> impl Iterator<Item = &Path> {
        self.binaries.values().map(|binary| binary.path.as_path())
    }

    /// Gives a job the packages, and the source of its tests if that is among them. Its other fields stay.
    pub fn give_to(&self, job: &mut Job, name: &str) {
        job.packages = self.binary_files();
        if let Some(source) = self.sources.get(name) {
            job.source = Source::Path(source.file_name.clone());
            job.packages.extend(source.files.iter().map(|(file, _)| file.clone()));
        }
    }

    /// Where the files of a job are on this machine.
    pub fn paths_of<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = (&'a PackageFile, &'a Path)> {
        let binaries = self.binaries.values().map(|binary| (&binary.file, &binary.path));
        let sources = self.sources.values().flat_map(|source| source.files.iter().map(|(file, path)| (file, path)));
        let all: Vec<(&PackageFile, &PathBuf)> = binaries.chain(sources).collect();
        job.packages.iter().filter_map(move |file| {
            let (_, path) = all.iter().find(|(known, _)| *known == file)?;
            Some((file, path.as_path()))
        })
    }
}

/// Reads the files that a job of a list names, relative to a directory, and writes their digests into the job.
///
/// # Errors
/// If one cannot be read, or is not a package.
pub fn with_files(job: &mut Job, base: &Path) -> Result<OwnPackages> {
    read_keys(job, base)?;
    let unread = job.packages.iter().filter(|file| file.content.is_none()).map(|file| base.join(&file.path));
    let mut words: Vec<String> = unread.map(|path| path.display().to_string()).collect();
    let mut name = String::new();
    if let (Source::Path(path), None) = (&job.source, job.own_source())
        && path.ends_with(".dsc")
    {
        words.push(base.join(path).display().to_string());
        job.source.name().clone_into(&mut name);
    }
    let own = OwnPackages::read(words.iter().map(String::as_str))?;
    if !own.is_empty() {
        let known: Vec<PackageFile> = job.packages.iter().filter(|file| file.content.is_some()).cloned().collect();
        own.give_to(job, &name);
        job.packages.extend(known);
    }
    Ok(own)
}

/// What is done with several files of one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// It is an error.
    One,
    /// The newest version is taken.
    Newest,
}

#[cfg(test)]
mod tests;
