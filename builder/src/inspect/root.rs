//! Root file systems.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use debian::deb822::{Comments, Paragraphs};
use fsimage::ext4::{Limits, Reader};
use serde::Serialize;

use super::disk;

/// dpkg's list of what is installed (dpkg(1), FILES).
const STATUS: &str = "var/lib/dpkg/status";

/// A root file system.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RootReport {
    /// UUID of the file system.
    pub uuid: String,
    /// Its label.
    pub label: String,
    /// Length in bytes.
    pub size: u64,
    /// Free space in bytes.
    pub free: u64,
    /// Names of its features.
    pub features: Vec<&'static str>,
    /// How many paths there are.
    pub paths: usize,
    /// Kernel versions with modules in it.
    pub kernels: Vec<String>,
    /// Installed packages by name, with their versions.
    pub packages: BTreeMap<String, String>,
    /// Every path, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

pub(super) fn read(file: impl Read + Seek, offset: u64, files: bool) -> Result<RootReport> {
    let mut reader = Reader::open(file, offset).context("reading the file system")?;
    let packages = packages(&mut reader)?;
    let entries = reader.entries(Limits::default()).context("reading the file system")?;
    let kernels = entries
        .iter()
        .filter_map(|entry| entry.path.strip_prefix(b"usr/lib/modules/"))
        .filter(|rest| !rest.contains(&b'/'))
        .map(|version| String::from_utf8_lossy(version).into_owned());
    let superblock = reader.superblock();
    Ok(RootReport {
        uuid: diskimage::Guid::from_bytes(superblock.uuid).to_string(),
        label: String::from_utf8_lossy(&superblock.label).into_owned(),
        size: superblock.size(),
        free: superblock.free(),
        features: superblock.feature_names(),
        paths: entries.len(),
        kernels: kernels.collect(),
        packages,
        files: files
            .then(|| entries.iter().map(|entry| format!("/{}", String::from_utf8_lossy(&entry.path))).collect()),
    })
}

fn packages(reader: &mut Reader<impl Read + Seek>) -> Result<BTreeMap<String, String>> {
    let mut text = Vec::new();
    reader
        .open_file(STATUS)
        .with_context(|| format!("opening /{STATUS}"))?
        .read_to_end(&mut text)
        .with_context(|| format!("reading /{STATUS}"))?;
    installed(&text).with_context(|| format!("reading /{STATUS}"))
}

fn installed(status: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut packages = BTreeMap::new();
    for paragraph in Paragraphs::from_bytes(status, Comments::Forbidden)? {
        let paragraph = paragraph?;
        let state = paragraph.get("Status").unwrap_or_default();
        if let (true, Some(name), Some(version)) =
            (state.ends_with(" installed"), paragraph.get("Package"), paragraph.get("Version"))
        {
            packages.insert(name.to_owned(), version.to_owned());
        }
    }
    Ok(packages)
}

/// The installed packages of an image directory, a disk or a root file system, with their versions.
pub fn root_packages(path: &Path) -> Result<BTreeMap<String, String>> {
    let candidates = [path.join("root.img"), path.join("disk.img")];
    let file = if path.is_dir() { candidates.iter().find(|file| file.is_file()) } else { None };
    let path = match file {
        Some(file) => file,
        None if path.is_dir() => bail!("{} holds neither root.img nor disk.img", path.display()),
        None => path,
    };
    let open = || File::open(path).with_context(|| format!("opening {}", path.display()));
    let context = || format!("reading the packages of {}", path.display());
    let mut reader = match Reader::open(open()?, 0) {
        Ok(reader) => reader,
        // Not a file system: then a disk with one on it.
        Err(_) => {
            Reader::open(open()?, disk::root_partition(&mut open()?).with_context(context)?).with_context(context)?
        }
    };
    packages(&mut reader).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let status = b"Package: mawk\nStatus: install ok installed\nVersion: 1.3\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        assert_eq!(installed(status).unwrap(), BTreeMap::from([("mawk".into(), "1.3".into())]));
    }
}
