//! Unpacks the entries of one package in order.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use fsimage::{Metadata, Timestamp};
use md5::{Digest, Md5};

use super::claims::{Claims, Decision, DirectoryClaim, DirectoryDecision, Key};
use super::target::{Directory, UnpackTarget, metadata};
use super::{Extent, Package, Unpacked};
use crate::Error;
use crate::hashed::HashedFile;
use debian::deb::{DataReader, DebError, Entry, EntryKind};

/// Maximum number of open directories per package; more would reach the limit of open files.
const OPEN_DIRECTORIES: usize = 64;
const BUFFER: usize = 256 << 10;

/// One attempt to unpack everything.
pub(super) struct Attempt<'a> {
    pub(super) packages: &'a [Package],
    pub(super) target: &'a UnpackTarget,
    pub(super) claims: &'a Claims,
}

impl Attempt<'_> {
    /// Unpacks one package; with `only`, just these paths, over those of other packages.
    pub(super) fn unpack(&self, order: usize, only: Option<&HashSet<Vec<u8>>>) -> Result<Unpacked, Error> {
        let package = &self.packages[order];
        let mut file = HashedFile::open(&package.file.path)?;
        let unpacked = self.unpack_from(order, only, &mut file);
        package.file.confirm(Some(file), unpacked)
    }

    fn unpack_from(
        &self,
        order: usize,
        only: Option<&HashSet<Vec<u8>>>,
        file: &mut HashedFile,
    ) -> Result<Unpacked, Error> {
        let package = &self.packages[order];
        let deb_error =
            |source| Error::Deb { package: package.deb.name().to_owned(), path: package.file.path.clone(), source };
        file.skip(package.deb.data_offset()).map_err(DebError::read("the control archive")).map_err(deb_error)?;
        let mut archive = package.deb.data_from(file).map_err(deb_error)?;
        let mut run = Run {
            attempt: self,
            order,
            package,
            only,
            conffiles: package.deb.conffiles().filter_map(|(path, _)| path.strip_prefix(b"/")).collect(),
            hash: package.extent == Extent::Whole && only.is_none() && package.deb.file("md5sums").is_none(),
            directories: HashMap::new(),
            known: HashSet::new(),
            later: HashSet::new(),
            buffer: vec![0; BUFFER],
            unpacked: Unpacked::default(),
        };
        while let Some(entry) = archive.next_entry().map_err(deb_error)? {
            if package.extent != Extent::Nothing {
                run.entry(&entry, &mut archive)?;
            }
        }
        Ok(run.unpacked)
    }
}

struct Run<'a> {
    attempt: &'a Attempt<'a>,
    order: usize,
    package: &'a Package,
    only: Option<&'a HashSet<Vec<u8>>>,
    conffiles: HashSet<&'a [u8]>,
    hash: bool,
    directories: HashMap<Vec<u8>, Rc<Directory>>,
    /// Directories whose names were already claimed.
    known: HashSet<Vec<u8>>,
    /// Paths that are written when all packages are done.
    later: HashSet<Vec<u8>>,
    buffer: Vec<u8>,
    unpacked: Unpacked,
}

impl Run<'_> {
    fn entry<R: std::io::Read>(&mut self, entry: &Entry, archive: &mut DataReader<R>) -> Result<(), Error> {
        let path = entry.path.as_slice();
        if let Some(only) = self.only {
            if !only.contains(path) {
                return Ok(());
            }
            let (parent, name) = self.parent(path)?;
            let name = self.name_on_disk(path, name);
            UnpackTarget::remove(&parent, &name, path)?;
            return self.create(entry, archive, &parent, &name);
        }
        if entry.kind == EntryKind::Directory {
            self.claim_directory(path, self.order, &metadata(entry))?;
            self.unpacked.paths.push(entry.path.clone());
            return Ok(());
        }
        if self.package.extent == Extent::FilesOnly && self.conffiles.contains(path) {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        let key = Key { device: parent.device, inode: parent.inode, name: name.to_vec() };
        let link = matches!(entry.kind, EntryKind::Symlink(_));
        let disk_name = self.name_on_disk(path, name);
        let mut decision = self.attempt.claims.other(key, self.order, path, link, self.attempt.packages);
        if let EntryKind::HardLink(target) = &entry.kind {
            // Its content is written later, so the link is too.
            if self.later.contains(target) && matches!(decision, Decision::Create | Decision::Recreate) {
                return Err(self.wrong(path, "is a hard link to a file that another package replaces"));
            }
        }
        if decision == Decision::Recreate {
            UnpackTarget::remove(&parent, &disk_name, path)?;
            decision = Decision::Create;
        } else if decision == Decision::Lost {
            self.unpacked.replaced = true;
        } else {
            self.unpacked.paths.push(entry.path.clone());
        }
        match decision {
            Decision::Create => self.create(entry, archive, &parent, &disk_name),
            Decision::Later => {
                self.later.insert(path.to_vec());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn create<R: std::io::Read>(
        &mut self,
        entry: &Entry,
        archive: &mut DataReader<R>,
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), Error> {
        let path = entry.path.as_slice();
        match &entry.kind {
            EntryKind::File => {
                let mut digest = self.hash.then(Md5::new);
                let observe = |bytes: &[u8]| {
                    if let Some(digest) = &mut digest {
                        digest.update(bytes);
                    }
                };
                UnpackTarget::create_file(parent, name, entry, archive, &mut self.buffer, observe).map_err(
                    |error| {
                        match error {
                            // Reading the archive failed, not the file system: add the package name.
                            Error::Io { action: "unpacking", source, .. } => Error::Deb {
                                package: self.package.deb.name().to_owned(),
                                path: self.package.file.path.clone(),
                                source: DebError::Read { what: String::from_utf8_lossy(path).into_owned(), source },
                            },
                            other => other,
                        }
                    },
                )?;
                if let Some(digest) = digest {
                    let hex = hex::encode(digest.finalize());
                    self.unpacked.digests.push((hex, path.to_vec()));
                }
                Ok(())
            }
            EntryKind::HardLink(target) => {
                let (target_parent, target_name) = self.parent(target)?;
                let target_name = self.name_on_disk(target, target_name);
                // dpkg records a digest for every name of a file.
                if let Some((digest, _)) = self.unpacked.digests.iter().find(|(_, known)| known == target) {
                    let digest = digest.clone();
                    self.unpacked.digests.push((digest, path.to_vec()));
                }
                match UnpackTarget::create_hard_link((&target_parent, &target_name), (parent, name), path) {
                    Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                        let target = String::from_utf8_lossy(target).into_owned();
                        Err(self.wrong(path, &format!("it is a hard link to /{target}, which does not come before it")))
                    }
                    other => other,
                }
            }
            _ => self.attempt.target.create_special(parent, name, entry),
        }
    }

    /// Name on disk: configuration files have a suffix until dpkg installs them.
    fn name_on_disk(&self, path: &[u8], name: &[u8]) -> Vec<u8> {
        if self.conffiles.contains(path) { [name, b".dpkg-new"].concat() } else { name.to_vec() }
    }

    /// The open parent directory of a path, created if the package does not ship it, and the path's last part.
    fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(Rc<Directory>, &'p [u8]), Error> {
        let (parent, name) = split(path);
        if !parent.is_empty() && !self.known.contains(parent) {
            // The metadata of a directory that is not shipped is undefined: the next package that ships it defines it.
            let implicit = Metadata::root(0o755, Timestamp::from_seconds(0));
            self.claim_directory(parent, usize::MAX, &implicit)?;
        }
        Ok((self.open(parent)?, name))
    }

    fn open(&mut self, path: &[u8]) -> Result<Rc<Directory>, Error> {
        if let Some(directory) = self.directories.get(path) {
            return Ok(Rc::clone(directory));
        }
        let directory = self.attempt.target.directory(path)?;
        if self.directories.len() >= OPEN_DIRECTORIES {
            self.directories.clear();
        }
        self.directories.insert(path.to_vec(), Rc::clone(&directory));
        Ok(directory)
    }

    fn claim_directory(&mut self, path: &[u8], owner: usize, metadata: &Metadata) -> Result<(), Error> {
        let claim = DirectoryClaim { owner, path: path.to_vec(), metadata: metadata.clone() };
        if path.is_empty() {
            let root = self.open(path)?;
            // The root has no parent and no name; its own identity with an empty name is used.
            let key = Key { device: root.device, inode: root.inode, name: Vec::new() };
            self.attempt.claims.directory(key, claim, || Ok(()))?;
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        let key = Key { device: parent.device, inode: parent.inode, name: name.to_vec() };
        let create = || UnpackTarget::create_directory(&parent, name, path);
        if self.attempt.claims.directory(key, claim, create)? == DirectoryDecision::Follow {
            // dpkg accepts only a link to a directory in place of the directory.
            if self.attempt.target.directory(path).is_err() && !self.attempt.claims.is_order_sensitive() {
                return Err(self.wrong(path, "is a directory, but something that leads to none is there already"));
            }
        }
        self.known.insert(path.to_vec());
        Ok(())
    }

    fn wrong(&self, path: &[u8], what: &str) -> Error {
        Error::Entry {
            package: self.package.deb.name().to_owned(),
            path: String::from_utf8_lossy(path).into_owned(),
            what: what.to_owned(),
        }
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
