//! Local packages of a recipe (`packages.local`): files on this machine, offered to the solver as an archive of their own.

use std::fs::File;
use std::path::PathBuf;

use advice::AtPath as _;
use anyhow::{Context as _, Result};
use debian::deb::Deb;
use sha256::Digest;

use crate::own_packages::OwnPackages;

/// Fields that an index has and a package does not: they say which file it is.
const OF_INDEX: [&str; 3] = ["Filename", "Size", "SHA256"];

/// One file.
#[derive(Debug)]
struct LocalPackage {
    name: String,
    path: PathBuf,
    sha256: Digest,
    /// Its paragraph in an index.
    stanza: String,
}

/// Local packages, by name.
#[derive(Debug, Default)]
pub struct LocalPackages(Vec<LocalPackage>);

impl LocalPackages {
    /// Reads the packages at these paths, whose last parts may be patterns.
    ///
    /// # Errors
    /// If a path names no package, or a package cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let own = OwnPackages::read_paths(paths).context("reading packages.local")?;
        own.binary_paths().map(read).collect::<Result<_>>().map(Self)
    }

    /// The index of the packages; `None` if there are none.
    pub fn index(&self) -> Option<Vec<u8>> {
        let text: String = self.0.iter().map(|package| package.stanza.as_str()).collect();
        (!text.is_empty()).then(|| text.into_bytes())
    }

    /// Their digests.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.0.iter().map(|package| package.sha256)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|package| package.name.as_str())
    }

    /// Path of the file with this digest.
    pub fn path(&self, digest: &Digest) -> Option<&str> {
        self.0.iter().find(|package| package.sha256 == *digest)?.path.to_str()
    }
}

fn read(path: &std::path::Path) -> Result<LocalPackage> {
    let reading = || format!("reading the package {}", path.display());
    let mut file = File::open(path).at_path("reading the package", path)?;
    let deb = Deb::read(&mut file).with_context(reading)?;
    let (sha256, size) = Digest::of_reader(File::open(path).with_context(reading)?).with_context(reading)?;
    let own = deb.control.iter().filter(|(name, _)| !OF_INDEX.iter().any(|field| field.eq_ignore_ascii_case(name)));
    let mut stanza: String = own.map(|(name, value)| format!("{name}: {value}\n")).collect();
    // By digest and not by its name: files may have any name.
    stanza.push_str(&format!("Filename: {sha256}.deb\nSize: {size}\nSHA256: {sha256}\n\n"));
    path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?;
    Ok(LocalPackage { name: deb.name().to_owned(), path: path.to_owned(), sha256, stanza })
}

#[cfg(test)]
mod tests {
    use archive::index::{IndexText, Universe};
    use debian::deb::fixtures;

    use super::*;

    #[test]
    fn local_packages_are_an_archive_of_their_own() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let control = "Package: demo\nVersion: 1:2-1\nArchitecture: amd64\nDepends: libc6 (>= 2),\n libdemo\nFilename: x\nDescription: a\n b\n";
        let control = fixtures::tar(&[fixtures::directory("./"), fixtures::file("./control", control)]);
        let data = fixtures::tar(&[fixtures::directory("./")]);
        let bytes = fixtures::ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)]);
        std::fs::write(directory.path().join("demo+1.deb"), &bytes)?;
        let local = LocalPackages::read(&[directory.path().join("*.deb")])?;
        let text =
            IndexText { archive: "local".into(), component: String::new(), text: local.index().unwrap_or_default() };
        let universe = Universe::new(vec![text], "amd64")?;
        let package = universe.candidates("demo").first().and_then(|id| universe.get(*id)).context("the package")?;
        assert_eq!((package.version(), package.size()?), ("1:2-1", bytes.len() as u64));
        assert_eq!(package.sha256()?, Digest::of(&bytes));
        assert_eq!(package.relations("Depends")?.0.len(), 2);
        assert!(local.path(&Digest::of(&bytes)).is_some_and(|path| path.ends_with("/demo+1.deb")));
        Ok(())
    }
}
