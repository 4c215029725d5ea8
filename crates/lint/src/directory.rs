//! [`Directory`]: a source tree on disk, which may be a stranger's.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bundle::regular;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};

use crate::tree::{Entry, LONGEST, MOST_NAMES, Tree};

/// A source tree on disk. Nothing outside of the directory is opened, whatever links are in it.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The tree in this directory.
    ///
    /// # Errors
    ///
    /// If it has no `debian/control`.
    pub fn new(root: &Path) -> io::Result<Self> {
        let tree = Self { root: root.to_owned() };
        match tree.entry("debian/control") {
            Entry::Missing if !root.is_dir() => Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory")),
            Entry::Missing => Err(io::Error::new(io::ErrorKind::NotFound, "it has no debian/control")),
            _ => Ok(tree),
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a regular file on disk that may be replaced: one that no link leads to.
    pub(crate) fn writable(&self, path: &str) -> io::Result<PathBuf> {
        let directory = File::open(&self.root)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file: File = rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve)?.into();
        if file.metadata()?.is_file() { Ok(self.root.join(path)) } else { Err(io::Error::other("not a regular file")) }
    }

    fn read(&self, path: &str) -> io::Result<Entry> {
        let file = regular::open_beneath(&self.root, Path::new(path))?;
        let executable = file.metadata()?.permissions().mode() & 0o111 != 0;
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST || bytes.contains(&0) {
            return Ok(Entry::Binary);
        }
        Ok(String::from_utf8(bytes).map_or(Entry::Binary, |text| Entry::Text { text: text.into(), executable }))
    }

    fn read_names(&self, path: &str) -> io::Result<Vec<String>> {
        let root = File::open(&self.root)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let directory = rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)?;
        let mut names = Vec::new();
        for entry in Dir::new(directory)?.take(MOST_NAMES) {
            let entry = entry?;
            if let Some(name) = name(entry.file_name()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn name(name: &CStr) -> Option<String> {
    name.to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned)
}

impl Tree for Directory {
    fn entry(&self, path: &str) -> Entry {
        match self.read(path) {
            Ok(entry) => entry,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Entry::Missing
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) => {
                Entry::Unusable("it is a link that leads out of the source tree".into())
            }
            Err(error) if error.raw_os_error().is_some() => Entry::Unusable(error.to_string()),
            Err(_) => Entry::Unusable("it is not a regular file".into()),
        }
    }

    fn names(&self, directory: &str) -> Vec<String> {
        self.read_names(directory).unwrap_or_default()
    }

    fn has_upstream(&self) -> bool {
        let other = |entry: fs::DirEntry| {
            let name = entry.file_name();
            name != "debian" && !name.to_string_lossy().starts_with('.')
        };
        fs::read_dir(&self.root).is_ok_and(|entries| entries.take(MOST_NAMES).flatten().any(other))
    }
}
