//! Reports on root file systems.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context as _, Result};
use debian::deb822::{Comments, Paragraphs};
use diskimage::gpt::{self, types};
use fsimage::ext4::{Limits, ReadError, Reader};
use serde::Serialize;

use super::{input, there_is};

/// dpkg's database of installed packages (dpkg(1), FILES).
const STATUS: &str = "var/lib/dpkg/status";

/// Report on a root file system.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RootReport {
    /// UUID of the file system.
    pub uuid: String,
    /// File system label.
    pub label: String,
    /// Length in bytes.
    pub size: u64,
    /// Free space in bytes.
    pub free: u64,
    /// Names of the file system's features.
    pub features: Vec<&'static str>,
    /// Number of paths.
    pub paths: usize,
    /// Kernel versions with modules in it.
    pub kernels: Vec<String>,
    /// Installed packages by name, with their versions; empty for a file system without dpkg's database.
    pub packages: BTreeMap<String, String>,
    /// All paths, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

pub(super) fn read(file: impl Read + Seek, offset: u64, files: bool) -> Result<RootReport> {
    let mut reader = Reader::open(file, offset).context("reading the file system")?;
    let packages = packages(&mut reader)?.unwrap_or_default();
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

/// The installed packages; `None` for a file system without dpkg's database, such as a stick's data partition.
fn packages(reader: &mut Reader<impl Read + Seek>) -> Result<Option<BTreeMap<String, String>>> {
    let mut text = Vec::new();
    let mut status = match reader.open_file(STATUS) {
        Err(ReadError::NotFound(_)) => return Ok(None),
        other => other.with_context(|| format!("opening /{STATUS}"))?,
    };
    status.read_to_end(&mut text).with_context(|| format!("reading /{STATUS}"))?;
    installed(&text).map(Some).with_context(|| format!("reading /{STATUS}"))
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

/// Opens the root file system of an image directory, a disk or a file; `None` for a directory that has neither
/// `root.img` nor `disk.img`, compressed or not.
pub(super) fn open(path: &Path) -> Result<Option<Reader<File>>> {
    let path = if path.is_dir() {
        let Some(name) = ["root.img", "disk.img"].into_iter().find_map(|name| there_is(path, name)) else {
            return Ok(None);
        };
        path.join(name)
    } else {
        path.to_owned()
    };
    let context = || format!("reading the root file system of {}", path.display());
    let file = input::open(&path)?;
    // Not a file system: then it should be a disk that contains one.
    match Reader::open(file.try_clone().with_context(context)?, 0) {
        Err(ReadError::NotExt4(_)) => {
            let mut disk = file.try_clone().with_context(context)?;
            let start = root_partition(&mut disk).with_context(context)?;
            Reader::open(file, start).map(Some).with_context(context)
        }
        other => other.map(Some).with_context(context),
    }
}

/// The installed packages of an image, with their versions; `None` for a directory without a root file system.
pub fn root_packages(path: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let Some(mut reader) = open(path)? else { return Ok(None) };
    let packages = packages(&mut reader).with_context(|| format!("reading the packages of {}", path.display()))?;
    packages.map(Some).with_context(|| format!("{} is not the root of an image: it has no /{STATUS}", path.display()))
}

/// Offset of a disk's root partition in bytes.
fn root_partition(file: &mut (impl Read + Seek)) -> Result<u64> {
    let table = gpt::read(file).context("reading the partition table")?;
    let root = table.partitions.iter().find(|(_, partition)| partition.type_guid == types::ROOT_X86_64);
    root.map(|(_, partition)| partition.start).context("there is no root partition")
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
