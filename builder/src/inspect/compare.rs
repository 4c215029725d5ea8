//! Compares two images apart from their packages: their files, and the paths of their root file systems.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::path::Path;

use advice::Advice;
use anyhow::{Context as _, Result, ensure};
use diskimage::sparse::sha256;
use fsimage::ext4::{EntryKind, Ext4Entry, Limits, Reader};
use serde::Serialize;
use sha256::Digest;

use super::root;
use crate::image::IMAGE_FILES;
use crate::image_path;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Difference {
    /// A file that only the new image has.
    FileAdded {
        /// File name.
        name: String,
    },
    /// A file that only the old image has.
    FileRemoved {
        /// File name.
        name: String,
    },
    /// A file whose content differs.
    FileChanged {
        /// File name.
        name: String,
        /// The difference, in words.
        what: String,
    },
    /// A path that only the new root file system has.
    PathAdded {
        /// Path in the root file system.
        path: String,
    },
    /// A path that only the old root file system has.
    PathRemoved {
        /// Path in the root file system.
        path: String,
    },
    /// A path that is another file, directory or link in the new one.
    PathChanged {
        /// Path in the root file system.
        path: String,
        /// The difference, in words.
        what: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileAdded { name } => write!(f, "+ {name}"),
            Self::FileRemoved { name } => write!(f, "- {name}"),
            Self::FileChanged { name, what } => write!(f, "! {name}: {what}"),
            Self::PathAdded { path } => write!(f, "+ {path}"),
            Self::PathRemoved { path } => write!(f, "- {path}"),
            Self::PathChanged { path, what } => write!(f, "! {path}: {what}"),
        }
    }
}

/// Compares two image directories file by file, or two files; and the paths of their root file systems, if both have
/// one. Of directories that lack some of an image's files, the existing ones are compared.
pub fn compare(old: &Path, new: &Path) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    match (old.is_dir(), new.is_dir()) {
        (true, true) => {
            for name in IMAGE_FILES {
                let (before, now) = (old.join(name), new.join(name));
                match (before.is_file(), now.is_file()) {
                    (true, true) => differences.extend(compare_files(&before, &now, name)?),
                    (true, false) => differences.push(Difference::FileRemoved { name: name.to_owned() }),
                    (false, true) => differences.push(Difference::FileAdded { name: name.to_owned() }),
                    (false, false) => {}
                }
            }
            for directory in [old, new] {
                ensure!(
                    IMAGE_FILES.into_iter().any(|name| directory.join(name).is_file()),
                    Advice::new(
                        format!("{} holds none of an image's files", directory.display()),
                        "`rocbed build` makes an image"
                    )
                );
            }
        }
        (false, false) => differences.extend(compare_files(old, new, &new.display().to_string())?),
        // Possibly the root of an image: its paths are compared below.
        _ => {}
    }
    if let (Some(mut before), Some(mut now)) = (root::open(old)?, root::open(new)?) {
        differences.extend(compare_roots(&mut before, &mut now)?);
    }
    Ok(differences)
}

fn compare_files(old: &Path, new: &Path, name: &str) -> Result<Option<Difference>> {
    let read = |path: &Path| -> Result<(u64, Digest)> {
        let reading = || format!("reading {}", path.display());
        let file = image_path::open(path)?;
        let length = super::input::length(&file).with_context(reading)?;
        // Holes cannot be found on a device.
        let digest = if file.metadata().with_context(reading)?.is_file() {
            sha256(&file).with_context(reading)?
        } else {
            Digest::of_reader(&file).with_context(reading)?.0
        };
        Ok((length, digest))
    };
    let ((size_before, before), (size_now, now)) = (read(old)?, read(new)?);
    let changed = |what: String| Some(Difference::FileChanged { name: name.to_owned(), what });
    Ok(if size_before != size_now {
        changed(format!("{size_before} bytes -> {size_now} bytes"))
    } else if before != now {
        changed("same size, other content".to_owned())
    } else {
        None
    })
}

fn compare_roots(old: &mut Reader<File>, new: &mut Reader<File>) -> Result<Vec<Difference>> {
    let entries = |reader: &mut Reader<File>| -> Result<BTreeMap<Vec<u8>, Ext4Entry>> {
        let entries = reader.entries(Limits::default()).context("reading a root file system")?;
        Ok(entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect())
    };
    let (before, now) = (entries(old)?, entries(new)?);
    let paths: BTreeSet<&Vec<u8>> = before.keys().chain(now.keys()).collect();
    let mut differences = Vec::new();
    for raw in paths {
        let path = format!("/{}", String::from_utf8_lossy(raw));
        match (before.get(raw), now.get(raw)) {
            (Some(one), Some(other)) => {
                if let Some(what) = compare_entries((&mut *old, one), (&mut *new, other))? {
                    differences.push(Difference::PathChanged { path, what });
                }
            }
            (Some(_), None) => differences.push(Difference::PathRemoved { path }),
            _ => differences.push(Difference::PathAdded { path }),
        }
    }
    Ok(differences)
}

/// Describes the difference of two entries, the most telling part first. Times are derived from the archive's date, so
/// they are ignored.
fn compare_entries(
    (old, one): (&mut Reader<File>, &Ext4Entry),
    (new, other): (&mut Reader<File>, &Ext4Entry),
) -> Result<Option<String>> {
    let (before, now) = (&one.metadata, &other.metadata);
    let what = match (&one.kind, &other.kind) {
        (EntryKind::File { size: a }, EntryKind::File { size: b }) if a != b => format!("{a} bytes -> {b} bytes"),
        (EntryKind::Other(a), EntryKind::Other(b)) if a != b => "another kind of file, or another target".to_owned(),
        (EntryKind::File { .. }, EntryKind::Other(_)) | (EntryKind::Other(_), EntryKind::File { .. }) => {
            "another kind of file".to_owned()
        }
        _ if before.mode != now.mode => format!("mode {:04o} -> {:04o}", before.mode, now.mode),
        _ if (before.uid, before.gid) != (now.uid, now.gid) => {
            format!("owner {}:{} -> {}:{}", before.uid, before.gid, now.uid, now.gid)
        }
        _ if before.xattrs != now.xattrs => "other extended attributes".to_owned(),
        (EntryKind::File { .. }, EntryKind::File { .. }) => {
            let reading = || format!("reading /{}", String::from_utf8_lossy(&one.path));
            if old.digest(one).with_context(reading)? == new.digest(other).with_context(reading)? {
                return Ok(None);
            }
            "same size, other content".to_owned()
        }
        _ => return Ok(None),
    };
    Ok(Some(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp, ext4};

    /// A root file system with one file.
    fn root(directory: &Path, name: &str, text: &str, mode: u16) -> Result<()> {
        let time = Timestamp::from_seconds(0);
        let mut tree = FileTree::new(Metadata::root(0o755, time));
        tree.create_directories("etc", &Metadata::root(0o755, time))?;
        let kind = NodeKind::File(Content::from(text));
        tree.insert(format!("etc/{name}"), Node { kind, metadata: Metadata::root(mode, time) })?;
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(directory.join("root.img"))?;
        ext4::write(&tree, &file, 0, &ext4::Ext4Options::new([1; 16], 0), &progress::Silent)?;
        Ok(())
    }

    fn told(old: &Path, new: &Path) -> Result<Vec<String>> {
        Ok(compare(old, new)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn files_that_differ_are_named_and_so_are_paths_of_the_root() -> Result<()> {
        let (old, new) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let (old, new) = (old.path(), new.path());
        for directory in [old, new] {
            root(directory, "motd", "hello\n", 0o644)?;
            std::fs::write(directory.join("cmdline"), "quiet\n")?;
        }
        assert!(told(old, new)?.is_empty());
        root(new, "motd", "HELLO\n", 0o644)?;
        std::fs::write(new.join("uki.efi"), "MZ")?;
        std::fs::write(new.join("cmdline"), "debug quiet\n")?;
        std::fs::write(new.join("notes"), "nothing of an image's")?;
        let expected = [
            "! root.img: same size, other content",
            "+ uki.efi",
            "! cmdline: 6 bytes -> 12 bytes",
            "! /etc/motd: same size, other content",
        ];
        assert_eq!(told(old, new)?, expected);
        root(new, "motd", "hello\n", 0o600)?;
        assert!(told(old, new)?.contains(&"! /etc/motd: mode 0644 -> 0600".to_owned()));
        root(new, "issue", "hello\n", 0o644)?;
        let both = told(&old.join("root.img"), &new.join("root.img"))?;
        assert_eq!(both[1..], ["+ /etc/issue".to_owned(), "- /etc/motd".to_owned()]);
        assert!(both[0].ends_with("root.img: same size, other content"), "{both:?}");
        Ok(())
    }

    #[test]
    fn a_part_of_an_image_is_compared_with_what_there_is() -> Result<()> {
        let (old, new) = (tempfile::tempdir()?, tempfile::tempdir()?);
        std::fs::write(old.path().join("vmlinuz"), "one")?;
        assert!(
            told(old.path(), new.path()).is_err_and(|error| error.to_string().contains("none of an image's files"))
        );
        std::fs::write(new.path().join("vmlinuz"), "two")?;
        assert_eq!(told(old.path(), new.path())?, ["! vmlinuz: same size, other content"]);
        Ok(())
    }
}
